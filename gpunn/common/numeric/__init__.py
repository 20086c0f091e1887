"""Numbers of any magnitude, normal ones, and missing values."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_missing(value: Any) -> bool:
    """Return whether a value stands for a missing one: None, NaN, NaT, or NA of pandas.

    >>> [is_missing(value) for value in (None, float("nan"), np.datetime64("NaT", "D"), "", 0)]
    [True, True, True, False, False]
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, (float, np.inexact)) and bool(value != value)


def cast(values: np.ndarray, dtype: Any, what: str) -> np.ndarray:
    """Return floats in a dtype, whose range no finite number may exceed.

    Args:
        values: the numbers.
        dtype: the new dtype.
        what: what they are, for the message.

    Raises:
        ValueError: for a finite number that would become infinite.

    >>> cast(np.array([0.5]), "float32", "the bias")
    array([0.5], dtype=float32)
    """
    dtype = np.dtype(dtype)
    if values.dtype.kind != "f" or values.dtype.itemsize <= dtype.itemsize:
        return values.astype(dtype, copy=False)
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    lost = np.isinf(found) & np.isfinite(values)
    if lost.any():
        raise ValueError(
            f"{what} holds {values[lost][0]:g}, beyond the range of {dtype.name}: use "
            f"dtype='float64', or smaller numbers."
        )
    return found

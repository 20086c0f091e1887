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

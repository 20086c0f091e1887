"""Settings of the process: the default dtype and the smallest number in a logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

_floatx = "float32"
_epsilon = 1e-7


def floatx() -> str:
    """The dtype of models and layers that name none: ``"float32"`` at first."""
    return _floatx


def set_floatx(dtype: str) -> None:
    """Set the default dtype, ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: for any other dtype.

    >>> set_floatx("float64"); floatx()
    'float64'
    >>> set_floatx("float32")
    """
    global _floatx
    _floatx = resolve_dtype(dtype)


def epsilon() -> float:
    """The fuzz that keeps logarithms and quotients of probabilities finite: 1e-7."""
    return _epsilon


def resolve_dtype(dtype: Any) -> str:
    """``"float32"`` or ``"float64"`` from a name, a NumPy dtype or None (the default).

    >>> resolve_dtype(None), resolve_dtype(np.float64)
    ('float32', 'float64')
    """
    if dtype is None:
        return _floatx
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    return name

"""Means and standard deviations of values of any magnitude, in float64.

The square of 1e200 overflows, and the square of 1e-200 is 0. So values are first divided by a power
of two. This changes no digit of them, nor of the result if nothing would have overflowed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["deviation", "lost_in_float32", "mean", "size"]

LARGEST, LEAST = 1e38, 1e-37  # limits of values that float32 distinguishes from their neighbours
DIGITS = 3e6  # times the deviation: float32 values this large have no digit of it left


def size(values: Any, axis: int | None = None) -> np.ndarray:
    """Return the power of two below the largest absolute value, 1 if all are 0; keeps axes.

    >>> size([3.0, -5.0]).tolist(), size(np.zeros((2, 2)), axis=0).tolist()
    ([4.0], [[1.0, 1.0]])
    """
    largest = np.abs(np.asarray(values, np.float64)).max(axis=axis, keepdims=True, initial=0.0)
    exponent = np.where(largest == 0, 1, np.frexp(largest)[1])
    return np.ldexp(1.0, np.maximum(exponent - 1, -1000))


def mean(values: Any, axis: int | None = None) -> Any:
    """Compute the arithmetic mean along an axis, or of all values.

    >>> float(mean([1e308, 1e308])), float(mean([1.0, 2.0]))
    (1e+308, 1.5)
    """
    of = size(values, axis)
    return _put_back((np.asarray(values, np.float64) / of).mean(axis=axis), of, axis)


def deviation(values: Any, axis: int | None = None) -> Any:
    """Compute the standard deviation along an axis, or of all values, without Bessel's correction.

    >>> float(deviation([1e200, -1e200])), float(deviation([1e-200, -1e-200]))
    (1e+200, 1e-200)
    """
    of = size(values, axis)
    return _put_back((np.asarray(values, np.float64) / of).std(axis=axis), of, axis)


def lost_in_float32(values: Any) -> str:
    """Explain why float32 cannot represent finite values or their differences; "" if it can.

    >>> lost_in_float32([1e9, 1e9 + 1])
    'numbers of about 1e+09 that differ by 0.5: float32 has 7 digits'
    >>> lost_in_float32([1e40, 0.0]), lost_in_float32([7.0, 7.0]), lost_in_float32([1e6, 1e6 + 1])
    ('numbers up to 1e+40: float32 goes to 3.4e+38', '', '')
    """
    largest, spread = float(np.abs(values).max()), float(deviation(values))
    if largest > LARGEST:
        return f"numbers up to {largest:.3g}: float32 goes to 3.4e+38"
    if 0 < spread < LEAST:
        return f"numbers that differ by {spread:.3g}: float32 goes down to 1.2e-38"
    if largest > DIGITS * spread > 0:
        return f"numbers of about {largest:.3g} that differ by {spread:.3g}: float32 has 7 digits"
    return ""


def _put_back(found: Any, of: np.ndarray, axis: int | None) -> Any:
    return found * (of.ravel()[0] if axis is None else of.squeeze(axis))

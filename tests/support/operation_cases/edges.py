"""Edge values that replace some ordinary ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .case import Arrays

# All at once, for element-wise functions.
ENDS = np.array([
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 0.1, -0.7, 9.0, 20.0, -30.0, 88.0,
    89.5, -104.0, 1e-4, -1e-8, 1e30, 1e38, -1e38, 3.4e38, -3.4e38, 1e-30, -1e-35, 1e-40, -3e-45,
    np.inf, -np.inf, np.nan,
])  # fmt: skip
FEW_ENDS = np.array([
    0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 2.5, 88.0, 1e38, -3e38, 1e-30, -1e-35, 1e-40, np.inf,
    -np.inf, np.nan,
])  # fmt: skip
INTEGERS = np.array([0, 1, -1, 2, -7, 100, 2**24 + 1, 2**31 - 1, -(2**31), 46341], np.int32)
SMALL = np.array([0, 1, -1, 2, -7, 5, 30], np.int32)
TRUTHS = np.array([True, False])


def pairs(a: np.ndarray, b: np.ndarray) -> Arrays:
    """Return all pairs of an element of one array and an element of the other."""
    return [x.ravel() for x in np.meshgrid(a, b)]


def at_edge(kind: str, arrays: Arrays) -> Arrays:
    """Replace a few elements, at different positions in each array, by values of this kind.

    "limits" changes only integer arrays; the other kinds change only float arrays.
    """
    found = []
    for seed, a in enumerate(arrays):
        if a.dtype.kind == "f" and kind == "ties":
            a = np.clip(np.round(a), -1, 1)
        elif a.dtype.kind == "f" and kind in _FLOATS:
            a = _with(a, [float(x) for x in _FLOATS[kind](np.finfo(a.dtype))], seed)
        elif a.dtype.kind == "i" and kind == "limits":
            a = _with(a, [-(2**31), 2**31 - 1, -1, 0], seed)
        found.append(a)
    return found


_FLOATS = {
    "zeros": lambda of: [-0.0, 0.0, -0.0, 0.0],
    "huge": lambda of: [of.max, -of.max, of.max / 4],
    "tiny": lambda of: [3 * of.smallest_subnormal, -of.tiny / 2, of.tiny],
    "inf": lambda of: [np.inf, -np.inf],
    "nan": lambda of: [np.nan],
}  # fmt: skip


def _with(a: np.ndarray, values: Sequence[float], seed: int) -> np.ndarray:
    """Return ``a`` with some of these values in at most a third of its positions."""
    places = np.random.default_rng([seed, a.size]).permutation(a.size)
    places = places[: min(len(values), max(1, a.size // 3))]
    a = a.copy()
    a.reshape(-1)[places] = values[: len(places)]
    return a

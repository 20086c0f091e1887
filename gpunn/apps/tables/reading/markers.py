"""Numbers that stand for a missing one, such as -999."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunn.common.names import counted, significant

FEWEST = 3  # cells that hold such a number
FAR = 10.0  # robust deviations from the median of the others
APART = 3.0  # times as far as the farthest of the others


def markers_of(values: np.ndarray) -> tuple[float, ...]:
    """Return the numbers of a column that stand for a missing one.

    Such a number is written with nines only, or it is -1 where no other one is negative. At least
    three cells hold it, and it is far from all others: ten robust deviations from their median, and
    three times as far as the farthest.

    >>> sizes = np.tile(np.arange(25.0, 140.0), 3)
    >>> markers_of(np.append(sizes, [-999] * 5)), markers_of(np.append(sizes, [99] * 5))
    ((-999.0,), ())
    >>> markers_of(np.array([0, 1, 2, 3, -1, -1, -1.0])), markers_of(np.append(sizes, [9999.0]))
    ((), ())
    """
    known = values[np.isfinite(values)]
    tried = [value for value in _spelled_so(known) if (known == value).sum() >= FEWEST]
    if not tried:
        return ()
    others = known[~np.isin(known, tried)]
    if len(others) < FEWEST:
        return ()
    middle = np.median(others)
    away = np.abs(others - middle)
    farthest = away.max()
    least = max(FAR * 1.4826 * float(np.median(away)), APART * farthest)
    return tuple(
        value
        for value in tried
        if farthest and abs(value - middle) > least and (value != -1 or others.min() >= 0)
    )


def _spelled_so(known: np.ndarray) -> list[float]:
    """Return what may stand for a missing number, by its spelling, within the range of some."""
    if not len(known):
        return []
    low, high = known.min(), known.max()
    nines = [float(10**k - 1) for k in range(1, 8)]  # those that float32 holds exactly
    return [v for v in (-1.0, *nines, *(-n for n in nines)) if low <= v <= high]


def without(values: np.ndarray, markers: Sequence[float]) -> np.ndarray:
    """Return a column in which these numbers are missing."""
    return np.where(np.isin(values, markers), np.nan, values) if len(markers) else values


def marker_notes(values: np.ndarray, markers: Sequence[float]) -> list[str]:
    """Say which numbers count as missing.

    >>> marker_notes(np.array([1.0, -999, -999]), [-999])
    ['-999 in 2 rows counts as missing']
    """
    return [
        f"{significant(marker, 7).replace(',', '')} in "
        f"{counted(int((values == marker).sum()), 'row')} counts as missing"
        for marker in markers
    ]

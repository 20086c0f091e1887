"""Statistics of samples: medians, quartiles, ratios within a round, and their significance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Samples = Sequence[float | None]  # a value per round, None if it is missing


class Quartiles(NamedTuple):
    low: float
    middle: float
    high: float


def quartiles(values: Samples) -> Quartiles:
    """Return lower quartile, median and upper quartile, linear between order statistics.

    >>> quartiles([4.0, 1.0, 2.0, None, 3.0])
    Quartiles(low=1.75, middle=2.5, high=3.25)
    """
    known = [value for value in values if value is not None]
    if not known:
        raise ValueError("quartiles(): values are empty; one or more is expected.")
    return Quartiles(*(float(q) for q in np.percentile(known, (25, 50, 75))))


def ratios(values: Samples, base: Samples) -> list[float]:
    """Return ``values / base`` round by round, where both have a value.

    >>> ratios([2.0, None, 9.0], [1.0, 1.0, 3.0])
    [2.0, 3.0]
    """
    return [a / b for a, b in zip(values, base, strict=False) if a is not None and b is not None]


def differ(within_rounds: Sequence[float]) -> bool:
    """Whether ratios within rounds show a difference larger than their spread.

    They do not if 1 lies between their quartiles, if there are fewer than three, or if their
    median is 1 as far as it is shown.

    >>> differ([1.2, 1.3, 1.4]), differ([0.9, 1.3, 1.4, 0.95]), differ([2.0]), differ([1.001] * 3)
    (True, False, False, False)
    """
    if len(within_rounds) < 3:
        return False
    low, middle, high = quartiles(within_rounds)
    return not (low <= 1.0 <= high or f"{middle:.3g}" == "1")


def verdict(within_rounds: Sequence[float]) -> str:
    """Describe the ratio: ``1.35``, or ``as fast`` if the difference is within the spread.

    >>> verdict([1.2, 1.35, 1.4]), verdict([0.9, 1.35, 0.95, 1.1]), verdict([2.0])
    ('1.35', 'as fast', 'too few')
    """
    if len(within_rounds) < 3:
        return "too few"
    return f"{quartiles(within_rounds).middle:.3g}" if differ(within_rounds) else "as fast"

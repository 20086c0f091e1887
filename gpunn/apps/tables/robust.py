"""Numbers that would mislead a model: far from all others of their column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpunn.common.names import either, first_few, significant

from .reading.kinds import Column
from .targets import Outliers

MARGIN = 0.25  # of the range of the others: beyond it numbers are limited


class Limits(NamedTuple):
    """What the numbers of a column are limited to, a little beyond those that are not far."""

    low: float
    high: float


def limits_of(column: Column) -> Limits | None:
    """Return the limits of a column of numbers, None if none of them is far from all others by the
    rule of `Outliers`.

    >>> limits_of(Column("size", "number", values=np.array([25.0, 60, 70, 80, 125, 9999])))
    Limits(low=0.0, high=150.0)
    """
    if column.kind != "number":
        return None
    found = Outliers.of(column.values[np.isfinite(column.values)])
    if not found.count:
        return None
    beyond = MARGIN * (found.high - found.low)
    return Limits(found.low - beyond, found.high + beyond)


def note(column: Column, limits: Limits, rows: np.ndarray) -> str:
    """Say which cells of a column are limited; ``rows`` are the indices of its rows in the table.

    >>> size = Column("size", "number", values=np.array([25.0, 60, 70, 80, 125, 9999]))
    >>> note(size, Limits(0.0, 150.0), np.arange(6))
    '1 cell is far from all others and counts as 150: 9,999 in row 6'
    """
    far = np.flatnonzero((column.values < limits.low) | (column.values > limits.high))
    values = column.values[far]
    ends = [
        significant(end, 6)
        for end, here in zip(limits, (values < limits.low, values > limits.high), strict=True)
        if here.any()
    ]
    pairs = zip(far.tolist(), values.tolist(), strict=True)
    shown = first_few([f"{significant(v, 6)} in row {rows[i] + 1:,}" for i, v in pairs], 3)
    are, count = either(len(far), "cell is", "cells are"), either(len(far), "counts", "count")
    return f"{len(far):,} {are} far from all others and {count} as {' or '.join(ends)}: {shown}"


def arrays(
    limits: Sequence[Limits | None], units: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Return the lower and the upper limit of each number of a row, in its unit; a number without
    limits has float32's."""
    most = float(np.finfo(np.float32).max)
    pairs = [
        (-most, most) if one is None else (one.low / unit, one.high / unit)
        for one, unit in zip(limits, units, strict=True)
    ]
    return [low for low, _ in pairs], [high for _, high in pairs]

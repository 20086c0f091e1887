"""Columns of dates and of times of day: how they are written, and their values in days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpunn.layers.preprocessing.dates import as_days, moments, order_of, written

from .cells import missing_among

NUMBERS = {"date": ("year", "days"), "datetime": ("year", "days"), "time": ("minutes",)}
"""The numbers that a model reads of the dates of a column, by its form."""
CYCLES = {"date": ("month", "weekday"), "datetime": ("month", "weekday", "hour"), "time": ()}
"""What it reads as one-hot rows."""


class Dates(NamedTuple):
    """How the dates of a column are written.

    Attributes:
        form: ``"date"``, ``"datetime"`` for dates with times that differ, or ``"time"`` for times
            of day alone.
        day_first: whether 03/04/2024 is in April.
    """

    form: str
    day_first: bool = False

    @classmethod
    def encoded_as(cls, features: Sequence[str], day_first: bool) -> Dates:
        """Return what a `DatetimeEncoder` of these arguments reads.

        >>> Dates.encoded_as(["month", "hour"], False).form, Dates.encoded_as(["days"], False).form
        ('datetime', 'date')
        """
        form = "time" if "minutes" in features else "datetime" if "hour" in features else "date"
        return cls(form, day_first)

    @property
    def nouns(self) -> tuple[str, str]:
        """What one cell holds, and several."""
        return ("time of day", "times of day") if self.form == "time" else ("date", "dates")

    def read(self, cells: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        """Return the days since 1970-01-01, or parts of a day, and the indices of the cells that
        are no dates.

        Missing values and cells without a date become NaN; the indices are of the latter.

        >>> Dates("date").read(["1970-01-03", "", "soon", "17:30"])
        (array([ 2., nan, nan, nan]), [2, 3])
        >>> Dates("time").read(["12:00"])
        (array([0.5]), [])
        """
        nothing = missing_among(cells)
        found = [
            None if one is None or (one.day is None) != (self.form == "time") else one
            for one in moments(cells, self.day_first)
        ]
        bad = [k for k, one in enumerate(found) if one is None and cells[k] not in nothing]
        return as_days(found), bad


def dates_of(cells: Sequence[str]) -> tuple[Dates, list[str]]:
    """Return how most of some cells are written as dates, and notes for the user.

    >>> dates_of(["2024-01-31", "2024-02-01"]), dates_of(["13:05", "5:30 PM"])
    ((Dates(form='date', day_first=False), []), (Dates(form='time', day_first=False), []))
    >>> dates_of(["03/04/2024", "03/05/2024"])[1]
    ["'03/04/2024' is read as 2024-03-04: no date tells which number is the day"]
    """
    order = order_of(cells)
    found = [one for one in moments(cells, order.day_first) if one is not None]
    if sum(one.day is None for one in found) > len(found) / 2:
        return Dates("time"), []
    times = {one.second or 0 for one in found if one.day is not None}
    dates = Dates("datetime" if len(times) > 1 else "date", order.day_first)
    if order.is_certain:
        return dates, []
    for cell in cells:
        (one,), (other,) = (moments([cell], first) for first in (order.day_first, not order[0]))
        if one is not None and one != other:
            read = written(float(one.day or 0), "date")
            return dates, [f"{cell!r} is read as {read}: no date tells which number is the day"]
    return dates, []

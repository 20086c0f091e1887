"""The layer that turns dates and times into numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_flag
from gpunn.common.fields import field

from .dates import Moment, moments
from .on_host import RowEncoder

__all__ = ["DatetimeEncoder"]

OF_DATES = ("year", "month", "day", "weekday", "days")
OF_TIMES = ("hour", "minutes")
CYCLES = {"month": (1, 12), "day": (1, 31), "weekday": (0, 7), "hour": (0, 24)}
"""The smallest number of features that recur, and how many there are."""


def _check_features(name: str, value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else list(value)
    if not given or len(set(given)) < len(given):
        raise ValueError(f"{name} must be one or several different names; got {value!r}.")
    return tuple(check_choice(name, one, OF_DATES + OF_TIMES) for one in given)


class DatetimeEncoder(RowEncoder):
    """Turn dates and times into numbers, such as the year and the weekday.

    Dates are read on the host while data are fed. The layer therefore follows an input:
    ``gpunn.Input((1,), dtype="string")``. It takes texts in the notations of ISO 8601
    (``2024-01-31 17:30``), with the year last (``31.1.2024``) or with an English month
    (``Jan 31, 2024``), times of day (``5:30 PM``), and columns of dates of pandas, polars and
    NumPy. Time zones are ignored: times stay as written. A missing date (None, NaN, NaT, an empty
    text) gives NaN, which a `SimpleImputer` after the layer replaces, and zeros in one-hot rows.
    skrub's encoder has the same name.

    Shapes: dates ``(batch,)`` or ``(batch, 1)`` -> y ``(batch, n)``, where n is the number of
    features, or the sum of the lengths of their one-hot rows.

    Args:
        features: the numbers for each date: ``"year"``, ``"month"`` (1 to 12), ``"day"`` (of the
            month), ``"weekday"`` (0 for Monday), ``"days"`` (since 1970-01-01), ``"hour"``, and
            ``"minutes"`` (since midnight). Times of day alone have only the last two.
        day_first: whether 03/04/2024 and 03-04-2024 are in April, not in March.
        one_hot: whether month, day, weekday and hour become rows with a 1 at their place, which
            lets a network learn each of them separately.

    Raises:
        ValueError: for unknown features, and for data that are not dates; the first is named.

    >>> DatetimeEncoder()(["2024-02-29", "1.3.2024", None]).tolist()
    [[2024.0, 2.0, 3.0, 19782.0], [2024.0, 3.0, 4.0, 19783.0], [nan, nan, nan, nan]]
    >>> DatetimeEncoder(["weekday"], one_hot=True)(["2024-02-29", None]).tolist()
    [[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    >>> DatetimeEncoder(["hour", "minutes"])(["17:30", "2024-02-29 5:30 AM"]).tolist()
    [[17.0, 1050.0], [5.0, 330.0]]
    """

    examples = ({}, {"features": ["month", "minutes"], "day_first": True, "one_hot": True})

    features: Any = field(default=("year", "month", "weekday", "days"), check=_check_features)
    day_first: bool = field(default=False, check=check_flag)
    one_hot: bool = field(default=False, check=check_flag)

    @property
    def width(self) -> int:
        return sum(self.row_of(name)[1] or 1 for name in self.features)

    def row_of(self, feature: str) -> tuple[int, int]:
        """Return the number of the first position in a feature's one-hot row, and the row's length;
        0 if the feature is one number."""
        return CYCLES[feature] if self.one_hot and feature in CYCLES else (0, 0)

    @property
    def takes_times(self) -> bool:
        """Whether times of day are dates here: no feature is of the date."""
        return not set(OF_DATES) & set(self.features)

    def rows_of(self, values: list[Any], argument: str) -> np.ndarray:
        there = [k for k, value in enumerate(values) if value not in (None, "")]
        read = moments((values[k] for k in there), self.day_first)
        found: list[Moment | None] = [None] * len(values)
        for k, one in zip(there, read, strict=True):
            found[k] = self._checked(one, f"{argument} holds {values[k]!r} at [{k}]")
        return self._numbers(found)

    def _checked(self, one: Moment | None, place: str) -> Moment:
        if one is None:
            raise ValueError(
                f"{place}; {self.name} takes dates, such as '2024-01-31' or '31.1.2024 17:30', and "
                f"None for missing ones."
            )
        if one.day is None and not self.takes_times:
            raise ValueError(
                f"{place}, a time of day; {self.name} takes dates. For times of day use "
                f"features={[*OF_TIMES]}."
            )
        return one

    def _numbers(self, found: list[Moment | None]) -> np.ndarray:
        """Return the features of moments, NaN for None."""
        gaps = np.array([one is None for one in found], bool)[:, None]
        days = np.array([one.day or 0 if one else 0 for one in found], "datetime64[D]")
        seconds = np.array([one.second or 0 if one else 0 for one in found])
        months, since = days.astype("datetime64[M]"), days.astype(np.int64)
        made = {
            "year": days.astype("datetime64[Y]").astype(np.int64) + 1970,
            "month": months.astype(np.int64) % 12 + 1,
            "day": (days - months).astype(np.int64) + 1,
            "weekday": (since + 3) % 7,  # the first day was a Thursday
            "days": since,
            "hour": seconds // 3600,
            "minutes": seconds / 60,
        }
        parts = []
        for name in self.features:
            first, count = self.row_of(name)
            if count:
                parts.append((made[name][:, None] == np.arange(first, first + count)) & ~gaps)
            else:
                parts.append(np.where(gaps, math.nan, made[name][:, None]))
        return np.concatenate(parts, axis=1, dtype=np.float64)

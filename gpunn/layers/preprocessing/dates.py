"""Read dates and times of day as they are written in tables, and write them.

A date is a number of days since 1970-01-01, a time of day a number of seconds since midnight.
``js/model/dates.js`` of `gpunn.apps.web` reads the same notations in a page.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

EPOCH = datetime.date(1970, 1, 1).toordinal()
DAY = 86_400  # seconds
LONGEST = 40  # characters of a date with a time and a zone
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)
_NUMBERS = {name[:n]: k for k, name in enumerate(_MONTHS, 1) for n in (3, len(name))} | {"sept": 9}
# Only ASCII digits: [0-9] is the \d of JavaScript.
_TIME = re.compile(
    r"(?:^|[T ]|, ?)([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]+)?)?(?: ?([AaPp])\.?[Mm]\.?)?"
    r" ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?$"
)
_YEAR_FIRST = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})")
_YEAR_LAST = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})")
_ORDERED = re.compile(r"\s*[0-9]{1,2}[-/][0-9]")  # of some of these, the order decides the date
_DAY_NAMED = re.compile(r"([0-9]{1,2})[. -]{1,2}([A-Za-z]{3,9})\.?[, -]{1,2}([0-9]{4}|[0-9]{2})")
_NAMED_DAY = re.compile(r"([A-Za-z]{3,9})\.? ([0-9]{1,2}),? ([0-9]{4})")
_MONTH_FIRST = re.compile(r"([A-Za-z]{3,9})\.?(?:-([0-9]{2})|[ -]([0-9]{4}))")  # of a year
_MONTH_LAST = re.compile(r"([0-9]{4})-([0-9]{2})")
_QUARTER = re.compile(r"([0-9]{4})[ -]?[Qq]([1-4])|[Qq]([1-4])[ -]([0-9]{4})")


class Moment(NamedTuple):
    """A date, a time of day, or both.

    Attributes:
        day: days since 1970-01-01; None for a time of day alone.
        second: seconds since midnight; None for a date alone.
    """

    day: int | None
    second: int | None


@lru_cache(maxsize=1 << 16)  # a column is read several times, and most dates occur again
def moment(text: str, day_first: bool = False) -> Moment | None:
    """Return the date and time of day that a text denotes; None if it denotes neither.

    The notations are ISO 8601's, numbers with the year first or last, and English names of months.
    A month or quarter of a year is its first day: ``1949-01``, ``Aug-60``, ``Aug 1960``,
    ``2001 Q4``. Years of two digits are those from 1969 to 2068.
    A time may have seconds, AM or PM, and a time zone, which is ignored: the time stays as written.

    Args:
        text: the text.
        day_first: whether 03/04/2024 and 03-04-2024 are in April, not in March; 03.04.2024
            always is.

    >>> moment("1970-01-31"), moment("31.1.1970 5:30 PM"), moment("00:01:05")
    (Moment(day=30, second=None), Moment(day=30, second=63000), Moment(day=None, second=65))
    >>> moment("1/2/1970"), moment("1/2/1970", day_first=True), moment("Feb 1, 1970")
    (Moment(day=1, second=None), Moment(day=31, second=None), Moment(day=31, second=None))
    >>> moment("1970-02"), moment("Mar-70"), moment("1970 Q2")
    (Moment(day=31, second=None), Moment(day=59, second=None), Moment(day=90, second=None))
    >>> moment("2023-02-29"), moment("12"), moment("soon")
    (None, None, None)
    """
    text = text.strip()
    if len(text) > LONGEST:
        return None
    second, found = None, _TIME.search(text)
    if found is not None:
        second = _second(*found.groups())
        if second is None:
            return None
        text = text[: found.start()].rstrip()
        if not text:
            return Moment(None, second)
    day = _day(text, day_first)
    return None if day is None else Moment(day, second)


def _second(hour: str, minute: str, second: str | None, half: str | None) -> int | None:
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if half is not None:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + 12 * (half in "Pp")
    fits = hours < 24 and minutes < 60 and seconds < 60
    return 3600 * hours + 60 * minutes + seconds if fits else None


def _day(text: str, day_first: bool) -> int | None:
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day = found.groups()
    elif found := _YEAR_LAST.fullmatch(text):
        day, mark, month, year = found.groups()
        if mark != "." and not day_first:
            day, month = month, day
    elif found := _DAY_NAMED.fullmatch(text):
        day, month, year = found.groups()
    elif found := _NAMED_DAY.fullmatch(text):
        month, day, year = found.groups()
    elif found := _MONTH_FIRST.fullmatch(text):
        month, day, year = found[1], "1", found[2] or found[3]
    elif found := _MONTH_LAST.fullmatch(text):
        year, month, day = found[1], found[2], "1"
    elif found := _QUARTER.fullmatch(text):
        year, day = found[1] or found[4], "1"
        month = str(3 * int(found[2] or found[3]) - 2)
    else:
        return None
    number = int(month) if month.isdecimal() else _NUMBERS.get(month.lower(), 0)
    if len(year) == 2:  # as POSIX does
        year = f"{20 if int(year) < 69 else 19}{year}"
    try:
        return datetime.date(int(year), number, int(day)).toordinal() - EPOCH
    except ValueError:
        return None


def moments(values: Iterable[Any], day_first: bool = False) -> list[Moment | None]:
    """Return the moments of texts, which `moment` reads, and of Python's dates and times."""
    return [
        moment(value, day_first) if isinstance(value, str) else _of_object(value)
        for value in values
    ]


def _of_object(value: Any) -> Moment | None:
    has_date = isinstance(value, datetime.date)  # as any datetime is
    day = value.toordinal() - EPOCH if has_date else None
    if isinstance(value, (datetime.datetime, datetime.time)):
        return Moment(day, 3600 * value.hour + 60 * value.minute + value.second)
    return Moment(day, None) if has_date else None


class Order(NamedTuple):
    """Which of the two numbers in 03/04/2024 is the day.

    Attributes:
        day_first: whether it is the first.
        is_certain: whether any text decides it, or none needs it.
    """

    day_first: bool
    is_certain: bool


def order_of(texts: Sequence[str]) -> Order:
    """Return the order in which most texts are dates.

    If both orders fit equally well, months come first with slashes, as in pandas, and days with
    hyphens.

    >>> order_of(["03/04/2024", "13/04/2024"]), order_of(["03/04/2024", "03/30/2024"])
    (Order(day_first=True, is_certain=True), Order(day_first=False, is_certain=True))
    >>> order_of(["03/04/2024"]), order_of(["03-04-2024"])
    (Order(day_first=False, is_certain=False), Order(day_first=True, is_certain=False))
    """
    different = {text for text in texts if _ORDERED.match(text)}
    if not different:
        return Order(False, True)
    month, day = (moments(different, day_first) for day_first in (False, True))
    if month == day:
        return Order(False, True)
    if month.count(None) != day.count(None):
        return Order(month.count(None) > day.count(None), True)
    return Order(not any("/" in text for text in different), False)


def as_days(moments: Iterable[Moment | None]) -> np.ndarray:
    """Return days since 1970-01-01 with the time as a fraction; NaN for None.

    >>> as_days([Moment(2, 43200), Moment(None, 43200), Moment(2, None), None])
    array([2.5, 0.5, 2. , nan])
    """
    return np.array(
        [math.nan if m is None else (m.day or 0) + (m.second or 0) / DAY for m in moments]
    )


def written(days: float, form: str) -> str:
    """Return a number of days as an ISO date (``"date"``), time of day (``"time"``) or both
    (``"datetime"``), as browsers' fields take them.

    >>> written(19754.5, "date"), written(19754.5, "datetime"), written(0.5, "time")
    ('2024-02-01', '2024-02-01T12:00', '12:00')
    """
    whole = math.floor(days)
    minutes = min(round((days - whole) * 1440), 1439)
    date = datetime.date.fromordinal(EPOCH + whole).isoformat()
    time = f"{minutes // 60:02}:{minutes % 60:02}"
    return {"date": date, "time": time}.get(form, f"{date}T{time}")

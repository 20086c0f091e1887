"""Parse the cells of a table: numbers, also with units, dates, missing values."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from gpunn.layers.preprocessing.dates import moment
from gpunn.layers.preprocessing.lookups import folded

from .strings import Strings

# Markers of missing values: pandas's, the question mark of the UCI archive, and errors of
# spreadsheets.
MISSING = frozenset((
    "", "na", "nan", "n/a", "null", "none", "?", "#n/a", "#na", "<na>", "-nan", "#n/a n/a",
    "#div/0!", "#value!", "#ref!", "#num!", "#null!", "#name?",
))
NO_NUMBERS = frozenset("-.\u2013\u2014\u2212")  # among numbers; elsewhere a category
_BEGIN = frozenset(word[:1] for word in MISSING) | frozenset("N ")
_THOUSANDS = {  # a group of thousands never begins with 0: 0,132 is below 1
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"),
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?"),
}
# Thousands by blanks or apostrophes, whatever the decimal sign.
_GROUPED = re.compile(r"([+-]?[1-9]\d{0,2}(?:[ \u00a0\u2009\u202f'\u2019]\d{3})+)((?:[.,]\d*)?)")
_MARKS = str.maketrans("", "", " \u00a0\u2009\u202f'\u2019")
_NEGATIVE = re.compile(r"\(([^-+()]+)\)|(\d[^-+]*)-")  # as accountants write it
_NO_CENTS = re.compile(r"(?<=\d[.,])[-\u2013\u2014]{1,2}(?!\d)")  # 5,- is a price without cents
# A number before or behind a currency, a percent sign or a unit.
_WITH_UNIT = re.compile(
    r"([+-]?)(|[A-Z]{3} ?|[^\w\s.,+()'-] ?)([+-]?)"
    r"(\d[\d.,]*(?:[ \u00a0\u2009\u202f'\u2019]\d{3})*[\d.,]*)(\D{0,12})"
)
_CURRENCIES = (  # not any three letters: they may be part of a code
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS",
    "INR", "JPY", "KRW", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "RUB", "SEK", "SGD",
    "THB", "TRY", "TWD", "UAH", "USD", "ZAR",
)
_NAMED = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}
# Words that multiply a number: beside them, one without a word is of another size.
_FACTORS = frozenset((
    "k", "tsd", "thousand", "m€", "mio", "mill", "mn", "mln", "million", "millions", "mrd", "bn",
    "bln", "billion", "billions",
))


def is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def number(cell: str, decimal: str = ".") -> float | None:
    """Parse the number in a cell; None if it is not a number, NaN if it is missing.

    >>> number("1,234.5"), number("1.234,5", ","), number("1e3"), number("1_0"), number("NA")
    (1234.5, 1234.5, 1000.0, None, nan)
    >>> number("1 234.5"), number("1'234,5", ","), number("(5)"), number("5-"), number("\u22125")
    (1234.5, 1234.5, -5.0, -5.0, -5.0)
    >>> number("5,-", ","), number("5.-"), number("1.250,--", ",")
    (5.0, 5.0, 1250.0)
    """
    cell = cell.strip()
    if decimal == "." or "." not in cell:  # most numbers are plain
        try:
            value = float(cell.replace(decimal, "."))
        except ValueError:
            pass
        else:
            return None if "_" in cell else value  # Python reads 1_0 as 10
    other = "," if decimal == "." else "."
    if other in cell and _THOUSANDS[decimal].fullmatch(cell):
        return float(cell.replace(other, "").replace(decimal, "."))
    if cell in NO_NUMBERS or cell.lower() in MISSING:
        return math.nan
    cell = _plain(cell)
    if cell[-1] in "-)" and (found := _NEGATIVE.fullmatch(cell)):
        cell = f"-{(found[1] or found[2]).strip()}"
    may_be_grouped = " " in cell or "'" in cell or not cell.isascii()
    if may_be_grouped and (found := _GROUPED.fullmatch(cell)):
        cell = found[1].translate(_MARKS) + found[2]
        if found[2] and found[2][0] != decimal:
            return None
    if other in cell and _THOUSANDS[decimal].fullmatch(cell):
        cell = cell.replace(other, "")
    elif other == "." and "." in cell:
        return None
    cell = cell.replace(decimal, ".")
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _plain(cell: str) -> str:
    """Return a cell with the usual minus, and without the dashes that stand for no cents."""
    if cell.isascii() and "-" not in cell:
        return cell  # as most are
    return _NO_CENTS.sub("", cell.replace("\u2212", "-"))


def split_unit(cell: str) -> tuple[str, str] | None:
    """Return the unit in a cell and its number without it; None if it is not a number with one.

    A unit is a currency before the number, or what stands behind it.

    >>> split_unit("-€ 136,249"), split_unit("61%"), split_unit("98.3 m²"), split_unit("USD 5")
    (('€', '-136,249'), ('%', '61'), ('m²', '98.3'), ('USD', '5'))
    >>> split_unit("($1,234.50)"), split_unit("(7%)"), split_unit("5,- €")
    (('$', '-1,234.50'), ('%', '-7'), ('€', '5,'))
    >>> split_unit("5"), split_unit("B7"), split_unit("12B"), split_unit("2024-01-31")
    (None, None, None, None)
    """
    cell = _plain(cell.strip())
    if cell[:1] == "(" and (inside := _NEGATIVE.fullmatch(cell)):
        part = split_unit(inside[1])
        return (part[0], f"-{part[1]}") if part and _is_of_accounts(part[0]) else None
    found = _WITH_UNIT.fullmatch(cell)
    if found is None:
        return None
    *others, after = found.groups()
    first, before, second, digits = (part.strip() for part in others)
    behind = after.strip()
    if before and not _is_currency(before):
        return None
    # A single letter right behind a number makes a code of it, such as a seat's.
    is_code = len(after) == 1 and after.isupper()
    is_minus = behind.startswith("-")
    if bool(before) == bool(behind) or (first and second) or is_code or is_minus:
        return None
    return before or behind, first + second + digits


def _is_currency(unit: str) -> bool:
    return unit in _CURRENCIES or unicodedata.category(unit[0]) == "Sc"


def _is_of_accounts(unit: str) -> bool:
    """Whether parentheses around numbers with this unit are a minus."""
    return unit == "%" or _is_currency(unit)


def is_factor(unit: str) -> bool:
    """Whether a unit multiplies numbers, so that a number without it is of another size.

    >>> is_factor("k"), is_factor("Mio. €"), is_factor("k€"), is_factor("km"), is_factor("")
    (True, True, True, False, False)
    """
    word = unit.lower().rstrip("€$£ ").rstrip(".") if unit != "M" else "mio"
    return word in _FACTORS


def unit_of(cells: Sequence[str], share: float) -> str:
    """Return the unit of numbers, if at least this share of the cells have it or are numbers alone;
    "" if there is none. A currency's sign and its name are one unit. Signs for nothing, and one
    word in less than half of the cells, do not count.

    >>> unit_of(["61%", "7 %", "5"], 0.9), unit_of(["1 km", "1 m"], 0.6), unit_of(["5", "6"], 0.6)
    ('%', '', '')
    >>> unit_of(["€ 286,166", "491005 EUR"], 0.9)
    '€'
    >>> unit_of(["5 km", "-", "7 km", "unknown", "unknown", "8 km"], 0.9), unit_of(["1k", "1"], 0.9)
    ('km', '')
    """
    cells = [cell for cell in cells if cell not in NO_NUMBERS]
    parts = [split_unit(cell) for cell in cells]
    pairs = zip(cells, parts, strict=True)
    words = Counter(cell for cell, part in pairs if part is None and not is_number(cell))
    if len(words) == 1 and words.total() < len(cells) / 2:
        parts = [part for cell, part in zip(cells, parts, strict=True) if cell not in words]
        cells = [cell for cell in cells if cell not in words]
        if len({*cells}) == 1:
            return ""  # two categories, such as "2 rooms" and "many"
    units = Counter(part[0] for part in parts if part is not None)
    if not units:
        return ""
    unit = units.most_common(1)[0][0]
    count = sum(n for other, n in units.items() if _is_same_unit(unit, other))
    alone = sum(part is None and is_number(cell) for cell, part in zip(cells, parts, strict=True))
    if is_factor(unit):
        alone = 0  # they are mistakes
    is_usual = count > (1 - share) * len(cells)  # else cells with a unit are mistakes
    return unit if is_usual and count + alone >= share * len(cells) else ""


def _is_same_unit(a: str, b: str) -> bool:
    return a == b or _NAMED.get(a, a) == _NAMED.get(b, b)


def is_code(cell: str) -> bool:
    """Whether a cell holds a number used as a name, such as a postal code: it begins with a 0.

    >>> is_code("007"), is_code("0"), is_code("0.5"), is_code("70")
    (True, False, False, False)
    """
    return len(cell) > 1 and cell[0] == "0" and cell.isdecimal()


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, with a decimal point or a comma.

    >>> is_number("-1,5"), is_number("1.5e-3"), is_number(""), is_number("a")
    (True, True, False, False)
    """
    try:
        if "_" not in cell:
            return not math.isnan(float(cell))  # most are plain
    except ValueError:
        pass
    for decimal in ".,":
        value = number(cell, decimal)
        if value is not None:
            return not math.isnan(value)  # what is missing is so with both
    return False


def numbers(
    cells: Sequence[str], decimal: str = ".", unit: str = ""
) -> tuple[np.ndarray, list[int]]:
    """Parse cells as numbers, with ``unit`` or without, and return the indices of those that are
    not.

    Missing values and cells without a finite number become NaN; the indices are of the latter.

    >>> numbers(["1", "", "x", "inf"])
    (array([ 1., nan, nan, nan]), [2, 3])
    >>> numbers(["61%", "5"], unit="%")
    (array([61.,  5.]), [])
    """
    strings = Strings.of(cells)

    def parsed() -> tuple[np.ndarray, list[int]]:
        values = strings.each(lambda some: _parsed(some, decimal, unit))
        bad = np.flatnonzero(np.isinf(values)).tolist()
        values[bad] = math.nan
        values.flags.writeable = False  # whoever asks again gets the same
        return values, bad

    return strings.kept(("numbers", decimal, unit), parsed)


def _parsed(cells: Sequence[str], decimal: str, unit: str) -> np.ndarray:
    """Parse cells as numbers: NaN where they are missing, infinite where they are no number."""
    if unit:
        cells = [_without(unit, cell) for cell in cells]
    quick = None
    if decimal == ".":
        quick = _at_once(cells)
    elif "." not in "".join(cells):
        quick = _at_once([cell.replace(",", ".") for cell in cells])
    if quick is not None:
        return quick
    known = {cell: number(cell, decimal) for cell in {*cells}}
    found = [known[cell] for cell in cells]
    return np.array([math.inf if value is None else value for value in found], np.float64)


def _without(unit: str, cell: str) -> str:
    """Return a cell without its unit; "x" for a number that lacks a factor."""
    part = split_unit(cell)
    if part is not None and _is_same_unit(part[0], unit):
        return part[1]
    return "x" if is_factor(unit) and is_number(cell) else cell


def missing_among(cells: Iterable[str]) -> set[str]:
    """Return the distinct cells that are markers of missing values."""
    different = cells.counts() if isinstance(cells, Strings) else set(cells)
    return {cell for cell in different if cell[:1] in _BEGIN and is_missing(cell)}


def _at_once(cells: Sequence[str]) -> np.ndarray | None:
    """Parse plain numbers, with NaN for missing values; None if any other cell occurs."""
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        nothing = missing_among(cells)
        try:
            values = np.array([math.nan if cell in nothing else float(cell) for cell in cells])
        except ValueError:
            return None
    return None if "_" in "".join(cells) else values  # Python reads 1_0 as 10


def is_date(cell: str) -> bool:
    """Whether a cell holds a date or a time of day.

    >>> is_date("2024-02-29"), is_date("29.2.2024"), is_date("2024-02-29 10:00"), is_date("12")
    (True, True, True, False)
    """
    return any(moment(cell, day_first) is not None for day_first in (False, True))


def merged(counts: Counter[str]) -> tuple[Counter[str], dict[str, str]]:
    """Merge strings that differ in case or in blanks alone, as a model does.

    Returns:
        How often each occurs in any spelling, under the most frequent one; and for each other
        spelling this one.

    >>> merged(Counter(["Plus", "PLUS", "PLUS", "minus"]))
    (Counter({'PLUS': 3, 'minus': 1}), {'Plus': 'PLUS'})
    """
    keys = [*map(folded, counts)]
    if len({*keys}) == len(keys):
        return counts, {}  # as in most columns
    groups: dict[str, list[str]] = {}
    for key, cell in zip(keys, counts, strict=True):
        groups.setdefault(key, []).append(cell)
    found, otherwise = Counter[str](), dict[str, str]()
    for cells in groups.values():
        shown = max(cells, key=counts.__getitem__)
        found[shown] = sum(counts[cell] for cell in cells)
        otherwise |= {cell: shown for cell in cells if cell != shown}
    return found, otherwise


def spelled_otherwise(cells: Iterable[str], categories: Iterable[str]) -> dict[str, str]:
    """Return the category that is meant by each of the cells that are one in another spelling.

    >>> spelled_otherwise(["yes", "YES", "no"], ["yes", "maybe"])
    {'YES': 'yes'}
    """
    known = {folded(category): category for category in categories}
    meant = ((cell, known.get(folded(cell), cell)) for cell in cells)
    return {cell: category for cell, category in meant if category != cell}

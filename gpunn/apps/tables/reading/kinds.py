"""Infer the kind of each column of a table: numbers, categories, dates, texts, or no use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpunn.common.names import counted, either, first_few
from gpunn.common.numeric.moments import deviation, lost_in_float32

from .cells import is_date, is_missing, merged, missing_among, numbers, unit_of
from .csv_pieces import TableError
from .dates import Dates, dates_of
from .markers import marker_notes, markers_of, without
from .notation import Notation, check_sign, is_mixed
from .strings import Strings
from .table import Table

MOST_CATEGORIES = 255  # of a column, by default: rarer ones together form one category
MOST_PHRASES = 50  # categories of several words: more of them are texts
NUMBERS = 0.95  # share of numbers in a numeric column: at most 1 cell in 20 is a mistake
MOSTLY = 0.5  # a category of which more cells than this are numbers is looked at
UNIQUE = 0.5  # maximum share of distinct strings in a categorical column
WORDS = 2  # texts have more words than this on average; names and codes do not
FLOAT32 = 1e5  # times the deviation: at this size float32 keeps two digits of it
POINTS = Notation()
IDENTIFIER = re.compile(r"(?i)(.*[ _-])?(id|uuid|guid|index|key|nr|no)|Unnamed: 0|.*[a-z]I[dD]")


@dataclass
class Column:
    """One column and its inferred kind.

    Attributes:
        kind: ``"number"``, ``"category"``, ``"date"``, ``"text"`` or ``"left out"``.
        why: why it is left out, or would be if the user did not keep it; "" for others.
        may_be_kept: for a column that is left out, whether it can be used if the user says so.
        values: for numbers, float64 with NaN for missing values; for dates, days.
        cells: for the other kinds and for dates, strings, empty for missing values.
        categories: for categories, the distinct ones, the most frequent first.
        unit: for numbers, what is written with them, such as a currency; "" for nothing.
        notation: for numbers, whether they have decimal points or commas.
        warning: what the user should look at before training; "" for nothing.
        dates: for dates, how they are written.
        markers: for numbers, those that stand for a missing one; their ``values`` are NaN.
    """

    name: str
    kind: str
    why: str = ""
    may_be_kept: bool = False
    values: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    cells: np.ndarray = field(default_factory=lambda: np.empty(0, object), repr=False)
    categories: list[str] = field(default_factory=list)
    unit: str = ""
    dates: Dates = field(default=Dates("date"))
    notation: Notation = POINTS
    notes: list[str] = field(default_factory=list)
    warning: str = ""
    markers: tuple[float, ...] = ()

    @property
    def missing(self) -> np.ndarray:
        """Which rows have a missing value."""
        if self.kind in ("number", "date"):
            return np.isnan(self.values)
        return ~self.cells.astype(bool)


def column_in(table: Table, name: str, most: int = MOST_CATEGORIES, keep: bool = False) -> Column:
    """Return a column of a table: see `column_of`.

    Raises:
        TableError: if it is not clear how its numbers are written, or one is written otherwise.
    """
    notation = POINTS
    try:
        notation = table.notation_of(name)
    except TableError:
        if column_of(name, table.column(name), notation, most, keep).kind == "number":
            raise  # elsewhere it does not matter
    where, told = f"{table.path}: the column {name!r}", table.types.get(name, "")
    return column_of(name, table.column(name), notation, most, keep, where, told)


def column_of(
    name: str, cells: Sequence[str], notation: Notation = POINTS, most: int = MOST_CATEGORIES,
    keep: bool = False, where: str = "", told: str = "",
) -> Column:
    """Infer a column's kind from its cells.

    If at least 19 in 20 cells are numbers or dates, the others are mistakes: the notes name them,
    and they count as missing. Strings that are nearly all different, or more than 50, are
    texts if they have several words. Categories that differ in case or in blanks alone are one, of
    the most frequent spelling. A column is left out if it is constant or empty, only counts
    the rows, or holds strings of one or two words that are nearly all different. Of these, a
    column to ``keep`` is used if it varies: its numbers as they are, its strings as texts.

    Numbers that a file ``told`` to be strings or categories are names like any other, but for
    strings with a unit; so are dates that are told to be categories.

    >>> column_of("age", ["31", "", "x", *map(str, range(40))]).notes
    ["1 cell is not a number and counts as missing: 'x' in row 3"]
    >>> column_of("id", ["1", "2", "3"]).why, column_of("day", ["2024-01-31", "1.2.2024"]).kind
    ('an identifier: it counts the rows', 'date')
    >>> column_of("id", ["1", "2", "3"], keep=True).kind
    'number'
    >>> column_of("colour", ["red", "blue", "red", "red"]).categories
    ['red', 'blue']
    >>> column_of("share", ["61%", "7%", "8.5 %"]).notes
    ['in %']
    """
    cells = Strings.of(cells)
    first = next((cell for cell in cells if not is_missing(cell)), None)
    if first is None:
        return Column(name, "left out", "empty")
    if all(cell == first for cell in cells):
        return Column(name, "left out", f"constant: always {shortened(first)}")
    some, decimal, mostly, bad = some_of(cells), notation.decimal, 0.0, list[int]()
    unit = unit_in(some, decimal)
    _, others = numbers(some, decimal, unit)
    are_names = are_told_names(told, unit)
    are_numbers = told == "number" or len(others) <= len(some) / 2  # else the rest does not matter
    if are_numbers and not are_names:
        values, bad = numbers(cells, decimal, unit)
        mostly = 1 - len(bad) / max(len(bad) + np.isfinite(values).sum(), 1)
        token = cells[bad[0]] if bad else ""
        is_gap = mostly > MOSTLY and len(bad) > 1 and all(cells[k] == token for k in bad)
        is_strange = MOSTLY < mostly < NUMBERS and not is_gap
        are_mixed = is_strange and is_mixed(cells, bad, (1 - NUMBERS) * len(cells))
        if told == "number" or mostly >= NUMBERS or is_gap or are_mixed:
            check_sign(where or name, cells, bad, notation)
            found = _number(name, cells, values, bad, unit, keep)
            if is_gap and mostly < NUMBERS:
                gap = f"{shortened(token)} in {counted(len(bad), 'row')} counts as missing"
                found.notes[-1:] = [gap]
            found.notation = notation
            return found
    different = cells.counts()
    nothing = missing_among(different)
    for cell in nothing:
        del different[cell]
    known = sum(different.values())
    if sum(map(is_date, some)) >= NUMBERS * len(some) and told != "category":
        dates, notes = dates_of([cell for cell in cells if cell not in nothing])
        values, bad = dates.read(cells)
        if len(bad) <= (1 - NUMBERS) * known:
            made = np.array(cells, object)
            made[np.isnan(values)] = ""
            notes += _mistakes(cells, bad, *dates.nouns)
            return Column(name, "date", values=values, cells=made, dates=dates, notes=notes)
    made = cells.replaced(dict.fromkeys(nothing, ""))
    warning = ""
    if mostly > MOSTLY:
        shown = first_few((f"{shortened(cells[i])} in row {i + 1:,}" for i in bad), 3)
        are = either(len(bad), "is", "are")
        warning = (
            f"{name} is not taken as numbers, although {mostly:.0%} of its cells are: {shown} "
            f"{are} none"
        )
    all_differ = len(different) > max(UNIQUE * known, 10)
    spellings: dict[str, str] = {}
    if not all_differ:
        different, spellings = merged(different)
        if len(different) == 1 and not nothing:
            (shown,) = different
            return Column(name, "left out", f"constant: always {shortened(shown)}, in any spelling")
    if (all_differ or len(different) > min(most, MOST_PHRASES)) and words_each(some) > WORDS:
        return Column(name, "text", cells=made)
    if all_differ or (len(different) == known and IDENTIFIER.fullmatch(name)):
        share = f"{len(different):,} different ones in {counted(known, 'row')}"
        what = "numbers stored as strings" if told == "string" and are_numbers else "texts"
        why = f"{what} that are nearly all different ({share})"
        if keep:
            return Column(name, "text", why, cells=made, warning=warning)
        return Column(name, "left out", why, may_be_kept=True, warning=warning)
    if spellings:
        made = cells.replaced({**dict.fromkeys(nothing, ""), **spellings})
    categories = [category for category, _ in different.most_common(most)]
    found = Column(name, "category", cells=made, categories=categories, warning=warning)
    if told == "string" and are_numbers:
        found.notes.append("stored as strings")
    if spellings:
        groups: dict[str, list[str]] = {}
        for cell, shown in spellings.items():
            groups.setdefault(shown, [shown]).append(cell)
        each = (first_few(map(shortened, group), 5) for group in groups.values())
        found.notes.append(f"spellings that count as one: {first_few(each, 3, '; ')}")
    if len(different) > most:
        rare = len(different) - most
        text = f"{rare:,} rare categories count as one"
        found.notes.append("1 rare category counts as unknown" if rare == 1 else text)
    return found


def are_told_names(told: str, unit: str) -> bool:
    """Whether numbers of a type are names: categories, and strings, but for numbers with a unit,
    which no type of numbers holds."""
    return told == "category" or (told == "string" and not unit)


def words_each(cells: Sequence[str]) -> float:
    """Return how many words, separated by blanks, cells have on average."""
    return sum(len(cell.split()) for cell in cells) / max(len(cells), 1)


def unit_in(some: Sequence[str], decimal: str) -> str:
    """Return the unit of cells; "" if they are numbers without one, or no numbers."""
    _, others = numbers(some, decimal)
    return unit_of(some, NUMBERS) if len(others) > (1 - NUMBERS) * len(some) else ""


def _number(
    name: str, cells: Sequence[str], values: np.ndarray, bad: Sequence[int], unit: str, keep: bool
) -> Column:
    marked = values
    values = without(values, markers := markers_of(values))
    known = values[~np.isnan(values)]
    if not len(known):
        return Column(name, "left out", "empty")
    steps = np.diff(known)
    counts = len(known) > 2 and (steps == steps[0]).all() and abs(steps[0]) == 1
    whole = (known == np.floor(known)).all()
    distinct = len(np.unique(known))
    why = ""
    if counts and len(known) == len(cells):
        why = "an identifier: it counts the rows"
    elif whole and distinct == len(known) == len(cells) > 2 and IDENTIFIER.fullmatch(name):
        why = "an identifier: whole numbers, all different"
    lost = lost_in_float32(known)
    if why and not keep:
        return Column(name, "left out", why, may_be_kept=not lost)
    if distinct == 1 and len(known) == len(cells):
        return Column(name, "left out", f"constant: always {known[0]:g}")
    if lost:
        return Column(name, "left out", lost)
    notes = [f"in {unit}"] if unit else []
    found = Column(name, "number", why, values=values, unit=unit, notes=notes)
    if (spread := deviation(known)) and np.abs(known).max() > FLOAT32 * spread:
        found.notes.append("the differences are too small relative to the values for float32")
    found.markers = markers
    found.notes += marker_notes(marked, markers) + _mistakes(cells, bad, "number", "numbers")
    return found


def _mistakes(cells: Sequence[str], bad: Sequence[int], one: str, several: str) -> list[str]:
    """Return a note on the cells that are not of their column's kind, if there are any."""
    if not bad:
        return []
    shown = first_few((f"{shortened(cells[i])} in row {i + 1:,}" for i in bad), 3)
    are = either(len(bad), f"cell is not a {one} and counts", f"cells are not {several} and count")
    return [f"{len(bad):,} {are} as missing: {shown}"]


def some_of(cells: Sequence[str], most: int = 1000) -> list[str]:
    """Return evenly spaced ones of the cells that are not missing."""
    known = [cell for cell in cells[:: -(-len(cells) // most)] if not is_missing(cell)]
    if len(known) < most // 2 and len(cells) > most:  # few are not missing
        known = [cell for cell in cells if not is_missing(cell)]
        known = known[:: -(-len(known) // most) or 1]
    return known


def shortened(cell: str) -> str:
    return repr(cell if len(cell) <= 30 else cell[:27] + "...")

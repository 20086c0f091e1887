"""Infer the kind of each column of a table: numbers, categories, dates, texts, or no use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpunn.common.names import counted, either, first_few
from gpunn.common.numeric.moments import deviation, lost_in_float32

from .cells import is_code, is_date, is_missing, missing_among, number, numbers, unit_of
from .csv_pieces import TableError
from .dates import Dates, dates_of
from .markers import marker_notes, markers_of, without
from .notation import Notation, check_sign, is_mixed
from .spellings import merged
from .strings import Strings
from .table import Table

MOST_CATEGORIES = 255  # of a column, by default: rarer ones together form one category
MOST_PHRASES = 50  # categories of several words: more of them are texts
NUMBERS = 0.95  # share of numbers in a numeric column: at most 1 cell in 20 is a mistake
MOSTLY = 0.5  # a category of which more cells than this are numbers is looked at
UNIQUE = 0.5  # maximum share of distinct strings in a categorical column
WORDS = 2  # texts have more words than this on average; names and codes do not
FEW = 20  # at most this many different whole numbers are classes
MOST_CLASSES = 1000
FLOAT32 = 1e5  # times the deviation: at this size float32 keeps two digits of it
_POINTS = Notation()
_ID = re.compile(r"(?i)(.*[ _-])?(id|uuid|guid|index|key|nr|no)|Unnamed: 0|.*[a-z]I[dD]")


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
    notation: Notation = _POINTS
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
    notation = _POINTS
    try:
        notation = table.notation_of(name)
    except TableError:
        if column_of(name, table.column(name), notation, most, keep).kind == "number":
            raise  # elsewhere it does not matter
    where = f"{table.path}: the column {name!r}"
    return column_of(name, table.column(name), notation, most, keep, where)


def column_of(
    name: str, cells: Sequence[str], notation: Notation = _POINTS, most: int = MOST_CATEGORIES,
    keep: bool = False, where: str = "", names: bool = False,
) -> Column:  # fmt: skip
    """Infer a column's kind from its cells.

    If at least 19 in 20 cells are numbers or dates, the others are mistakes: the notes name them,
    and they count as missing. Strings that are nearly all different, or more than 50, are
    texts if they have several words. Categories that differ in case or in blanks alone are one, of
    the most frequent spelling. A column is left out if it is constant or empty, only counts
    the rows, or holds strings of one or two words that are nearly all different. Of these, a
    column to ``keep`` is used if it varies: its numbers as they are, its strings as texts. With
    ``names``, numbers and dates in it are names like any other.

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
        return Column(name, "left out", f"constant: always {_short(first)}")
    some, decimal, mostly, bad = _some(cells), notation.decimal, 0.0, list[int]()
    unit = _unit(some, decimal)
    _, others = numbers(some, decimal, unit)
    if len(others) <= len(some) / 2 and not names:  # else the rest does not matter
        values, bad = numbers(cells, decimal, unit)
        mostly = 1 - len(bad) / max(len(bad) + np.isfinite(values).sum(), 1)
        token = cells[bad[0]] if bad else ""
        is_gap = mostly > MOSTLY and len(bad) > 1 and all(cells[k] == token for k in bad)
        is_strange = MOSTLY < mostly < NUMBERS and not is_gap
        are_mixed = is_strange and is_mixed(cells, bad, (1 - NUMBERS) * len(cells))
        if mostly >= NUMBERS or is_gap or are_mixed:
            check_sign(where or name, cells, bad, notation)
            found = _number(name, cells, values, bad, unit, keep)
            if is_gap and mostly < NUMBERS:
                gap = f"{_short(token)} in {counted(len(bad), 'row')} counts as missing"
                found.notes[-1:] = [gap]
            found.notation = notation
            return found
    different = cells.counts()
    nothing = missing_among(different)
    for cell in nothing:
        del different[cell]
    known = sum(different.values())
    if sum(map(is_date, some)) >= NUMBERS * len(some) and not names:
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
        shown = first_few((f"{_short(cells[i])} in row {i + 1:,}" for i in bad), 3)
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
            return Column(name, "left out", f"constant: always {_short(shown)}, in any spelling")
    if (all_differ or len(different) > min(most, MOST_PHRASES)) and words_each(some) > WORDS:
        return Column(name, "text", cells=made)
    if all_differ or (len(different) == known and _ID.fullmatch(name)):
        share = f"{len(different):,} different ones in {counted(known, 'row')}"
        why = f"texts that are nearly all different ({share})"
        if keep:
            return Column(name, "text", why, cells=made, warning=warning)
        return Column(name, "left out", why, may_be_kept=True, warning=warning)
    if spellings:
        made = cells.replaced({**dict.fromkeys(nothing, ""), **spellings})
    categories = [category for category, _ in different.most_common(most)]
    found = Column(name, "category", cells=made, categories=categories, warning=warning)
    if spellings:
        groups: dict[str, list[str]] = {}
        for cell, shown in spellings.items():
            groups.setdefault(shown, [shown]).append(cell)
        each = (first_few(map(_short, group), 5) for group in groups.values())
        found.notes.append(f"spellings that count as one: {first_few(each, 3, '; ')}")
    if len(different) > most:
        rare = len(different) - most
        text = f"{rare:,} rare categories count as one"
        found.notes.append("1 rare category counts as unknown" if rare == 1 else text)
    return found


def words_each(cells: Sequence[str]) -> float:
    """Return how many words, separated by blanks, cells have on average."""
    return sum(len(cell.split()) for cell in cells) / max(len(cells), 1)


def _unit(some: Sequence[str], decimal: str) -> str:
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
    elif whole and distinct == len(known) == len(cells) > 2 and _ID.fullmatch(name):
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
    shown = first_few((f"{_short(cells[i])} in row {i + 1:,}" for i in bad), 3)
    are = either(len(bad), f"cell is not a {one} and counts", f"cells are not {several} and count")
    return [f"{len(bad):,} {are} as missing: {shown}"]


def _some(cells: Sequence[str], most: int = 1000) -> list[str]:
    """Return evenly spaced ones of the cells that are not missing."""
    known = [cell for cell in cells[:: -(-len(cells) // most)] if not is_missing(cell)]
    if len(known) < most // 2 and len(cells) > most:  # few are not missing
        known = [cell for cell in cells if not is_missing(cell)]
        known = known[:: -(-len(known) // most) or 1]
    return known


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 30 else cell[:27] + "...")


@dataclass
class TargetColumn:
    """The column to predict.

    Attributes:
        task: ``"classification"`` or ``"regression"``.
        rows: indices of the rows that have a target.
        y: class indices or values of these rows.
        classes: names of the classes, by index.
        notation: how values are written.
    """

    name: str
    task: str
    rows: np.ndarray
    y: np.ndarray
    classes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    notation: Notation = _POINTS


def target_of(table: Table, name: str, task: str | None = None) -> TargetColumn:
    """Return a table's target: classes if it has strings or at most 20 different whole numbers.

    Classes are compared as they are written: ``7`` and ``007`` are two classes, and so are ``1``
    and ``1.0``, or ``yes`` and ``Yes``. Whole numbers that begin with a 0, such as ``007``, are
    names, not quantities. Rows without a target are left out.

    Raises:
        TableError: if it cannot be learned: one value, no value, nearly as many classes as rows.
    """
    cells = Strings.of(table.column(name))
    where = f"{table.path}: the target {name!r}"
    some = _some(cells)
    if not some:
        raise TableError(f"{where} is empty in all {counted(table.rows, 'row')}.")
    try:
        notation = table.notation_of(name)
    except TableError:
        if task != "classification":
            raise
        notation = _POINTS  # classes are compared as they are written
    decimal = notation.decimal
    unit = _unit(some, decimal)
    values, bad = numbers(cells, decimal, unit)
    there = ~np.isnan(values)
    there[bad] = True
    present = np.flatnonzero(there)
    values, first_bad = values[present], cells[bad[0]] if bad else ""
    few = (1 - NUMBERS) * len(present)
    is_numeric = len(bad) <= few or (
        len(bad) < MOSTLY * len(present) and is_mixed(cells, bad, few)
    )
    if not is_numeric:  # then "-" is a class, as "+" is
        nothing = missing_among(cells)
        there = cells.each(lambda some: np.array([cell not in nothing for cell in some], bool))
        present = np.flatnonzero(there)
        values = numbers(cells, decimal, unit)[0][present]
    known = values[~np.isnan(values)]
    notes = [f"in {unit}"] if unit else []
    if task is None:
        _check_meaning(where, name, some, known, len(present), is_numeric)
    if nothing_there := table.rows - len(present):
        are = either(nothing_there, "is", "are")
        strings = sorted({cells[i] for i in np.flatnonzero(~there).tolist()} - {""})
        stand = either(len(strings), "counts", "count")
        written = f" ({', '.join(map(repr, strings))} {stand} as none)" if strings else ""
        notes.append(f"{counted(nothing_there, 'row')} without a target{written} {are} left out")
    if task is None:
        few = is_numeric and not bad and len(np.unique(known)) <= FEW
        whole = present[values == np.floor(values)].tolist()
        coded = any(is_code(cells[i]) for i in whole)
        classes = not is_numeric or coded or (few and bool((known == np.floor(known)).all()))
        task = "classification" if classes else "regression"
    if task == "regression":
        if not is_numeric:
            raise TableError(
                f"{where} is not a number in {len(bad):,} of {counted(len(present), 'row')}, such "
                f"as {_short(first_bad)}: regression needs numbers."
            )
        check_sign(where, cells, bad, notation)
        if bad:
            are = either(len(bad), "is", "are")
            notes.append(f"{counted(len(bad), 'row')} whose target is not a number {are} left out")
        good = ~np.isnan(values)
        present, y, names = present[good], values[good], []
        if lost := lost_in_float32(y):
            raise TableError(
                f"{where} has {lost}. Subtract a number from all of them, or divide them by one."
            )
    else:
        different = cells.counts()
        names = sorted(
            different.keys() - missing_among(different),
            key=lambda text: _order(text, decimal),
        )
        notes += alike(names, decimal)
        place = {text: i for i, text in enumerate(names)}
        y = cells.each(lambda some: np.array([place.get(cell, -1) for cell in some], np.int32))
        y = y[present]
        if len(names) > min(MOST_CLASSES, max(len(y) // 2, 2)):
            raise TableError(
                f"{where} has {len(names):,} different values in {len(y):,} rows: too many "
                f"classes to learn. Is it another column"
                + (", or --task regression?" if is_numeric else "?")
            )
    if len(np.unique(y)) < 2:
        raise TableError(
            f"{where} is {_short(cells[present[0]])} in all rows: there is nothing to learn."
        )
    return TargetColumn(name, task, present, y, names, notes, notation)


def _check_meaning(
    where: str, name: str, some: Sequence[str], known: np.ndarray, rows: int, is_numeric: bool
) -> None:
    """Refuse a target of dates or identifiers, from which nothing can be learned.

    ``some`` are some of its cells, ``known`` all its numbers; ``rows`` rows have a target.
    """
    if not is_numeric and sum(map(is_date, some)) >= NUMBERS * len(some):
        raise TableError(
            f"{where} holds dates or times, such as {_short(some[0])}. To predict them, replace "
            f"them by numbers, such as the days since the first; --task classification takes each "
            f"as a class."
        )
    whole = is_numeric and len(known) > FEW and bool((known == np.floor(known)).all())
    if whole and _ID.fullmatch(name) and len(np.unique(known)) == len(known) == rows:
        raise TableError(
            f"{where} looks like an identifier: whole numbers, all different. If it is a quantity, "
            f"pass --task regression."
        )


def answers_of(
    table: Table, name: str, classes: Sequence[str], trained: str = ""
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the rows whose target a model knows, their class indices or values, and notes on the
    other rows.

    A number in another notation than any class, such as ``7.0``, matches the class of equal value
    if there is exactly one. ``trained`` is the decimal separator of the target in training, if the
    cells showed it.

    Raises:
        TableError: if there is no such row, or numbers are written otherwise than in training.
    """
    cells = Strings.of(table.column(name))
    notation = table.notation_of(name, trained)
    decimal = notation.decimal
    otherwise: dict[str, str] = {}
    if classes:
        place = {text: float(i) for i, text in enumerate(classes)}
        same = same_numbers(classes, ".")  # as written in training: a comma was kept
        same |= same_numbers(classes, decimal)
        for cell in cells.counts().keys() - {*classes}:
            known = same.get(number(cell, decimal), [])
            if len(known) == 1:
                otherwise[cell] = known[0]
        place |= {cell: place[known] for cell, known in otherwise.items()}
        values = cells.each(lambda some: np.array([place.get(cell, np.nan) for cell in some]))
    else:
        unit = _unit(_some(cells), decimal)
        values, bad = numbers(cells, decimal, unit)
        check_sign(f"{table.path}: the column {name!r}", cells, bad, notation)
    rows = np.flatnonzero(~np.isnan(values))
    unknown = {cells[i] for i in np.flatnonzero(np.isnan(values)).tolist()}
    others = sorted(cell for cell in unknown if not is_missing(cell))
    notes = []
    if otherwise:
        pairs = [f"{_short(c)} for {_short(known)}" for c, known in sorted(otherwise.items())]
        notes.append(f"{name}: the same number in another notation: {first_few(pairs, 5)}")
    if others:
        what = "not a class of the model" if classes else "not a number"
        shown = first_few(map(_short, others), 5)
        notes.append(f"{name}: {what}: {shown}; these rows are left out")
    if not len(rows):
        raise TableError(f"{table.path}: no row has a target {name!r} that the model knows.")
    return rows, values[rows].astype(np.int64 if classes else np.float64), notes


def alike(names: Sequence[str], decimal: str = ".") -> list[str]:
    """Return notes on classes that are easily confused.

    >>> alike(["7", "007", "yes", "Yes", "no"])
    ["'7' and '007' are the same number, but kept apart as they are written", \
"'yes' and 'Yes' are the same word, but kept apart as they are written"]
    """
    words: dict[str, list[str]] = {}
    for name in names:
        if number(name, decimal) is None:
            words.setdefault(name.casefold(), []).append(name)
    groups = [("number", g) for g in same_numbers(names, decimal).values()]
    groups += [("word", g) for g in words.values()]
    return [
        f"{' and '.join(map(_short, group[:5]))} are the same {kind}, but kept apart as they are "
        f"written"
        for kind, group in groups
        if len(group) > 1
    ]


def same_numbers(names: Sequence[str], decimal: str) -> dict[float | None, list[str]]:
    """Group the names that are numbers by their value."""
    found: dict[float | None, list[str]] = {}
    for name in names:
        value = number(name, decimal)
        if value is not None and np.isfinite(value):
            found.setdefault(value, []).append(name)
    return found


def _order(text: str, decimal: str) -> tuple[float, str]:
    value = number(text, decimal)
    if value is None or np.isnan(value):  # "-" is a class here
        return np.inf, text
    return value, text

"""The target of a table: its rows, and its classes or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpunn.common.names import counted, either, first_few
from gpunn.common.numeric.moments import lost_in_float32

from .cells import is_code, is_date, is_missing, missing_among, number, numbers
from .csv_pieces import TableError
from .kinds import (
    IDENTIFIER,
    MOSTLY,
    NUMBERS,
    POINTS,
    are_told_names,
    shortened,
    some_of,
    unit_in,
)
from .notation import Notation, check_sign, is_mixed
from .strings import Strings
from .table import Table

FEW = 20  # at most this many different whole numbers are classes
MOST_CLASSES = 1000


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
    notation: Notation = POINTS


def target_of(table: Table, name: str, task: str | None = None) -> TargetColumn:
    """Return a table's target: classes if it has strings or at most 20 different whole numbers, or
    numbers that a file stores as strings or categories.

    Classes are compared as they are written: ``7`` and ``007`` are two classes, and so are ``1``
    and ``1.0``, or ``yes`` and ``Yes``. Whole numbers that begin with a 0, such as ``007``, are
    names, not quantities. Rows without a target are left out.

    Raises:
        TableError: if it cannot be learned: one value, no value, nearly as many classes as rows.
    """
    cells = Strings.of(table.column(name))
    where = f"{table.path}: the target {name!r}"
    some = some_of(cells)
    if not some:
        raise TableError(f"{where} is empty in all {counted(table.rows, 'row')}.")
    try:
        notation = table.notation_of(name)
    except TableError:
        if task != "classification":
            raise
        notation = POINTS  # classes are compared as they are written
    decimal = notation.decimal
    unit = unit_in(some, decimal)
    values, bad = numbers(cells, decimal, unit)
    there = ~np.isnan(values)
    there[bad] = True
    present = np.flatnonzero(there)
    values = values[present]
    few = (1 - NUMBERS) * len(present)
    is_mostly = len(bad) < MOSTLY * len(present)
    is_numeric = len(present) > 0 and (
        len(bad) <= few or (is_mostly and is_mixed(cells, bad, few))
    )
    if not is_numeric:  # then "-" is a class, as "+" is
        nothing = missing_among(cells)
        there = cells.each(lambda some: np.array([cell not in nothing for cell in some], bool))
        present = np.flatnonzero(there)
        values = numbers(cells, decimal, unit)[0][present]
        bad = present[np.isnan(values)].tolist()
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
        coded |= are_told_names(table.types.get(name, ""), unit)
        classes = not is_numeric or coded or (few and bool((known == np.floor(known)).all()))
        task = "classification" if classes else "regression"
    if task == "regression":
        if not is_numeric:
            raise TableError(
                f"{where} is not a number in {len(bad):,} of {counted(len(present), 'row')}, such "
                f"as {shortened(cells[bad[0]])}: regression needs numbers."
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
            f"{where} is {shortened(cells[present[0]])} in all rows: there is nothing to learn."
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
            f"{where} holds dates or times, such as {shortened(some[0])}. To predict them, replace "
            f"them by numbers, such as the days since the first; --task classification takes each "
            f"as a class."
        )
    whole = is_numeric and len(known) > FEW and bool((known == np.floor(known)).all())
    if whole and IDENTIFIER.fullmatch(name) and len(np.unique(known)) == len(known) == rows:
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
        unit = unit_in(some_of(cells), decimal)
        values, bad = numbers(cells, decimal, unit)
        check_sign(f"{table.path}: the column {name!r}", cells, bad, notation)
    rows = np.flatnonzero(~np.isnan(values))
    unknown = {cells[i] for i in np.flatnonzero(np.isnan(values)).tolist()}
    others = sorted(cell for cell in unknown if not is_missing(cell))
    notes = []
    if otherwise:
        pairs = [f"{shortened(c)} for {shortened(known)}" for c, known in sorted(otherwise.items())]
        notes.append(f"{name}: the same number in another notation: {first_few(pairs, 5)}")
    if others:
        what = "not a class of the model" if classes else "not a number"
        shown = first_few(map(shortened, others), 5)
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
        f"{' and '.join(map(shortened, group[:5]))} are the same {kind}, but kept apart as they "
        f"are written"
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

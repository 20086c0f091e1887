"""Read tables into the form that `check_data` takes: numbers, category codes, unusable columns."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.apps.tables import Table, TableError, read_table
from gpunn.apps.tables.cells import is_code, missing_among, numbers
from gpunn.apps.tables.kinds import FEW, NUMBERS, Column, alike, column_of
from gpunn.apps.tables.reading import MAX_COLUMNS

from .checked_data import Finding


@dataclass
class CheckArguments:
    """The arguments of `check_data`, and the findings from reading the data.

    Attributes:
        places: for each column of x, its index among the file's features.
        features: the names of the file's features.
    """

    x: Any
    y: Any = None
    x_test: Any = None
    y_test: Any = None
    names: list[str] | None = None
    categories: list[int] = field(default_factory=list)
    places: np.ndarray | None = None
    features: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_tables(
    path: str, test: str | None, target: str | None, max_columns: int = MAX_COLUMNS
) -> CheckArguments:
    """Read the table at ``path``, with the one at ``test`` as test data, matched by column name.

    Args:
        path, test: paths of the files.
        target: name or index of the label column; None for the last one, "none" for no labels.
        max_columns: maximum number of columns of a table.

    Raises:
        TableError: if a file holds no table, or its table has no features or lacks the target.
    """
    table = _with_printed_notes(read_table(path, max_columns=max_columns))
    label = _target(table, target)
    features = [name for name in table.names if name != label]
    if not features:
        raise TableError(f"{path} has a single column, the labels: there are no features.")
    kinds = [column_of(name, table.column(name), table.decimal) for name in features]
    findings = [_about(i, column) for i, column in enumerate(kinds)]
    constant = "constant"  # kept, since a check reports them
    kept = [i for i, c in enumerate(kinds) if c.kind != "left out" or c.why.startswith(constant)]
    kept = kept or list(range(len(kinds)))
    tables = [table]
    if test is not None:
        tables.append(_with_printed_notes(read_table(test, max_columns=max_columns)))
        wanted = [features[i] for i in kept] + ([] if label is None else [label])
        lacking = [name for name in wanted if name not in tables[1].names]
        if lacking:
            raise TableError(
                f"{test} has the columns {', '.join(tables[1].names)} but lacks "
                f"{', '.join(lacking)} of {path}."
            )
    columns, coded = [], []
    for k, i in enumerate(kept):
        made, categories = _numbered(tables, kinds[i])
        columns.append(made)
        if categories:
            coded.append(k)
    xs = [np.column_stack(own) for own in zip(*columns, strict=True)]
    ys = [None if label is None else _labels(one, label) for one in tables]
    return CheckArguments(
        xs[0], ys[0], xs[-1] if test is not None else None, ys[-1] if test is not None else None,
        names=[features[i] for i in kept], categories=coded, places=np.array(kept),
        features=features,
        findings=[finding for finding in findings if finding is not None],
    )  # fmt: skip


def _with_printed_notes(table: Table) -> Table:
    if table.notes:
        print(f"{table.path}: {', '.join(table.notes)}", file=sys.stderr)
    return table


def _target(table: Table, target: str | None) -> str | None:
    names = table.names
    if target is None:
        return names[-1]
    if target in names:
        return target
    if target.isdecimal() and int(target) < len(names):
        return names[int(target)]
    if target.lower() == "none":
        return None
    raise TableError(
        f"{table.path} has no column {target!r}; its columns are {', '.join(names[:50])}."
    )


def _about(number: int, column: Column) -> Finding | None:
    at = np.array([number])
    if column.kind == "left out":
        if column.why.startswith("constant"):
            return None
        text = f"{column.name} is of no use to a model: {column.why}. It is not checked."
        return Finding("note", "columns", text, columns=at)
    if column.notes:
        mistakes = column.kind == "number"
        text = f"{column.name}: {'; '.join(column.notes)}."
        return Finding("warning" if mistakes else "note", "columns", text, columns=at)
    return None


def _numbered(tables: list[Table], column: Column) -> tuple[list[np.ndarray], list[str]]:
    """Return a column of each table as numbers, and its strings by code if it holds strings."""
    cells = [table.column(column.name) for table in tables]
    if column.kind == "date":
        return [column.dates.read(own)[0] for own in cells], []
    if column.kind == "number":
        pairs = zip(cells, tables, strict=True)
        return [numbers(own, table.decimal)[0] for own, table in pairs], []
    strings = sorted({cell for own in cells for cell in own})
    number = {text: float(i) for i, text in enumerate(strings)}
    return [np.array([number[cell] for cell in own]) for own in cells], strings


def _labels(table: Table, name: str) -> np.ndarray:
    """Return numbers if nearly all cells are numeric (integers stay integers), else strings.

    A missing string is empty. `gpunn train` reads labels in the same way: classes are compared
    as they are written.
    """
    cells = table.column(name)
    values, bad = numbers(cells, table.decimal)
    nothing = missing_among(cells)
    known = {*cells} - nothing
    strings = len(bad) > (1 - NUMBERS) * len(cells) or any(map(is_code, known))
    if strings or (len(known) <= 2 * FEW and alike(sorted(known), table.decimal)):
        return np.array(["" if cell in nothing else cell for cell in cells], object)
    whole = np.isfinite(values).all() and (values == np.floor(values)).all()
    written = all(cell.lstrip("+-").isdecimal() for cell in cells)
    return values.astype(np.int64) if whole and written else values

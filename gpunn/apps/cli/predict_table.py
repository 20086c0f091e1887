"""`gpunn predict model.gpunn table.csv`: write the table with a model's predictions as CSV."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from typing import Any, TextIO

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.decisions import Decision
from gpunn.apps.pictures.folder import is_picture
from gpunn.apps.tables import Table, TableError, read_table
from gpunn.apps.tables.preparing import TableModel
from gpunn.apps.tables.reading.cells import is_number
from gpunn.apps.tables.reading.strings import Strings
from gpunn.common.names import counted, either, listed
from gpunn.models import Model

FORMULAS = frozenset("=+-@\t\r")  # what a formula begins with


def run(args: argparse.Namespace, model: Model, known: TableModel) -> int:
    """Write the rows of the table ``args.files`` with their predictions."""
    if len(args.files) > 1:
        raise ValueError("gpunn predict takes one table at a time: each gets its own CSV file.")
    if args.out is not None and os.path.exists(args.out) and not args.force:
        raise FileExistsError(f"{args.out} already exists: choose another name or pass --force.")
    table = read_for(known, args.files[0], args)
    given, notes = known.inputs(table)
    for sentence in (*table.notes, *notes):
        print(f"{table.path}: {sentence}", file=sys.stderr)
    about = trained_on.known(model)
    made = predicted(model.predict(given, verbose=0), known.target, about)
    if args.json:
        rows = zip(*made.values(), strict=True)
        print(json.dumps([dict(zip(made, row, strict=True)) for row in rows]))
        return 0
    if args.out is None:
        _write(sys.stdout, table, made, args.raw)
        return 0
    with open(args.out, "w", encoding="utf-8", newline="") as file:
        _write(file, table, made, args.raw)
    print(f"Wrote {args.out}, {counted(table.rows, 'row')}")
    return 0


def read_for(known: TableModel, path: str, args: argparse.Namespace) -> Table:
    """Read the table in a file for a model.

    Raises:
        TableError: if the file holds no table; the message says what the model expects.
    """
    names = [*map(repr, known.columns)]
    wanted = (
        f"This model was trained on a table to predict {known.target!r}: give it a table, such as "
        f"a CSV file, with {either(len(names), 'the column', 'the columns')} {listed(names, 5)}."
    )
    if os.path.isdir(path) or is_picture(os.path.basename(path)):
        raise TableError(f"{path} is a {'folder' if os.path.isdir(path) else 'picture'}. {wanted}")
    try:
        return read_table(path, max_columns=args.max_columns, decimal=args.decimal)
    except TableError as error:
        raise TableError(f"{error} {wanted}") from error


def predicted(outputs: np.ndarray, target: str, about: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the columns that a model adds: prediction, class probabilities, unsure or not.

    >>> predicted(np.array([[0.75, 0.25]]), "kind", {"classes": ["a", "b"], "unsure_below": 0.8})
    {'predicted kind': ['a'], 'probability of a': [0.75], 'probability of b': [0.25], \
'unsure': ['yes']}
    """
    classes = about.get("classes")
    if not classes:
        return {f"predicted {target}": outputs.reshape(-1).tolist()}
    if outputs.shape[1] != len(classes):
        raise ValueError(f"The model has {outputs.shape[1]} outputs but {len(classes)} classes.")
    decision = Decision.of(about)
    best = decision.named(outputs)
    made: dict[str, list[Any]] = {f"predicted {target}": [classes[i] for i in best]}
    for i, name in enumerate(classes):
        made[f"probability of {name}"] = outputs[:, i].tolist()
    unsure = decision.weighed(outputs).max(axis=1) < about.get("unsure_below", 0)
    made["unsure"] = ["yes" if one else "no" for one in unsure]
    return made


def _write(file: TextIO, table: Table, made: dict[str, list[Any]], raw: bool) -> None:
    taken = set(table.names)
    names = [f"{name} (2)" if name in taken else name for name in made]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_safe([*table.names, *names], raw))
    done = 0
    for part in zip(*(Strings.of(column).pieces for column in table.columns), strict=True):
        rows = slice(done, done := done + len(part[0]))
        added = ([str(value) for value in values[rows]] for values in made.values())
        columns = [_safe(cells, raw) for cells in (*part, *added)]
        if all(map(_is_plain, columns)):  # which takes a third of the time
            file.writelines(f"{','.join(row)}\n" for row in zip(*columns, strict=True))
        else:
            writer.writerows(zip(*columns, strict=True))


def _is_plain(cells: list[str]) -> bool:
    """Whether no cell has to be quoted in a CSV file of several columns."""
    text = "".join(cells)
    return not any(mark in text for mark in ',"\r\n')


def _safe(cells: list[str], raw: bool) -> list[str]:
    """Escape the cells that a spreadsheet would evaluate.

    >>> _safe(["=1+1", "-0.5", "-", "a"], raw=False)
    ["'=1+1", '-0.5', "'-", 'a']
    """
    text = "\n".join(["", *cells])
    if raw or not any(f"\n{mark}" in text for mark in FORMULAS):
        return cells
    computed = {cell for cell in cells if cell[:1] in FORMULAS and _computed(cell)}
    return [f"'{cell}" if cell in computed else cell for cell in cells] if computed else cells


def _computed(cell: str) -> bool:
    """Whether a cell that begins as a formula is no number."""
    try:
        value = float(cell)
    except ValueError:
        return not is_number(cell)
    return "_" in cell or value != value

"""`gpunn predict model.gpunn table.csv`: write the table with a model's predictions as CSV."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.decisions import Decision
from gpunn.apps.pictures.folder import is_picture
from gpunn.apps.tables import Table, TableError, read_table
from gpunn.apps.tables.intervals import LEVELS, USUAL, ClassSets, alternatives, of_model
from gpunn.apps.tables.reading.cells import is_number
from gpunn.apps.tables.reading.strings import Strings
from gpunn.apps.tables.shapley import amounts
from gpunn.apps.tables.table_model import TableModel
from gpunn.apps.web.table_form import fields, first_values
from gpunn.common.names import counted, either, first_few, listed, significant
from gpunn.models import Model

PERCENT = tuple(f"{100 * level:g}" for level in LEVELS)
REASONS = 3  # columns that are named for a prediction
LONGEST = 24  # characters of a cell that are shown
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
    outputs = model.predict(given, verbose=0)
    made = predicted(outputs, known.target, about)
    made |= held(model, outputs, known.target, about, args.interval)
    if args.why:
        made["why"] = _why(args, model, known, table, given)
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
    decision = Decision.of(about)
    best = decision.named(outputs)
    made: dict[str, list[Any]] = {f"predicted {target}": [classes[i] for i in best]}
    for i, name in enumerate(classes):
        made[f"probability of {name}"] = outputs[:, i].tolist()
    unsure = decision.weighed(outputs).max(axis=1) < about.get("unsure_below", 0)
    made["unsure"] = ["yes" if one else "no" for one in unsure]
    return made


def held(
    model: Any,
    outputs: np.ndarray,
    target: str,
    about: dict[str, Any],
    percent: str | None = None,
) -> dict[str, list[Any]]:
    """Return the columns of intervals, or of sets of classes.

    Args:
        percent: their level, one of `PERCENT`, or ``"0"`` for none. None: the usual one, if the
            model's file has it.

    Raises:
        ValueError: if the file lacks what was asked for.
    """
    known = of_model(model) if percent != "0" else None
    if known is None or (percent is None and USUAL not in known.levels):
        if percent in (None, "0"):
            return {}
        raise ValueError(
            f"--interval {percent}: the model's file has no errors of cross-validation, as it was "
            f"not made by this version's gpunn train. Train it again, or leave the option out."
        )
    level = USUAL if percent is None else float(percent) / 100
    found = known.of(outputs, level)
    if isinstance(known, ClassSets):
        different, of = np.unique(found, axis=0, return_inverse=True)
        classes = about["classes"]
        named = [alternatives(classes[i] for i in np.flatnonzero(row)) for row in different]
        return {f"one of ({level:.0%})": [named[k] for k in of.reshape(-1)]}
    return {
        f"{target} {word} ({level:.0%})": [float(f"{end:.7g}") for end in ends]
        for word, ends in zip(("from", "to"), found.T, strict=True)
    }


def _why(
    args: argparse.Namespace,
    model: Model,
    known: TableModel,
    table: Table,
    given: dict[str, np.ndarray],
) -> list[Any]:
    """Return why each row has its prediction, and print what the amounts are relative to."""
    first = first_values(fields(model, known))
    base, found = amounts(model, given, first)
    names = [*known.columns]
    typical = first_few(map(_said, names, first), 5)
    if known.task == "classification":
        said = "the probability of the predicted class from that"
    else:
        said = f"{known.target} from {significant(base[0], 5) if len(base) else ''}, the prediction"
    print(f"{table.path}: why: changes of {said} for a typical row ({typical})", file=sys.stderr)
    if args.json:
        return [
            {"base": float(one), "amounts": dict(zip(names, row, strict=True))}
            for one, row in zip(base, found.tolist(), strict=True)
        ]
    cells = [table.column(name) for name in names]
    missing = [_is_missing(values) for values in given.values()]
    made = []
    for i, row in enumerate(found):
        least = 0.005 if known.task == "classification" else 1e-6 * abs(base[i] + row.sum())
        best = [k for k in np.argsort(-np.abs(row), kind="stable")[:REASONS] if abs(row[k]) > least]
        made.append("; ".join(
            f"{_said(names[k], '' if missing[k][i] else cells[k][i])} "
            f"{_signed(row[k], known.task == 'classification')}"
            for k in best
        ))  # fmt: skip
    return made


def _is_missing(values: np.ndarray) -> np.ndarray:
    one = values[:, 0]
    return np.isnan(one) if one.dtype.kind == "f" else np.array([v is None for v in one])


def _said(name: str, value: Any) -> str:
    """Return a column's value in words.

    >>> _said("size", 80.0), _said("area", ""), _said("notes", "bright,\\nwith a view of the sea")
    ('size=80', 'area missing', 'notes=bright, with a view o...')
    """
    text = f"{value:.10g}" if isinstance(value, float) else " ".join(str(value).split())
    if not text:
        return f"{name} missing"
    return f"{name}={text if len(text) <= LONGEST else f'{text[: LONGEST - 1]}...'}"


def _signed(amount: float, is_probability: bool) -> str:
    """
    >>> _signed(1234.5, False), _signed(-0.0204, False), _signed(-0.0204, True)
    ('+1230', '-0.0204', '-0.02')
    """
    if is_probability:
        return f"{amount:+.2f}"
    text = significant(amount, 3).replace(",", "")
    return text if amount < 0 else f"+{text}"


def _write(file: TextIO, table: Table, made: dict[str, list[Any]], raw: bool) -> None:
    names = _free(made, table.names)
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


def _free(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return names that are free, with the lowest number that makes them so.

    >>> _free(["kind", "why"], ["kind", "kind (2)"])
    ['kind (3)', 'why']
    """
    found, known = [], set(taken)
    for name in names:
        tried = (f"{name} ({number})" for number in itertools.count(2))
        found.append(name if name not in known else next(n for n in tried if n not in known))
        known.add(found[-1])
    return found


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

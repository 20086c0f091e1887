"""`gpunn predict model.gpunn table.csv`: write the table with a model's predictions as CSV."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.pictures.folder import is_picture
from gpunn.apps.predictions import interval_columns, predicted
from gpunn.apps.tables import Table, TableError, read_table
from gpunn.apps.tables.reading.table import FRAMES
from gpunn.apps.tables.reading.writing import Writer
from gpunn.apps.tables.shapley import amounts
from gpunn.apps.tables.table_model import TableModel
from gpunn.apps.web.table_form import fields, first_values
from gpunn.common.names import counted, either, first_few, listed, significant
from gpunn.models import Model

REASONS = 3  # columns that are named for a prediction
LONGEST = 24  # characters of a cell that are shown


def run(args: argparse.Namespace, model: Model, known: TableModel) -> int:
    """Write the rows of the table ``args.files`` with their predictions."""
    if len(args.files) > 1:
        raise ValueError("gpunn predict takes one table at a time: each gets its own CSV file.")
    if args.out is not None and os.path.exists(args.out) and not args.force:
        raise FileExistsError(f"{args.out} already exists: choose another name or pass --force.")
    if args.out is not None and os.path.splitext(args.out)[1].lower() in FRAMES:
        raise ValueError(f"--out {args.out}: gpunn writes CSV. Choose a name that ends in .csv.")
    table = read_for(known, args.files[0], args)
    given, notes = known.inputs(table)
    for sentence in (*table.notes, *notes):
        print(f"{table.path}: {sentence}", file=sys.stderr)
    about = trained_on.known(model)
    outputs = model.predict(given, verbose=0)
    made = predicted(outputs, known.target, about)
    made |= interval_columns(model, outputs, known.target, about, args.interval)
    writer = Writer(table, known.sign)
    if args.why:
        made["why"] = _why(args, model, known, writer, given)
    if args.json:
        rows = zip(*made.values(), strict=True)
        print(json.dumps([dict(zip(made, row, strict=True)) for row in rows]))
        return 0
    if args.out is None:
        writer.write(sys.stdout, made, args.raw)
        return 0
    writer.write_file(args.out, made, args.raw)
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



def _why(
    args: argparse.Namespace,
    model: Model,
    known: TableModel,
    writer: Writer,
    given: dict[str, np.ndarray],
) -> list[Any]:
    """Return why each row has its prediction, and print what the amounts are relative to."""
    table = writer.table
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
            f"{_signed(row[k], known.task == 'classification').replace('.', writer.decimal)}"
            for k in best
        ))
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

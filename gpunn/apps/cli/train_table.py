"""`gpunn train table.csv`: train a network on a table and compare it with simpler models."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.data_checks.tables import TableCheck
from gpunn.apps.learning import RowSet, Settings
from gpunn.apps.splitting import split
from gpunn.apps.tables import TableError, read_table
from gpunn.apps.tables.kinds import Column, TargetColumn, column_of, target_of
from gpunn.apps.tables.learning import simple_predictions, train
from gpunn.apps.tables.preparing import TableModel, feature_of, prepared
from gpunn.apps.tables.reading import Table
from gpunn.common.names import counted, first_few, listed, significant
from gpunn.models import Model

from .own_data import begin, print_results, save, stopped_at
from .parser import hint
from .printing import as_lines, shown
from .recording import record_note, recorder
from .table_report import TableReport

SHOWN = 40  # columns in the table that is printed


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Train on the table ``args.dataset``, after checking it for errors."""
    table = read_table(args.dataset, max_columns=args.max_columns)
    target = target_of(table, _target_name(table, args.target), args.task)
    _check_names(table, args.leave_out, "--leave-out")
    columns = _columns(table, target.name, args)
    used = [column for column in columns if column.kind != "left out"]
    if not used:
        raise TableError(
            f"{table.path} has no column to learn from: "
            f"{'; '.join(f'{c.name} is left out ({c.why})' for c in columns[:10]) or 'one only'}."
        )
    classes = len(target.classes)
    rows = split(target.y, classes, args.split == "order", settings.seed)
    features = [feature_of(c, target.rows[rows["train"]]) for c in used]
    known = TableModel.to_learn(target.name, target.task, features)
    y = target.y
    settings = settings.for_data(len(rows["train"]))
    out = begin(args, settings, os.path.splitext(os.path.basename(args.dataset))[0])
    print(_about(table, target, columns, rows, args.split), flush=True)
    ends = prepared(features)
    given, _ = known.inputs(table)
    prepare = Model(*ends)
    x = prepare.predict(given, verbose=0)
    parts = {name: RowSet(x[target.rows[at]], y[at]) for name, at in rows.items()}
    check = TableCheck(
        table, target.name, args.task, args.leave_out, args.max_categories, args.split == "order"
    )
    run_recorder = recorder(args, out, classes=target.classes, checks=check.report)
    model, best, epochs = train(parts, classes, settings, "table", ends, [run_recorder])
    print(_network(model, x.shape[1], settings, best, epochs))
    test = parts["test"]
    found = {**simple_predictions(parts, classes, settings.seed)}
    everything = model.predict(given, verbose=0)[target.rows]
    found["network"] = everything[rows["test"]]
    compared = print_results(found, test.y, classes)
    about: dict[str, Any] = {"table": known.document()}
    if classes:
        held_out = parts["validation"]
        outputs = everything[rows["validation"]]
        about |= {"classes": target.classes, **trained_on.doubt(outputs, held_out.y)}
        print(f"{trained_on.doubt_note(outputs, held_out.y)}.")
    model.trained_on = about
    save(model, args, out, _held(known, target))
    names = [column.name for column in used]
    seen = TableReport(table, target, rows, names, given, prepare, model)
    run_recorder.judge(
        model, test.x, test.y, found["network"], "the test rows", seen.cells,
        numbers=seen.numbers, explain=seen.explain, compared=compared,
        importance=seen.importance,
    )  # fmt: skip
    print(record_note(run_recorder))
    return 0


def _target_name(table: Table, given: str | None) -> str:
    if given in table.names:
        return str(given)
    if given is None:
        raise TableError(
            f"Which column of {table.path} is to be predicted? Pass --target NAME, one of: "
            f"{listed(table.names, 30)}."
        )
    raise TableError(
        f"{table.path} has no column {given!r}.{hint(given, table.names)} Its columns are "
        f"{listed(table.names, 30)}."
    )


def _check_names(table: Table, names: list[str], option: str) -> None:
    for name in names:
        if name not in table.names:
            raise TableError(
                f"{option}: {table.path} has no column {name!r}.{hint(name, table.names)}"
            )


def _columns(table: Table, target: str, args: argparse.Namespace) -> list[Column]:
    columns = []
    for name in table.names:
        if name in args.leave_out:
            columns.append(Column(name, "left out", "as --leave-out says"))
        elif name != target:
            cells = table.column(name)
            columns.append(column_of(name, cells, table.decimal, args.max_categories))
    return columns


# -- what is printed


def _about(
    table: Table, target: TargetColumn, columns: list[Column], rows: dict[str, Any], how: str
) -> str:
    lines = [f"{table.path}: {counted(table.rows, 'row')}, {counted(len(table.names), 'column')}"]
    if table.notes:
        lines[0] += f" ({', '.join(table.notes)})"
    counts = Counter(target.y.tolist())
    if target.classes:
        named = (f"{shown(name)} {counts[i]:,}" for i, name in enumerate(target.classes))
        kind = "binary classification" if len(target.classes) == 2 else "classification"
        lines.append(f"target {target.name}: {kind}, {first_few(named, 10)}")
    else:
        lines.append(
            f"target {target.name}: regression, from {significant(target.y.min(), 6)} to "
            f"{significant(target.y.max(), 6)}, scaled for training"
        )
    lines += [f"  {note}" for note in target.notes]
    head = ("column", "taken as", "range or values", "missing")
    lines.append(as_lines([head, *(_row(column) for column in columns[:SHOWN])]))
    if len(columns) > SHOWN:
        kinds = Counter(column.kind for column in columns[SHOWN:])
        lines.append("and " + ", ".join(f"{n:,} more: {kind}" for kind, n in kinds.items()))
    parts = [f"{len(at):,} {name}" for name, at in rows.items()]
    drawn = {
        "order": "in their order", "stratified": "stratified by class",
    }[how] if how == "order" or target.classes else "drawn at random"  # fmt: skip
    lines.append(f"rows: {', '.join(parts)}, {drawn}")
    return "\n".join(lines)


def _row(column: Column) -> tuple[str, ...]:
    notes = f" ({'; '.join(column.notes)})" if column.notes else ""
    if column.kind == "left out":
        return column.name, "left out", column.why, ""
    missing = int(column.missing.sum())
    if column.kind == "number":
        low, high = np.nanmin(column.values), np.nanmax(column.values)
        text = f"{significant(low, 6)} to {significant(high, 6)}{notes}"
    else:
        text = f"{len(column.categories)}: {first_few(column.categories, 4)[:40]}{notes}"
    return column.name, column.kind, text, f"{missing:,}" if missing else ""


def _network(model: Model, width: int, settings: Settings, best: int, epochs: int) -> str:
    sizes = "-".join(map(str, (width, *(settings.hidden or []), model.output_shape[1])))
    assert model.optimizer is not None
    return (
        f"network {sizes}, {model.count_params():,} parameters, {settings.optimizer} at "
        f"{model.optimizer.learning_rate:g}, dropout {settings.dropout:g}, batches of "
        f"{settings.batch_size}, seed {settings.seed}\n"
        f"{stopped_at(best, epochs)}"
    )


def _held(known: TableModel, target: TargetColumn) -> str:
    """Say which of the data's values the file holds, for users who may not want to share them."""
    categories = len(known.categories)
    held = ["the columns' names", "ranges, medians, means and deviations"]
    if categories:
        held.append(f"the categories of {counted(categories, 'column')}")
    if target.classes:
        held.append("the names of the classes")
    return f"{', '.join(held[:-1])} and {held[-1]}: no rows"

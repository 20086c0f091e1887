"""What `gpunn train` prints about a table: its columns, what was chosen, what the file holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gpunn.apps.decisions import Costs, Decision
from gpunn.apps.tables.choosing import Standing
from gpunn.apps.tables.folds import Rules
from gpunn.apps.tables.learning import Plan
from gpunn.apps.tables.reading.kinds import Column, words_each
from gpunn.apps.tables.reading.table import Table
from gpunn.apps.tables.reading.target import TargetColumn
from gpunn.apps.tables.table_model import TableModel
from gpunn.common.names import counted, first_few, significant
from gpunn.layers.preprocessing.dates import written

from .printing import as_lines, metric, shown

SHOWN = 40  # columns in the table that is printed
MATTER = 10  # columns whose importance is printed
BEST = 4  # candidates that are printed, below a line of headings


def about(
    table: Table,
    target: TargetColumn,
    columns: list[Column],
    rules: Rules,
    by: str | None,
    learn: int,
    test: int,
) -> str:
    """Describe a table and the use of its columns and rows: groups in the column ``by`` stay
    together, and ``learn`` and ``test`` are the numbers of rows to learn from and held out."""
    lines = [f"{table.path}: {counted(table.rows, 'row')}, {counted(len(table.names), 'column')}"]
    if table.notes:
        lines[0] += f" ({', '.join(table.notes)})"
    if target.classes:
        counts = np.bincount(target.y)
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
    lines += [f"warning: {column.warning}" for column in columns if column.warning]
    drawn = "drawn at random"
    if rules.by_order:
        drawn = "the first ones, which are the latest" if rules.latest_first else "the last ones"
    elif target.classes:
        drawn = "stratified by class"
    lines.append(
        f"rows: {learn:,} to learn from, {test:,} held out for the verdict, {drawn}"
        f"{_together(rules, by)}"
    )
    return "\n".join(lines)


def _together(rules: Rules, by: str | None) -> str:
    if rules.groups is None or rules.by_order:
        return ""
    groups = len(np.unique(rules.groups))
    if by is not None:
        return f"; each of the {groups:,} groups in {shown(by)} stays together"
    return "; equal rows stay together" if groups < len(rules.groups) else ""


def chosen(plan: Plan, rows: int) -> str:
    """Describe what a search chose, and why."""
    choice = plan.choice
    lines = [plan.outliers.note()] if plan.outliers is not None and plan.outliers.count else []
    how = f"cross-validation on {counted(rows, 'row')}" if choice.folds > 1 else "validation"
    lines.append(f"tried {counted(choice.tried, 'model')} by {how}; {choice.why}")
    lines.append(_best(choice.standings[:BEST]))
    names = [member.candidate.name for member in choice.members]
    if len(names) == 1:
        lines.append(f"chosen: {names[0]}")
    else:
        lines += ["chosen: the average of", *(f"  {name}" for name in names)]
    return "\n".join(lines)


def _best(found: Sequence[Standing]) -> str:
    """Return a table of candidates, with the metrics that are printed of the answer later on."""
    names = list(found[0].figures)
    head = ("the best of them", *names, "loss", "folds", "seconds a fold", "parameters")
    rows = [
        (one.candidate.name, *(metric(name, one.figures.get(name, np.nan)) for name in names),
         f"{significant(one.loss, 3)} ± {significant(one.error, 2)}" if np.isfinite(one.loss)
         else "diverged",
         str(one.folds), significant(one.seconds, 2), f"{one.parameters:,}")
        for one in found
    ]
    return as_lines([head, *rows])


def decided(decision: Decision, costs: Costs, names: Sequence[str]) -> str:
    """Say from which probability on the positive class is named, and why."""
    assert decision.positive is not None
    usual = costs.threshold
    because = "as for calibrated probabilities"
    if decision.threshold != usual:
        because = f"which costs less in cross-validation than {significant(usual, 3)}"
    return (
        f"{shown(names[decision.positive])} is named from a probability of "
        f"{significant(decision.threshold, 3)} on, {because}: to miss one costs "
        f"{costs.false_negative:g}, a false alarm {costs.false_positive:g}"
    )


def _row(column: Column) -> tuple[str, ...]:
    notes = f" ({'; '.join(column.notes)})" if column.notes else ""
    if column.kind == "left out":
        return column.name, "left out", column.why, ""
    missing = int(column.missing.sum())
    if column.kind == "number":
        low, high = np.nanmin(column.values), np.nanmax(column.values)
        text = f"{significant(low, 6)} to {significant(high, 6)}{notes}"
    elif column.kind == "date":
        ends = np.nanmin(column.values), np.nanmax(column.values)
        low, high = (written(days, column.dates.form) for days in ends)
        text = f"{low} to {high}{notes}"
    elif column.kind == "text":
        known = [cell for cell in column.cells if cell]
        text = f"{len({*known}):,} different ones, of {words_each(known):.3g} words on average"
    else:
        text = f"{len(column.categories)}: {first_few(column.categories, 4)[:40]}{notes}"
    kind = column.dates.nouns[0] if column.kind == "date" else column.kind
    return column.name, kind, text, f"{missing:,}" if missing else ""


def matters(importance: Sequence[tuple[str, float, float]], classes: int) -> str:
    """Say which columns an answer needs, from the rise of its loss without each."""
    what = "the log loss" if classes else "the RMSE"
    rows = [(name, f"{significant(mean, 3)} ± {significant(error, 2)}")
            for name, mean, error in importance[:MATTER] if mean > 2 * error]
    if not rows:
        return "No column matters by itself: without any one of them the answer is as good."
    return f"Columns that matter, and the rise of {what} without each:\n{as_lines(rows)}"


def values_in_file(known: TableModel, target: TargetColumn) -> str:
    """Say which of the data's values the file holds, for users who may not want to share them."""
    categories = len(known.categories)
    said = ["the columns' names", "ranges, percentiles, medians, means and deviations"]
    if categories:
        said.append(f"the categories of {counted(categories, 'column')}")
    if target.classes:
        said.append("the names of the classes")
    return f"{', '.join(said[:-1])} and {said[-1]}: no rows"

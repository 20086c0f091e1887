"""`gpunn train table.csv`: search for the best model of a table."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.data_checks.tables import TableCheck
from gpunn.apps.decisions import Costs, Decision
from gpunn.apps.kept import KeptResults, digest
from gpunn.apps.learning import Settings, shares
from gpunn.apps.reports.of_search import begun, saved
from gpunn.apps.reports.of_table import TableReport
from gpunn.apps.tables import TableError, intervals, read_table, robust
from gpunn.apps.tables.folds import Rules, equal_rows, held_out
from gpunn.apps.tables.judging import Judging
from gpunn.apps.tables.learning import Plan, TableData, planned
from gpunn.apps.tables.reading.columns import (
    columns_of,
    none_to_learn_from,
    target_name,
    time_order,
)
from gpunn.apps.tables.reading.kinds import Column
from gpunn.apps.tables.reading.table import Table
from gpunn.apps.tables.reading.target import TargetColumn, target_of
from gpunn.apps.tables.scoring import Metric, all_figures
from gpunn.apps.tables.search import Budget
from gpunn.apps.tables.table_model import TableModel
from gpunn.apps.tables.verdict import Far, about_classes, rarely_found, score, verdict, warnings
from gpunn.common.names import counted, either
from gpunn.common.numeric.moments import mean
from gpunn.training.data_facts import doubt

from . import table_words
from .arguments import option
from .own_data import INTERRUPTED, begin, how_to_go_on, print_results, save
from .recording import record_note, recorder

CHECKED = 200_000  # rows, for the findings in the report
SECONDS = 5.0  # between two progress lines


def run(args: argparse.Namespace, settings: Settings, given: dict[str, Any]) -> int:
    """Learn from the table ``args.dataset``, after checking it for errors; of the settings those
    are searched that the user has not ``given``."""
    start = time.monotonic()
    table = read_table(args.dataset, max_columns=args.max_columns, decimal=args.decimal)
    target = target_of(table, target_name(table, args.target), args.task)
    columns = columns_of(
        table, target.name, args.max_categories, args.keep, args.leave_out, args.group
    )
    used = [column for column in columns if column.kind != "left out"]
    if not used:
        raise TableError(none_to_learn_from(table, columns))
    classes = len(target.classes)
    judging = Judging.asked(
        args.metric, args.cost_false_negative, args.cost_false_positive, classes, option
    )
    every = np.arange(len(target.y))
    if len(target.rows) < table.rows:
        used = [_at(column, target.rows) for column in used]
    data = TableData(used, {}, target.y, classes)
    for column in used:
        if limits := data.limits.get(column.name):
            column.notes.append(robust.note(column, limits, target.rows))
    known = TableModel.to_learn(target.name, target.task, data.features(every), target.notation)
    inputs, _ = known.inputs(table)
    if len(target.rows) < table.rows:
        inputs = {name: x[target.rows] for name, x in inputs.items()}
    groups = _groups(table, target, inputs, args.group)
    data.given = inputs
    order = time_order(columns, target.rows)
    descends = order is not None and order.latest_first
    data.rules = rules = Rules(args.split == "order", groups, settings.seed, descends)
    learn, test = held_out(target.y, classes, rules)
    out = begin(args, settings, os.path.splitext(os.path.basename(args.dataset))[0])
    said = table_words.about(table, target, columns, rules, args.group, len(learn), len(test))
    print(said, flush=True)
    is_told = args.split is not None or args.group is not None
    if order is not None and not is_told:
        print(order.proposal)
    kept = KeptResults(out, _search_settings(args, given, data, known), args.resume)
    plan = planned(
        data, learn, _network(given), settings.seed, args.fast, _Progress(),
        Budget.for_minutes(args.minutes), kept,
    )
    if plan.choice.interrupted:
        print(how_to_go_on(args))
    print(table_words.chosen(plan, len(learn)), flush=True)
    check = TableCheck(
        table, target.name, args.task, rules=rules, is_told=is_told, columns=columns, most=CHECKED
    )
    run_recorder = recorder(args, out, classes=target.classes, checks=check.report, evaluated=False)
    run_recorder.describe(begin=begun(plan, len(learn)))
    judged = plan.learn(data, learn, run_recorder)
    on_test = {name: x[test] for name, x in inputs.items()}
    rows, outputs = plan.checked(data, learn)
    y, truth = data.y[test], data.y[rows]
    decision = judging.decision(outputs, truth, data.y[learn], classes)
    if judging.costs is not None:
        print(table_words.decided(decision, judging.costs, target.classes))
    predicted = _simple(plan, data, learn, test, judging.costs, decision)
    if plan.kind == "linear model":
        del predicted["linear model"]
    predicted[plan.kind] = judged.predict(on_test, verbose=0)
    compared = print_results(
        predicted, y, classes, lambda p: all_figures(p, y, classes, decision, judging.first)
    )
    _print_verdict(
        plan, data, learn, test, predicted, target, judging.metric, decision, (outputs, truth)
    )
    errors = intervals.learned(outputs, truth, data.y, decision if classes else None)
    for sentence in intervals.in_words(errors, predicted[plan.kind], y):
        print(f"{sentence}.")
    seen = TableReport(table, target, data.features(learn), inputs, learn, test, judged)
    if seen.importance:
        print(table_words.matters(seen.importance, classes))
    model = plan.learn(data, every)
    print(f"The model is trained on all {counted(len(every), 'row')} with these settings.")
    of_table = {"plan": plan.choice.document(), "intervals": errors.document()}
    about: dict[str, Any] = {"table": {**known.document(), **of_table}}
    if classes:
        weighed = decision.weighed(outputs)
        about |= {"classes": target.classes, **decision.document(target.classes)}
        about |= doubt(weighed, truth)
        what, scaled = "rows on which models were compared", not decision.is_usual
        print(f"{trained_on.doubt_note(weighed, truth, what, scaled)}.")
    model.trained_on = about
    save(model, args, out, table_words.values_in_file(known, target))
    whole = saved(plan, model, len(every), len(test), time.monotonic() - start)
    run_recorder.describe(judged, **whole)
    run_recorder.judge(
        judged, [*on_test.values()], y, predicted[plan.kind], "the rows held out", seen.cells,
        numbers=seen.numbers, explain=seen.explain, compared=compared, importance=seen.importance,
        named=decision.named(predicted[plan.kind]) if classes else None,
        figures=compared[plan.kind],
    )
    print(record_note(run_recorder))
    if plan.choice.interrupted:
        return INTERRUPTED
    kept.delete()
    return 0


def _search_settings(
    args: argparse.Namespace, given: dict[str, Any], data: TableData, known: TableModel
) -> dict[str, Any]:
    """Return what the results of a search depend on."""
    options = ("split", "group", "fast", "minutes", "max_categories")
    return {
        "the table": digest({**data.given, known.target: data.y}),
        **{option(name): getattr(args, name) for name in options},
        **{option(name): value for name, value in given.items()},
    }


def _at(column: Column, rows: np.ndarray) -> Column:
    """Return a column with some of its rows."""
    values = column.values[rows] if len(column.values) else column.values
    cells = column.cells[rows] if len(column.cells) else column.cells
    return replace(column, values=values, cells=cells)


def _groups(
    table: Table, target: TargetColumn, inputs: dict[str, np.ndarray], by: str | None
) -> np.ndarray:
    """Return a number for each row, the same for rows that belong together: a group in the column
    ``by``, or equal rows."""
    if by is None:
        return equal_rows([x[:, 0] for x in inputs.values()])
    cells = table.column(by)
    return np.unique([cells[i] for i in target.rows], return_inverse=True)[1]


def _network(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the user gave under the names of `Network`."""
    own = {"learning_rate": "rate"}
    found = {own.get(name, name): value for name, value in given.items() if name != "seed"}
    return {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}


class _Progress:
    """Prints how far a search has come, every `SECONDS`."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, fold: int, done: int, of: int) -> None:
        if time.monotonic() - self.last >= SECONDS and done < of:
            self.last = time.monotonic()
            what = f"the best {of} models on the other folds" if fold else f"{of} models"
            print(f"Trying {what}: {done} {either(done, 'is', 'are')} done", flush=True)


def _simple(
    plan: Plan, data: TableData, learn: np.ndarray, test: np.ndarray, costs: Costs | None,
    decision: Decision,
) -> dict[str, np.ndarray]:
    """Return the held-out predictions of a constant and of the linear model, by name."""
    given = {name: x[test] for name, x in data.given.items()}
    linear = plan.learn(data, learn, linear=True).predict(given, verbose=0)
    y = data.y[learn]
    if data.classes:
        constant, name = shares(y, data.classes, len(test)), "majority class"
        if costs is not None and decision.positive is not None:
            p = costs.constant(float(constant[0, decision.positive]), decision)
            constant[:, decision.positive], name = p, "cheapest class"
            constant[:, 1 - decision.positive] = 1 - p
        return {name: constant, "linear model": linear}
    return {"mean": np.full(len(test), mean(plan.clipped(y))), "linear model": linear}


def _print_verdict(
    plan: Plan,
    data: TableData,
    learn: np.ndarray,
    test: np.ndarray,
    predicted: dict[str, np.ndarray],
    target: TargetColumn,
    metric: Metric,
    decision: Decision,
    checked: tuple[np.ndarray, np.ndarray],
) -> None:
    """Print the verdict on the rows held out; ``checked`` are outputs and truth of others."""
    y = data.y[test]
    constant, *_ = shown = [*predicted.values()]
    far = None
    if plan.outliers is not None:
        are_far = plan.outliers.are_far(y)
        far = Far(are_far, (target.rows[test[are_far]] + 1).tolist())
    print(verdict([constant, *shown[-2:]], y, data.classes, plan.kind, metric, decision, far))
    near = slice(None) if far is None or far.rows.all() else ~far.rows
    own = score(shown[-1][near], y[near], data.classes)
    if data.classes:
        print(about_classes(shown[-1], y, target.classes, decision))
        for warning in rarely_found(shown[-1], y, target.classes, decision, *checked):
            print(f"Warning: {warning}.")
    if plan.choice.diverged:
        print(
            f"Warning: {counted(plan.choice.diverged, 'network')} of {plan.choice.tried} diverged: "
            f"the learning rate is too high. Try --learning-rate 0.003."
        )
    clipped = plan.clipped(data.y)
    for warning in warnings(data.columns, learn, test, clipped, target.classes, own):
        print(f"Warning: {warning}.")



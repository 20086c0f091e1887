"""Check a table for what `gpunn train` refuses, what it handles by itself, and what remains."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpunn.apps.tables import Table, TableError
from gpunn.apps.tables.folds import Rules, held_out
from gpunn.apps.tables.preparing import feature_of
from gpunn.apps.tables.reading.columns import columns_of, how_to_keep, time_order
from gpunn.apps.tables.reading.kinds import Column
from gpunn.apps.tables.reading.target import TargetColumn, answers_of, target_of
from gpunn.apps.tables.table_model import TableModel
from gpunn.apps.tables.verdict import LEAK, tells
from gpunn.common.names import counted, either, first_few

from . import checks
from .check import CHECKS as EVERY
from .check import DataReport, found_by
from .checked_data import SEVERITIES, Data, Finding, error, note, warning

# The checks of arrays that concern tables too. The others look for what reading a table or
# `gpunn train` handles: missing values, labels, constant columns, values beyond float32.
HANDLED = (checks.missing, checks.labels, checks.constant, checks.precision)
CHECKS = tuple(check for check in EVERY if check not in HANDLED)
SHOWN = 10  # columns to name in a finding

# What `gpunn train` does with missing values, by the kind of a column.
FILLED = {
    "number": "fills them with the median of the training rows, and marks them in an input of "
    "their own",
    "category": "counts them as an unknown category",
    "date": "fills them with the median date of the training rows, and marks them in an input of "
    "their own",
    "text": "counts them as texts without words",
}


@dataclass
class TableCheck:
    """A table to check, as `gpunn train` takes it.

    Attributes:
        table: the table.
        target: name of its target; None to check the columns alone.
        task: ``"classification"`` or ``"regression"``; inferred by default.
        rules: how training divides the rows that have a target.
        is_told: whether the user has said how; nothing else is then proposed.
        test: a table of test data, matched by column name.
        columns: the columns as training read them; read here by default.
        most: number of rows to look at; of more, evenly spaced ones are. None for all.
    """

    table: Table
    target: str | None
    task: str | None = None
    rules: Rules = field(default_factory=Rules)
    is_told: bool = False
    test: Table | None = None
    columns: Sequence[Column] | None = None
    most: int | None = None

    @property
    def features(self) -> list[str]:
        """Names of all columns but the target, to which the findings' columns refer."""
        return [name for name in self.table.names if name != self.target]

    def report(self) -> DataReport:
        """Return the findings: errors are what training refuses, or a leak into the test data.

        Raises:
            TableError: if the table is the target alone, or the test table does not fit.
        """
        if not self.features:
            raise TableError(
                f"{self.table.path} has a single column, the labels: there are no features."
            )
        columns = self.columns
        if columns is None:
            columns = columns_of(self.table, self.target)
        findings, label = self._target()
        findings += _about(columns)
        used = [i for i, column in enumerate(columns) if column.kind != "left out"]
        if not used:
            summary = f"{counted(self.table.rows, 'row')}, no column to learn from."
        else:
            data, places, notes = self._data([columns[i] for i in used], label)
            findings += notes
            at = np.array(used)[places]
            for one in found_by(CHECKS, data):
                one.columns = at[one.columns]
                one.rows = (
                    data.numbers_test if one.check == "leakage" else data.numbers
                )[one.rows] - 1
                findings.append(self._for_training(one, label))
            if label is not None:
                findings += self._leaks(columns, label)
                findings += self._time(columns, label)
            summary = data.summary()
            rows = self.table.rows if label is None else len(label.rows)
            if len(data.x) < rows:
                summary = f"Of {rows:,} rows, an evenly spaced sample: {summary}"
                findings = [one for one in findings if one.check != "amount"]
        findings.sort(key=lambda one: -SEVERITIES.index(one.severity))
        return DataReport(summary, findings)

    def _target(self) -> tuple[list[Finding], TargetColumn | None]:
        """Return the target, if training accepts it, and findings on it."""
        if self.target is None:
            return [], None
        try:
            label = target_of(self.table, self.target, self.task)
        except TableError as refused:
            return [error(f"{refused}", check="target")], None
        found = [note(f"{label.name}: {text}.", check="target") for text in label.notes]
        try:
            held_out(label.y, len(label.classes), self.rules)
        except ValueError as refused:
            found.append(error(f"{refused}", check="target"))
        return found, label

    def _data(
        self, used: Sequence[Column], label: TargetColumn | None
    ) -> tuple[Data, np.ndarray, list[Finding]]:
        """Return the rows that training uses as numbers and codes, the place of each of their
        columns in ``used``, and findings on the test table."""
        rows = np.arange(self.table.rows) if label is None else label.rows
        y = None if label is None else label.y
        y_test, rows_test = None, np.empty(0, int)
        if self.most is not None and len(rows) > self.most:
            some = np.linspace(0, len(rows) - 1, self.most).astype(int)
            rows, y = rows[some], None if y is None else y[some]
        features = [feature_of(column, rows) for column in used]
        task = "classification" if label is not None and label.classes else "regression"
        known = TableModel.to_learn(label.name if label else "", task, features)
        given = [_values(known.inputs(self.table)[0], used, rows)]
        findings = []
        if self.test is not None:
            inputs, notes = known.inputs(self.test)
            rows_test = np.arange(self.test.rows)
            if label is not None:
                if label.name not in self.test.names:
                    raise TableError(f"{self.test.path} lacks the target {label.name!r}.")
                rows_test, y_test, more = answers_of(self.test, label.name, label.classes)
                notes += more
            findings = [warning(f"{self.test.path}: {text}.", check="test data") for text in notes]
            given.append(_values(inputs, used, rows_test))
        made, coded, places = _numbered(given)
        names = [used[i].name for i in places]
        test = made[1] if self.test is not None else None
        data = Data(made[0], y, test, y_test, task, None, names, 0)
        data.coded = coded
        if label is not None and label.classes:
            data.labels = np.array(label.classes, object)
        data.numbers, data.numbers_test = rows + 1, rows_test + 1
        return data, places, findings

    def _leaks(self, columns: Sequence[Column], label: TargetColumn) -> list[Finding]:
        """Return a finding on columns that alone tell the target, as training warns of them."""
        y = np.zeros(self.table.rows, label.y.dtype)
        y[label.rows] = label.y
        try:
            parts = held_out(label.y, len(label.classes), self.rules)
        except ValueError:  # which is another finding
            return []
        learn, test = (label.rows[part] for part in parts)
        found = [i for i, column in enumerate(columns) if column.kind != "left out"
                 and tells(column, learn, test, y, len(label.classes)) >= LEAK]
        if not found:
            return []
        names = [columns[i].name for i in found]
        text = (
            f"{first_few(names, SHOWN)} {either(len(found), 'tells', 'each tell')} the target "
            f"{label.name} alone. If that is not known when you predict, pass --leave-out."
        )
        return [warning(text, columns=np.array(found), check="leak")]

    def _time(self, columns: Sequence[Column], label: TargetColumn) -> list[Finding]:
        """Return a finding on rows in an order of time, as training proposes what to do."""
        order = None
        if not self.is_told and self.test is None:
            order = time_order(columns, label.rows)
        if order is None:
            return []
        text = f"{order.proposal[0].upper()}{order.proposal[1:]}."
        at = np.array([self.features.index(order.name)])
        return [note(text, columns=at, check="order")]

    def _for_training(self, one: Finding, label: TargetColumn | None) -> Finding:
        """Return a finding with what training does about it instead of the advice for arrays."""
        drawn = "gpunn train draws the rows to hold out at random, by class."
        if label is not None and not label.classes:
            drawn = (
                "gpunn train draws the rows to hold out at random, between similar rows. For rows "
                "ordered by time pass --split order."
            )
        handled = {
            "duplicates": "gpunn train counts each, and keeps equal rows on one side of a split.",
            "scales": "gpunn train scales the numbers inside the model.",
            "targets": "gpunn train scales the target for training, and the answers back.",
            "order": drawn,
        }
        otherwise = {
            "imbalance": "Look at the confusion matrix in gpunn report.",
            "amount": "--leave-out leaves columns out.",
            "order": "--split order holds out the last rows.",
        }
        fact = one.text.removesuffix(one.advice).rstrip() if one.advice else one.text
        ordered = self.rules.by_order and one.check in ("order", "duplicates")
        if one.check in handled and not ordered:
            one.severity, one.advice = "note", handled[one.check]
        elif one.advice and one.check in otherwise:
            one.advice = otherwise[one.check]
        else:
            return one
        one.text = f"{fact} {one.advice}"
        return one


def _about(columns: Sequence[Column]) -> list[Finding]:
    """Return findings on what reading the columns gave, and what training does about it."""
    findings = []
    out = [i for i, column in enumerate(columns) if column.kind == "left out"]
    if out:
        why = first_few((f"{columns[i].name} ({columns[i].why})" for i in out), SHOWN)
        whole = len(out) == len(columns)
        text = f"gpunn train leaves out {len(out):,} of {counted(len(columns), 'column')}: {why}."
        make = error if whole else note
        text += f" There is no column to learn from.{how_to_keep(columns)}" * whole
        findings.append(make(text, columns=np.array(out), check="columns"))
    for i, column in enumerate(columns):
        harmless = [f"in {column.unit}"] if column.unit else []
        if column.kind == "category":
            harmless += column.notes
        for text in column.notes:
            make = note if text in harmless else warning
            findings.append(make(f"{column.name}: {text}.", columns=np.array([i]), check="columns"))
    gaps = {i: int(column.missing.sum()) for i, column in enumerate(columns)
            if column.kind != "left out" and column.missing.any()}
    for kind in dict.fromkeys(columns[i].kind for i in gaps):
        at = [i for i in gaps if columns[i].kind == kind]
        rows = np.flatnonzero(np.any([columns[i].missing for i in at], axis=0))
        shares = first_few((f"{columns[i].name} {gaps[i]:,}" for i in at), SHOWN)
        text = f"Values are missing in {counted(len(rows), 'row')}: {shares}."
        done = f" gpunn train {FILLED[kind]}." if kind in FILLED else ""
        findings.append(note(text + done, rows, np.array(at), check="missing"))
    return findings


def _values(
    inputs: Mapping[str, np.ndarray], columns: Sequence[Column], rows: np.ndarray
) -> list[np.ndarray]:
    """Return the inputs of some rows, with numbers for dates."""
    found = [values[rows] for values in inputs.values()]
    for place, column in enumerate(columns):
        if column.kind == "date":
            texts = ["" if cell is None else str(cell) for cell in found[place][:, 0]]
            found[place] = column.dates.read(texts)[0][:, None]
    return found


def _numbered(tables: list[list[np.ndarray]]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return each table's inputs as numbers (rows, columns), which of the columns are codes of
    strings, and of which input each is."""
    parts: list[list[np.ndarray]] = [[] for _ in tables]
    coded: list[bool] = []
    places: list[int] = []
    for place, inputs in enumerate(zip(*tables, strict=True)):
        strings = inputs[0].dtype.kind in "OU"
        if strings:
            cells = [
                ["" if cell is None else str(cell) for cell in own[:, 0].tolist()] for own in inputs
            ]
            code = {text: float(i) for i, text in enumerate(sorted({*itertools.chain(*cells)}))}
            inputs = tuple(
                np.fromiter(map(code.__getitem__, own), np.float64, len(own))[:, None]
                for own in cells
            )
        width = inputs[0].shape[1]
        coded += [strings] * width
        places += [place] * width
        for part, own in zip(parts, inputs, strict=True):
            part.append(own)
    return [np.hstack(part) for part in parts], np.array(coded), np.array(places)

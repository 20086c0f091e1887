"""What the report of a table's run says of its rows: cells, similar rows, changes that help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpunn.apps.learning import figures
from gpunn.apps.reports.results import CELLS
from gpunn.apps.tables.explaining import Change, nearest, smallest_changes
from gpunn.apps.tables.importance import importance
from gpunn.apps.tables.kinds import TargetColumn
from gpunn.apps.tables.reading import Table
from gpunn.common.names import significant
from gpunn.models import Model

NEAR = 3  # training rows to show beside a mistake
CHANGED = 30  # columns to look for changes in: the most important ones
WORK = 100_000_000  # input values to predict for the columns' importance
FEWEST = 100  # rows for the columns' importance


@dataclass
class TableReport:
    """Explains a network's answers for the test rows of a table.

    Attributes:
        table: the table.
        target: its target.
        rows: indices among the target's rows, by part.
        names: names of the columns, in the order of the inputs.
        inputs: the model's inputs for all rows of the table.
        prepare: a model from these inputs to the prepared columns.
        model: the network, from these inputs to its answer.
    """

    table: Table
    target: TargetColumn
    rows: Mapping[str, np.ndarray]
    names: Sequence[str]
    inputs: Mapping[str, np.ndarray]
    prepare: Model
    model: Model

    def __post_init__(self) -> None:
        self._test = self.target.rows[self.rows["test"]]
        self._given = {name: values[self.target.rows] for name, values in self.inputs.items()}
        self._columns = dict(zip(self._given, self.names, strict=True))

    @property
    def numbers(self) -> list[int]:
        """The numbers of the test rows in the table, from 1."""
        return (self._test + 1).tolist()

    def cells(self, number: int) -> list[tuple[str, str]]:
        """Return a test row as pairs of column name and string."""
        return self._cells(int(self._test[number]))

    @cached_property
    def importance(self) -> list[tuple[str, float, float]]:
        """The permutation importance of the columns on the test rows, the most important first;
        empty for a very wide table, where it takes too long."""
        most = WORK // (5 * len(self._given) ** 2)
        if most < FEWEST:
            return []
        test = self.rows["test"]
        given = {name: values[test] for name, values in self._given.items()}
        found = importance(
            self.model, given, self.target.y[test], len(self.target.classes),
            most_rows=min(most, 2000),
        )  # fmt: skip
        return [(self._columns[name], increase, error) for name, increase, error in found]

    def explain(self, mistakes: Sequence[int]) -> list[dict[str, Any]]:
        """Return, for test rows with a wrong answer, similar training rows and the smallest change
        that makes the answer right."""
        at, train = self.rows["test"][np.asarray(mistakes)], self.rows["train"]
        x = self.prepare.predict(self._given, verbose=0)
        near = nearest(x[at], x[train], NEAR)
        ranked = [name for name, *_ in self.importance] or list(self.names)
        inputs = {column: name for name, column in self._columns.items()}
        changes = smallest_changes(
            self.model, self.prepare, self._given, self.target.y, at, train,
            len(self.target.classes), self._usual_error(),
            [inputs[column] for column in ranked[:CHANGED]],
        )  # fmt: skip
        return [
            {"near": [self._near(int(train[i]), distance) for i, distance in found],
             "change": change and self._change(int(row), change)}
            for row, found, change in zip(at, near, changes, strict=True)
        ]  # fmt: skip

    def _usual_error(self) -> float:
        if self.target.classes:
            return 0.0
        test = self.rows["test"]
        given = {name: values[test] for name, values in self._given.items()}
        return figures(self.model.predict(given, verbose=0), self.target.y[test], 0)["MAE"]

    def _near(self, row: int, distance: float) -> dict[str, Any]:
        place = int(self.target.rows[row])
        return {
            "row": place + 1,
            "target": self.table.column(self.target.name)[place],
            "distance": distance,
            "cells": self._cells(place),
        }

    def _change(self, row: int, change: Change) -> dict[str, Any]:
        place = int(self.target.rows[row])
        columns = []
        for name, value in change.values:
            cells = self.table.column(self._columns[name])
            same = int(np.flatnonzero(self.inputs[name][:, 0] == value)[0])  # as it is written
            columns.append([self._columns[name], cells[place], cells[same]])
        return {"columns": columns, "answer": self._answer(change.output), "size": change.size}

    def _answer(self, output: np.ndarray) -> str:
        classes = self.target.classes
        return classes[int(output.argmax())] if classes else significant(float(output[0]))

    def _cells(self, place: int) -> list[tuple[str, str]]:
        return [(name, self.table.column(name)[place]) for name in self.names[:CELLS]]

"""What the report of a table's run says of its rows: cells, similar rows, changes that help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpunn.apps.learning import figures
from gpunn.apps.tables.explaining import Change, nearest, smallest_changes
from gpunn.apps.tables.importance import importance
from gpunn.apps.tables.preparing import Feature, prepared
from gpunn.apps.tables.reading.table import Table
from gpunn.apps.tables.reading.target import TargetColumn
from gpunn.common.names import significant
from gpunn.models import Model

from .results import CELLS

NEAR = 3  # training rows to show beside a mistake
CHANGED = 30  # columns to look for changes in: the most important ones
WORK = 100_000_000  # input values to predict for the columns' importance
AMONG = 20_000  # training rows to look for similar ones
FEWEST = 100  # rows for the columns' importance


@dataclass
class TableReport:
    """Explains a model's answers for the rows of a table that were held out.

    Attributes:
        features: the columns that the model reads, with their statistics in the training rows.
        inputs: the model's inputs for the rows that have a target.
        train, test: indices among these rows.
        model: the model, from these inputs to its answer.
    """

    table: Table
    target: TargetColumn
    features: Sequence[Feature]
    inputs: Mapping[str, np.ndarray]
    train: np.ndarray
    test: np.ndarray
    model: Model

    def __post_init__(self) -> None:
        self._columns = {
            name: feature.name for name, feature in zip(self.inputs, self.features, strict=True)
        }
        self._preparing = Model(*prepared(self.features))

    def _prepared(self, given: Mapping[str, np.ndarray]) -> np.ndarray:
        outputs = self._preparing.predict(dict(given), verbose=0)
        return np.hstack(outputs) if isinstance(outputs, list) else np.asarray(outputs)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the test rows in the table, from 1."""
        return (self.target.rows[self.test] + 1).tolist()

    def cells(self, number: int) -> list[tuple[str, str]]:
        """Return a test row as pairs of column name and string."""
        return self._cells(int(self.target.rows[self.test[number]]))

    @cached_property
    def importance(self) -> list[tuple[str, float, float]]:
        """The permutation importance of the columns on the test rows, the most important first;
        empty for a very wide table, where it takes too long."""
        most = WORK // (5 * len(self.inputs) ** 2)
        if most < FEWEST:
            return []
        found = importance(
            self.model, self._on(self.test), self.target.y[self.test], len(self.target.classes),
            most_rows=min(most, 2000),
        )
        return [(self._columns[name], increase, error) for name, increase, error in found]

    def _on(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[rows] for name, values in self.inputs.items()}

    def explain(self, mistakes: Sequence[int]) -> list[dict[str, Any]]:
        """Return, for test rows with a wrong answer, similar training rows and the smallest change
        that makes the answer right; of more than `AMONG` training rows, some are looked at."""
        at = self.test[np.asarray(mistakes)]
        train = self.train[:: -(-len(self.train) // AMONG)]
        among = self._prepared(self._on(train))
        near = nearest(self._prepared(self._on(at)), among, NEAR)
        ranked = [name for name, *_ in self.importance] or list(self._columns.values())
        inputs = {column: name for name, column in self._columns.items()}
        changes = smallest_changes(
            self.model, self._prepared, self.inputs, self.target.y, at, train,
            len(self.target.classes), self._usual_error(),
            [inputs[column] for column in ranked[:CHANGED]],
        )
        return [
            {"near": [self._near(int(train[i]), distance) for i, distance in found],
             "change": change and self._change(int(row), change)}
            for row, found, change in zip(at, near, changes, strict=True)
        ]

    def _usual_error(self) -> float:
        if self.target.classes:
            return 0.0
        outputs = self.model.predict(self._on(self.test), verbose=0)
        return figures(outputs, self.target.y[self.test], 0)["MAE"]

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
            same = int(np.flatnonzero(self.inputs[name][:, 0] == value)[0])
            new = cells[int(self.target.rows[same])]  # as it is written
            columns.append([self._columns[name], cells[place], new])
        return {"columns": columns, "answer": self._answer(change.output), "size": change.size}

    def _answer(self, output: np.ndarray) -> str:
        classes = self.target.classes
        return classes[int(output.argmax())] if classes else significant(float(output[0]))

    def _cells(self, place: int) -> list[tuple[str, str]]:
        shown = [feature.name for feature in self.features[:CELLS]]
        return [(name, self.table.column(name)[place]) for name in shown]

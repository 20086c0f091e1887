"""Learn from a table: search for the best answer, and make it one ordinary model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpunn.apps.kept import KeptResults
from gpunn.apps.learning import Settings, compile_for
from gpunn.callbacks import Callback
from gpunn.layers import Average
from gpunn.models import Model

from .candidates import Learnt, LinearModel, Problem, candidates, more
from .choosing import Choice
from .folds import Rules
from .kinds import Column
from .networks import Rows
from .preparing import Feature, Names, feature_of, prepared
from .search import WORK, Budget, Progress, sample, search, silent
from .targets import Outliers, is_skewed


@dataclass
class TableData:
    """The rows of a table that have a target.

    Attributes:
        columns: the columns to learn from.
        given: model inputs by name, each (rows, 1).
        y: class indices or numbers (rows,).
        classes: number of classes, 0 for regression.
        rules: how the rows may be divided.
    """

    columns: list[Column]
    given: dict[str, np.ndarray]
    y: np.ndarray
    classes: int
    rules: Rules = field(default_factory=Rules)

    def features(self, rows: np.ndarray) -> list[Feature]:
        """Return the statistics of some of the rows."""
        return [feature_of(column, rows) for column in self.columns]


def prepared_rows(features: Sequence[Feature], given: dict[str, np.ndarray]) -> Rows:
    """Return the prepared rows for a model's inputs."""
    inputs, tensors = prepared(features)
    outputs = Model(inputs, tensors).predict(given, batch_size=8192, verbose=0)
    parts = outputs if isinstance(outputs, list) else [outputs]
    nothing = np.zeros((len(parts[0]), 0), np.float32)
    has_numbers = any(feature.numbers for feature in features)
    numbers = parts[0] if has_numbers else nothing
    return Rows(numbers, parts[-1] if len(parts) > has_numbers else nothing)


@dataclass
class Plan:
    """What was chosen for a table, and how to learn it from any of its rows."""

    problem: Problem
    choice: Choice
    outliers: Outliers | None
    seed: int

    @property
    def kind(self) -> str:
        """What was chosen: ``"linear model"``, ``"network"`` or ``"average"``."""
        if len(self.choice.members) > 1:
            return "average"
        return "network" if self.choice.members[0].candidate.is_network else "linear model"

    def loss(self, y: np.ndarray) -> float:
        """Return the mean loss in cross-validation, by the targets of the rows of the search."""
        truth = self.clipped(y)[self.choice.rows]
        return float(self.problem.losses(self.choice.predicted, truth).mean())

    def clipped(self, y: np.ndarray) -> np.ndarray:
        """Return targets within the range of those that are no outliers."""
        return y if self.outliers is None else self.outliers.clip(y)

    def learn(
        self, data: TableData, rows: np.ndarray, *callbacks: Callback, linear: bool = False
    ) -> Model:
        """Train the chosen members on some of the rows, and return them as one model of the
        table's columns.

        Args:
            data: the table's rows.
            rows: indices of those to learn from.
            callbacks: callbacks of the first network's training.
            linear: whether to learn the linear model instead of what was chosen.
        """
        members = self.choice.members
        if linear:
            members = [m for m in self.choice.finalists if not m.candidate.is_network][:1]
        features = data.features(rows)
        known = prepared_rows(features, {name: x[rows] for name, x in data.given.items()})
        y = self.clipped(data.y[rows])
        learnt, watching = [], callbacks
        for number, member in enumerate(members):
            mine = watching if member.candidate.is_network else ()
            watching = () if mine else watching
            one = member.candidate.learn(
                self.problem, known, y, member.place, self.seed + number, *mine
            )
            one.adjust(self.problem, member.factor)
            learnt.append(one)
        return assembled(features, learnt, self.problem.classes)


def planned(
    data: TableData,
    rows: np.ndarray,
    given: dict[str, Any],
    seed: int = 0,
    fast: bool = False,
    progress: Progress | None = None,
    budget: Budget | None = None,
    kept: KeptResults | None = None,
) -> Plan:
    """Search for the best answer, by some of the rows.

    Args:
        data: the table's rows.
        rows: indices of those that may be looked at.
        given: settings of the networks that the user gave, see `Network`.
        seed: seed of the search and of the training.
        fast: whether one network is trained without a search.
        progress: see `search`.
        budget: the work that may be spent.
        kept: where results of the search are kept.
    """
    y = data.y[rows]
    outliers = None if data.classes else Outliers.of(y)
    problem = Problem(data.classes)
    if outliers is not None:
        y, robust = outliers.clip(y), outliers.count > 0
        problem = Problem(0, robust, float(outliers.scale if robust else y.std()) or 1.0)
    skewed = not data.classes and is_skewed(y)
    tried = candidates(given, skewed)
    if fast:
        tried = [LinearModel(), next(c for c in tried if c.is_network)]
    rules = data.rules.of(rows)
    rules.seed = seed
    some = sample(y, rules)
    rows = rows[some]
    given_rows = {name: x[rows] for name, x in data.given.items()}

    def prepare(train: np.ndarray) -> Rows:
        return prepared_rows(data.features(rows[train]), given_rows)

    drawn = more(given, skewed, seed) if budget is not None and budget.total > WORK else ()
    choice = search(
        prepare, y[some], problem, rules.of(some), tried, drawn, fast, budget, progress or silent,
        kept,
    )  # fmt: skip
    return Plan(problem, replace(choice, rows=some[choice.rows]), outliers, seed)


def assembled(features: Sequence[Feature], learnt: Sequence[Learnt], classes: int) -> Model:
    """Return one model of a table's columns: the average of the learnt ones."""
    inputs, tensors = prepared(features)
    names = Names([*inputs, "input 0", "input 1"])
    outputs = []
    for number, one in enumerate(learnt, 1):
        one.model.name = names.free(
            f"{one.model.name} {number}" if len(learnt) > 1 else one.model.name
        )
        x = one.model(tensors if len(tensors) > 1 else tensors[0])
        outputs.append(x if classes else one.scale.layers(x, names.free))
    last = outputs[0] if len(outputs) == 1 else Average(name=names.free("average"))(outputs)
    model = Model(inputs, last, name="table")
    compile_for(model, classes, Settings())
    return model

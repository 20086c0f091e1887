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

from .candidates import Learnt, LinearModel, NetworkModel, Problem, candidates, more
from .choosing import MEMBERS, Choice
from .folds import Rules
from .leaderboard import sized
from .networks import Rows
from .preparing import Feature, Names, feature_of, prepared
from .reading.kinds import Column
from .robust import limits_of
from .search import SAMPLE, WORK, Budget, Progress, sample, search
from .targets import Outliers, is_skewed

BLOCK = 1 << 13  # rows that are prepared at once
LARGE = 200_000  # rows of a table that is learned in few passes
SAMPLE_OF_LARGE = 100_000  # rows that a search looks at
PASSES = 2  # over the rows of a large table
WORK_OF_LARGE = WORK / 3  # of a search: learning the answer from all rows takes as much


@dataclass
class TableData:
    """The rows of a table that have a target.

    Attributes:
        given: model inputs by name, each (rows, 1).
        y: class indices or numbers (rows,).
        classes: number of classes, 0 for regression.
        rules: how the rows may be divided.
        limits: what the numbers of a column are limited to, by name; as the kinds of columns, they
            follow from all rows.
    """

    columns: list[Column]
    given: dict[str, np.ndarray]
    y: np.ndarray
    classes: int
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        found = ((column.name, limits_of(column)) for column in self.columns)
        self.limits = {name: limits for name, limits in found if limits is not None}
        self._features: dict[int, tuple[np.ndarray, list[Feature]]] = {}
        self._last: tuple[np.ndarray, Rows] | None = None

    def features(self, rows: np.ndarray) -> list[Feature]:
        """Return the statistics of some of the rows; they are kept for the array of indices."""
        if id(rows) not in self._features:
            found = [feature_of(c, rows, self.limits.get(c.name)) for c in self.columns]
            self._features[id(rows)] = rows, found
        return self._features[id(rows)][1]

    def prepared(self, rows: np.ndarray) -> tuple[list[Feature], Rows]:
        """Return the statistics of some of the rows, and these rows prepared, which are kept until
        others are asked for."""
        features = self.features(rows)
        if self._last is None or self._last[0] is not rows:
            self._last = None  # before others take as much memory
            self._last = rows, prepared_rows(features, self.given, rows)
        return features, self._last[1]


def prepared_rows(
    features: Sequence[Feature], given: dict[str, np.ndarray], rows: np.ndarray
) -> Rows:
    """Return the prepared rows at some indices of a model's inputs."""
    inputs, tensors = prepared(features)
    model = Model(inputs, tensors)
    parts = [np.empty((len(rows), *tensor.shape[1:]), np.float32) for tensor in tensors]
    for start in range(0, len(rows), BLOCK):
        at = slice(start, start + BLOCK)
        outputs = model.predict_on_batch({name: x[rows[at]] for name, x in given.items()})
        for part, output in zip(parts, outputs, strict=True):
            part[at] = output
    nothing = np.zeros((len(rows), 0), np.float32)
    has_numbers = any(feature.numbers for feature in features)
    numbers = parts[0] if has_numbers else nothing
    return Rows(numbers, parts[-1] if len(parts) > has_numbers else nothing)


@dataclass
class Plan:
    """What was chosen for a table, and how to learn it from any of its rows.

    Attributes:
        is_sampled: whether the search looked at a sample of the rows.
    """

    problem: Problem
    choice: Choice
    outliers: Outliers | None
    seed: int
    is_sampled: bool = False

    @property
    def kind(self) -> str:
        """What was chosen: ``"linear model"``, ``"network"`` or ``"average"``."""
        if len(self.choice.members) > 1:
            return "average"
        return "network" if self.choice.members[0].candidate.is_network else "linear model"

    def loss(self, y: np.ndarray) -> float:
        """Return the mean loss in cross-validation, by the targets of the rows of the search, as
        they are."""
        truth = y[self.choice.rows]
        return float(self.problem.losses(self.choice.predicted, truth).mean())

    def clipped(self, y: np.ndarray) -> np.ndarray:
        """Return targets within the range of those that are no outliers."""
        return y if self.outliers is None else self.outliers.clip(y)

    def learn(
        self, data: TableData, rows: np.ndarray, *callbacks: Callback, linear: bool = False
    ) -> Model:
        """Train the chosen members on some of the rows, and return them as one model of the
        table's columns.

        The callbacks are for the first network's training; with ``linear`` the linear model is
        learned instead of what was chosen.
        """
        members = self.choice.members
        if linear:
            members = [m for m in self.choice.finalists if not m.candidate.is_network][:1]
        features, known = data.prepared(rows)
        y = self.clipped(data.y[rows])
        learnt, watching = [], callbacks
        for number, member in enumerate(members):
            mine = watching if isinstance(member.candidate, NetworkModel) else ()
            watching = () if mine else watching
            one = member.candidate.learn(
                self.problem, known, y, member.place, self.seed + number, *mine
            )
            one.adjust(self.problem, member.factor)
            learnt.append(one)
        return assembled(features, learnt, self.problem.classes)

    def checked(self, data: TableData, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows that tell how far the answer may be off, as indices of the table, and its
        predictions of them, without having learned them: those that cross-validation checked.

        A search of a sample learns from fewer rows than the answer does, which then errs less. So
        the answer is learned once more, from all of the search's ``rows`` but the checked ones and
        their groups.
        """
        found = rows[self.choice.rows]
        if not self.is_sampled:
            return found, self.choice.predicted
        groups = data.rules.groups
        own = np.arange(len(data.y)) if groups is None else groups
        model = self.learn(data, rows[~np.isin(own[rows], own[found])])
        given = {name: x[found] for name, x in data.given.items()}
        predicted: np.ndarray = model.predict(given, verbose=0)
        return found, predicted if data.classes else predicted[:, 0]


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
    """Search for the best answer, by the rows of these indices alone.

    Args:
        given: settings of the networks that the user gave, see `Network`. A fast search then
            answers by the network, also where the linear model is better.
        seed: seed of the search and of the training.
        fast, progress, budget, kept: see `search`.
    """
    y = data.y[rows]
    outliers = None if data.classes else Outliers.of(y)
    problem = Problem(data.classes)
    if outliers is not None:
        y, robust = outliers.clip(y), outliers.count > 0
        problem = Problem(0, robust, float(outliers.scale if robust else y.std()) or 1.0)
    skewed = not data.classes and is_skewed(y)
    large, asked = len(rows) > LARGE, bool(given)
    if large:  # what many passes over few rows need is not what few passes over many do
        given = {"epochs": PASSES, **given}
    tried = candidates(given, skewed)
    if fast:
        tried = [LinearModel(), next(c for c in tried if isinstance(c, NetworkModel))]
    rules = data.rules.of(rows)
    rules.seed = seed
    some = sample(y, rules, SAMPLE_OF_LARGE if large else SAMPLE)
    every, rows = rows, rows[some]

    def prepare(train: np.ndarray) -> Rows:
        return prepared_rows(data.features(rows[train]), data.given, rows)

    budget = budget or Budget()
    drawn = more(given, skewed, seed) if budget.total > WORK else ()
    if large and budget.total <= WORK:
        budget = Budget(min(budget.total, WORK_OF_LARGE))
    choice = search(
        prepare, y[some], problem, rules.of(some), tried, drawn, fast, budget, progress, kept,
        1 if large else MEMBERS, fast and asked,
    )
    _, known = data.prepared(every)  # which the answer is learned from next
    ranked = sized(choice.standings, known, data.classes or 1)
    choice = replace(choice, rows=some[choice.rows], standings=ranked)
    return Plan(problem, choice, outliers, seed, len(some) < len(every))


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

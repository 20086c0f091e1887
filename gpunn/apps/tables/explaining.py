"""Explain single answers of a table's model: similar training rows, and changes that turn it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TRIED = 48  # values of a column at a time
PAIRED = 4  # columns of which pairs are tried
TRIED_IN_PAIRS = 12  # values of each of the two
ROWS = 20_000  # rows in one call of predict


@dataclass
class Change:
    """A change of a row that turns a model's answer.

    Attributes:
        values: pairs of a column's name and its new value.
        output: the model's output for the changed row.
        size: the sum of the columns' distances to their old values, in the prepared columns.
    """

    values: list[tuple[str, Any]]
    output: np.ndarray
    size: float


def nearest(x: np.ndarray, among: np.ndarray, count: int = 3) -> list[list[tuple[int, float]]]:
    """Return, for each row of ``x``, the nearest rows of ``among`` and their Euclidean distances.

    >>> nearest(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 9.0], [1.0, 0.0]]), 2)
    [[(2, 1.0), (0, 5.0)]]
    """
    found = []
    for row in x:
        distances = np.linalg.norm(among - row, axis=1)
        closest = np.argsort(distances, kind="stable")[:count]
        found.append([(int(i), float(distances[i])) for i in closest])
    return found


def smallest_changes(
    model: Any,
    prepare: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    inputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    rows: Sequence[int] | np.ndarray,
    known: Sequence[int] | np.ndarray,
    classes: int,
    within: float = 0.0,
    columns: Sequence[str] | None = None,
) -> list[Change | None]:
    """Return, for each of some rows, the smallest change found of one or two columns that makes
    the model's answer right; None for a row whose answer is right, or for which none was found.

    The search tries values of the training rows: all values of a column, or evenly spaced
    quantiles of many and then the values next to the best quantile. Pairs are tried of the columns
    that come closest to the right answer alone. A pair must be smaller than each single column's
    change.

    Args:
        model: a model with an input for each column.
        prepare: a function from the same inputs to the prepared columns.
        inputs: the inputs by name, (rows, 1) each.
        y: the right answers: class indices, or values (rows,).
        rows: indices of the rows to explain.
        known: indices of the training rows, of which values are tried.
        classes: number of classes; 0 for regression.
        within: for regression, the largest error of an answer that counts as right.
        columns: names of the columns to change; by default all.
    """
    if not len(rows):
        return []
    at = np.asarray(rows, int)
    own = {name: np.asarray(values)[at] for name, values in inputs.items()}
    search = _Search(model, prepare, own, np.asarray(y)[at], classes, within)
    names = list(inputs) if columns is None else list(columns)
    training = {name: _distinct(np.asarray(inputs[name])[known, 0]) for name in names}
    first = [
        _Trial(place, ((name, value),))
        for place in range(len(rows))
        for name in names
        for value in _spread(training[name], TRIED)
    ]
    search.judge(first)
    search.judge(_between(search, training, first))
    search.judge(_pairs(search, training))
    return search.smallest()


@dataclass(frozen=True)
class _Trial:
    """New values of columns, for the row at a place in the list of rows to explain."""

    place: int
    values: tuple[tuple[str, Any], ...]


@dataclass
class _Search:
    """Judges trials, many in a call, and keeps what they gave; ``own`` and ``y`` are the inputs and
    the right answers of the rows to explain."""

    model: Any
    prepare: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    own: dict[str, np.ndarray]
    y: np.ndarray
    classes: int
    within: float

    def __post_init__(self) -> None:
        self.before = self.prepare(self.own)
        self.wrong = self._leads(self.model.predict(self.own, verbose=0), self.y) <= 0
        # By trial: its size, its lead (positive where the answer is right) and the output.
        self.found: dict[_Trial, tuple[float, float, np.ndarray]] = {}

    def judge(self, trials: Sequence[_Trial]) -> None:
        new = [trial for trial in dict.fromkeys(trials) if trial not in self.found]
        for start in range(0, len(new), ROWS):
            part = new[start : start + ROWS]
            places = np.array([trial.place for trial in part])
            changed = {name: values[places] for name, values in self.own.items()}
            for k, trial in enumerate(part):
                for name, value in trial.values:
                    changed[name][k, 0] = value
            outputs = self.model.predict(changed, verbose=0)
            sizes = self._sizes(part, changed, places)
            for trial, size, lead, output in zip(
                part, sizes, self._leads(outputs, self.y[places]), outputs, strict=True
            ):
                self.found[trial] = float(size), float(lead), output

    def _sizes(
        self, trials: Sequence[_Trial], changed: dict[str, np.ndarray], places: np.ndarray
    ) -> np.ndarray:
        if len(trials[0].values) > 1:  # the columns' own distances are known by now
            return np.array(
                [sum(self.found[_Trial(t.place, (v,))][0] for v in t.values) for t in trials]
            )
        moved = self.prepare(changed) - self.before[places]
        return np.asarray(np.linalg.norm(moved, axis=1))

    def _leads(self, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return how far each answer is on the right side: positive if it is right."""
        if not self.classes:
            return self.within - np.abs(outputs[:, 0] - y)
        every = np.arange(len(y))
        others = outputs.copy()
        others[every, y] = -np.inf
        return np.asarray(outputs[every, y] - others.max(axis=1))

    def smallest(self) -> list[Change | None]:
        best: list[Change | None] = [None] * len(self.y)
        for trial, (size, lead, output) in self.found.items():
            known = best[trial.place]
            # A single column comes first, and stays unless a pair is clearly smaller.
            smaller = known is None or size < known.size * (1 - 1e-6)
            if smaller and lead > 0 and self.wrong[trial.place]:
                best[trial.place] = Change(list(trial.values), output, size)
        return best


def _distinct(values: np.ndarray) -> np.ndarray:
    """Return the distinct values without missing ones, in order."""
    if values.dtype.kind in "OU":
        return np.array(sorted({value for value in values if value is not None}), object)
    return np.unique(values[np.isfinite(values)])


def _spread(values: np.ndarray, most: int) -> list[Any]:
    """Return evenly spaced ones of sorted values, with the first and the last."""
    at = np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))
    return values[at].tolist()


def _between(
    search: _Search, training: Mapping[str, np.ndarray], tried: Sequence[_Trial]
) -> list[_Trial]:
    """Return trials of the values around the smallest change of each column that turned."""
    best: dict[tuple[int, str], tuple[float, Any]] = {}
    for trial in tried:
        (name, value), *_ = trial.values
        size, lead, _ = search.found[trial]
        key = trial.place, name
        if lead > 0 and size > 0 and (key not in best or size < best[key][0]):
            best[key] = size, value
    more = []
    for (place, name), (_, value) in best.items():
        every = training[name]
        step = -(-len(every) // TRIED)
        if every.dtype.kind in "OU" or step == 1:
            continue
        at = int(np.searchsorted(every, value))
        near = every[max(at - step - 1, 0) : at + step + 2]
        more += [_Trial(place, ((name, v),)) for v in _spread(near, TRIED)]
    return more


def _pairs(search: _Search, training: Mapping[str, np.ndarray]) -> list[_Trial]:
    """Return trials of pairs of the columns that come closest to the right answer alone."""
    alone: list[dict[str, float]] = [{} for _ in search.y]
    for trial, (_, lead, _) in search.found.items():
        (name, _), *_ = trial.values
        leads = alone[trial.place]
        leads[name] = max(lead, leads.get(name, -np.inf))
    kept = {  # some of the values that were tried alone, whose size is known
        name: _spread(np.array(_spread(values, TRIED), values.dtype), TRIED_IN_PAIRS)
        for name, values in training.items()
    }
    trials = []
    for place, leads in enumerate(alone):
        for one, other in itertools.combinations(sorted(leads, key=leads.__getitem__)[-PAIRED:], 2):
            trials += [
                _Trial(place, ((one, a), (other, b)))
                for a, b in itertools.product(kept[one], kept[other])
            ]
    return trials

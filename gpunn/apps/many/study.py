"""What came of a search: a table, the best model, ensembles, a plot."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunn.common.arguments import check_integer
from gpunn.common.names import counted
from gpunn.common.nested import TreeDef
from gpunn.layers import Average, Identity, Input
from gpunn.models import Model
from gpunn.ops.dtypes import is_float

from .points import Point
from .trials import Result


class Best(NamedTuple):
    """The best point of a search.

    Attributes:
        point: what its models were built of.
        score: the mean over its seeds and folds.
        model: the one of its models with the best score.
    """

    point: Point
    score: float
    model: Model


class Study:
    """The result of `gpunn.search`.

    Args:
        points: in the order of the search.
        results: of all trials that decide; with ``halving``, of each point those with the most
            epochs.
        monitor: what the scores are.

    Attributes:
        points: in the order of the search.
        scores: the mean score of each point over its seeds and folds; NaN if one of its models
            diverged or was lost.
        results: of each trial: its ``trial`` (``point``, ``seed``, ``fold``, ``epochs``),
            ``score``, ``history``, ``error``.
        higher_is_better: which way the scores are read.
    """

    def __init__(
        self, points: Sequence[Point], results: Sequence[Result], monitor: str
    ) -> None:
        self.points, self.results, self.monitor = list(points), list(results), monitor
        self.higher_is_better = any(result.higher for result in results)
        self._by_point: list[list[Result]] = [[] for _ in points]
        for result in results:
            self._by_point[result.trial.place].append(result)
        self.scores = [
            float(np.mean([result.score for result in each])) if each else math.nan
            for each in self._by_point
        ]

    def _order(self, scores: Sequence[float], rounds: Sequence[int]) -> list[int]:
        """Return the places of scores, the best first: of later rounds before others, NaN last."""
        sign, bad = -1 if self.higher_is_better else 1, [math.isnan(score) for score in scores]
        keys = [
            (bad[k], -rounds[k], 0.0 if bad[k] else sign * score) for k, score in enumerate(scores)
        ]
        return sorted(range(len(scores)), key=keys.__getitem__)

    @property
    def ranking(self) -> list[int]:
        """The places of the points, the best first; those that diverged last."""
        rounds = [max((r.trial.round for r in each), default=0) for each in self._by_point]
        return self._order(self.scores, rounds)

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each point, the best first; ``pandas.DataFrame`` takes it.

        Besides the arguments of the point, a row has the mean score, under the name of the
        monitored figure; ``spread``, its standard deviation over seeds and folds; how many models
        these are, ``trials``; and with ``halving`` ``trained_epochs``.
        """
        rows, several = [], len({result.trial.round for result in self.results}) > 1
        for place in self.ranking:
            each = self._by_point[place]
            row = {
                **self.points[place],
                self.monitor: self.scores[place],
                "spread": float(np.std([result.score for result in each])),
                "trials": len(each),
            }
            if several:
                row["trained_epochs"] = max(result.trial.epochs for result in each)
            rows.append(row)
        return rows

    def __str__(self) -> str:
        rows = self.table()
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [names, *([_text(row.get(name, "")) for name in names] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )

    def __repr__(self) -> str:
        what = counted(len(self.points), "point")
        score = self.scores[self.ranking[0]]
        return f"<Study of {what}, {counted(len(self.results), 'trial')}: best {score:.4g}>"

    @property
    def best(self) -> Best:
        """The best point, its score, and the best of its models.

        Raises:
            ValueError: if all diverged.
        """
        place = self.ranking[0]
        if math.isnan(self.scores[place]):
            raise ValueError("All points diverged or were lost: none is the best.")
        each = self._by_point[place]
        first = self._order([result.score for result in each], [0] * len(each))[0]
        return Best(self.points[place], self.scores[place], _model(each[first]))

    @property
    def models(self) -> list[Model | None]:
        """The trained model of each of the ``results``, in their order; None if it was lost."""
        return [_model(result) for result in self.results]

    def ensemble(self, members: int = 5) -> Model:
        """Return a model whose outputs are the mean of those of the best trained models.

        It is a `gpunn.Model` of copies of them, so it can be saved, exported and evaluated. Models
        of one point count as several: with ``seeds=5`` and one point it averages the seeds.

        Args:
            members: how many models, at most.

        Raises:
            ValueError: if all diverged, and for models of different inputs.
        """
        members = check_integer("members", members, 1)
        scores = [result.score for result in self.results]
        order = self._order(scores, [result.trial.round for result in self.results])
        chosen = [_model(self.results[k]) for k in order[:members] if not math.isnan(scores[k])]
        if not chosen:
            raise ValueError("All models diverged or were lost: there are none to average.")
        return averaged(chosen)

    def plot(self, *, ax: Any = None) -> Any:
        """Plot the scores over each argument that differs: a dot for a model, a mark for the mean.

        A line joins the means of a grid, or of a single argument. Points that lack an argument
        have it as "default".

        Args:
            ax: axes to draw in, if one argument differs.

        Returns:
            A matplotlib figure.

        Raises:
            ImportError: without matplotlib.
            ValueError: for ``ax`` if several arguments differ.
        """
        from .plotting import plotted

        return plotted(self, ax)


def _model(result: Result) -> Any:
    """Return the model of a result, which may be in a file."""
    if isinstance(result.model, Model) or result.model is None:
        return result.model
    read: Callable[[], Model] = result.model
    result.model = read()
    return result.model


def averaged(models: Sequence[Model]) -> Model:
    """Return a model of copies of models: the mean of their outputs."""
    members = []
    for k, model in enumerate(models):
        member = copy.deepcopy(model)
        member.name = f"member_{k}"
        members.append(member)
    first, combine = members[0], Average if len(members) > 1 else Identity
    taken: Sequence[Any] = first.inputs
    inputs = [
        Input(tensor.shape[1:], dtype=None if is_float(tensor.dtype) else tensor.dtype, name=name)
        for tensor, name in zip(taken, first.input_names, strict=True)
    ]
    given = TreeDef.of(first.input).pack(inputs)
    each = [member(given) for member in members]
    form = TreeDef.of(each[0])
    columns = zip(*map(form.unpack, each), strict=True)
    mean = [
        combine(name=name)([*column] if len(column) > 1 else column[0])
        for name, column in zip(first.output_names, columns, strict=True)
    ]
    model = Model(given, form.pack(mean), name="ensemble")
    config = models[0].get_compile_config()
    if config is not None:
        model.compile_from_config(config)
    return model


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

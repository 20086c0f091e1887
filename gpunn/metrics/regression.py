"""The coefficient of determination."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_count, requirement
from gpunn.common.fields import field
from gpunn.common.names import warn

from .binned import Binned, divide

AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


_check_aggregation = requirement(
    f"one of {', '.join(map(str, AGGREGATIONS))}", lambda value: value in AGGREGATIONS
)


class R2Score(Binned):
    """``R2 = 1 - sum w (t - y)^2 / sum w (t - mean t)^2``: the share of the variance explained.

    1 is perfect, 0 is as good as always predicting the mean, and below 0 is worse. If all
    targets are equal, it is 1 for exact predictions and 0 otherwise, as in scikit-learn.
    ``y_true`` and ``y_pred`` have the shape (rows, outputs).

    Args:
        class_aggregation: for several outputs: ``"uniform_average"``,
            ``"variance_weighted_average"``, or None for one score each (their mean is
            logged).
        num_regressors: number of inputs behind the predictions, for the adjusted score
            ``1 - (1 - R2) (n - 1) / (n - num_regressors - 1)``; 0 for the plain score.
        name, dtype: see `Metric`.

    Raises:
        ValueError: for an unknown aggregation, or a negative number of regressors.

    >>> from gpunn.metrics import R2Score
    >>> round(R2Score()([[1], [4], [3]], [[2], [4], [4]]), 6)
    0.571429
    """

    accumulates = "columns"
    functor = "R2Score"
    sparse = False
    by_output = True
    examples = ({}, {"class_aggregation": None}, {"num_regressors": 2})

    class_aggregation: str | None = field(default="uniform_average", check=_check_aggregation)
    num_regressors: int = field(default=0, check=check_count)
    name = "r2_score"

    @property
    def bins(self) -> int:
        return 4 * (self.outputs or 0) + 1

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        xp, shape = backend.xp, y_pred.shape
        columns = shape[1]
        kind = "R2" if weights is None else "weighted R2"
        terms = backend.scratch((4, *shape), np.float64, kind, lambda array: array.fill(1))
        added = backend.scratch(
            (4 * columns + 1,), np.float64, f"{kind} of {shape[0]} rows",
            lambda array: array.fill(shape[0]),
        )
        xp.copyto(terms[0], y_true)
        xp.multiply(terms[0], terms[0], out=terms[1])
        xp.subtract(terms[0], y_pred, out=terms[2])
        xp.multiply(terms[2], terms[2], out=terms[2])
        if weights is not None:
            by_row = weights if weights.ndim == 2 else weights[:, np.newaxis]
            xp.multiply(terms[:3], by_row, out=terms[:3])
            xp.copyto(terms[3], by_row)
            counted = backend.scratch((len(by_row),), bool, "counted")
            xp.any(by_row, axis=-1, out=counted)
            xp.sum(counted, axis=-1, out=added[4 * columns :].reshape(()))
        xp.sum(terms, axis=1, out=added[: 4 * columns].reshape(4, columns))
        xp.add(state, added, out=state)

    def array(self, state: np.ndarray) -> Any:
        sums, squares, errors, mass = state[:-1].reshape(4, -1)
        total = squares - divide(sums * sums, mass)
        # For equal targets, what remains is rounding error.
        total[total <= 1e-14 * squares] = 0
        scores: Any = np.where(total > 0, 1 - divide(errors, total), np.where(errors > 0, 0.0, 1.0))
        scores = np.where(mass > 0, scores, 0.0)
        if self.class_aggregation == "uniform_average":
            scores = np.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = np.average(scores, weights=total) if total.any() else np.mean(scores)
        return self._adjusted(scores, state[-1])

    def _adjusted(self, scores: Any, samples: float) -> Any:
        left = samples - self.num_regressors - 1
        if self.num_regressors == 0 or samples == 0:
            return scores
        if left <= 0:
            warn(
                f"{self.name}: {samples:.0f} samples are too few for an adjusted score with "
                f"{self.num_regressors} regressors; returning the plain score."
            )
            return scores
        return 1 - (1 - scores) * (samples - 1) / left

"""Metrics of regression: the coefficient of determination, and correlations."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_count, check_integer, requirement
from gpunn.common.fields import field
from gpunn.common.names import warn
from gpunn.common.registry import Examples
from gpunn.core.recording import recorded
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor

from . import own, row_functions
from .binned import Binned, divide
from .means import Mean
from .metric import counting, predictions

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


def _check_axes(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(check_integer(name, axis, -32) for axis in value)
    return check_integer(name, value, -32)


class _Correlation(Mean):
    """Base class of means over rows of a correlation along an axis; ``of`` is its function."""

    _of_variables = True
    direction = "up"
    sparse = False
    of: ClassVar[str]

    axis: Any = field(default=-1, check=_check_axes, after="dtype")

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch: y_true and y_pred (batch, ..., n)."""
        sample_weight = counting(y_pred, sample_weight)
        if not isinstance(y_pred, Tensor):
            y_pred = predictions(y_true, y_pred)
        y_pred = convert(y_pred, y_pred.dtype)
        self._add(getattr(row_functions, self.of)(y_true, y_pred, self.axis), sample_weight)

    @recorded
    def result(self) -> Any:
        return own.number(super().result())


class PearsonCorrelation(_Correlation):
    """The mean over rows of Pearson's correlation of targets and predictions, from -1 to 1.

    ``y_true`` and ``y_pred`` have the shape (batch, ..., n), n at least 2: the entries of each row
    are compared with one another. A row whose targets or predictions are all equal gives NaN. The
    definition is Keras's; see `gpunn.metrics.pearson_correlation`.

    Args:
        name, dtype: see `Metric`.
        axis: the axis, or several, along which they are compared.

    >>> from gpunn.metrics import PearsonCorrelation
    >>> m = PearsonCorrelation()
    >>> m.update_state([[0, 1, 0.5], [1, 1, 0.2]], [[0.1, 0.9, 0.5], [1, 0.9, 0.2]])
    >>> round(m.result(), 4)
    0.9967
    """

    of = "pearson_correlation"
    examples: ClassVar[Examples] = ({}, {"axis": [1]})
    name = "pearson_correlation"


class ConcordanceCorrelation(_Correlation):
    """The mean over rows of the concordance of targets and predictions, from -1 to 1.

    It is 1 only for predictions that equal the targets. Shapes are those of `PearsonCorrelation`;
    see `gpunn.metrics.concordance_correlation`.

    Args:
        name, dtype, axis: as for `PearsonCorrelation`.

    >>> from gpunn.metrics import ConcordanceCorrelation
    >>> m = ConcordanceCorrelation()
    >>> m.update_state([[0, 1, 0.5], [1, 1, 0.2]], [[0.1, 0.9, 0.5], [1, 0.9, 0.2]])
    >>> round(m.result(), 4)
    0.9816
    """

    of = "concordance_correlation"
    name = "concordance_correlation"

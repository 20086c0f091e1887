"""Losses as metrics: the mean of a loss over rows, whatever the training loss is."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any, ClassVar, cast

import numpy as np

from gpunn import losses
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.arguments import optional
from gpunn.common.fields import field
from gpunn.common.names import snake_case
from gpunn.losses.rows import check_class_number

from .metric import MeanOfRows


class _LossMetric(MeanOfRows):
    """The mean of a loss over rows; a subclass names the loss class and the shared arguments."""

    direction = "down"
    accumulates = "losses"
    of: ClassVar[type[losses.Loss]]
    options: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        options = {argument: getattr(self, argument) for argument in self.options}
        self.loss = self.of(reduction="none", **options)
        self.sparse = self.loss.sparse

    functor = property(attrgetter("loss.functor"))
    predictions = property(attrgetter("loss.predictions"))
    targets = property(attrgetter("loss.targets"))
    parameters = property(attrgetter("loss.parameters"))

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.loss.forward(backend, y_true, y_pred, values)


class _PlainLossMetric(_LossMetric):
    name = cast("str | None", None)

    def __post_init__(self) -> None:
        # A subclass inherits the name, as in Keras.
        self.name = self.name or snake_case(registry.built_in(type(self)).__name__)
        super().__post_init__()


class MeanSquaredError(_PlainLossMetric):
    """The mean of (y - t)^2.

    >>> float(MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]]))
    0.25
    """

    of = losses.MeanSquaredError
    aliases = ("mse", "MSE")


class RootMeanSquaredError(_PlainLossMetric):
    """The square root of the mean of (y - t)^2 over all rows and outputs.

    >>> RootMeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    0.5
    """

    of = losses.MeanSquaredError
    aliases = ("rmse", "RMSE")
    elementwise = True

    def compute(self, state: np.ndarray) -> float:
        return math.sqrt(super().compute(state))


class HalfSquaredError(_PlainLossMetric):
    """The mean over rows of 1/2 ||y - t||^2."""

    of = losses.HalfSquaredError


class EuclideanDistance(_PlainLossMetric):
    """The mean over rows of ||y - t||."""

    of = losses.EuclideanDistance


class MeanAbsoluteError(_PlainLossMetric):
    """The mean of |y - t|.

    >>> float(MeanAbsoluteError()([[0, 1], [0, 0]], [[1, 1], [0, 0]]))
    0.25
    """

    of = losses.MeanAbsoluteError
    aliases = ("mae", "MAE")


class MeanAbsolutePercentageError(_PlainLossMetric):
    """The mean of 100 |y - t| / |t|."""

    of = losses.MeanAbsolutePercentageError
    aliases = ("mape", "MAPE")


class MeanSquaredLogarithmicError(_PlainLossMetric):
    """The mean of (log(1 + y) - log(1 + t))^2."""

    of = losses.MeanSquaredLogarithmicError
    aliases = ("msle", "MSLE")


class Huber(_LossMetric):
    """The mean Huber loss, see `gpunn.losses.Huber`."""

    of = losses.Huber
    options = ("delta",)
    examples = ({}, {"delta": 0.5})

    name: str | None = "huber"
    dtype: Any = None
    delta: float = field(default=1.0)


class LogCoshError(_PlainLossMetric):
    """The mean of log(cosh(y - t))."""

    of = losses.LogCosh
    aliases = ("logcosh", "LogCosh", "log_cosh")

    name = "logcosh"


class CosineSimilarity(_LossMetric):
    """The mean over rows of (y . t) / (||y|| ||t||): 1 where both point the same way.

    >>> float(CosineSimilarity()([[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]))
    0.5
    """

    of = losses.CosineSimilarity
    options = ("axis",)
    direction = "up"

    name: str | None = "cosine_similarity"
    dtype: Any = None
    axis: int = field(default=-1)

    def values(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The loss of each row: minus the similarity."""
        if np.ndim(y_true) == np.ndim(y_pred) > 1:
            y_true, y_pred = (np.moveaxis(np.asarray(a), self.axis, -1) for a in (y_true, y_pred))
        return super().values(y_true, y_pred)

    def compute(self, state: np.ndarray) -> float:
        return -super().compute(state)


class KLDivergence(_PlainLossMetric):
    """The mean over rows of sum t log(t / p), see `gpunn.losses.KLDivergence`."""

    of = losses.KLDivergence
    aliases = ("kld", "KLD")


class Poisson(_PlainLossMetric):
    """The mean of p - t log p."""

    of = losses.Poisson


class Hinge(_PlainLossMetric):
    """The mean of max(1 - t y, 0), t = -1 or 1 (0 counts as -1)."""

    of = losses.Hinge


class SquaredHinge(_PlainLossMetric):
    """The mean of max(1 - t y, 0)^2, t = -1 or 1 (0 counts as -1)."""

    of = losses.SquaredHinge


class CategoricalHinge(_PlainLossMetric):
    """The mean over rows of max(0, 1 + max (1 - t) y - sum t y)."""

    of = losses.CategoricalHinge


class PerceptronCriterion(_PlainLossMetric):
    """The mean of max(-t y, 0), t = -1 or 1 (0 counts as -1)."""

    of = losses.PerceptronCriterion


class BinaryCrossentropy(_LossMetric):
    """The mean binary cross-entropy."""

    of = losses.BinaryCrossentropy
    options = ("from_logits", "label_smoothing")
    aliases = ("bce", "BCE")
    examples = ({}, {"from_logits": True, "label_smoothing": 0.1})

    name: str | None = "binary_crossentropy"
    dtype: Any = None
    from_logits: bool = field(default=False)
    label_smoothing: float = field(default=0)


class CategoricalCrossentropy(_LossMetric):
    """The mean categorical cross-entropy of one-hot targets."""

    of = losses.CategoricalCrossentropy
    options = ("from_logits", "label_smoothing", "axis")
    examples = ({}, {"from_logits": True, "label_smoothing": 0.1})

    name: str | None = "categorical_crossentropy"
    dtype: Any = None
    from_logits: bool = field(default=False)
    label_smoothing: float = field(default=0)
    axis: int = field(default=-1)


class SparseCategoricalCrossentropy(_LossMetric):
    """The mean categorical cross-entropy of class numbers."""

    of = losses.SparseCategoricalCrossentropy
    options = ("from_logits", "ignore_class", "axis")
    sparse = True
    examples = ({}, {"from_logits": True})

    name: str | None = "sparse_categorical_crossentropy"
    dtype: Any = None
    from_logits: bool = field(default=False)
    ignore_class: int | None = field(default=None, check=optional(check_class_number))
    axis: int = field(default=-1)

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        if self.ignore_class is not None and weights is not None:
            ignored = backend.scratch(weights.shape, bool, "ignored")
            kept = backend.scratch(weights.shape, weights.dtype, "weights that count")
            backend.xp.equal(y_true, self.ignore_class, out=ignored)
            backend.xp.copyto(kept, weights)
            backend.xp.copyto(kept, 0, where=ignored)
            weights = kept
        super().accumulate(backend, y_true, y_pred, weights, state)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch; as in Keras, ignored rows count unless there are weights."""
        if self.ignore_class is not None and sample_weight is not None:
            counted = np.reshape(y_true, np.shape(sample_weight)) != self.ignore_class
            sample_weight = np.asarray(sample_weight) * counted
        super().update_state(y_true, y_pred, sample_weight)

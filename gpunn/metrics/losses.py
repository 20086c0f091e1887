"""Losses as metrics: the mean of a loss over rows, whatever the training loss is."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from gpunn import losses
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.names import snake_case

from .metric import MeanOfRows


class _LossMetric(MeanOfRows):
    """The mean over rows of ``self.loss``; a subclass names its class, or gives an object."""

    direction = "down"
    adds = "losses"
    of: ClassVar[type[losses.Loss]]

    def __init__(
        self, name: str | None = None, dtype: Any = None, loss: losses.Loss | None = None
    ) -> None:
        super().__init__(name, dtype)
        self.loss = loss or self.of()
        self.sparse = self.loss.sparse

    @property
    def functor(self) -> str | None:  # type: ignore[override]
        return self.loss.functor

    @property
    def predictions(self) -> str | None:  # type: ignore[override]
        return self.loss.predictions

    @property
    def targets(self) -> str | None:  # type: ignore[override]
        return self.loss.targets

    @property
    def parameters(self) -> tuple[float, ...]:
        return self.loss.parameters

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.loss.forward(backend, y_true, y_pred, values)


class _PlainLossMetric(_LossMetric):
    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        name = name or snake_case(registry.built_in(type(self)).__name__)
        super().__init__(name, dtype)  # a subclass keeps it, as in Keras


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

    examples = ({}, {"delta": 0.5})

    def __init__(self, name: str | None = "huber", dtype: Any = None, delta: float = 1.0) -> None:
        super().__init__(name, dtype, losses.Huber(delta))
        self.delta = delta


class LogCoshError(_PlainLossMetric):
    """The mean of log(cosh(y - t))."""

    of = losses.LogCosh
    aliases = ("logcosh", "LogCosh", "log_cosh")

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(name, dtype)


class CosineSimilarity(_LossMetric):
    """The mean over rows of (y . t) / (||y|| ||t||): 1 where both point the same way.

    >>> float(CosineSimilarity()([[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]))
    0.5
    """

    direction = "up"

    def __init__(
        self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1
    ) -> None:
        super().__init__(name, dtype, losses.CosineSimilarity(axis))
        self.axis = axis

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

    aliases = ("bce", "BCE")
    examples = ({}, {"from_logits": True, "label_smoothing": 0.1})

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(name, dtype, losses.BinaryCrossentropy(from_logits, label_smoothing))
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


class CategoricalCrossentropy(_LossMetric):
    """The mean categorical cross-entropy of one-hot targets."""

    examples = ({}, {"from_logits": True, "label_smoothing": 0.1})

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        loss = losses.CategoricalCrossentropy(from_logits, label_smoothing, axis)
        super().__init__(name, dtype, loss)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class SparseCategoricalCrossentropy(_LossMetric):
    """The mean categorical cross-entropy of class numbers."""

    sparse = True
    examples = ({}, {"from_logits": True})

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis)
        super().__init__(name, dtype, loss)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch; as in Keras, ignored rows count unless there are weights."""
        if self.ignore_class is not None and sample_weight is not None:
            counted = np.reshape(y_true, np.shape(sample_weight)) != self.ignore_class
            sample_weight = np.asarray(sample_weight) * counted
        super().update_state(y_true, y_pred, sample_weight)

"""Losses as metrics: the mean of a loss over rows, whatever the training loss is."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import losses
from ..backends.base import Array, Backend
from .base import MeanOfRows


class _LossMetric(MeanOfRows):
    """The mean over rows of ``self.loss``."""

    direction = "down"

    def __init__(self, name: str | None, dtype: Any, loss: losses.Loss) -> None:
        super().__init__(name, dtype)
        self.loss = loss
        self.sparse = loss.sparse

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.loss.forward(backend, y_true, y_pred, values)


class MeanSquaredError(_LossMetric):
    """The mean of (y - t)^2.

    >>> float(MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]]))
    0.25
    """

    aliases = ("mse", "MSE")

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype, losses.MeanSquaredError())


class HalfSquaredError(_LossMetric):
    """The mean over rows of 1/2 ||y - t||^2."""

    def __init__(self, name: str | None = "half_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype, losses.HalfSquaredError())


class BinaryCrossentropy(_LossMetric):
    """The mean binary cross-entropy."""

    aliases = ("bce", "BCE")

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

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class, "none", axis)
        super().__init__(name, dtype, loss)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch; as in Keras, ignored rows count unless there are weights."""
        if self.ignore_class is not None and sample_weight is not None:
            counted = np.reshape(y_true, np.shape(sample_weight)) != self.ignore_class
            sample_weight = np.asarray(sample_weight) * counted
        super().update_state(y_true, y_pred, sample_weight)

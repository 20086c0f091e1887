"""Losses on real-valued targets."""

from __future__ import annotations

from typing import Any

from ..backends.base import Array, Backend
from .base import Loss


class MeanSquaredError(Loss):
    """l = mean_j (y_j - t_j)^2 over the last axis; dl/dy = 2 (y - t) / n.

    >>> float(MeanSquaredError()([[0.0, 1.0]], [[1.0, 1.0]]))
    0.5
    """

    functor = "MeanSquaredError"
    aliases = ("mse", "MSE")

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def forward(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        _half_squares(backend, y_true, y_pred, values)
        backend.xp.multiply(values, 2.0 / y_pred.shape[-1], out=values)

    def backward(self, backend: Backend, y_true: Array, y_pred: Array, gradient: Array) -> None:
        backend.xp.subtract(y_pred, y_true, out=gradient)
        backend.xp.multiply(gradient, 2.0 / y_pred.shape[-1], out=gradient)


class HalfSquaredError(Loss):
    """l = 1/2 sum_j (y_j - t_j)^2 over the last axis; dl/dy = y - t.

    The cost of the textbooks (Rumelhart et al., 1986): 1/2 ||y - t||^2 summed over
    the outputs, averaged over the samples.

    >>> float(HalfSquaredError()([[0.0, 1.0]], [[1.0, 1.0]]))
    0.5
    """

    functor = "HalfSquaredError"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "half_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def forward(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        _half_squares(backend, y_true, y_pred, values)

    def backward(self, backend: Backend, y_true: Array, y_pred: Array, gradient: Array) -> None:
        backend.xp.subtract(y_pred, y_true, out=gradient)


def _half_squares(backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
    xp = backend.xp
    difference = backend.scratch(y_pred.shape, y_pred.dtype, "difference")
    xp.subtract(y_pred, y_true, out=difference)
    xp.multiply(difference, difference, out=difference)
    backend.row_sums(difference, values)
    xp.multiply(values, 0.5, out=values)

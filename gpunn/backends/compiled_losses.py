"""Losses and metrics by compiled operations, one call for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array
from .compiled_operations import Compiled, in_one_piece, type_of

LONGEST_COMPARED = 256


class CompiledLosses(Compiled):
    """What looks at predictions and targets."""

    def loss(
        self, loss: Any, y_true: Array, y_pred: Array, weights: Array | None, scale: float,
        gradient: Array | None, totals: Array,
    ) -> None:
        operation = self._compiled("loss", type_of(y_pred), loss.functor)
        if operation is None or not in_one_piece(y_true, y_pred, weights, gradient, totals):
            super().loss(loss, y_true, y_pred, weights, scale, gradient, totals)
            return
        rows = len(y_pred)
        matches = None
        if loss.counts_matches and len(totals) > 2:
            matches = self.scratch((rows,), np.bool_, "loss matches")
        values = self.scratch((rows,), y_pred.dtype, "loss values")
        self._do(
            operation, y_pred, *_targets(y_true), weights, self._parameters(loss), scale,
            *y_pred.shape, gradient, values, matches, totals,
        )  # fmt: skip

    def metric(
        self, metric: Any, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        operation = self._metric_operation(metric, y_pred)
        if operation is None or not _from_a_model(y_true, y_pred, weights, state):
            super().metric(metric, y_true, y_pred, weights, state)
            return
        rows, classes = y_pred.shape
        if metric.adds == "columns":
            self._do(operation, y_pred, y_true, weights, rows, classes, state)
            return
        given = y_pred, *_targets(y_true), weights, self._parameters(metric), rows, classes
        if metric.adds == "bins":
            self._do(operation, *given, metric.width(classes), state.size, state)
        else:
            values = self.scratch((rows,), y_pred.dtype, "metric values")
            self._do(operation, *given, values, state)

    def _metric_operation(self, metric: Any, y_pred: Array) -> Any:
        # Which are the best k is found out by comparing all with all: a sort is faster there.
        if metric.functor is None or (
            getattr(metric, "top_k", None) and y_pred.shape[-1] > LONGEST_COMPARED
        ):
            return None
        names = {"rows": "metric", "losses": "metric_of_losses", "bins": "bins"}
        if metric.adds == "columns":
            return self._compiled("target_sums", type_of(y_pred))
        return self._compiled(names[metric.adds], type_of(y_pred), metric.functor)


def _targets(y_true: Array) -> tuple[Array | None, Array | None]:
    """Rows of targets and class numbers, of which one is None."""
    return (None, y_true) if y_true.ndim == 1 else (y_true, None)


def _from_a_model(y_true: Array, y_pred: Array, weights: Array | None, state: Array) -> bool:
    """Whether these are what a model gives a metric; its own state may get other things."""
    dtype = np.dtype(np.int32) if y_true.ndim == 1 else y_pred.dtype
    by_row = weights is None or (weights.ndim == 1 and weights.dtype == y_pred.dtype)
    return y_true.dtype == dtype and by_row and in_one_piece(y_true, y_pred, weights, state)

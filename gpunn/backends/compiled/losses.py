"""Losses and metrics as compiled operations, one call for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array

from .operations import Arguments, CompiledOperations, by_formula, compiled, name_of

LONGEST_COMPARED = 256


class CompiledLosses(CompiledOperations):
    """Losses and metrics; a part of `CompiledBackend`."""

    @compiled(by_formula("loss"))
    def _loss(self, call: OpCall) -> Arguments:
        loss, rows = call.loss, call.rows
        matches = None
        if loss.counts_matches and call.sums > 2:
            matches = self.scratch((rows,), np.bool_, "loss matches")
        values = self.scratch((rows,), call.dtype, "loss values")
        return (
            call.y_pred, *_targets(call.y_true), call.weights, self._parameters(loss),
            call.scale, call.scale * (call.batch or rows), rows, call.classes,
            call.gradient, values, matches, call.totals,
        )

    def _metric(self, call: OpCall) -> None:
        metric, y_pred, y_true, state = call.metric, call.y_pred, call.y_true, call.state
        operation = self._metric_operation(metric, y_pred)
        if operation is None:
            super()._metric(call)
            return
        rows, classes = call.rows, call.classes
        if metric.accumulates == "columns":
            self._do(operation, y_pred, y_true, call.weights, rows, classes, state)
            return
        parameters = self._parameters(metric)
        arguments = y_pred, *_targets(y_true), call.weights, parameters, rows, classes
        if metric.accumulates == "bins":
            self._do(operation, *arguments, metric.width(classes), state.size, state)
        else:
            values = self.scratch((rows,), call.dtype, "metric values")
            self._do(operation, *arguments, values, state)

    def _metric_operation(self, metric: Any, y_pred: Array) -> Any:
        # The kernel finds the best k by comparing all with all: a sort is faster for long rows.
        if metric.functor is None or (
            getattr(metric, "top_k", None) and y_pred.shape[-1] > LONGEST_COMPARED
        ):
            return None
        names = {"rows": "metric", "losses": "metric_of_losses", "bins": "bins"}
        dtype = name_of(y_pred.dtype)
        if metric.accumulates == "columns":
            return self._compiled("target_sums", dtype)
        return self._compiled(names[metric.accumulates], dtype, metric.functor)


def _targets(y_true: Array) -> tuple[Array | None, Array | None]:
    """Return (rows of targets, class indices), of which one is None."""
    return (None, y_true) if y_true.ndim == 1 else (y_true, None)

"""Losses and metrics by compiled operations, one call for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract import Given
from gpunn.backends.contract.backend import Array

from .operations import Arguments, CompiledOperations, by_formula, compiled, name_of

LONGEST_COMPARED = 256


class CompiledLosses(CompiledOperations):
    """What looks at predictions and targets."""

    @compiled(by_formula("loss"))
    def _loss(self, given: Given) -> Arguments:
        loss, rows = given.loss, given.rows
        matches = None
        if loss.counts_matches and given.sums > 2:
            matches = self.scratch((rows,), np.bool_, "loss matches")
        values = self.scratch((rows,), given.dtype, "loss values")
        return (
            given.y_pred, *_targets(given.y_true), given.weights, self._parameters(loss),
            given.scale, rows, given.classes, given.gradient, values, matches, given.totals,
        )  # fmt: skip

    def _metric(self, given: Given) -> None:
        metric, y_pred, y_true, state = given.metric, given.y_pred, given.y_true, given.state
        operation = self._metric_operation(metric, y_pred)
        if operation is None:
            super()._metric(given)
            return
        rows, classes = given.rows, given.classes
        if metric.accumulates == "columns":
            self._do(operation, y_pred, y_true, given.weights, rows, classes, state)
            return
        parameters = self._parameters(metric)
        arguments = y_pred, *_targets(y_true), given.weights, parameters, rows, classes
        if metric.accumulates == "bins":
            self._do(operation, *arguments, metric.width(classes), state.size, state)
        else:
            values = self.scratch((rows,), given.dtype, "metric values")
            self._do(operation, *arguments, values, state)

    def _metric_operation(self, metric: Any, y_pred: Array) -> Any:
        # Which are the best k is found out by comparing all with all: a sort is faster there.
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
    """Rows of targets and class numbers, of which one is None."""
    return (None, y_true) if y_true.ndim == 1 else (y_true, None)

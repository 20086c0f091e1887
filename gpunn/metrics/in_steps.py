"""Metrics that are updated inside a traced step, or in the call of a layer that is traced: they
count on the device, in its program."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpunn.activations.activation import applied_to
from gpunn.backends.contract.backend import Array, Backend
from gpunn.losses.as_operations import as_rows, sums_of_mean
from gpunn.ops.conversion import convert, floats
from gpunn.ops.fusion.storing import stored
from gpunn.ops.primitive import one_after_another
from gpunn.ops.reductions import mean, sum_
from gpunn.ops.running.effects import Effect, LateResult
from gpunn.ops.shapes import broadcast_to, reshape
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import Trace


def add_rows(
    trace: Trace, metric: Any, y_true: Any, y_pred: Any, weight: Any, sparse: bool | None = None
) -> None:
    """Let a step add its rows to a metric, by the metric's own kernel.

    ``sparse``: whether a target is the class number of a row; by default as the metric says.
    """
    y_pred = floats(y_pred)
    if metric.elementwise and y_pred.ndim == 1:  # each element is a row
        y_pred = reshape(y_pred, (-1, 1))
    sparse = bool(metric.sparse) if sparse is None else sparse
    formula, logits = applied_to(y_pred)
    if metric.of_largest and formula is not None and formula.functor == "Softmax":
        y_pred = logits  # as in `fit`: the largest is at the same place
    y_true, rows = as_rows(metric, sparse, y_true, y_pred)
    given = [y_true, rows]
    leading = y_pred.shape[:-1]
    # A mean counts samples, as in eager steps and in Keras, and a sample may have several rows.
    ignores = getattr(metric, "ignore_class", None) is not None
    divides = metric._of_rows and not (ignores and weight is None)
    share = 1 / math.prod(leading[1:]) if divides else 1
    if weight is not None or share != 1:
        weight = convert(1.0 if weight is None else weight, rows.dtype)
        weight = weight if share == 1 else weight * share
        if weight.ndim == len(leading) + 1 and weight.shape[-1] == 1:
            weight = reshape(weight, weight.shape[:-1])
        weight = reshape(weight, (*weight.shape, *(1,) * (len(leading) - weight.ndim)))
        given.append(reshape(broadcast_to(weight, leading), (-1,)))
    trace.add_effect(_Rows(metric, given))


def add_bins(trace: Trace, metric: Any, y_true: Any, y_pred: Any, weight: Any) -> None:
    """Let a call add a batch to a metric that counts predictions by their values."""
    y_pred = floats(y_pred)
    if y_pred.ndim == 1:
        y_pred = reshape(y_pred, (-1, 1))
    metric.build((None, y_pred.shape[-1]))
    y_true = convert(y_true)
    labels = metric.sparse is None and y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] > 1
    add_rows(trace, metric, y_true, y_pred, weight, labels or None)


def add_values(trace: Trace, metric: Any, values: Any, weight: Any) -> None:
    """Let a step add values to a mean: sum w v and sum w, see `gpunn.metrics.Mean`."""
    found = sums_of_mean(values) if isinstance(values, Tensor) and trace.mode.is_step else None
    if found is not None:
        sums, rows = found
        if weight is None or (type(weight) is int and weight == rows):
            trace.add_effect(_Sums(metric, [sums], rows if weight is None else 1))
            return
    trace.add_effect(_Sums(metric, sums_of(values, weight)))


def sums_of(values: Any, weight: Any) -> list[Tensor]:
    """Return sum w v and sum w of values, which are averaged for each sample."""
    values = floats(convert(values))
    if weight is not None:
        weight = convert(weight, values.dtype)
        if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
            weight = reshape(weight, weight.shape[:-1])
        if values.ndim == weight.ndim + 1 and values.shape[-1] == 1 and weight.ndim:
            values = reshape(values, values.shape[:-1])
        if values.ndim > weight.ndim:
            values = mean(values, tuple(range(weight.ndim, values.ndim)))
        weight = broadcast_to(weight, values.shape)
        values = values * weight
        if values.ndim > 1:
            axes = tuple(range(1, values.ndim))
            values, weight = mean(values, axes), mean(weight, axes)
        return [sum_(values), sum_(weight)]
    if values.ndim > 1:
        values = mean(values, tuple(range(1, values.ndim)))
    return [sum_(values), constant(float(values.shape[0] if values.ndim else 1), "float64")]


def late_result(trace: Trace, metric: Any) -> Tensor:
    """Return the result of a metric at this place of a step, known after the step."""
    return trace.late_value(_Result(metric))


class _Update(Effect):
    """An update of a metric's state on a device."""

    def __init__(self, metric: Any, given: list[Tensor], of: int = 1) -> None:
        super().__init__(given, parts=[metric])
        self._metric, self._of = metric, of  # how often it adds what it counts

    def prepare(self, backend: Any) -> None:
        self._metric._state_on(backend, self._of)


class _Rows(_Update):
    def bind(self, backend: Backend, arrays: Callable[[Tensor], Any]) -> Callable[[], None]:
        given: list[Array] = [_whole(backend, arrays(t), t) for t in self.inputs]
        y_true, y_pred, *weights = given
        state = self._metric._state_on(backend)
        return partial(
            backend.metric, self._metric, y_true, y_pred, weights[0] if weights else None, state
        )


class _Sums(_Update):
    def begin(self, backend: Backend) -> list[tuple[Tensor, Array, bool]]:
        state = self._metric._state_on(backend, self._of)
        if self.inputs[0].shape:  # both sums
            return [(self.inputs[0], state, True)]
        return [(t, state[k : k + 1].reshape(()), True) for k, t in enumerate(self.inputs)]


class _Result(LateResult):
    def __init__(self, metric: Any) -> None:
        super().__init__((), parts=[metric])
        self._metric = metric
        self._kept: tuple[Backend, list[tuple[Array, Array]]] | None = None  # states, and copies

    def begin(self, backend: Backend) -> list[tuple[Tensor, Array, bool]]:
        self._metric._state_on(backend)
        states = [a for known, a, _ in self._metric._on_devices if known is backend.root]
        self._kept = backend, [(a, backend.empty(a.shape, np.float64)) for a in states]
        return []

    def bind(self, backend: Backend, arrays: Callable[[Tensor], Any]) -> Callable[[], None]:
        assert self._kept is not None
        return partial(one_after_another, *(stored(backend, *pair) for pair in self._kept[1]))

    def value(self) -> Any:
        if self._kept is None:
            return self._metric.result()
        backend, pairs = self._kept
        return self._metric._result_of({id(state): backend.read(copy) for state, copy in pairs})


def _whole(backend: Backend, array: Any, t: Tensor) -> Array:
    """Return the array of a tensor; a constant number may have none."""
    return array if hasattr(array, "dtype") else backend.upload(t.numpy()).reshape(t.shape)

"""Losses of tensors: custom losses, and built-in losses inside custom functions."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.config import floatx
from gpunn.common.nested import found_in, replaced
from gpunn.ops.arithmetic import divide_no_nan, not_equal
from gpunn.ops.conversion import cast, convert
from gpunn.ops.dtypes import first_inexact, floating
from gpunn.ops.elementwise import where
from gpunn.ops.gradients import gradients, skipping
from gpunn.ops.reductions import mean, sum_
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import Stages, stages_of
from gpunn.ops.running.functions import ArrayFunction, of_tensors, or_zero, places
from gpunn.ops.running.shape_trace import trace_of
from gpunn.ops.shapes import broadcast_to, expand_dims, moveaxis, reshape
from gpunn.ops.tensor import Shape, Tensor, constant
from gpunn.ops.trace import called

from .rows import fitting


def on_arrays(loss: Any, steps: int = 0) -> ArrayFunction:
    """Return the loss's `call` as a function of predictions and targets with one sample per row.
    It computes the loss of each sample, or of each of its ``steps``."""
    return ArrayFunction(_Rows(loss, steps), f"The loss {loss.name!r}", loss)


def add_up(
    loss: Any, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, scale: float,
    gradient: Array | None, totals: Array, batch: int = 0,
) -> None:
    """Do what `Backend.loss` does with these arguments, for a loss that defines `call`: gradient
    and sum, as tensor operations."""
    rows = len(y_pred)
    if rows == 0:
        return
    arrays = [y_pred, y_true]
    weighted = arrays if weights is None else [*arrays, weights]

    shape: Shape = (rows,) if weights is None else weights.shape
    steps = shape[1] if len(shape) > 1 else 0
    function = on_arrays(loss, steps) if steps else loss.on_arrays

    def made() -> Stages:
        dtype = y_pred.dtype.name
        trace, leaves, y = function.traced(backend, arrays)
        with trace.active():
            y = convert(y, dtype)
            if not y.ndim:  # it applies to each row; a sum of rows is to be the scalar itself
                share_of_row = float(batch or rows) if loss.reduction == "sum" else 1.0
                y = broadcast_to(y / share_of_row, (rows,))
            divided = steps and loss.reduction != "sum"
            share = constant(scale / (steps if divided else 1), dtype)
            if weights is not None:
                share = trace.placeholder(weights) * share
            total = sum_(y * (share * float(batch or rows)))
            (found,) = gradients([y], leaves[:1], [broadcast_to(share, shape)])
        counted = constant(float(rows), "float64")
        targets = [
            Destination(tensor, totals[place : place + 1].reshape(()), accumulate=True)
            for place, tensor in enumerate((total, counted))
        ]
        if gradient is not None:
            targets.append(Destination(or_zero(found, gradient), gradient))
        return stages_of(trace, backend, [targets])

    out = () if gradient is None else (gradient,)
    key = "loss", loss.on_arrays, scale, batch, places(*weighted, totals, *out), len(out)
    with np.errstate(all="ignore"):  # as in each step
        backend.kept(key, made).run(0)


class _Rows:
    """The loss of each row, for predictions and targets with one sample per row.

    Further axes are reduced as rows are. With ``steps`` there is one value for each step of a
    sample; a single value for a sample applies to each of its steps.
    """

    def __init__(self, loss: Any, steps: int = 0) -> None:
        self._loss, self._steps = loss, steps

    def __call__(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        loss, rows = self._loss, y_pred.shape[0]
        if loss.output_sample is not None:
            y_pred = reshape(y_pred, (rows, *loss.output_sample))
        if loss.target_sample is not None:
            y_true = reshape(y_true, (rows, *loss.target_sample))
        values = of_tensors(loss.call(*fitting(y_true, y_pred)), f"The loss {loss.name!r}")
        values = convert(values, y_pred.dtype)
        if loss._joins_samples(y_pred.ndim):
            values = (sum_ if loss.reduction == "sum" else mean)(values)
        self.one_for_all = not values.ndim
        if values.ndim and values.shape[0] != rows:
            raise ValueError(
                f"The loss {loss.name!r} returned shape {values.shape} for {rows} samples: "
                f"expected one value per sample, or one for all."
            )
        reduced = sum_ if loss.reduction == "sum" else mean
        sample = loss.output_sample
        if self._steps and values.shape[: len(sample)] == (rows, *sample[:-1]):
            return reduced(reshape(values, (rows, self._steps, -1)), -1)
        values = reduced(reshape(values, (rows, -1)), 1) if values.ndim > 1 else values
        if not self._steps or not values.ndim:
            return values
        each = self._steps if loss.reduction == "sum" else 1
        return broadcast_to(expand_dims(values / each, 1), (rows, self._steps))


def masked(mask: Any, weight: Any, loss: Any = None, y_true: Any = None) -> Tensor:
    """Return the weights of steps (batch, steps) that count by the mask of predictions.

    As in Keras, the mean of a ``loss`` is over the steps that count, also with a ``weight`` of each
    sample or step. If none does, it is 0.
    """
    left = cast(mask, floatx())
    if loss is not None and loss.reduction in ("mean", "sum_over_batch_size"):
        if loss.ignore_class is None or loss._of_tensors:
            both, whole = left, convert(float(left.size), left.dtype)
        else:  # the loss has divided by the number of steps of other classes
            counted = cast(not_equal(convert(y_true), loss.ignore_class), left.dtype)
            counted = reshape(counted, (*left.shape, -1))
            both, whole = counted * expand_dims(left, -1), sum_(counted)
        left = left * divide_no_nan(whole, sum_(both))
    if weight is None:
        return left
    weight = convert(weight, left.dtype)
    if weight.ndim == left.ndim + 1 and weight.shape[-1] == 1:
        weight = reshape(weight, weight.shape[:-1])
    return left * (expand_dims(weight, -1) if weight.ndim == left.ndim - 1 else weight)


def of_each_sample(loss: Any, y_pred: Array, y_true: Array) -> None:
    """Raise an error for a loss that returns one value per batch, if samples have weights."""
    function = _Rows(loss)
    trace_of(function, [(tuple(a.shape), a.dtype.name) for a in (y_pred, y_true)])
    if function.one_for_all:
        raise ValueError(_weighs_a_batch(loss))


def check_mask(loss: Any, mask: Any) -> None:
    """Raise an error for a mask of predictions whose steps all count in a loss."""
    if mask is not None and loss._of_sequences:
        raise ValueError(
            f"{loss.name}: the predictions have a mask, but all of their steps count. Use a loss "
            f"of your own that passes output_length to ops.ctc_loss, or leave out the mask."
        )


def _weighs_a_batch(loss: Any) -> str:
    return (
        f"The loss {loss.name!r} returned one value for the whole batch. With sample_weight, "
        f"class_weight or a mask it must return one per sample: omit the mean over the batch, or "
        f"leave its axis 0 out of the argument axis, as in losses.Dice(axis=(1, 2, 3))."
    )


def reduced(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> Tensor:
    """`Loss.__call__` of tensors."""
    from .as_operations import logits_for  # which a `fit` of built-in parts does not need

    y_pred = convert(y_pred, loss.dtype)
    y_pred = convert(y_pred, floating(y_pred.dtype))
    if loss._of_tensors:
        check_exact(y_true, y_pred.dtype, "y_true")
    y_true = convert(y_true) if loss.sparse else convert(y_true, y_pred.dtype)
    if not loss._of_tensors and loss.axis not in (-1, y_pred.ndim - 1):
        both = y_true.ndim == y_pred.ndim
        y_true = moveaxis(y_true, loss.axis, -1) if both else y_true
        y_pred = moveaxis(y_pred, loss.axis, -1)
    if sample_weight is not None:
        sample_weight = convert(sample_weight, y_pred.dtype)

    def value(y_pred: Tensor, on_logits: bool = False) -> Tensor:
        given = y_true, y_pred, sample_weight, on_logits
        return called(loss, partial(_reduced, loss), *given)

    logits = logits_for(loss, y_pred)  # before a softmax or sigmoid, which are fused as in `fit`
    return value(y_pred) if logits is None else skipping(value(logits, True), y_pred, value)


def of_groups(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> Tensor:
    """`Loss.__call__` of targets and predictions in lists and dictionaries, which `call` gets."""
    first = next(found_in(y_pred, Tensor))
    dtype = loss.dtype or floating(first.dtype)
    given = (replaced(lambda x: convert(x, dtype), y) for y in (y_true, y_pred))
    weights = None if sample_weight is None else convert(sample_weight, dtype)
    return _total(loss, convert(loss.call(*given), dtype), weights, None)


def _reduced(
    loss: Any, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None, on_logits: bool
) -> Tensor:
    from .as_operations import mean_of_rows

    if on_logits:
        loss = loss.on_logits()
    if sample_weight is None and loss.reduction not in (None, "none"):
        mean_loss = mean_of_rows(loss, y_true, y_pred)
        if mean_loss is not None:
            rows = math.prod(y_pred.shape[:-1])
            return mean_loss * float(rows) if loss.reduction == "sum" else mean_loss
    both = fitting(y_true, y_pred) if loss._of_tensors else (y_true, y_pred)
    values = convert(loss.call(*both))
    if sample_weight is not None and loss._joins_samples(both[1].ndim):
        raise ValueError(_weighs_a_batch(loss))
    return _total(loss, values, sample_weight, y_true)


def _total(loss: Any, values: Tensor, sample_weight: Tensor | None, y_true: Any) -> Tensor:
    """Return the values of samples, weighted, as the reduction of a loss says."""
    weights: Tensor | None = None
    if sample_weight is not None:
        weights = convert(sample_weight, values.dtype)
        if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
            weights = reshape(weights, weights.shape[:-1])
        while 0 < weights.ndim < values.ndim:
            weights = expand_dims(weights, -1)
        values = values * weights
    if loss.reduction in (None, "none"):
        return values
    total = sum_(values)
    if loss.reduction == "sum":
        return total
    if loss.reduction == "mean_with_sample_weight" and loss.ignore_class is not None:
        counted = not_equal(reshape(y_true, values.shape), loss.ignore_class)
        weights = cast(counted, values.dtype) * (1.0 if weights is None else weights)
    if loss.reduction == "mean_with_sample_weight" and weights is not None:
        divisor = sum_(broadcast_to(weights, values.shape))
        return total / where(divisor == 0, 1.0, divisor)  # no weight at all: 0
    return total / max(values.size, 1)


def check_exact(y_true: Any, dtype: str, argument: str) -> None:
    """Raise an error for integers that the dtype cannot represent exactly for a custom loss."""
    array = y_true.value if isinstance(y_true, Tensor) else y_true
    values = None if array is None else np.asarray(array)
    place = None if values is None else first_inexact(values, dtype)
    if values is not None and place is not None:
        raise ValueError(
            f"{argument} holds {values[place]} at {list(place)}, which {dtype} cannot represent: "
            f"the loss would get a different number. Pass float64 predictions or, if rounding "
            f"is acceptable, floats: .astype({dtype!r})."
        )

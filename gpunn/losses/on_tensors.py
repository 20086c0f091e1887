"""Losses of tensors: custom losses, and built-in losses inside custom functions."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.overrides import replaces
from gpunn.ops.arithmetic import not_equal
from gpunn.ops.conversion import cast, convert, floats
from gpunn.ops.dtypes import floating
from gpunn.ops.elementwise import where
from gpunn.ops.fusion.storing import fill
from gpunn.ops.gradients import gradients, gradients_of
from gpunn.ops.narrow import first_inexact
from gpunn.ops.places.checks import checked
from gpunn.ops.primitive import Gradients, Primitive, Work, unknown_derivative
from gpunn.ops.reductions import mean, sum_
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import Stages, stages_of
from gpunn.ops.running.functions import ArrayFunction, of_tensors, or_zero, places
from gpunn.ops.running.shape_trace import trace_of
from gpunn.ops.shapes import broadcast_to, expand_dims, moveaxis, reshape
from gpunn.ops.tensor import Shape, Tensor, constant
from gpunn.ops.trace import called, current

from .rows import ignored_class


def on_arrays(loss: Any, steps: int = 0) -> ArrayFunction:
    """Return the loss's `call` as a function of predictions and targets with one sample per row.
    It computes the loss of each sample, or of each of its ``steps``."""
    return ArrayFunction(_Rows(loss, steps), f"The loss {loss.name!r}", loss)


def add_up(loss: Any, backend: Backend, given: Any) -> None:
    """Run `Backend.loss` for a loss that defines `call`: gradient and sum, as tensor operations.

    Args:
        given: the arguments of the operation.
    """
    if given.rows == 0:
        return
    arrays = [given.y_pred, given.y_true]
    weighted = arrays if given.weights is None else [*arrays, given.weights]

    shape: Shape = (given.rows,) if given.weights is None else given.weights.shape
    steps = shape[1] if len(shape) > 1 else 0
    function = on_arrays(loss, steps) if steps else loss.on_arrays

    def made() -> Stages:
        rows, dtype = given.rows, given.y_pred.dtype.name
        batch = float(given.batch or rows)
        trace, leaves, y = function.traced(backend, arrays)
        with trace.active():
            y = convert(y, dtype)
            y = y if y.ndim else broadcast_to(y, (rows,))  # a scalar applies to each row
            divided = steps and loss.reduction != "sum"
            share = constant(given.scale / (steps if divided else 1), dtype)
            if given.weights is not None:
                share = trace.placeholder(given.weights) * share
            total = sum_(y * (share * batch))
            (found,) = gradients([y], leaves[:1], [broadcast_to(share, shape)])
        counted = constant(float(rows), "float64")
        targets = [
            Destination(tensor, given.totals[place : place + 1].reshape(()), accumulate=True)
            for place, tensor in enumerate((total, counted))
        ]
        if given.gradient is not None:
            targets.append(Destination(or_zero(found, given.gradient), given.gradient))
        return stages_of(trace, backend, [targets])

    out = () if given.gradient is None else (given.gradient,)
    scales = given.scale, given.batch
    key = "loss", loss.on_arrays, *scales, places(*weighted, given.totals, *out), len(out)
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


def of_each_sample(loss: Any, y_pred: Array, y_true: Array) -> None:
    """Raise an error for a loss that returns one value per batch, if samples have weights."""
    function = _Rows(loss)
    trace_of(function, [(tuple(a.shape), a.dtype.name) for a in (y_pred, y_true)])
    if function.one_for_all:
        raise ValueError(
            f"The loss {loss.name!r} returned one value for the whole batch. With sample_weight "
            f"or class_weight it must return one per sample: omit the mean over the batch."
        )


def fitting(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Add or drop a last axis of length 1, as Keras does, so that (n,) and (n, 1) match."""
    if y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
        return reshape(y_true, y_true.shape[:-1]), y_pred
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] == 1:
        return expand_dims(y_true, -1), y_pred
    return y_true, y_pred


def reduced(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> Tensor:
    """`Loss.__call__` of tensors."""
    y_pred = convert(y_pred, loss.dtype)
    y_pred = convert(y_pred, floating(y_pred.dtype))
    if loss._has_call:
        check_exact(y_true, y_pred.dtype, "y_true")
    y_true = convert(y_true) if loss.sparse else convert(y_true, y_pred.dtype)
    if not loss._has_call and loss.axis not in (-1, y_pred.ndim - 1):
        both = y_true.ndim == y_pred.ndim
        y_true = moveaxis(y_true, loss.axis, -1) if both else y_true
        y_pred = moveaxis(y_pred, loss.axis, -1)
    if sample_weight is not None:
        sample_weight = convert(sample_weight, y_pred.dtype)
    found: Tensor = called(loss, partial(_reduced, loss), y_true, y_pred, sample_weight)
    return found


def _reduced(loss: Any, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> Tensor:
    if sample_weight is None and loss.reduction not in (None, "none") and _has_kernel(loss):
        mean_loss = mean_of_rows(loss, y_true, y_pred)
        if mean_loss is not None:
            rows = math.prod(y_pred.shape[:-1])
            return mean_loss * float(rows) if loss.reduction == "sum" else mean_loss
    values = convert(loss.call(*(fitting(y_true, y_pred) if loss._has_call else (y_true, y_pred))))
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


# -- built-in losses as operations


def of_rows(loss: Any, y_true: Any, y_pred: Any) -> Tensor:
    """Compute the loss of each row of tensors with the formula of a built-in loss.

    A label that is not a valid class raises an error, also within a step.
    """
    y_pred, formula = floats(y_pred), _formula_of(loss)
    targets, rows = as_rows(loss, formula.sparse, y_true, y_pred)
    values = _loss_of_rows(targets, rows, loss=loss, formula=formula)
    return reshape(values, y_pred.shape[:-1] if y_pred.ndim else ())


def mean_of_rows(loss: Any, y_true: Any, y_pred: Tensor) -> Tensor | None:
    """Compute the mean loss of the rows of tensors by the kernel that `fit` uses; None without
    rows."""
    formula = _formula_of(loss)
    targets, rows = as_rows(loss, formula.sparse, y_true, y_pred)
    if not rows.shape[0]:
        return None
    sums = _sums(targets, rows, loss=loss, formula=formula)
    return _mean_loss(sums, targets, rows, loss=loss, formula=formula)


def sums_of_mean(t: Tensor, rows: Any) -> Tensor | None:
    """Return the tensor (2,) of the sum of losses and the number of rows, of which ``t`` is the
    mean; None if it is no mean of so many losses."""
    is_mean = t.primitive is _mean_loss and not t.is_constant and type(rows) is int
    return t.inputs[0] if is_mean and t.inputs[2].shape[0] == rows else None


def _has_kernel(loss: Any) -> bool:
    """Whether `Backend.loss` computes a loss, and its derivatives are those of its formula."""
    own = replaces(type(loss), "forward", "backward", "forward_backward", "elements", "call")
    return loss.functor is not None and loss.ignore_class is None and not (own or loss._has_call)


def _formula_of(loss: Any) -> Any:
    """Return the class of a loss; if it defines `call`, the built-in one that it derives from."""
    return next(cls for cls in type(loss).__mro__ if not getattr(cls, "_has_call", True))


def as_rows(part: Any, sparse: bool, y_true: Any, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targets and the predictions of each row for a loss or metric, checked.

    ``sparse``: whether a target is the class number of a row.
    """
    if not y_pred.ndim:
        y_pred = reshape(y_pred, (1,))
    y_true = convert(y_true, "int32" if sparse else y_pred.dtype)
    rows, width = math.prod(y_pred.shape[:-1]), y_pred.shape[-1]
    if sparse:
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
            y_true = reshape(y_true, y_true.shape[:-1])
        expected: Shape = y_pred.shape[:-1]
    else:
        y_true, _ = fitting(y_true, y_pred)
        expected = y_pred.shape
    if y_true.shape != expected:
        raise ValueError(
            f"{part.name}: y_true has shape {y_true.shape} and y_pred {y_pred.shape}; y_true of "
            f"shape {expected} is expected."
        )
    if sparse:
        y_true = _known_classes(part, y_true, width, y_pred.dtype)
    targets = reshape(y_true, (rows,) if sparse else (rows, width))
    return targets, reshape(y_pred, (rows, width))


def _known_classes(part: Any, labels: Tensor, classes: int, dtype: str) -> Tensor:
    """Check that each label is a valid class, except those that a loss ignores.

    A GPU keeps running after an invalid label until it is synchronized. The label then becomes
    class 0, since a formula uses labels as memory offsets. It is compared as a float of ``dtype``,
    which holds every class: operations on integers would have launches of their own.
    """
    what, trace = f"{part.name}: labels", current()
    ignored = ignored_class(part)
    if ignored is None and trace is not None and trace.stops:
        return checked(labels, 0, classes - 1, what)
    if ignored is None:
        known = cast(checked(labels, 0, classes - 1, what), dtype)
        return cast(where((known >= 0) & (known < classes), known, 0.0), "int32")
    numbers = cast(labels, dtype)
    counted = numbers != float(ignored)
    known = checked(where(counted, numbers, 0.0), 0, classes - 1, what)
    inside = where((known >= 0) & (known < classes), known, 0.0)
    return cast(where(counted, inside, numbers), "int32")


def _compute(
    backend: Backend, out: Array, y_true: Array, y_pred: Array, loss: Any, formula: Any
) -> None:
    method = partial(formula.forward_backward, loss)
    backend.apply_formula(formula, method, y_true, y_pred, out, None)


def _compute_gradient(
    backend: Backend,
    out: Array,
    dy: Array,
    y_true: Array,
    y_pred: Array,
    loss: Any,
    formula: Any,
) -> None:
    values = backend.scratch(dy.shape, dy.dtype, "loss of rows")
    method = partial(formula.forward_backward, loss)
    backend.apply_formula(formula, method, y_true, y_pred, values, out)
    backend.xp.multiply(out, dy.reshape(-1, 1), out=out)


def _gradients(
    dy: Tensor, y: Tensor, y_true: Tensor, y_pred: Tensor, loss: Any, formula: Any
) -> Gradients:
    def by_target() -> Tensor:
        slope = _stated(formula, "slope_of_targets")
        if slope is None:
            raise ValueError(
                f"{loss.name}: its derivative by y_true is not known; write call(y_true, y_pred) "
                f"with gpunn.ops, or use ops.stop_gradient(y_true)."
            )
        return expand_dims(dy, -1) * slope(loss, y_true, y_pred)

    return by_target, _gradient_of_rows(dy, y_true, y_pred, loss=loss, formula=formula)


def _second_gradients(
    dz: Tensor, dx: Tensor, dy: Tensor, y_true: Tensor, y_pred: Tensor, loss: Any, formula: Any
) -> Gradients:
    slope = _stated(formula, "slope_of_rows")
    if slope is None:
        return unknown_derivative(lambda: loss.name)()

    def gradient(dy: Tensor, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return expand_dims(dy, -1) * slope(loss, y_true, y_pred)

    def by_target() -> Tensor | None:
        return gradients_of(lambda t: gradient(dy, t, y_pred), [y_true], dz)[0]

    by_dy, by_prediction = gradients_of(lambda d, y: gradient(d, y_true, y), [dy, y_pred], dz)
    return by_dy, by_target, by_prediction


def _stated(formula: Any, name: str) -> Any:
    """Return a slope that `gpunn.ops` states; None if passes on arrays define the loss."""
    on_arrays = replaces(formula, "forward_backward", "elements")
    return None if on_arrays else getattr(formula, name, None)


class _Sums(Primitive):
    """The sum of the losses of rows, and their number, in float64; in the same pass, the slopes of
    their mean."""

    adds = True

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        y_true, y_pred = arrays
        backend, slopes = computation.backend, computation.results_of(y)
        gradient = computation.place(slopes[0]) if slopes else None
        loss = y.attributes["loss"]
        summed = partial(_add_up, backend, out, y_true, y_pred, loss, gradient)
        return summed if computation.adds(y) else partial(_from_zero, backend, out, summed)


def _add_up(
    backend: Backend, out: Array, y_true: Array, y_pred: Array, loss: Any, gradient: Array | None
) -> None:
    rows = len(y_pred)
    backend.loss(loss, y_true, y_pred, None, 1.0 / rows, gradient, out, rows)


def _from_zero(backend: Backend, out: Array, work: Work) -> None:
    fill(backend, 0.0, out)
    work()


def _compute_sums(
    backend: Backend, out: Array, y_true: Array, y_pred: Array, loss: Any, formula: Any
) -> None:
    _from_zero(backend, out, partial(_add_up, backend, out, y_true, y_pred, loss, None))


def _compute_mean(
    backend: Backend, out: Array, sums: Array, y_true: Array, y_pred: Array, loss: Any, formula: Any
) -> None:
    backend.affine(sums[:1], 1.0 / len(y_pred), 0.0, out.reshape(1))


def _compute_slopes(
    backend: Backend, out: Array, y_true: Array, y_pred: Array, loss: Any, formula: Any
) -> None:
    unread = backend.scratch((2,), np.float64, "mean loss")
    _add_up(backend, unread, y_true, y_pred, loss, out)


def _gradient_of_mean(
    dy: Tensor, y: Tensor, sums: Tensor, y_true: Tensor, y_pred: Tensor, loss: Any, formula: Any
) -> Gradients:
    rows = y_pred.shape[0]
    by_target, _ = _gradients(
        broadcast_to(dy / rows, (rows,)), y, y_true, y_pred, loss=loss, formula=formula
    )
    slopes = _slopes_of_mean(y_true, y_pred, loss=loss, formula=formula)
    one = dy.value is not None and dy.is_constant and dy.value.item() == 1.0
    return None, by_target, slopes if one else slopes * dy


def _curvature(
    dz: Tensor, dx: Tensor, y_true: Tensor, y_pred: Tensor, loss: Any, formula: Any
) -> Gradients:
    rows = y_pred.shape[0]
    each = constant(np.full(rows, 1.0 / rows), y_pred.dtype)
    _, by_target, by_prediction = _second_gradients(
        dz, dx, each, y_true, y_pred, loss=loss, formula=formula
    )
    return by_target, by_prediction


_sums = _Sums(
    "sums of losses", _compute_sums, lambda t, p, **of: (2,), lambda t, p, **of: "float64"
)
_mean_loss = Primitive(
    "mean loss", _compute_mean, lambda s, t, p, **of: (), lambda s, t, p, **of: p, _gradient_of_mean
)
_slopes_of_mean = Primitive(
    "mean loss's gradient", _compute_slopes, lambda t, p, **of: p, lambda t, p, **of: p, _curvature
)
_slopes_of_mean.result_of = _sums
_loss_of_rows = Primitive(
    "loss", _compute, lambda t, p, **of: p[:1], lambda t, p, **of: p, _gradients
)
_gradient_of_rows = Primitive(
    "loss's gradient",
    _compute_gradient,
    lambda dy, t, p, **of: p,
    lambda dy, t, p, **of: p,
    _second_gradients,
)

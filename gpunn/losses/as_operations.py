"""Built-in losses as operations on tensors, by their own formulas and kernels."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from gpunn.activations.activation import applied_to
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.overrides import replaces
from gpunn.ops.conversion import cast, convert, floats
from gpunn.ops.elementwise import where
from gpunn.ops.fusion.storing import fill
from gpunn.ops.gather_scatter.checks import checked
from gpunn.ops.gradients import gradients_of
from gpunn.ops.primitive import Gradients, Primitive, Work, unknown_derivative
from gpunn.ops.shapes import broadcast_to, expand_dims, reshape
from gpunn.ops.tensor import Shape, Tensor, constant
from gpunn.ops.trace import current

from .rows import broadcasts, fitting, ignored_class


def of_rows(loss: Any, y_true: Any, y_pred: Any) -> Tensor:
    """Compute the loss of each row of tensors with the formula of a built-in loss.

    A label that is not a valid class raises an error, also within a step.
    """
    formula = _formula_of(loss)
    y_true, y_pred = _without_numbers(formula, y_true, floats(y_pred))
    targets, rows = as_rows(loss, formula.sparse, y_true, y_pred)
    values = _loss_of_rows(targets, rows, loss=loss, formula=formula)
    return reshape(values, y_pred.shape[:-1] if y_pred.ndim else ())


def _without_numbers(formula: Any, y_true: Any, y_pred: Tensor) -> tuple[Any, Tensor]:
    """Return targets and predictions; one that is a number is as many times there as needed."""
    y_true = y_true if hasattr(y_true, "ndim") else convert(y_true)
    if not broadcasts(formula, y_true, y_pred):
        return y_true, y_pred
    if y_pred.ndim:
        return broadcast_to(convert(y_true, y_pred.dtype), y_pred.shape), y_pred
    return y_true, broadcast_to(y_pred, y_true.shape)


def mean_of_rows(loss: Any, y_true: Any, y_pred: Tensor) -> Tensor | None:
    """Compute the mean loss of the rows of tensors by the kernel that `fit` uses; None without
    rows or a kernel."""
    if not _has_kernel(loss):
        return None
    formula = _formula_of(loss)
    y_true, y_pred = _without_numbers(formula, y_true, y_pred)
    targets, rows = as_rows(loss, formula.sparse, y_true, y_pred)
    if not rows.shape[0]:
        return None
    sums = _sums(targets, rows, loss=loss, formula=formula)
    return _mean_loss(sums, targets, rows, loss=loss, formula=formula)


def logits_for(loss: Any, y_pred: Tensor) -> Tensor | None:
    """Return what the softmax or sigmoid that made predictions was applied to, if `fit` computes
    the loss from that; else None."""
    formula, logits = applied_to(y_pred)
    return logits if loss.fuses_with(formula) else None


def sums_of_mean(t: Tensor) -> tuple[Tensor, int] | None:
    """Return the tensor (2,) of the sum of losses and the number of rows, of which ``t`` is the
    mean, and that number; None if it is no mean of losses."""
    is_mean = t.primitive is _mean_loss and not t.is_constant
    return (t.inputs[0], t.inputs[2].shape[0]) if is_mean else None


def _has_kernel(loss: Any) -> bool:
    """Whether `Backend.loss` computes a loss, and its formula gives the derivatives."""
    own = replaces(type(loss), "forward", "backward", "forward_backward", "elements", "call")
    return loss.functor is not None and loss.ignore_class is None and not (own or loss._of_tensors)


def _formula_of(loss: Any) -> Any:
    """Return the class of a loss; if it defines `call`, the built-in one that it derives from."""
    return next(cls for cls in type(loss).__mro__ if not getattr(cls, "_of_tensors", True))


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
    if ignored is None and trace is not None and trace.mode.stops:
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

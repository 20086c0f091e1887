"""Activations of tensors: where a bias was added before, or a convolution computed, one operation
of the contract does all of it, and one its gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.shared.geometry import Geometry
from gpunn.ops.gradients import gradients_of
from gpunn.ops.library.images import convolved, image_gradient, kernel_gradient
from gpunn.ops.primitive import Gradients, Primitive, Work, unknown_derivative
from gpunn.ops.shapes import broadcast_to
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current

from .storing import stored


def activated(x: Tensor, formula: Any) -> Tensor:
    """Return f(x), with its derivative.

    Args:
        formula: a built-in activation; see `gpunn.activations.Activation`.
    """
    if formula.functor == "Linear":
        return x
    given = _with_bias(x) if formula.saves == "output" else None
    if given is None:
        return _activation(x, formula=formula)
    y, bias = given
    if y.primitive is convolved:
        return _filters(*y.inputs, bias, formula=formula, **y.attributes)
    return _biased(y, bias, formula=formula)


def _with_bias(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the tensors (..., features) and (features,) whose sum x is in a trace, where it is
    not computed yet; None if it is no such sum."""
    trace = current()
    if trace is None or trace.knows or x.is_constant or x.primitive is None:
        return None
    if x.primitive.lowering != "add" or x.ndim < 2:
        return None
    y, bias = x.inputs
    alike = y.shape == x.shape and bias.shape == x.shape[-1:] and y.dtype == bias.dtype == x.dtype
    return (y, bias) if alike and not y.is_constant and not bias.is_constant else None


# -- by itself


def _compute(backend: Backend, out: Array, x: Array, formula: Any) -> None:
    backend.bias_activation(x, None, formula, out)


def _compute_gradient(
    backend: Backend, out: Array, dy: Array, saved: Array, formula: Any
) -> None:
    backend.activation_gradient(formula, saved, dy, out)


def _gradient(dy: Tensor, y: Tensor, x: Tensor, formula: Any) -> list[Tensor]:
    return [_slope(dy, x if formula.saves == "input" else y, formula=formula)]


def _second_gradient(
    dz: Tensor, dx: Tensor, dy: Tensor, saved: Tensor, formula: Any
) -> Gradients:
    if not formula.states_call:
        return unknown_derivative(lambda formula: formula.__name__)(formula=formula)
    return gradients_of(lambda dy, saved: formula.gradient(saved, dy), [dy, saved], dz)


_activation = Primitive(
    "activation", _compute, lambda x, formula: x, lambda x, formula: x, _gradient
)
_slope = Primitive(
    "activation's gradient",
    _compute_gradient,
    lambda dy, saved, formula: dy,
    lambda dy, saved, formula: dy,
    _second_gradient,
)
_slope.over = 0

# -- with the addition of a bias

_sum_over_rows = Primitive(
    "gradient of a bias",
    lambda backend, out, x: backend.column_sums(x.reshape(-1, len(out)), out),
    lambda x: x[-1:],
    gradient=lambda dy, y, x: (broadcast_to(dy, x.shape),),
)


def _gradients_of_biased(dy: Tensor, y: Tensor, x: Tensor, bias: Tensor, formula: Any) -> Gradients:
    dx = _slope(dy, y, formula=formula)
    return dx, partial(_sum_over_rows, dx)


_biased = Primitive(
    "activation of a sum with a bias",
    lambda backend, out, x, bias, formula: backend.bias_activation(x, bias, formula, out),
    lambda x, bias, formula: x,
    lambda x, bias, formula: x,
    _gradients_of_biased,
)
_biased.over = 0

# -- with a convolution too


class _AllGradients(Primitive):
    """The gradients of such a convolution, in one operation; each is a result that reads it."""

    eager = False

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        dy, saved, x, kernel = arrays
        backend, formula = computation.backend, y.attributes["formula"]
        places = {t.attributes["by"]: computation.place(t) for t in computation.results_of(y)}
        own = computation.is_last_use(y.inputs[0])
        dz = dy if own else backend.empty(dy.shape, dy.dtype)  # which is written over dy
        work = partial(
            backend.convolution_gradient, x, kernel, formula, y.attributes["geometry"], saved, dz,
            places.get("kernel"), places.get("bias"), places.get("image"),
        )  # fmt: skip
        return work if own else partial(_one_after_another, stored(backend, dy, dz), work)


def _one_after_another(*works: Work) -> None:
    for work in works:
        work()


def _gradient_by(by: str, dy: Tensor, y: Tensor, x: Tensor, kernel: Tensor, geometry: Geometry,
                 formula: Any) -> Tensor:  # fmt: skip
    """Return one of the gradients by operations that have derivatives of every order."""
    dz = _slope(dy, y, formula=formula)
    if by == "bias":
        return _sum_over_rows(dz)
    if by == "image":
        return image_gradient(dz, kernel, geometry=geometry, channels=x.shape[3])
    return kernel_gradient(x, dz, geometry=geometry, depth=kernel.shape[2])


def _gradients_of_filters(
    dy: Tensor, y: Tensor, x: Tensor, kernel: Tensor, bias: Tensor, **how: Any
) -> Gradients:
    given = dy, y, x, kernel
    token = _filter_gradients(*given, **how)
    return [
        partial(_filter_gradient, token, *given, by=by, like=t.shape, **how)
        for by, t in (("image", x), ("kernel", kernel), ("bias", bias))
    ]


def _second_gradients_of_filters(
    dz: Tensor, dx: Tensor, token: Tensor, *given: Tensor, by: str, like: Any, **how: Any
) -> Gradients:
    return [None, *gradients_of(lambda *own: _gradient_by(by, *own, **how), given, dz)]


_filters = Primitive(
    "convolution with a bias and an activation",
    lambda backend, out, x, kernel, bias, geometry, formula: backend.convolution(
        x, kernel, bias, formula, geometry, out, out
    ),
    lambda x, kernel, bias, geometry, formula: (x[0], *geometry.windows, kernel[3]),
    gradient=_gradients_of_filters,
)
_filter_gradients = _AllGradients("its gradients", None, lambda *shapes, **how: (0,))
_filter_gradient = Primitive(
    "its gradient",
    None,
    lambda *shapes, like, **how: like,
    lambda token, dy, *dtypes, **how: dy,
    _second_gradients_of_filters,
)
_filter_gradient.eager, _filter_gradient.is_result = False, True

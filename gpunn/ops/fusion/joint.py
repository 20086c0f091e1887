"""Tensors of a finished graph that one operation of the contract computes together.

An activation is joined with the bias that is added before, and with the convolution before that;
a convolution's gradients with each other. A primitive names what writes its result too: see
`Primitive.result_of`. Gradients are taken from the graph as it is written: `join` comes after that.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.gradients import topological_sort
from gpunn.ops.library.images import convolved, image_gradient, kernel_gradient
from gpunn.ops.primitive import Primitive, Work, one_after_another
from gpunn.ops.shapes import reshaped
from gpunn.ops.tensor import Tensor

from .rules import RULES
from .storing import stored

ACTIVATION, SLOPE = "activation", "activation's gradient"
"""The names of the primitives of `gpunn.activations`."""


def join(wanted: Sequence[Tensor]) -> None:
    """Let tensors be computed together where one operation computes several.

    Args:
        wanted: the results, of which all others are computed. No gradient is taken through these
            tensors any more: those that are joined change their inputs.
    """
    order = [t for t in topological_sort(wanted) if t.primitive is not None and not t.is_constant]
    readers: dict[int, list[Tensor]] = {}
    for t in order:
        for x in t.inputs:
            readers.setdefault(id(x), []).append(t)
    kept = set(map(id, wanted))
    _results(order)
    for t in order:
        if t.primitive.name == ACTIVATION:
            _with_bias(t, readers, kept)
    for t in order:
        if t.primitive.name == SLOPE and t.inputs[1].primitive is _filters and id(t) not in kept:
            _gradients_of_filters(t, readers.get(id(t), ()))
        elif _sums_rows(t) and t.inputs[0].primitive.lowering not in RULES:
            _become(t, _bias_gradient, t.inputs)


def _become(t: Tensor, primitive: Primitive, inputs: Sequence[Tensor], **attributes: Any) -> None:
    t.primitive, t.inputs, t.attributes = primitive, tuple(inputs), attributes


def _results(order: Sequence[Tensor]) -> None:
    """Let each tensor that is one of the results of another be written by that."""

    def key(primitive: Primitive, t: Tensor) -> Hashable:
        attributes = [(name, id(value)) for name, value in t.attributes.items()]
        return id(primitive), *map(id, t.inputs), *attributes

    known = {key(t.primitive, t): t for t in order}
    first: dict[int, Tensor] = {}
    for t in order:
        of = t.primitive.result_of
        whole = None if of is None else known.get(key(of, t))
        if whole is None:
            continue
        same = first.setdefault(id(whole), t)
        if same is t:
            _become(t, _result, [whole], like=t.shape, dtype=t.dtype)
        else:
            _become(t, reshaped, [same], shape=t.shape)


_result = Primitive(
    "result",
    None,
    lambda whole, like, dtype: like,
    lambda whole, like, dtype: dtype,
)
_result.is_result = True

# -- activations


def _with_bias(t: Tensor, readers: Mapping[int, Sequence[Tensor]], kept: Collection[int]) -> None:
    """Join an activation with the addition of a bias before, and a convolution before that."""
    z, formula = t.inputs[0], t.attributes["formula"]

    def only(x: Tensor, reader: Tensor) -> bool:
        return id(x) not in kept and len(readers[id(x)]) == 1 and readers[id(x)][0] is reader

    is_sum = z.primitive is not None and z.primitive.lowering == "add" and not z.is_constant
    if formula.saves != "output" or z.ndim < 2 or not is_sum or not only(z, t):
        return
    y, bias = z.inputs
    alike = y.shape == z.shape and bias.shape == z.shape[-1:] and y.dtype == bias.dtype == z.dtype
    if not alike or y.is_constant or bias.is_constant:
        return
    if y.primitive is convolved and only(y, z):
        _become(t, _filters, [*y.inputs, bias], formula=formula, **y.attributes)
    else:
        _become(t, _biased, [y, bias], formula=formula)


_biased = Primitive(
    "activation of a sum with a bias",
    lambda backend, out, x, bias, formula: backend.bias_activation(x, bias, formula, out),
    lambda x, bias, formula: x,
)
_biased.over = 0
_filters = Primitive(
    "convolution with a bias and an activation",
    lambda backend, out, x, kernel, bias, geometry, formula: backend.convolution(
        x, kernel, bias, formula, geometry, out, out
    ),
    lambda x, kernel, bias, geometry, formula: (x[0], *geometry.windows, kernel[3]),
)

# -- gradients


def _sums_rows(t: Tensor) -> bool:
    """Whether a tensor is the sum over all axes but the last, as the gradient of a bias is."""
    if t.primitive.lowering != "row_sum":
        return False
    x = t.inputs[0]
    axes = tuple(sorted(t.attributes["axis"]))
    plain = x.primitive is not None and not x.is_constant and x.size > 0
    return plain and t.ndim == 1 and axes == tuple(range(x.ndim - 1)) and x.dtype == t.dtype


def _write_sums(backend: Backend, out: Array, x: Array) -> None:
    backend.column_sums(x.reshape(-1, len(out)), out)


_bias_gradient = Primitive("gradient of a bias", _write_sums, lambda x: x[-1:])


def _gradients_of_filters(dz: Tensor, readers: Sequence[Tensor]) -> None:
    """Join the gradients of a convolution with an activation, if they are all that reads ``dz``."""
    dy, y = dz.inputs
    x, kernel, _ = y.inputs
    parts: dict[str, Tensor] = {}
    for t in readers:
        if t.primitive is image_gradient and t.inputs[0] is dz and t.inputs[1] is kernel:
            parts.setdefault("image", t)
        elif t.primitive is kernel_gradient and t.inputs[1] is dz and t.inputs[0] is x:
            parts.setdefault("kernel", t)
        elif _sums_rows(t):
            parts.setdefault("bias", t)
    if len(parts) < len(readers) or not {"image", "kernel"} & parts.keys():
        return
    whole = Tensor((0,), dz.dtype, None, _filter_gradients, [dy, y, x, kernel], y.attributes)
    whole.trace, whole.position = dz.trace, dz.position
    for by, t in parts.items():
        _become(t, _result, [whole], like=t.shape, dtype=t.dtype)
        t.attributes["by"] = by


class _AllGradients(Primitive):
    """The gradients of a convolution with an activation, in one operation."""

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
        return work if own else partial(one_after_another, stored(backend, dy, dz), work)


_filter_gradients = _AllGradients("gradients of a convolution", None, lambda *shapes, **how: (0,))

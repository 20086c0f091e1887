"""Tensors of a finished graph that one operation of the contract computes together.

A bias is joined with the activation that follows, and with the convolution before; a convolution's
gradients with each other. A primitive names what writes its result too: see `Primitive.result_of`.
Gradients are taken from the graph as it is written: `join` comes after that.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.formulas import LINEAR
from gpunn.backends.shared.geometry import Geometry, planes
from gpunn.ops.gradients import topological_sort
from gpunn.ops.primitive import Primitive, Work, one_after_another
from gpunn.ops.shapes import reshaped
from gpunn.ops.tensor import Tensor

from .storing import LOWERED, stored

ACTIVATION, SLOPE = "activation", "activation's gradient"
"""The names of the primitives of `gpunn.activations`."""
CONVOLVED = "conv"
BY_IMAGE, BY_KERNEL = "conv's gradient by the image", "conv's gradient by the kernel"
"""The names of the primitives of `gpunn.ops.library.images`."""


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
    kept, places = set(map(id, wanted)), {id(t): place for place, t in enumerate(order)}
    _results(order)
    for t in order:
        if t.primitive.name == ACTIVATION:
            _with_bias(t, readers, kept)
    for t in order:
        if t.primitive.lowering == "add":
            _of_bias_alone(t, readers, kept)
    for t in order:
        if t.primitive.name == SLOPE and _is_of_filters(t.inputs[1]) and id(t) not in kept:
            _gradients_of_filters(t, readers.get(id(t), ()))
        elif _is(t, BY_KERNEL):
            _gradients_of_linear_filters(t, readers, places)
        elif _sums_rows(t) and not _is_elementwise(t.inputs[0]):
            _become(t, _bias_gradient, t.inputs)


def _is(t: Tensor, name: str) -> bool:
    return t.primitive is not None and t.primitive.name == name


def _become(t: Tensor, primitive: Primitive, inputs: Sequence[Tensor], **attributes: Any) -> None:
    t.primitive, t.inputs, t.attributes = primitive, tuple(inputs), attributes


def _results(order: Sequence[Tensor]) -> None:
    """Let each tensor that is one of the results of another be written by that."""

    def key(of: object, t: Tensor) -> Hashable:
        read = (item for item in t.attributes.items() if item[0] not in t.primitive.metadata)
        attributes = sorted((name, id(value)) for name, value in read)
        return id(of), *map(id, t.inputs), *attributes

    known = {key(t.primitive, t): t for t in order}
    first: dict[Hashable, Tensor] = {}
    for t in order:
        of, name, whole = t.primitive.result_of, t.primitive.name, None
        if t.primitive.together is not None:
            whole = known.setdefault(key(t.primitive.together, t), t)
        elif of is not None:
            whole = known.get(key(of, t))
        if whole is None:
            continue
        same = first.setdefault((id(whole), name), t)
        if same is not t:
            _become(t, reshaped, [same], shape=t.shape)
        elif whole is not t:
            _become(t, _result, [whole], like=t.shape, dtype=t.dtype, by=name)


_result = Primitive(
    "result", None, lambda whole, like, **attributes: like,
    lambda whole, dtype, **attributes: dtype,
)
_result.is_result = True


def _is_of_filters(t: Tensor) -> bool:
    """Whether `_filters` writes a tensor, as its result or as the sum that it keeps."""
    return t.primitive is _filters or (
        t.primitive is _result and t.inputs[0].primitive is _filters
    )


def _is_elementwise(t: Tensor) -> bool:
    """Whether an expression computes a tensor."""
    return t.primitive is not None and t.primitive.lowering in LOWERED


def _is_in_expression(t: Tensor, readers: Mapping[int, Sequence[Tensor]]) -> bool:
    """Whether an expression reads a tensor, or a view of it."""
    return any(
        _is_in_expression(y, readers) if y.primitive.view else y.primitive.lowering in LOWERED
        for y in readers.get(id(t), ())
    )


# -- activations


def _with_bias(t: Tensor, readers: Mapping[int, Sequence[Tensor]], kept: Collection[int]) -> None:
    """Join an activation with the addition of a bias before, and a convolution before that."""
    z, formula = t.inputs[0], t.attributes["formula"]
    if _is(z, CONVOLVED) and not z.is_constant:
        y, bias, filters = z, list[Tensor](), True
    elif z.ndim < 2 or not _adds_bias(z):
        return
    else:
        y, *bias = z.inputs
        filters = _is(y, CONVOLVED) and _only(y, z, readers, kept)
    x_and_kernel, how = y.inputs, y.attributes
    if formula.saves == "output":
        if not _only(z, t, readers, kept):
            return
    elif y is z or _only(y, z, readers, kept):  # its derivative reads the sum, which is kept
        _become(z, _result, [t], like=z.shape, dtype=z.dtype)
    else:
        return
    if filters:
        _become(t, _filters, [*x_and_kernel, *bias], formula=formula, **how)
    else:
        whole = _biased if formula.saves == "output" else _biased_keeping
        _become(t, whole, [y, *bias], formula=formula)


def _of_bias_alone(
    z: Tensor, readers: Mapping[int, Sequence[Tensor]], kept: Collection[int]
) -> None:
    """Join the addition of a bias with a convolution or a product before, unless an expression
    computes it with what follows."""
    if z.ndim < 2 or not _adds_bias(z) or _is_in_expression(z, readers):
        return
    y, bias = z.inputs
    if _is(y, CONVOLVED) and _only(y, z, readers, kept):
        _become(z, _filters, [*y.inputs, bias], formula=LINEAR, **y.attributes)
    elif not _is_elementwise(y):
        _become(z, _biased, [y, bias], formula=LINEAR)


def _adds_bias(z: Tensor) -> bool:
    """Whether a tensor is a sum of another one and a vector along the last axis."""
    if z.primitive is None or z.primitive.lowering != "add" or z.is_constant:
        return False
    y, bias = z.inputs
    alike = y.shape == z.shape and bias.shape == z.shape[-1:] and y.dtype == bias.dtype == z.dtype
    return alike and not y.is_constant and not bias.is_constant


def _only(
    x: Tensor, reader: Tensor, readers: Mapping[int, Sequence[Tensor]], kept: Collection[int]
) -> bool:
    """Whether nothing else reads a tensor."""
    return id(x) not in kept and len(readers[id(x)]) == 1 and readers[id(x)][0] is reader


_biased = Primitive(
    "activation of a sum with a bias",
    lambda backend, out, x, bias, formula: backend.bias_activation(x, bias, formula, out),
    lambda x, bias, formula: x,
)
_biased.over = 0


class _BiasedKeeping(Primitive):
    """An activation of a sum with a bias, and the sum, which the activation's derivative reads."""

    def bind(self, computation: Any, out: Array, arrays: list[Any], t: Tensor) -> Work:
        (x, bias), backend = arrays, computation.backend
        z = next(iter(computation.results_of(t)), None)
        formula, y = t.attributes["formula"], t.inputs[0]
        work = partial(backend.bias_activation, bias=bias, activation=formula, out=out)
        if computation.is_last_use(y) and (z is None or computation.takes(z, y)):
            return partial(work, x)
        kept = backend.empty(x.shape, x.dtype) if z is None else computation.place(z)
        return partial(one_after_another, stored(backend, x, kept), partial(work, kept))


_biased_keeping = _BiasedKeeping(
    "activation of a kept sum with a bias", None, lambda x, bias, formula: x
)


class _Filters(Primitive):
    """A convolution with a bias and an activation, whose derivative may read the kept sum."""

    def bind(self, computation: Any, out: Array, arrays: list[Any], t: Tensor) -> Work:
        (x, kernel, *bias), backend, z = arrays, computation.backend, out
        formula, geometry = t.attributes["formula"], t.attributes["geometry"]
        if formula.saves == "input":
            kept = next(iter(computation.results_of(t)), None)
            z = backend.empty(out.shape, out.dtype) if kept is None else computation.place(kept)
        how = geometry, planes(z), planes(out), computation.precision
        added = bias[0] if bias else None
        return partial(backend.convolution, planes(x), kernel, added, formula, *how)


_filters = _Filters(
    "convolution with a bias and an activation",
    None,
    lambda x, kernel, *bias, geometry, formula: (x[0], *geometry.windows[4 - len(x) :], kernel[3]),
)

# -- gradients


def _sums_rows(t: Tensor) -> bool:
    """Whether a tensor is the sum over all axes but the last, as the gradient of a bias is."""
    if t.primitive is None or t.primitive.lowering != "row_sum":
        return False
    x = t.inputs[0]
    axes = tuple(sorted(t.attributes["axis"]))
    plain = not x.is_constant and x.size > 0
    return plain and t.ndim == 1 and axes == tuple(range(x.ndim - 1)) and x.dtype == t.dtype


def _write_sums(backend: Backend, out: Array, x: Array) -> None:
    backend.column_sums(x.reshape(-1, len(out)), out)


_bias_gradient = Primitive("gradient of a bias", _write_sums, lambda x: x[-1:])


def _gradients_of_filters(dz: Tensor, readers: Sequence[Tensor]) -> None:
    """Join the gradients of a convolution with an activation, if they are all that reads ``dz``."""
    dy, y = dz.inputs  # of what the activation keeps, which `_filters` writes
    whole = y if y.primitive is _filters else y.inputs[0]
    x, kernel = whole.inputs[:2]
    parts = _parts(dz, readers, x, kernel)
    if len(parts) < len(readers) or not {"image", "kernel"} & parts.keys():
        return
    _join_gradients(parts, [dy, x, kernel, y], dz, **whole.attributes)


def _gradients_of_linear_filters(
    dkernel: Tensor, readers: Mapping[int, Sequence[Tensor]], places: Mapping[int, int]
) -> None:
    """Join the gradients of a convolution without an activation.

    They come after the convolution; the same operations before it are others. A transposed
    convolution is computed as the gradient of an image.
    """
    x, dz = dkernel.inputs
    geometry = dkernel.attributes["geometry"]
    of_image = [t for t in readers[id(dz)] if _is(t, BY_IMAGE) and t.inputs[0] is dz]
    kernel = of_image[0].inputs[1] if of_image else None
    parts = _parts(dz, readers[id(dz)], x, kernel)
    first = min(places[id(t)] for t in parts.values())
    is_known = any(
        (_is(y, CONVOLVED) or y.primitive is _filters)
        and y.inputs[0] is x and places[id(y)] < first and y.attributes["geometry"] is geometry
        for y in readers.get(id(x), ())
    )
    if len(parts) > 1 and is_known:
        inputs = [dz, x] if kernel is None else [dz, x, kernel]
        _join_gradients(parts, inputs, dz, formula=LINEAR, geometry=geometry)


def _parts(
    dz: Tensor, readers: Sequence[Tensor], x: Tensor, kernel: Tensor | None
) -> dict[str, Tensor]:
    """Return the gradients of a convolution of ``x`` among the readers of ``dz``."""
    parts: dict[str, Tensor] = {}
    for t in readers:
        if _is(t, BY_IMAGE) and t.inputs[0] is dz and t.inputs[1] is kernel:
            parts.setdefault("image", t)
        elif _is(t, BY_KERNEL) and t.inputs[1] is dz and t.inputs[0] is x:
            parts.setdefault("kernel", t)
        elif _sums_rows(t):
            parts.setdefault("bias", t)
    return parts


def _join_gradients(
    parts: Mapping[str, Tensor],
    inputs: Sequence[Tensor],
    dz: Tensor,
    formula: Any,
    geometry: Geometry,
) -> None:
    attributes = {"formula": formula, "geometry": geometry}
    whole = Tensor((0,), dz.dtype, None, _filter_gradients, inputs, attributes)
    whole.trace, whole.position = dz.trace, dz.position
    for by, t in parts.items():
        _become(t, _result, [whole], like=t.shape, dtype=t.dtype)
        t.attributes["by"] = by


class _AllGradients(Primitive):
    """The gradients of a convolution with an activation, in one operation."""

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, formula = computation.backend, y.attributes["formula"]
        geometry = y.attributes["geometry"]
        places = {t.attributes["by"]: computation.place(t) for t in computation.results_of(y)}
        dy, x, *read = arrays
        linear = formula is LINEAR  # it changes nothing, and reads no output
        own = linear or computation.is_last_use(y.inputs[0])
        dy, x = planes(dy), planes(x)
        dz = dy if own else backend.empty(dy.shape, dy.dtype)  # which is written over dy
        kernel = read[0] if read else backend.scratch(places["kernel"].shape, dy.dtype, "kernel")
        saved = None if linear else planes(read[1])
        dx = places.get("image")
        work = partial(
            backend.convolution_gradient, x, kernel, formula, geometry, saved, dz,
            places.get("kernel"), places.get("bias"), None if dx is None else planes(dx),
            precision=computation.precision,
        )
        return work if own else partial(one_after_another, stored(backend, dy, dz), work)


_filter_gradients = _AllGradients("gradients of a convolution", None, lambda *shapes, **how: (0,))

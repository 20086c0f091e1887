"""Operations on shapes: they move numbers and compute none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert
from .dtypes import is_float
from .primitive import Gradients, Primitive
from .table import operation, ops
from .tensor import Shape, Tensor


def axis_of(axis: Any, ndim: int) -> int:
    """The axis that a number names, from 0 on.

    Raises:
        ValueError: if there is none.

    >>> axis_of(-1, 3)
    2
    """
    if isinstance(axis, (bool, np.bool_)) or not -ndim <= index(axis) < ndim:
        raise ValueError(f"axis must be from {-ndim} to {ndim - 1}; got {axis!r}.")
    return index(axis) % ndim


# -- another shape


def _compute_view(x: Array, shape: Shape) -> Array:
    return x.reshape(shape)


_reshape = Primitive(
    "reshape",
    _compute_view,
    lambda given, shape: shape,
    lambda dtype, shape: dtype,
    lambda dy, y, x, shape: (ops.reshape(dy, x.shape),),
    view=True,
    loop="same",
)


@operation
def reshape(x: Any, newshape: Any) -> Tensor:
    """The same numbers, in order, in another shape; one of its sizes may be -1.

    >>> from gpunn import ops
    >>> ops.reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    x = convert(x)
    given = [newshape] if isinstance(newshape, (int, np.integer)) else newshape
    shape = [int(n) for n in given]
    if shape.count(-1) == 1:
        others = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = x.size // others if others else 0
    if -1 in shape or math.prod(shape) != x.size:
        raise ValueError(
            f"reshape: {x.size} numbers of shape {x.shape} do not fit the shape {tuple(given)}."
        )
    return x if tuple(shape) == x.shape else _reshape(x, shape=tuple(shape))


@operation
def ravel(x: Any) -> Tensor:
    """All numbers in a row."""
    return reshape(x, (-1,))


@operation
def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """With a new axis of length 1 there, or several."""
    x = convert(x)
    places = [axis] if isinstance(axis, int) else list(axis)
    ndim = x.ndim + len(places)
    new = {a + ndim if a < 0 else a for a in places}
    if len(new) != len(places) or not all(0 <= a < ndim for a in new):
        raise ValueError(f"axis must name places in a shape of {ndim} axes; got {axis!r}.")
    sizes = iter(x.shape)
    return reshape(x, [1 if a in new else next(sizes) for a in range(ndim)])


@operation
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Without its axes of length 1, or without these of them."""
    x = convert(x)
    given = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    gone = {a + x.ndim if a < 0 else a for a in given}
    if axis is not None and not all(0 <= a < x.ndim and x.shape[a] == 1 for a in gone):
        raise ValueError(f"squeeze: axis must name axes of length 1 of {x.shape}; got {axis!r}.")
    return reshape(x, [n for a, n in enumerate(x.shape) if n != 1 or a not in gone])


# -- another order


def _exchanged(shape: Shape, axes: tuple[int, ...]) -> Shape | None:
    """Where two neighbouring groups of axes change places behind all others: how many numbers are
    in the others, in the first group and in the second."""
    first = next((a for a, to in enumerate(axes) if a != to), len(axes))
    second = axes[first] if first < len(axes) else first
    parts = shape[:first], shape[first:second], shape[second:]
    kept, moved = tuple(range(first)), tuple(range(first, len(axes)))
    turned = (*kept, *moved[len(parts[1]) :], *moved[: len(parts[1])])
    return tuple(map(math.prod, parts)) if turned == tuple(axes) else None


def _compute_transpose(backend: Backend, out: Array, x: Array, axes: tuple[int, ...]) -> None:
    sizes = _exchanged(x.shape, axes) if x.size and is_float(x.dtype.name) else None
    if sizes is None or not (x.flags.c_contiguous and out.flags.c_contiguous):
        backend.xp.copyto(out, x.transpose(axes))
    else:
        others, a, b = sizes
        backend.swap_axes(x.reshape(others, a, b), out.reshape(others, b, a))


_transpose = Primitive(
    "transpose",
    _compute_transpose,
    lambda shape, axes: tuple(shape[a] for a in axes),
    lambda dtype, axes: dtype,
    lambda dy, y, x, axes: (ops.transpose(dy, np.argsort(axes).tolist()),),
)


@operation
def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in this order; turned round by default."""
    x = convert(x)
    order = range(x.ndim)[::-1] if axes is None else [a + x.ndim if a < 0 else a for a in axes]
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"axes must name each axis of {x.shape} once; got {axes!r}.")
    if list(order) == sorted(order):
        return x
    return _transpose(x, axes=tuple(order))


@operation
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """With two axes exchanged."""
    x = convert(x)
    order = list(range(x.ndim))
    first, second = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order[first], order[second] = second, first
    return transpose(x, order)


@operation
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """With axes moved to other places; the others stay in order."""
    x = convert(x)
    given = [source] if isinstance(source, int) else list(source)
    to = [destination] if isinstance(destination, int) else list(destination)
    moved = [axis_of(a, x.ndim) for a in given]
    rest = [a for a in range(x.ndim) if a not in moved]
    for at, a in sorted(zip([axis_of(t, x.ndim) for t in to], moved, strict=True)):
        rest.insert(at, a)
    return transpose(x, rest)


@operation
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Turned round along these axes, or along all."""
    x = convert(x)
    given = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    turned = [axis_of(a, x.ndim) for a in given]
    if len({*turned}) != len(turned):
        raise ValueError(f"flip: axis must name each axis once; got {axis!r}.")
    back = slice(None, None, -1)
    return ops.get_item(x, tuple(back if a in turned else slice(None) for a in range(x.ndim)))


# -- broadcast


@operation
def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """Repeated along axes of length 1, and along new ones in front."""
    x, shape = convert(x), tuple(int(n) for n in shape)
    return x if x.shape == shape else _broadcast(x, shape=shape)


def _broadcast_shape(given: Shape, shape: Shape) -> Shape:
    if np.broadcast_shapes(given, shape) != shape:
        raise ValueError(f"this cannot be broadcast to {shape}.")
    return shape


def _compute_broadcast(backend: Backend, out: Array, x: Array, shape: Shape) -> None:
    backend.xp.copyto(out, x)


def _broadcast_gradient(dy: Tensor, y: Tensor, x: Tensor, shape: Shape) -> Gradients:
    return (reduced_to(dy, x.shape),)


_broadcast = Primitive(
    "broadcast_to",
    _compute_broadcast,
    _broadcast_shape,
    lambda dtype, shape: dtype,
    _broadcast_gradient,
    loop="broadcast",
)


def reduced_to(dy: Tensor, shape: Shape) -> Tensor:
    """The sum of dy over the axes along which ``shape`` was broadcast."""
    if dy.shape == shape:
        return dy
    first = dy.ndim - len(shape)
    axes = [
        axis
        for axis in range(dy.ndim)
        if axis < first or (shape[axis - first] == 1 and dy.shape[axis] != 1)
    ]
    return ops.reshape(ops.sum(dy, axis=axes) if axes else dy, shape)


@operation
def shape(x: Any) -> tuple[int, ...]:
    """Its sizes: whole numbers."""
    return convert(x).shape


@operation
def ndim(x: Any) -> int:
    """How many axes it has."""
    return convert(x).ndim


@operation
def size(x: Any) -> int:
    """How many numbers it has."""
    return convert(x).size

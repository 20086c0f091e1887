"""Operations on shapes: they move numbers and compute none."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert
from .dtypes import is_float
from .primitive import Gradients, Primitive
from .table import operation, ops
from .tensor import Shape, Tensor

Axis = int | Sequence[int] | None

# -- what names axes and sizes


def axes_of(axis: Axis, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """The axes that ``axis`` names, from 0 on, in order; None names all.

    Raises:
        ValueError: for one that there is not, or that is named twice.

    >>> axes_of(-1, 3), axes_of(None, 2), axes_of([2, 0], 3)
    ((2,), (0, 1), (0, 2))
    """
    return tuple(range(ndim)) if axis is None else tuple(sorted(places_of(axis, ndim, name)))


def places_of(axis: int | Sequence[int], ndim: int, name: str = "axis") -> list[int]:
    """The axes that ``axis`` names, from 0 on, as they are given.

    Raises:
        ValueError: as `axes_of`.
    """
    given = _listed(axis)
    found = [whole(a, name) for a in given]
    found = [a + ndim if a < 0 else a for a in found]
    if len(set(found)) != len(found) or not all(0 <= a < ndim for a in found):
        raise ValueError(f"{name} must name axes of a tensor of {ndim}, each once; got {axis!r}.")
    return found


def axis_of(axis: int, ndim: int, name: str = "axis") -> int:
    """The axis that a whole number names, from 0 on.

    Raises:
        ValueError: for one that there is not.
    """
    place = whole(axis, name)
    if not -ndim <= place < ndim:
        raise ValueError(f"{name} must name one of the axes of a tensor of {ndim}; got {axis!r}.")
    return place % ndim


def sizes_of(shape: Any, name: str = "shape") -> tuple[int, ...]:
    """A shape, which may be one number.

    Raises:
        ValueError: for a size that is negative, or no whole number.
    """
    sizes = tuple(whole(n, name) for n in _listed(shape))
    if any(n < 0 for n in sizes):
        raise ValueError(f"{name} must be of sizes of 0 or more; got {shape!r}.")
    return sizes


def _listed(given: Any) -> list[Any]:
    several = hasattr(given, "__iter__") and getattr(given, "ndim", None) != 0
    return list(given) if several else [given]


def whole(n: Any, name: str) -> int:
    """A whole number, of Python or NumPy.

    Raises:
        ValueError: for anything else, numbers of floats and truth values too.
    """
    if isinstance(n, (bool, np.bool_)) or not hasattr(n, "__index__"):
        raise ValueError(f"{name} must be of whole numbers; got {n!r}.")
    return operator.index(n)


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
    lowering="same",
)


@operation
def reshape(x: Any, newshape: Any) -> Tensor:
    """The same numbers, in order, in another shape; one of its sizes may be -1.

    >>> from gpunn import ops
    >>> ops.reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    x = convert(x)
    shape = [whole(n, "newshape") for n in _listed(newshape)]
    if shape.count(-1) == 1:
        others = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = x.size // others if others else 0
    if any(n < 0 for n in shape) or math.prod(shape) != x.size:
        raise ValueError(
            f"reshape: {x.size} numbers of shape {x.shape} do not fit the shape {newshape!r}."
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
    ndim = x.ndim + len(_listed(axis))
    new = places_of(axis, ndim)
    sizes = iter(x.shape)
    return reshape(x, [1 if a in new else next(sizes) for a in range(ndim)])


@operation
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Without its axes of length 1, or without these of them."""
    x = convert(x)
    if axis is None:
        return reshape(x, [n for n in x.shape if n != 1])
    gone = axes_of(axis, x.ndim)
    if not all(x.shape[a] == 1 for a in gone):
        raise ValueError(f"squeeze: axis must name axes of length 1 of {x.shape}; got {axis!r}.")
    return reshape(x, [n for a, n in enumerate(x.shape) if a not in gone])


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
    order = list(range(x.ndim))[::-1] if axes is None else places_of(axes, x.ndim, "axes")
    if len(order) != x.ndim:
        raise ValueError(f"axes must name each axis of {x.shape} once; got {axes!r}.")
    return x if order == sorted(order) else _transpose(x, axes=tuple(order))


@operation
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """With two axes exchanged."""
    x = convert(x)
    order = list(range(x.ndim))
    one, other = axis_of(axis1, x.ndim, "axis1"), axis_of(axis2, x.ndim, "axis2")
    order[one], order[other] = other, one
    return transpose(x, order)


@operation
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """With axes moved to other places; the others stay in order."""
    x = convert(x)
    moved, to = places_of(source, x.ndim, "source"), places_of(destination, x.ndim, "destination")
    if len(moved) != len(to):
        raise ValueError(
            f"moveaxis: source and destination must be as many; got {source!r} and {destination!r}."
        )
    rest = [a for a in range(x.ndim) if a not in moved]
    for at, a in sorted(zip(to, moved, strict=True)):
        rest.insert(at, a)
    return transpose(x, rest)


@operation
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Turned round along these axes, or along all."""
    x = convert(x)
    turned = axes_of(axis, x.ndim)
    back = slice(None, None, -1)
    return ops.get_item(x, tuple(back if a in turned else slice(None) for a in range(x.ndim)))


# -- broadcast


@operation
def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """Repeated along axes of length 1, and along new ones in front."""
    x, shape = convert(x), sizes_of(shape)
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
    lowering="broadcast",
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

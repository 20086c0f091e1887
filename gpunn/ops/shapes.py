"""Operations on shapes: they move elements without computing."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.numeric.dtypes import name_of

from .conversion import convert
from .dtypes import is_float
from .fusion.storing import rearrange
from .primitive import Primitive
from .tensor import Shape, Tensor, operation, ops

Axis = int | Sequence[int] | None


class IntegerError(TypeError, ValueError):
    """A value that is no integer, where an axis, a size, a count or an index is expected."""


# -- arguments that name axes and sizes


def axes_of(axis: Axis, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """Return the axes, each named once, as sorted non-negative integers; None names all.

    >>> axes_of(-1, 3), axes_of(None, 2), axes_of([2, 0], 3)
    ((2,), (0, 1), (0, 2))
    """
    return tuple(range(ndim)) if axis is None else tuple(sorted(places_of(axis, ndim, name)))


def places_of(axis: int | Sequence[int], ndim: int, name: str = "axis") -> list[int]:
    """Return the axes that ``axis`` names, as non-negative integers in its order; see `axes_of`."""
    found = [whole(a, name) for a in listed(axis)]
    found = [a + ndim if a < 0 else a for a in found]
    if len(set(found)) != len(found) or not all(0 <= a < ndim for a in found):
        raise ValueError(f"{name} must name axes of a tensor of {ndim}, each once; got {axis!r}.")
    return found


def axis_of(axis: int, ndim: int, name: str = "axis") -> int:
    """Return the axis that an integer, or a sequence of one, names, as a non-negative integer."""
    if len(given := listed(axis)) != 1:
        raise IntegerError(f"{name} must be one integer; got {axis!r}.")
    place = whole(given[0], name)
    if not -ndim <= place < ndim:
        raise ValueError(f"{name} must name one of the {ndim} axes of a tensor; got {axis!r}.")
    return place % ndim


def sizes_of(shape: Any, name: str = "shape") -> tuple[int, ...]:
    """Return a shape as a tuple; a single integer is one size."""
    sizes = tuple(whole(n, name) for n in listed(shape))
    if any(n < 0 for n in sizes):
        raise ValueError(f"{name} must contain sizes of 0 or more; got {shape!r}.")
    return sizes


def listed(given: Any) -> list[Any]:
    """Return the entries of a sequence; of one value, that value."""
    several = hasattr(given, "__iter__") and getattr(given, "ndim", None) != 0
    return list(given) if several else [given]


def check_some(x: Tensor, axes: Sequence[int]) -> None:
    """Raise a ValueError if there are no elements along the axes, of which to take one."""
    if not math.prod(x.shape[a] for a in axes):
        raise ValueError(f"x must have elements along the axes {axes}; got shape {x.shape}.")


def with_axes(x: Any, ndim: int) -> Tensor:
    """Convert x, which has ``ndim`` axes or more, to a tensor."""
    x = convert(x)
    if x.ndim < ndim:
        raise ValueError(f"expected a tensor of {ndim} or more axes; got shape {x.shape}.")
    return x


def whole_number(n: Any, name: str) -> int:
    """Return `whole` of a number or a tensor of one, which may be a float, as 2.0."""
    number = n.item() if hasattr(n, "item") else n
    exact = int(number) if isinstance(number, float) and number.is_integer() else number
    return whole(exact, name)


def whole(n: Any, name: str, least: int | None = None) -> int:
    """Return a Python or NumPy integer, or a tensor of one, as an int of ``least`` or more.

    Raises:
        IntegerError: a TypeError and ValueError, for anything else, as floats and booleans.
    """
    try:
        found = None if isinstance(n, (bool, np.bool_)) else operator.index(n)
    except TypeError:
        if isinstance(n, Tensor) and n.value is None:  # the error says what to write in a trace
            raise
        found = None
    if found is None:
        raise IntegerError(f"{name} must be given in integers; got {n!r}.")
    if least is not None and found < least:
        raise ValueError(f"{name} must be {least} or more; got {n!r}.")
    return found


# -- another shape


reshaped = Primitive(
    "reshape", lambda x, shape: x.reshape(shape), lambda given, shape: shape, gradient="reshape",
    view=True, lowering="same",
)


@operation
def reshape(x: Any, newshape: Any) -> Tensor:
    """Give a tensor a new shape; the elements keep their row-major order.

    Args:
        x: a tensor or array-like (...); the result has its dtype.
        newshape: an integer or a sequence of them; one of them may be -1, which is the size that
            the others leave.

    Raises:
        ValueError: if the number of elements differs, or if a size is not an integer.

    >>> from gpunn import ops
    >>> ops.reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    x = convert(x)
    shape = [whole(n, "newshape") for n in listed(newshape)]
    if shape.count(-1) == 1:
        others = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = x.size // others if others else 0
    if any(n < 0 for n in shape) or math.prod(shape) != x.size:
        raise ValueError(f"{x.size} elements of shape {x.shape} do not fit the shape {newshape!r}.")
    return x if tuple(shape) == x.shape else reshaped(x, shape=tuple(shape))


@operation
def ravel(x: Any) -> Tensor:
    """Flatten a tensor to one axis, in row-major order: (m, n) -> (m * n,).

    ``x``: tensor or array-like of any shape; the result has its dtype.

    >>> from gpunn import ops
    >>> ops.ravel([[1, 2], [3, 4]]).tolist()
    [1, 2, 3, 4]
    """
    return reshape(x, (-1,))


@operation
def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """Insert new axes of length 1: (m, n) -> (1, m, n) for axis 0.

    Args:
        x: a tensor or array-like; the result has its dtype.
        axis: the position of the new axis in the result, or several.

    Raises:
        ValueError: if a position is out of range or named twice.

    >>> from gpunn import ops
    >>> ops.expand_dims([1, 2], 0).shape
    (1, 2)
    """
    x = convert(x)
    ndim = x.ndim + len(listed(axis))
    new = places_of(axis, ndim)
    sizes = iter(x.shape)
    return reshape(x, [1 if a in new else next(sizes) for a in range(ndim)])


@operation
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Remove axes of length 1: (1, m, 1) -> (m,).

    Args:
        x: a tensor or array-like; the result has its dtype.
        axis: the axes to remove; by default all of length 1.

    Raises:
        ValueError: if an axis to remove is out of range or does not have length 1.

    >>> from gpunn import ops
    >>> ops.squeeze([[[1], [2]]]).tolist(), ops.squeeze([[[1], [2]]], axis=0).tolist()
    ([1, 2], [[1], [2]])
    """
    x = convert(x)
    if axis is None:
        return reshape(x, [n for n in x.shape if n != 1])
    gone = axes_of(axis, x.ndim)
    if not all(x.shape[a] == 1 for a in gone):
        raise ValueError(f"squeeze: axis must name axes of length 1 of {x.shape}; got {axis!r}.")
    return reshape(x, [n for a, n in enumerate(x.shape) if a not in gone])


# -- another order


def _exchanged(shape: Shape, axes: tuple[int, ...]) -> Shape | None:
    """For a transpose that swaps two adjacent groups of trailing axes, return the number of
    elements along the axes before them, along the first group and along the second."""
    first = next((a for a, to in enumerate(axes) if a != to), len(axes))
    second = axes[first] if first < len(axes) else first
    parts = shape[:first], shape[first:second], shape[second:]
    kept, moved = tuple(range(first)), tuple(range(first, len(axes)))
    turned = (*kept, *moved[len(parts[1]) :], *moved[: len(parts[1])])
    return tuple(map(math.prod, parts)) if turned == tuple(axes) else None


def compute_transpose(backend: Backend, out: Array, x: Array, axes: tuple[int, ...]) -> None:
    """Write x with permuted axes."""
    sizes = _exchanged(x.shape, axes) if x.size and is_float(name_of(x.dtype)) else None
    if sizes is not None and x.flags.c_contiguous and out.flags.c_contiguous:
        others, a, b = sizes
        backend.swap_axes(x.reshape(others, a, b), out.reshape(others, b, a))
        return
    moved = [a for a, to in enumerate(axes) if a != to]
    order = [a - moved[0] for a in axes[moved[0] : moved[-1] + 1]]
    if not rearrange(
        backend, x, x.shape, out, moved, lambda places: places.transpose(order), f"transpose {axes}"
    ):
        backend.xp.copyto(out, x.transpose(axes))


_transpose = Primitive(
    "transpose", compute_transpose, lambda shape, axes: tuple(shape[a] for a in axes),
    gradient="transpose",
)


@operation
def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes of a tensor; by default, reverse their order: (l, m, n) -> (n, m, l).

    Args:
        x: a tensor or array-like; the result has its dtype.
        axes: axis k of the result is axis axes[k] of x.

    Raises:
        ValueError: if ``axes`` does not name each axis once.

    >>> from gpunn import ops
    >>> ops.transpose([[1, 2], [3, 4]]).tolist()
    [[1, 3], [2, 4]]
    """
    x = convert(x)
    order = list(range(x.ndim))[::-1] if axes is None else places_of(axes, x.ndim, "axes")
    if len(order) != x.ndim:
        raise ValueError(f"axes must name each axis of {x.shape} once; got {axes!r}.")
    return x if order == sorted(order) else _transpose(x, axes=tuple(order))


@operation
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Swap two axes of a tensor: (l, m, n) -> (n, m, l) for the axes 0 and 2.

    Args:
        x: a tensor or array-like; the result has its dtype.
        axis1, axis2: the axes to swap; negative ones count from the end.

    Raises:
        ValueError: if an axis is out of range.

    >>> from gpunn import ops
    >>> ops.swapaxes([[1, 2, 3], [4, 5, 6]], 0, 1).tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
    x = convert(x)
    order = list(range(x.ndim))
    one, other = axis_of(axis1, x.ndim, "axis1"), axis_of(axis2, x.ndim, "axis2")
    order[one], order[other] = other, one
    return transpose(x, order)


@operation
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to new positions; the others keep their order: (l, m, n) -> (m, n, l) for 0 to -1.

    Args:
        x: a tensor or array-like; the result has its dtype.
        source: the axis or axes to move.
        destination: the new position of each.

    Raises:
        ValueError: if an axis is out of range or named twice, and for different numbers of axes.

    >>> from gpunn import ops
    >>> ops.moveaxis(ops.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = convert(x)
    moved, to = places_of(source, x.ndim, "source"), places_of(destination, x.ndim, "destination")
    if len(moved) != len(to):
        raise ValueError(
            f"source and destination must be equally many; got {source!r} and {destination!r}."
        )
    rest = [a for a in range(x.ndim) if a not in moved]
    for at, a in sorted(zip(to, moved, strict=True)):
        rest.insert(at, a)
    return transpose(x, rest)


@operation
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Reverse the order of elements along the given axes, or along all of them.

    Args:
        x: a tensor or array-like; the result has its shape and dtype.
        axis: the axis or axes to reverse; None means all.

    Raises:
        ValueError: if an axis is out of range or named twice.

    >>> from gpunn import ops
    >>> ops.flip([[1, 2], [3, 4]], axis=1).tolist()
    [[2, 1], [4, 3]]
    """
    x = convert(x)
    turned = axes_of(axis, x.ndim)
    back = slice(None, None, -1)
    return ops.get_item(x, tuple(back if a in turned else slice(None) for a in range(x.ndim)))


# -- broadcast


@operation
def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """Repeat a tensor to fill a shape by NumPy's rules: (n,) -> (m, n).

    Axes are added in front, and axes of length 1 are repeated. The gradient is summed over them.

    Args:
        x: a tensor or array-like; the result has its dtype.
        shape: of the result.

    Raises:
        ValueError: if x cannot be broadcast to the shape, or if a size is negative.

    >>> from gpunn import ops
    >>> ops.broadcast_to([1, 2], (3, 2)).tolist()
    [[1, 2], [1, 2], [1, 2]]
    """
    x, shape = convert(x), sizes_of(shape)
    return x if x.shape == shape else _broadcast(x, shape=shape)


def _broadcast_shape(given: Shape, shape: Shape) -> Shape:
    pairs = zip(given[::-1], shape[::-1], strict=False)
    if len(given) > len(shape) or any(n not in (1, m) for n, m in pairs):
        raise ValueError(f"the tensor cannot be broadcast to {shape}.")
    return shape


def compute_broadcast(backend: Backend, out: Array, x: Array, shape: Shape) -> None:
    """Write x, repeated to this shape."""
    given = (1,) * (len(shape) - x.ndim) + x.shape
    axes = [a for a, n in enumerate(shape) if given[a] != n]
    part = shape[min(axes) : max(axes) + 1] if axes else ()
    if not axes or not rearrange(
        backend, x, given, out, axes, lambda places: np.broadcast_to(places, part), f"{part}"
    ):
        backend.xp.copyto(out, x)


_broadcast = Primitive(
    "broadcast_to", compute_broadcast, _broadcast_shape, gradient="broadcast_to",
    lowering="broadcast",
)


def reduced_to(dy: Tensor, shape: Shape) -> Tensor:
    """Sum dy over the axes along which ``shape`` was broadcast."""
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
    """Return the shape of a tensor as a tuple of Python integers.

    ``x``: tensor or array-like of any shape. All sizes are known in a trace, too.

    >>> from gpunn import ops
    >>> ops.shape([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    return _shape(x)


@operation
def ndim(x: Any) -> int:
    """Return the number of axes of a tensor as a Python integer.

    ``x``: tensor or array-like of any shape; a scalar has 0 axes.

    >>> from gpunn import ops
    >>> ops.ndim([[1, 2, 3], [4, 5, 6]])
    2
    """
    return len(_shape(x))


@operation
def size(x: Any) -> int:
    """Return the number of elements of a tensor as a Python integer.

    ``x``: tensor or array-like of any shape: the product of its sizes, 1 for a scalar.

    >>> from gpunn import ops
    >>> ops.size([[1, 2, 3], [4, 5, 6]])
    6
    """
    return math.prod(_shape(x))


def _shape(x: Any) -> tuple[int, ...]:
    """Return a shape, which a layer's weights have before their values."""
    return tuple(x.shape) if hasattr(x, "shape") else convert(x).shape

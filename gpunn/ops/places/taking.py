"""Rows taken from places along an axis, and put there: each is the derivative of the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.arithmetic import equal, logical_and, logical_or
from gpunn.ops.conversion import convert
from gpunn.ops.elementwise import cast, isnan, where
from gpunn.ops.fusion.storing import fill, stored
from gpunn.ops.primitive import Gradients, Primitive
from gpunn.ops.shapes import axis_of, broadcast_to, moveaxis, reshape
from gpunn.ops.table import operation
from gpunn.ops.tensor import Shape, Tensor

from .checks import checked

# What follows has these attributes: `axis`, along which the places are; `along`, whether places
# differ from row to row, and the axis is the last; `wraps`, whether those below 0 count from the
# end. Rows of places that there are not are zeros when they are taken, and left out when they are
# put there.


def _three(shape: Shape, axis: int) -> Shape:
    """A shape with all axes in front of one, and all behind it, as one.

    >>> _three((2, 3, 4, 5), 1)
    (2, 3, 20)
    """
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _contiguous(backend: Backend, x: Array, shape: Shape, slot: str = "") -> Array:
    """An array as operations take it: row after row, under this shape."""
    if not x.flags.c_contiguous:
        copy = backend.scratch(x.shape, x.dtype, f"row after row {slot}")
        backend.xp.copyto(copy, x)
        x = copy
    return x.reshape(shape)


def _sets(backend: Backend, places: Array, along: bool) -> Array:
    """Places (sets, count): one set for all rows, or one for each."""
    count = places.shape[-1]
    sets = math.prod(places.shape[:-1]) if along else 1
    return _contiguous(backend, places, (sets, count), "places")


def _compute_taken(
    backend: Backend, out: Array, x: Array, places: Array, axis: int, along: bool, wraps: bool
) -> None:
    if out.size:
        rows = _contiguous(backend, x, _three(x.shape, axis))
        into = out.reshape(_three(out.shape, axis))
        backend.take_rows(rows, _sets(backend, places, along), into, wraps)


def _taken_shape(x: Shape, places: Shape, axis: int, along: bool, wraps: bool) -> Shape:
    return (*x[:axis], places[-1], *x[axis + 1 :])


def _taken_gradient(
    dy: Tensor, y: Tensor, x: Tensor, places: Tensor, **attributes: Any
) -> Gradients:
    return put(dy, places, x.shape, **attributes), None


_taken = Primitive(
    "take",
    _compute_taken,
    _taken_shape,
    lambda dtype, places, **attributes: dtype,
    _taken_gradient,
)


def _compute_put(
    backend: Backend, out: Array, before: Any, rows: Array, places: Array, merging: str,
    shape: Shape, axis: int, along: bool, wraps: bool,
) -> None:  # fmt: skip
    if not out.size:
        return
    if not getattr(before, "shape", ()):
        fill(backend, float(before), out)
    elif out.dtype.kind == "f":
        stored(backend, before, out)()
    else:
        backend.affine(_contiguous(backend, before, shape, "before"), 1.0, 0.0, out)
    if rows.size:
        rows = _contiguous(backend, rows, _three(rows.shape, axis))
        numbers = _sets(backend, places, along)
        backend.scatter_rows(merging, rows, numbers, out.reshape(_three(shape, axis)), wraps)


def _put_shape(before: Shape, rows: Shape, places: Shape, shape: Shape, **attributes: Any) -> Shape:
    return shape


def _put_gradient(
    dy: Tensor, y: Tensor, before: Tensor, rows: Tensor, places: Tensor, merging: str,
    shape: Shape, **attributes: Any,
) -> Gradients:  # fmt: skip
    if merging == "Sum":
        return dy, _taken(dy, places, **attributes), None
    # Of several that are the largest, each has its share.
    largest = _taken(y, places, **attributes)
    hits = logical_or(equal(rows, largest), logical_and(isnan(rows), isnan(largest)))
    count = put(cast(hits, dy.dtype), places, shape, **attributes)
    share = where(count > 0, dy / where(count > 0, count, 1.0), 0.0)
    return None, where(hits, _taken(share, places, **attributes), 0.0), None


_put = Primitive(
    "scatter",
    _compute_put,
    _put_shape,
    lambda before, rows, places, **attributes: rows,
    _put_gradient,
)


def put(
    rows: Tensor,
    places: Tensor,
    shape: Shape,
    axis: int = 0,
    along: bool = False,
    wraps: bool = True,
    merging: str = "Sum",
    before: Any = 0,
) -> Tensor:
    """Numbers of this shape, at whose places the rows are added, or what is larger is kept.

    The rows are taken one after the other from the first on, so that the same rows give the same
    bits, whatever the size of the shape is.

    Args:
        rows: of this shape, with another length along the axis.
        places: the place of each (count,), or with ``along`` in each row (..., count).
        shape: of the result.
        axis: along which the places are.
        along: whether places differ from row to row; then the axis is the last.
        wraps: whether places below 0 count from the end. Those that there are not are left out.
        merging: "Sum" or "Largest".
        before: what is there before: a tensor of this shape, or one number.
    """
    attributes = {"shape": tuple(shape), "axis": axis, "along": along, "wraps": wraps}
    before = before if isinstance(before, Tensor) else convert(before, rows.dtype)
    return _put(before, rows, places, merging=merging, **attributes)


def take_unchecked(
    x: Tensor, places: Tensor, axis: int = 0, along: bool = False, wraps: bool = True
) -> Tensor:
    """The rows at places (count,), zeros for those that there are not; arguments as of `put`."""
    return _taken(x, places, axis=axis, along=along, wraps=wraps)


def take_along(x: Tensor, places: Tensor, axis: int) -> Tensor:
    """`take_along_axis` of places that there are, in as many rows as x has."""
    rows, numbers = moveaxis(x, axis, -1), moveaxis(places, axis, -1)
    return moveaxis(take_unchecked(rows, numbers, x.ndim - 1, along=True, wraps=False), -1, axis)


def places_along(indices: Any, n: int, what: str) -> Tensor:
    """Numbers of places along an axis of length n, of which those below 0 count from the end.

    Raises:
        PlaceError: where there is no such place; for what each step has, in that step.
    """
    return checked(convert(indices, "int32"), -n, n - 1, f"{what}: places")


def take_places(x: Tensor, indices: Any, axis: int, what: str) -> Tensor:
    """The rows at these places along an axis, in whose place come the axes of the places."""
    places = places_along(indices, x.shape[axis], what)
    found = take_unchecked(x, reshape(places, (-1,)), axis)
    return reshape(found, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


@operation
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements, or rows, at these places along an axis; those below 0 count from the end. A
    place that there is not is an error, in a step too.

    >>> from gpunn import ops
    >>> ops.take([[1, 2], [3, 4], [5, 6]], [2, 0], axis=0).tolist()
    [[5, 6], [1, 2]]
    """
    x = convert(x)
    x = reshape(x, (-1,)) if axis is None else x
    return take_places(x, indices, axis_of(0 if axis is None else axis, x.ndim), "take")


@operation
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at these places along an axis, which differ from row to row; as of `take`.

    >>> from gpunn import ops
    >>> ops.take_along_axis([[1, 2], [3, 4]], [[1], [-2]], axis=1).tolist()
    [[2], [3]]
    """
    x, places = convert(x), convert(indices, "int32")
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    if places.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis: as many axes of indices as of x are expected; got the shapes "
            f"{x.shape} and {places.shape}."
        )
    place = axis_of(axis, x.ndim)
    n = x.shape[place]
    x, places = moveaxis(x, place, -1), moveaxis(places, place, -1)
    try:
        rows = np.broadcast_shapes(x.shape[:-1], places.shape[:-1])
    except ValueError:
        raise ValueError(
            f"take_along_axis: x and indices must have the same lengths, or 1, along all axes but "
            f"{place}; got {moveaxis(x, -1, place).shape} and {moveaxis(places, -1, place).shape}."
        ) from None
    x, places = broadcast_to(x, (*rows, n)), broadcast_to(places, (*rows, places.shape[-1]))
    places = places_along(places, n, "take_along_axis")
    return moveaxis(take_unchecked(x, places, x.ndim - 1, along=True), -1, place)

"""Gather and scatter rows by index along an axis: each is the derivative of the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.conversion import convert
from gpunn.ops.fusion.storing import fill, stored
from gpunn.ops.primitive import Primitive
from gpunn.ops.shapes import axis_of, broadcast_to, moveaxis, reshape
from gpunn.ops.tensor import Shape, Tensor, operation

from .checks import checked, integers

# Attributes below: `axis`, along which the indices are; `along`, whether the indices differ from
# row to row, with the axis the last one; `wraps`, whether negative indices count from the end.
# Indices out of range give rows of zeros when gathering, and are ignored when scattering.


def _three(shape: Shape, axis: int) -> Shape:
    """Merge all axes before one axis into one, and all axes after it.

    >>> _three((2, 3, 4, 5), 1)
    (2, 3, 20)
    """
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _contiguous(backend: Backend, x: Array, shape: Shape, slot: str = "") -> Array:
    """Return an array in row-major order, with the given shape."""
    if not x.flags.c_contiguous:
        copy = backend.scratch(x.shape, x.dtype, f"row after row {slot}")
        backend.xp.copyto(copy, x)
        x = copy
    return x.reshape(shape)


def _sets(backend: Backend, indices: Array, along: bool) -> Array:
    """Return indices (sets, count): one set for all rows, or one for each row."""
    count = indices.shape[-1]
    sets = math.prod(indices.shape[:-1]) if along else 1
    return _contiguous(backend, indices, (sets, count), "indices")


def _compute_taken(
    backend: Backend, out: Array, x: Array, indices: Array, axis: int, along: bool, wraps: bool
) -> None:
    if out.size:
        rows = _contiguous(backend, x, _three(x.shape, axis))
        into = out.reshape(_three(out.shape, axis))
        backend.take_rows(rows, _sets(backend, indices, along), into, wraps)


taken = Primitive(
    "take", _compute_taken,
    lambda x, indices, axis, **attributes: (*x[:axis], indices[-1], *x[axis + 1 :]),
    gradient="take",
)


def _compute_put(
    backend: Backend, out: Array, before: Any, rows: Array, indices: Array, merging: str,
    shape: Shape, axis: int, along: bool, wraps: bool,
) -> None:
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
        numbers = _sets(backend, indices, along)
        backend.scatter_rows(merging, rows, numbers, out.reshape(_three(shape, axis)), wraps)


scattered = Primitive(
    "scatter", _compute_put, lambda before, rows, indices, shape, **attributes: shape,
    lambda before, rows, indices, **attributes: rows, gradient="scatter",
)


def put(
    rows: Tensor, indices: Tensor, shape: Shape, axis: int = 0, along: bool = False,
    wraps: bool = True, merging: str = "Sum", before: Any = 0,
) -> Tensor:
    """Scatter rows into a tensor of the given shape, by adding or by keeping the maximum.

    The rows are processed in order, so that the same rows give the same bits, whatever the size of
    the shape.

    Args:
        rows: of this shape, with another length along the axis.
        indices: the index of each row (count,), or with ``along`` in each row (..., count); then
            the axis is the last.
        wraps: whether negative indices count from the end. Indices out of range are ignored.
        merging: "Sum" or "Largest".
        before: the initial value: a tensor of this shape, or one number.
    """
    attributes = {"shape": tuple(shape), "axis": axis, "along": along, "wraps": wraps}
    before = before if isinstance(before, Tensor) else convert(before, rows.dtype)
    return scattered(before, rows, indices, merging=merging, **attributes)


def take_unchecked(
    x: Tensor, indices: Tensor, axis: int = 0, along: bool = False, wraps: bool = True
) -> Tensor:
    """Gather the rows at indices (count,), with zeros for those out of range; see `put`."""
    return taken(x, indices, axis=axis, along=along, wraps=wraps)


def take_along(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Compute `take_along_axis` for valid indices, in as many rows as x has."""
    rows, numbers = moveaxis(x, axis, -1), moveaxis(indices, axis, -1)
    return moveaxis(take_unchecked(rows, numbers, x.ndim - 1, along=True, wraps=False), -1, axis)


def checked_indices(indices: Any, n: int, what: str) -> Tensor:
    """Check indices along an axis of length n; negative ones count from the end.

    In a trace, the step raises the `PlaceError` or `IntegerError`.
    """
    what = f"{what}: indices"
    return checked(integers(indices, what), -n, n - 1, what)


def take_at(x: Tensor, indices: Any, axis: int, what: str) -> Tensor:
    """Gather rows at indices along an axis, which the axes of the indices replace."""
    indices = checked_indices(indices, x.shape[axis], what)
    found = take_unchecked(x, reshape(indices, (-1,)), axis)
    return reshape(found, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@operation
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Take elements, or rows, at the given indices along an axis.

    Negative indices count from the end; an index out of range raises an error, in a step too. Rows
    that are taken several times get the sum of the gradients.

    Args:
        x: a tensor or array-like, such as (n, d); the result has its dtype.
        indices: integers of any shape (...), whose axes replace the axis of x: (..., d).
        axis: by default, x is flattened first.

    Raises:
        PlaceError: an IndexError and ValueError, if an index is out of range.
        IntegerError: a TypeError and ValueError, if an index is not an integer.
        ValueError: if the axis is out of range.

    >>> from gpunn import ops
    >>> ops.take([[1, 2], [3, 4], [5, 6]], [2, 0], axis=0).tolist()
    [[5, 6], [1, 2]]
    """
    x = convert(x)
    x = reshape(x, (-1,)) if axis is None else x
    return take_at(x, indices, axis_of(0 if axis is None else axis, x.ndim), "take")


@operation
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Take elements at indices that differ from row to row along an axis.

    For the last axis: ``y[i, j] = x[i, indices[i, j]]``. Indices are as in `take`.

    Args:
        x: a tensor or array-like, such as (m, n); the result has its dtype.
        indices: integers with as many axes as x, such as (m, k); broadcast with x except along
            ``axis``. The result has their shape along the axis.
        axis: by default, x is flattened first.

    Errors: as for `take`, and a ValueError for shapes that do not match.

    >>> from gpunn import ops
    >>> ops.take_along_axis([[1, 2], [3, 4]], [[1], [-2]], axis=1).tolist()
    [[2], [3]]
    """
    x, indices = convert(x), integers(indices, "take_along_axis: indices")
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    if indices.ndim != x.ndim:
        raise ValueError(
            f"indices must have as many axes as x; got the shapes {x.shape} and {indices.shape}."
        )
    place = axis_of(axis, x.ndim)
    n = x.shape[place]
    x, indices = moveaxis(x, place, -1), moveaxis(indices, place, -1)
    try:
        rows = np.broadcast_shapes(x.shape[:-1], indices.shape[:-1])
    except ValueError:
        raise ValueError(
            f"take_along_axis: x and indices must have equal lengths, or 1, along all axes except "
            f"{place}; got {moveaxis(x, -1, place).shape} and {moveaxis(indices, -1, place).shape}."
        ) from None
    x, indices = broadcast_to(x, (*rows, n)), broadcast_to(indices, (*rows, indices.shape[-1]))
    indices = checked_indices(indices, n, "take_along_axis")
    return moveaxis(take_unchecked(x, indices, x.ndim - 1, along=True), -1, place)

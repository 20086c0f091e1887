"""Updates of slices and elements by index, and reductions of segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn.ops.conversion import promoted
from gpunn.ops.elementwise import counting, where
from gpunn.ops.gather_scatter.checks import integers
from gpunn.ops.gather_scatter.gather import checked_indices, put, take_unchecked
from gpunn.ops.gather_scatter.moving import moving_starts, replaced_at
from gpunn.ops.indexing import row_numbers
from gpunn.ops.joining import pad
from gpunn.ops.shapes import listed, reshape, sizes_of, whole
from gpunn.ops.tensor import Shape, Tensor, UnknownShapeError, operation, ops


@operation
def slice_update(inputs: Any, start_indices: Sequence[int], updates: Any) -> Tensor:
    """Replace the slice that starts at the given indices, in a copy of the inputs.

    Replaced elements of the inputs get the gradient 0; the updates get the slice of the gradient.

    Args:
        inputs: a tensor or array-like; the result has its shape.
        start_indices: one index for each axis, 0 or more; a step may compute them.
        updates: a tensor of as many axes. Both tensors are promoted to one dtype.

    Raises:
        ValueError: if the slice exceeds the inputs, also in a step, the numbers of axes differ, or
            a start is not an integer.

    >>> from gpunn import ops
    >>> ops.slice_update([1, 2, 3], [1], [9]).tolist()
    [1, 9, 3]
    """
    x, new = promoted(inputs, updates)
    moving = moving_starts(start_indices)
    starts = moving or [whole(at, "start_indices") for at in listed(start_indices)]
    if not len(starts) == x.ndim == new.ndim:
        raise ValueError(
            f"expected a start and updates for each axis of {x.shape}; got {starts}, {new.shape}."
        )
    if moving is not None:
        return replaced_at(x, moving, new)
    widths = [(at, n - at - m) for at, n, m in zip(starts, x.shape, new.shape, strict=True)]
    if any(before < 0 or behind < 0 for before, behind in widths):
        raise ValueError(f"shape {new.shape} at {starts} exceeds the shape {x.shape}.")
    inside = pad(ops.ones(new.shape, "bool"), widths)
    return where(inside, pad(new, widths), x)


def _numbers(indices: Any, shape: Sequence[int], what: str) -> tuple[Tensor, int]:
    """Convert indices (..., k) into the first k axes of a shape to flat indices; also return the
    number of positions. Negative indices count from the end."""
    indices = integers(indices, f"{what}: indices")
    if not indices.ndim or indices.shape[-1] > len(shape):
        raise ValueError(
            f"{what}: expected indices (..., k) into the first k axes of shape {tuple(shape)}; got "
            f"shape {indices.shape}."
        )
    k = indices.shape[-1]
    if not k:  # each refers to the whole tensor
        return ops.zeros((math.prod(indices.shape[:-1]),), "int32"), 1
    along = [reshape(indices[..., axis], (-1,)) for axis in range(k)]
    if k == 1:
        return checked_indices(along[0], shape[0], what), shape[0]
    return row_numbers(along, shape[:k], what), math.prod(shape[:k])


@operation
def scatter(indices: Any, values: Any, shape: Sequence[int]) -> Tensor:
    """Add each value to zeros of the given shape, at indices into its first k axes.

    Negative indices count from the end; an index out of range raises an error, in a step too. For k
    = 1: ``y[indices[i]] += values[i]``, in the order of i.

    Args:
        indices: integers (..., k).
        values: ``(..., *shape[k:])``; booleans become int32.
        shape: of the result, which has the dtype of the values.

    Raises:
        ValueError: if the shapes of indices and values do not match ``shape``.
        IndexError: if an index is out of range.
        IntegerError: a TypeError and ValueError, if an index or a size is not an integer.

    >>> from gpunn import ops
    >>> ops.scatter([[0], [2], [0]], [1.0, 2.0, 3.0], (3,)).tolist()
    [4.0, 0.0, 2.0]
    """
    sizes = sizes_of(shape)
    places, n = _numbers(indices, sizes, "scatter")
    rows = _rows_for(places, n, counting(values), sizes, "scatter: values")
    return reshape(put(rows, places, (n, rows.shape[1])), sizes)


def _rows_for(places: Tensor, n: int, values: Tensor, shape: Shape, what: str) -> Tensor:
    """Return the values for flat indices into a shape, one row for each."""
    width = math.prod(shape) // n if n else 0
    if values.size != places.size * width:
        raise ValueError(
            f"{what} must have {width} elements for each of {places.size} indices into {shape}; "
            f"got shape {values.shape}."
        )
    return reshape(values, (places.size, width))


@operation
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Tensor:
    """Replace the elements at the given indices, or combine them, in a copy of the inputs.

    Of several updates to one position, the last one wins, or all are combined. Indices are as in
    `scatter`.

    Args:
        inputs: a tensor or array-like; the result has its shape. Promoted with the updates to one
            dtype.
        indices: integers (..., k) into its first k axes.
        updates: ``(..., *inputs.shape[k:])``.
        reduction: None to replace, "add" to add, "max" or "min" to keep the largest or smallest.

    Raises:
        ValueError: if the shapes do not match, or for another reduction.
        IndexError: if an index is out of range.
        IntegerError: a TypeError and ValueError, if an index is not an integer.

    >>> from gpunn import ops
    >>> ops.scatter_update([1, 2, 3], [[0], [-1]], [9, 8]).tolist()
    [9, 2, 8]
    """
    if reduction not in (None, "add", "max", "min"):
        raise ValueError(f"reduction must be None, 'add', 'max' or 'min'; got {reduction!r}.")
    x, new = promoted(inputs, updates)
    places, n = _numbers(indices, x.shape, "scatter_update")
    rows = _rows_for(places, n, new, x.shape, "scatter_update: updates")
    flat = reshape(x, (n, rows.shape[1]))
    if reduction == "add":
        return reshape(put(rows, places, flat.shape, before=flat), x.shape)
    if reduction in ("max", "min"):
        sign, choose = (1, ops.maximum) if reduction == "max" else (-1, ops.minimum)
        found = put(sign * rows, places, flat.shape, merging="Largest", before=lowest(rows))
        return reshape(where(found == lowest(rows), flat, choose(flat, sign * found)), x.shape)
    numbers = reshape(ops.arange(places.size), (-1, 1))
    last = put(numbers, places, (n, 1), merging="Largest", before=-1)
    chosen = take_unchecked(rows, reshape(last, (-1,)), wraps=False)
    return reshape(where(last < 0, flat, chosen), x.shape)


@operation
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Add up the rows of each segment: ``y[s]`` is the sum of the rows whose id is s.

    Rows whose id is out of range are ignored; an empty segment gives 0.

    Args:
        data: ``(..., *rest)``; booleans become int32. The result has shape
            ``(num_segments, *rest)``.
        segment_ids: integers (...), the segment of each row.
        num_segments: by default the largest id + 1; where the ids are not known, it is needed.
        sorted: accepted as in Keras, and ignored.

    Raises:
        ValueError: if the shapes do not match, or ``num_segments`` is negative.
        UnknownShapeError: a TypeError and ValueError, if it is missing where the ids are not known.
        IntegerError: a TypeError and ValueError, if ``num_segments`` or an id is not an integer.

    >>> from gpunn import ops
    >>> ops.segment_sum([1, 2, 3], [0, 0, 1]).tolist()
    [3, 3]
    """
    return _by_segments(data, segment_ids, num_segments, "Sum", "segment_sum")


@operation
def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Return the maximum over the rows of each segment: the rows with its id.

    Rows whose id is out of range are ignored; an empty segment gives the lowest value, -infinity
    for floats.

    Arguments and errors: as for `segment_sum`.

    >>> from gpunn import ops
    >>> ops.segment_max([1, 5, 3], [0, 0, 1]).tolist()
    [5, 3]
    """
    return _by_segments(data, segment_ids, num_segments, "Largest", "segment_max")


def lowest(x: Tensor) -> float:
    """Return the number that no element of a tensor is below."""
    return -(2**31) if x.dtype == "int32" else -math.inf


def _by_segments(data: Any, segment_ids: Any, count: int | None, merging: str, what: str) -> Tensor:
    data, ids = counting(data), integers(segment_ids, f"{what}: segment_ids")
    if count is None and ids.value is None:
        raise UnknownShapeError(
            "in a trace, num_segments must be given: segment_ids are those of each step."
        )
    n = int(ids.numpy().max(initial=-1)) + 1 if count is None else count
    n = whole(n, "num_segments", 0)
    if data.shape[: ids.ndim] != ids.shape:
        raise ValueError(
            f"segment_ids must be one for each row of data {data.shape}; got shape {ids.shape}."
        )
    rest = data.shape[ids.ndim :]
    rows = reshape(data, (ids.size, math.prod(rest)))
    found = put(
        rows, reshape(ids, (-1,)), (n, rows.shape[1]), wraps=False, merging=merging,
        before=0 if merging == "Sum" else lowest(data),
    )
    return reshape(found, (n, *rest))

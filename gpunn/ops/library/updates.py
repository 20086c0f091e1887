"""Parts taken and put in by places, and sums of segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn.ops.conversion import convert, promoted
from gpunn.ops.elementwise import counting, where
from gpunn.ops.indexing import row_numbers
from gpunn.ops.joining import pad
from gpunn.ops.places.taking import places_along, put, take_unchecked
from gpunn.ops.shapes import reshape
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Shape, Tensor


@operation
def slice_update(inputs: Any, start_indices: Sequence[int], updates: Any) -> Tensor:
    """inputs with updates in place of the part that begins there."""
    x, new = promoted(inputs, updates)
    starts = [int(at) for at in start_indices]
    widths = [(at, n - at - m) for at, n, m in zip(starts, x.shape, new.shape, strict=True)]
    if any(before < 0 or behind < 0 for before, behind in widths):
        raise ValueError(
            f"slice_update: a part of shape {new.shape} from {starts} is not inside {x.shape}."
        )
    inside = pad(ops.ones(new.shape, "bool"), widths)
    return where(inside, pad(new, widths), x)


def _numbers(indices: Any, shape: Sequence[int], what: str) -> tuple[Tensor, int]:
    """The places that indices (..., k) name in the first k axes of a shape, as one number each,
    and how many places there are. Those below 0 count from the end."""
    indices = convert(indices, "int32")
    if not indices.ndim or indices.shape[-1] > len(shape):
        raise ValueError(
            f"{what}: indices (..., k) of places along the first k axes of {tuple(shape)} are "
            f"expected; got the shape {indices.shape}."
        )
    k = indices.shape[-1]
    if not k:  # each names all of it
        return ops.zeros((math.prod(indices.shape[:-1]),), "int32"), 1
    along = [reshape(indices[..., axis], (-1,)) for axis in range(k)]
    if k == 1:
        return places_along(along[0], shape[0], what), shape[0]
    return row_numbers(along, shape[:k], what), math.prod(shape[:k])


@operation
def scatter(indices: Any, values: Any, shape: Sequence[int]) -> Tensor:
    """Zeros of this shape, plus each value at its place: (..., k) places along k axes. Those below
    0 count from the end; a place that there is not is an error, in a step too."""
    sizes = tuple(int(n) for n in shape)
    places, n = _numbers(indices, sizes, "scatter")
    rows = _rows_for(places, n, counting(values), sizes, "scatter: values")
    return reshape(put(rows, places, (n, rows.shape[1])), sizes)


def _rows_for(places: Tensor, n: int, values: Tensor, shape: Shape, what: str) -> Tensor:
    """Values for such places of a shape, a row for each."""
    width = math.prod(shape) // n if n else 0
    if values.size != places.size * width:
        raise ValueError(
            f"{what} must have {width} numbers for each of {places.size} places in {shape}; got "
            f"the shape {values.shape}."
        )
    return reshape(values, (places.size, width))


@operation
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Tensor:
    """inputs with each update in place of what is there, or added to it. Of several for one place
    the last one counts. Places are as of `scatter`."""
    if reduction not in (None, "add"):
        raise ValueError(f"reduction must be None or 'add'; got {reduction!r}.")
    x, new = promoted(inputs, updates)
    places, n = _numbers(indices, x.shape, "scatter_update")
    rows = _rows_for(places, n, new, x.shape, "scatter_update: updates")
    flat = reshape(x, (n, rows.shape[1]))
    if reduction == "add":
        return reshape(put(rows, places, flat.shape, before=flat), x.shape)
    numbers = reshape(ops.arange(places.size), (-1, 1))
    last = put(numbers, places, (n, 1), merging="Largest", before=-1)
    chosen = take_unchecked(rows, reshape(last, (-1,)), wraps=False)
    return reshape(where(last < 0, flat, chosen), x.shape)


@operation
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """The sums of the rows that belong to each segment. Rows of numbers that are none of a segment
    belong to none."""
    return _by_segments(data, segment_ids, num_segments, "Sum", "segment_sum")


@operation
def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """The largest of the rows that belong to each segment; of none the lowest number. Rows of
    numbers that are none of a segment belong to none."""
    return _by_segments(data, segment_ids, num_segments, "Largest", "segment_max")


def _by_segments(data: Any, segment_ids: Any, count: int | None, merging: str, what: str) -> Tensor:
    data, ids = counting(data), convert(segment_ids, "int32")
    if count is None:
        if not ids.is_constant:
            raise ValueError("num_segments must say how many there are: the numbers are not known.")
        count = int(ids.numpy().max(initial=-1)) + 1
    if data.shape[: ids.ndim] != ids.shape:
        raise ValueError(
            f"{what}: a number of a segment for each row of data is expected; got data of shape "
            f"{data.shape} and segment_ids of {ids.shape}."
        )
    rest = data.shape[ids.ndim :]
    rows = reshape(data, (ids.size, math.prod(rest)))
    lowest = -(2**31) if data.dtype == "int32" else -math.inf
    found = put(
        rows, reshape(ids, (-1,)), (int(count), rows.shape[1]), wraps=False, merging=merging,
        before=0 if merging == "Sum" else lowest,
    )  # fmt: skip
    return reshape(found, (int(count), *rest))

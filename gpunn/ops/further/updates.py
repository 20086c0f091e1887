"""Parts taken and put in by places, and sums of segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn.ops.conversion import convert, promoted
from gpunn.ops.elementwise import where
from gpunn.ops.indexing import one_hot, rows_added
from gpunn.ops.joining import pad
from gpunn.ops.products import matmul
from gpunn.ops.reductions import max_
from gpunn.ops.shapes import broadcast_to, expand_dims, reshape
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor


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


def _rows(indices: Any, shape: Sequence[int]) -> tuple[Tensor, int]:
    """The places of indices (..., k) in the first k axes of a shape, all in a row."""
    indices = convert(indices, "int32")
    k = indices.shape[-1]
    places = ops.zeros(indices.shape[:-1], "int32")
    for axis in range(k):
        at = indices[..., axis]
        places = places * shape[axis] + where(at < 0, at + shape[axis], at)
    return reshape(places, (-1,)), k


@operation
def scatter(indices: Any, values: Any, shape: Sequence[int]) -> Tensor:
    """Zeros of this shape, plus each value at its place: (..., k) places along k axes."""
    shape = [int(n) for n in shape]
    places, k = _rows(indices, shape)
    values = convert(values)
    rest = math.prod(shape[k:])
    n = math.prod(shape[:k])
    return reshape(rows_added(reshape(values, (places.size, rest)), places, n), shape)


@operation
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Tensor:
    """inputs with each update in place of what is there, or added to it."""
    x, new = promoted(inputs, updates)
    added = scatter(indices, new, x.shape)
    if reduction == "add":
        return x + added
    if reduction is not None:
        raise ValueError(f"reduction must be None or 'add'; got {reduction!r}.")
    places, k = _rows(indices, x.shape)
    n = math.prod(x.shape[:k])
    rows = expand_dims(ops.arange(places.size), -1)
    hits = one_hot(places, n, dtype="int32") * (rows + 1)  # of several the last one counts
    last = max_(hits, 0) if places.size else ops.zeros(n, "int32")
    chosen = one_hot(last - 1, places.size, dtype=x.dtype)
    flat = matmul(chosen, reshape(new, (places.size, -1))) if x.size and places.size else x
    kept = reshape(last == 0, (*x.shape[:k], *(1,) * (x.ndim - k)))
    return where(broadcast_to(kept, x.shape), x, reshape(flat, x.shape))


@operation
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """The sums of the rows that belong to each segment."""
    data, ids, count = _segments(data, segment_ids, num_segments)
    rows = reshape(data, (data.shape[0], math.prod(data.shape[1:])))
    return reshape(rows_added(rows, ids, count), (count, *data.shape[1:]))


@operation
def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """The largest of the rows that belong to each segment; of none the lowest number."""
    data, ids, count = _segments(data, segment_ids, num_segments)
    hits = one_hot(ids, count, dtype="bool")
    own = reshape(hits, (*hits.shape, *(1,) * (data.ndim - 1)))
    lowest = -(2**31) if data.dtype == "int32" else -math.inf
    return max_(where(own, expand_dims(data, 1), lowest), 0)


def _segments(data: Any, segment_ids: Any, count: int | None) -> tuple[Tensor, Tensor, int]:
    """The rows, which segments they belong to, and how many of these there are."""
    data, ids = convert(data), convert(segment_ids, "int32")
    if count is None:
        if ids.value is None:
            raise ValueError("num_segments must say how many there are: the numbers are not known.")
        count = int(ids.value.max(initial=-1)) + 1
    return data, ids, count

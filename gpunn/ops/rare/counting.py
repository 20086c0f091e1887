"""Counts of numbers, different ones, and reductions of segments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.conversion import convert, floats
from gpunn.ops.shapes import axis_of, whole_number
from gpunn.ops.tensor import Tensor, UnknownShapeError, operation, ops


@operation
def histogram(x: Any, bins: int = 10, range: Any = None) -> tuple[Tensor, Tensor]:
    """Count numbers in bins of equal width. A bin has its lower edge, the last one also its upper.

    Args:
        x: a vector. NaN, and numbers outside the range, are not counted.
        bins: the number of bins.
        range: the edges of the first and of the last bin; by default the smallest and the largest
            number. Edges that are equal are moved apart by 1.

    Returns:
        the tensors (counts, edges): int32 (bins,), and (bins + 1,) of the dtype of x, or floatx.

    Raises:
        ValueError: if x is not a vector, bins not 1 or more, or range not two numbers in order.

    >>> from gpunn import ops
    >>> counts, edges = ops.histogram([1.0, 2.0, 2.0, 5.0], bins=2)
    >>> counts.tolist(), edges.tolist()
    ([3, 1], [1.0, 3.0, 5.0])
    """
    x = floats(x)
    n = whole_number(bins, "bins")
    if x.ndim != 1:
        raise ValueError(f"Input tensor must be 1-dimensional, a vector; got shape {x.shape}.")
    if n < 1:
        raise ValueError(f"x must be a vector, and bins 1 or more; got {x.shape} and {bins!r}.")
    if range is None:
        low, high = (ops.min(x), ops.max(x)) if x.size else map(floats, (0.0, 1.0))
    else:
        if len(range) != 2:
            raise ValueError(f"Argument `range` must be a tuple of two elements; got {range!r}.")
        low, high = (convert(end, x.dtype) for end in range)
        if not float(low) <= float(high):
            raise ValueError(
                f"The second element of `range` must be greater than the first; got {range!r}."
            )
    apart = ops.where(ops.equal(low, high), 0.5, 0.0)
    edges = ops.linspace(low - apart, high + apart, n + 1)
    place = ops.searchsorted(edges, x, "right") - 1
    place = ops.where(ops.equal(x, edges[-1]), n - 1, place)  # beyond it, and for NaN, n
    inside = ops.where(place < n, place, -1)
    return ops.segment_sum(ops.ones(x.shape, "int32"), inside, n), edges


@operation
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """Return the different elements of a tensor, in ascending order; without gradient. Each NaN
    differs from all others.

    Args:
        x: a tensor or array-like. Its values must be known: outside of a traced step.
        sorted: accepted as in Keras; the elements are always in order.
        return_index: whether to return the index of the first of each.
        return_inverse: whether to return the place of each element of x in the result.
        return_counts: whether to return how often each occurs.
        axis: the axis whose entries are compared; by default all elements are.
        size: the length of the result: more are left out, and fewer are filled up.
        fill_value: what fills up values, 0 by default; indices and counts are 0.

    Returns:
        the values, or a tuple of the values, and int32 indices, places and counts, as asked for.

    Raises:
        UnknownShapeError: a TypeError and ValueError, in a trace, where the number is not known.

    >>> from gpunn import ops
    >>> values, counts = ops.unique([3, 1, 3], return_counts=True)
    >>> values.tolist(), counts.tolist()
    ([1, 3], [1, 2])
    """
    x = convert(x)
    if x.value is None:
        raise UnknownShapeError(
            f"the number of different elements depends on the values of x, of shape {x.shape}, "
            f"which are those of each step. Use ops.sort, or NumPy before fit."
        )
    along = 0 if axis is None else axis_of(axis, x.ndim)
    found = np.unique(x.numpy(), True, True, True, axis=axis, equal_nan=False)
    values, index, inverse, counts = (np.asarray(part) for part in found)
    asked = [(values, along, fill_value or 0)]
    asked += [(index, 0, 0)] if return_index else []
    asked += [(inverse, -1, 0)] if return_inverse else []
    asked += [(counts, 0, 0)] if return_counts else []
    made = list[Tensor]()
    for part, place, fill in asked:
        if size is not None and place >= 0:
            part = np.moveaxis(part, place, 0)[:size]
            more = ((0, size - len(part)), *((0, 0),) * (part.ndim - 1))
            part = np.moveaxis(np.pad(part, more, constant_values=fill), 0, place)
        made.append(convert(part, x.dtype if not made else "int32"))
    return tuple(made) if len(made) > 1 else made[0]


@operation
def segment_min(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Return the minimum over the rows of each segment: the rows with its id.

    Rows whose id is out of range are ignored; an empty segment gives the highest value, infinity
    for floats. Arguments and errors: as for `segment_sum`.

    >>> from gpunn import ops
    >>> ops.segment_min([1, 5, 3], [0, 0, 1]).tolist()
    [1, 3]
    """
    data = convert(data)
    data = ops.cast(data, "int32") if data.dtype == "bool" else data
    turned = ops.bitwise_not if data.dtype == "int32" else ops.negative  # -x would overflow
    return turned(ops.segment_max(turned(data), segment_ids, num_segments))


@operation
def segment_prod(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Tensor:
    """Multiply the rows of each segment: the rows with its id.

    Rows whose id is out of range are ignored; an empty segment gives 1. Arguments and errors: as
    for `segment_sum`.

    >>> from gpunn import ops
    >>> ops.segment_prod([1, 5, 3], [0, 0, 1]).tolist()
    [5, 3]
    """
    data, ids = convert(data), ops.reshape(convert(segment_ids), -1)
    count = ops.segment_sum(ops.ones_like(segment_ids, "int32"), segment_ids, num_segments)
    own = data.shape[len(ops.shape(segment_ids)) :]
    rows = ops.reshape(data, (ids.size, math.prod(own)))
    order = ops.argsort(ids)
    ids, rows, by = ops.take(ids, order), ops.take(rows, order, 0), 1
    while by < ids.size:  # each round joins twice as many rows
        same = ops.equal(ids[by:], ids[:-by])[:, None]
        rows = ops.concatenate([rows[:by], ops.where(same, rows[by:] * rows[:-by], rows[by:])])
        by *= 2
    last = ops.concatenate([ops.not_equal(ids[1:], ids[:-1]), ops.ones((1,), "bool")])[-ids.size :]
    found = ops.segment_sum(ops.where(last[:, None], rows, 0), ids, len(count))
    found = ops.where(count[:, None] > 0, found, 1)
    return ops.reshape(found, (len(count), *own))

"""Places and counts of numbers."""

from __future__ import annotations

import math
from typing import Any

from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import floating
from gpunn.ops.elementwise import cast, counting, isnan
from gpunn.ops.indexing import one_hot
from gpunn.ops.places.checks import checked
from gpunn.ops.places.taking import put, take_unchecked
from gpunn.ops.reductions import any_, argsort, max_, sum_
from gpunn.ops.shapes import broadcast_to, expand_dims, reshape
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor


@operation
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Tensor:
    """Where values belong in a sorted vector: before those that are equal, or behind them."""
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right'; got {side!r}.")
    sequence, sought = convert(sorted_sequence), expand_dims(values, -1)
    return sum_(sequence < sought if side == "left" else sequence <= sought, -1)


@operation
def digitize(x: Any, bins: Any) -> Tensor:
    """In which of the bins with these rising bounds the numbers are."""
    return searchsorted(bins, x, "right")


@operation
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Where a number of x1 is one of x2."""
    found = any_(equal(expand_dims(x1, -1), reshape(x2, (-1,))), -1)
    return ops.logical_not(found) if invert else found


@operation
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each whole number from 0 on is there, or the sums of their weights.

    Where the numbers are those of each step, ``minlength`` says how many are counted.
    """
    x, n = convert(x, "int32"), int(minlength)
    if x.is_constant and x.size:
        n = max(n, int(x.value.max()) + 1)
    elif not x.is_constant and not n:
        raise ValueError("bincount: minlength must say how many numbers there are at most.")
    x = checked(x, 0, n - 1, "bincount: numbers")
    amounts = ops.ones(x.shape, "int32") if weights is None else counting(weights)
    if weights is not None:
        amounts = broadcast_to(convert(amounts, floating(amounts.dtype)), x.shape)
    return put(amounts, x, (*x.shape[:-1], n), x.ndim - 1, along=True, wraps=False)


@operation
def argpartition(x: Any, kth: int, axis: int = -1) -> Tensor:
    """The places of the elements, in an order in which the k-th smallest is at place k."""
    return argsort(x, axis)


@operation
def in_top_k(targets: Any, predictions: Any, k: int) -> Tensor:
    """Whether the prediction for the target is among the k largest of its row; equal ones are not
    larger. It is not where there is no such target, or the prediction is not a number."""
    predictions, targets = convert(predictions), convert(targets, "int32")
    own = take_unchecked(
        predictions, expand_dims(targets, -1), predictions.ndim - 1, along=True, wraps=False
    )
    there = (targets >= 0) & (targets < predictions.shape[-1]) & ~isnan(own[..., 0])
    return there & (sum_(predictions > own, -1) < k)


@operation
def multi_hot(
    inputs: Any, num_classes: int | None = None, axis: int = -1, dtype: Any = None
) -> Tensor:
    """1 at each class that a sample names, else 0."""
    inputs = convert(inputs)
    if num_classes is None:
        raise ValueError("multi_hot: num_classes must say how many classes there are.")
    return max_(one_hot(inputs, num_classes, axis, dtype), 1 if inputs.ndim > 1 else 0)


@operation
def unravel_index(indices: Any, shape: Any) -> tuple[Tensor, ...]:
    """The places in a row as places along each axis of a shape."""
    sizes = [int(n) for n in shape]
    count = math.prod(sizes)
    places, found = checked(convert(indices, "int32"), 0, count - 1, "unravel_index: places"), []
    for n in reversed(sizes):
        found.append(places % n)
        places = cast(places // n, "int32")
    return tuple(reversed(found))

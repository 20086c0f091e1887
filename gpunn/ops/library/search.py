"""Places and counts of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert, promoted
from gpunn.ops.dtypes import is_float
from gpunn.ops.elementwise import cast, counting, isnan, where
from gpunn.ops.indexing import one_hot
from gpunn.ops.library.order import argsort
from gpunn.ops.places.checks import checked
from gpunn.ops.places.taking import put, take_unchecked
from gpunn.ops.reductions import any_, max_, sum_
from gpunn.ops.shapes import axis_of, broadcast_to, expand_dims, flip, reshape, whole
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor


def _comparable(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two tensors of one dtype, which holds the numbers of both."""
    a, b = convert(a), convert(b)
    mixed = is_float(a.dtype) != is_float(b.dtype)
    one, other = promoted(a, b, at_least="float64" if mixed else None)
    return one, other


@operation
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Tensor:
    """Where values belong in a sorted vector: before those that are equal, or behind them.

    NaN belongs behind all numbers, as `sort` has it.

    Raises:
        ValueError: for another side than "left" and "right"; for a sequence that is no vector.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right'; got {side!r}.")
    sequence, sought = _comparable(sorted_sequence, values)
    if sequence.ndim != 1:
        raise ValueError(
            f"searchsorted: sorted_sequence must have one axis; got shape {sequence.shape}."
        )
    sought = expand_dims(sought, -1)
    before = sequence < sought if side == "left" else sequence <= sought
    if is_float(sequence.dtype):
        last = isnan(sought)
        before = before | (last & ~isnan(sequence) if side == "left" else last)
    return sum_(before, -1)


@operation
def digitize(x: Any, bins: Any) -> Tensor:
    """In which of the bins with these rising, or falling, bounds the numbers are.

    NaN is in the last of bins that rise, in the first of those that fall.

    Raises:
        ValueError: for bounds that neither rise nor fall; in a trace it is not seen.
    """
    bins = convert(bins)
    if bins.ndim != 1 or bins.size < 2:
        return searchsorted(bins, x, "right")
    falls = bins[0] > bins[-1]
    if bins.value is not None:
        known = np.diff(bins.value.astype("float64"))
        if (known > 0).any() and (known < 0).any():
            raise ValueError("digitize: bins must be bounds that rise, or that fall.")
    rising = searchsorted(where(falls, flip(bins), bins), x, "right")
    return where(falls, bins.size - rising, rising)


@operation
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Where a number of x1 is one of x2."""
    a, b = _comparable(x1, x2)
    found = any_(equal(expand_dims(a, -1), reshape(b, (-1,))), -1)
    return ops.logical_not(found) if invert else found


@operation
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each whole number from 0 on is there, or the sums of their weights.

    Where the numbers are those of each step, ``minlength`` says how many are counted.
    """
    x, n = convert(x, "int32"), whole(minlength, "minlength")
    if n < 0:
        raise ValueError(f"bincount: minlength must be 0 or more; got {n}.")
    if x.is_constant and x.size:
        n = max(n, int(x.value.max()) + 1)
    elif not x.is_constant and not n:
        raise ValueError("bincount: minlength must say how many numbers there are at most.")
    x = checked(x, 0, n - 1, "bincount: numbers")
    amounts = ops.ones(x.shape, "int32") if weights is None else counting(weights)
    if weights is not None:
        amounts = broadcast_to(amounts, x.shape)
    return put(amounts, x, (*x.shape[:-1], n), x.ndim - 1, along=True, wraps=False)


@operation
def argpartition(x: Any, kth: int, axis: int = -1) -> Tensor:
    """The places of the elements, in an order in which the k-th smallest is at place k."""
    x = convert(x)
    n = x.shape[axis_of(axis, x.ndim)]
    if not -n <= whole(kth, "kth") < n:
        raise ValueError(f"argpartition: kth must be from {-n} to {n - 1}; got {kth}.")
    return argsort(x, axis)


@operation
def in_top_k(targets: Any, predictions: Any, k: int) -> Tensor:
    """Whether the prediction for the target is among the k largest of its row; equal ones are not
    larger, and NaN is larger than any number. It is not where there is no such target, or where
    its prediction is NaN."""
    predictions, targets = convert(predictions), convert(targets, "int32")
    own = take_unchecked(
        predictions, expand_dims(targets, -1), predictions.ndim - 1, along=True, wraps=False
    )
    there = (targets >= 0) & (targets < predictions.shape[-1]) & ~isnan(own[..., 0])
    larger = (predictions > own) | isnan(predictions)
    return there & (sum_(larger, -1) < k)


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

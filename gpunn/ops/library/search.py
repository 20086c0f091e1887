"""Searching, counting and indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert, promoted
from gpunn.ops.dtypes import is_float
from gpunn.ops.elementwise import cast, counting, isnan, where
from gpunn.ops.gather_scatter.checks import checked, integers
from gpunn.ops.gather_scatter.gather import put, take_unchecked
from gpunn.ops.indexing import check_dense, one_hot
from gpunn.ops.library.order import along, argsort
from gpunn.ops.reductions import any_, max_, sum_
from gpunn.ops.shapes import broadcast_to, expand_dims, flip, reshape, sizes_of, whole
from gpunn.ops.tensor import Tensor, UnknownShapeError, operation, ops


def _comparable(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Convert two tensors to a common dtype that holds the values of both."""
    a, b = convert(a), convert(b)
    mixed = is_float(a.dtype) != is_float(b.dtype)
    one, other = promoted(a, b, at_least="float64" if mixed else None)
    return one, other


@operation
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Tensor:
    """Find the indices at which to insert values into a sorted vector to keep it sorted.

    Index i means ``s[i - 1] < v <= s[i]`` for "left" and ``s[i - 1] <= v < s[i]`` for "right". NaN
    comes after all numbers, as in `sort`. Indices have no gradient.

    Args:
        sorted_sequence: a vector (n,) in ascending order.
        values: a tensor of any shape, which the result has too; its dtype is int32.
        side: "left" inserts before equal elements, "right" after them.

    Raises:
        ValueError: if side is not "left" or "right", or the sequence is not a vector.

    >>> from gpunn import ops
    >>> ops.searchsorted([1, 3, 5], [0, 3, 9]).tolist()
    [0, 1, 3]
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right'; got {side!r}.")
    sequence, sought = _comparable(sorted_sequence, values)
    if sequence.ndim != 1:
        raise ValueError(f"sorted_sequence must have one axis; got shape {sequence.shape}.")
    sought = expand_dims(sought, -1)
    before = sequence < sought if side == "left" else sequence <= sought
    if is_float(sequence.dtype):
        last = isnan(sought)
        before = before | (last & ~isnan(sequence) if side == "left" else last)
    return sum_(before, -1)


@operation
def digitize(x: Any, bins: Any) -> Tensor:
    """Return the indices of the bins that the elements fall into.

    Index i means ``bins[i - 1] <= x < bins[i]``, or ``bins[i - 1] > x >= bins[i]`` if the bounds
    decrease. NaN falls into the last bin of increasing bounds and the first bin of decreasing ones.

    Args:
        x: a tensor or array-like (...); the result has its shape and dtype int32.
        bins: a vector of bounds that increase or decrease.

    Raises:
        ValueError: if ``bins`` is not a vector, or not monotonic; the latter is not checked in a
            trace.

    >>> from gpunn import ops
    >>> ops.digitize([0.5, 1.0, 9.0], [1.0, 2.0, 3.0]).tolist()
    [0, 1, 3]
    """
    bins = convert(bins)
    if bins.ndim != 1:
        raise ValueError(f"digitize: bins must have one axis; got shape {bins.shape}.")
    if bins.size < 2:
        return searchsorted(bins, x, "right")
    falls = bins[0] > bins[-1]
    if bins.value is not None:
        known = np.diff(bins.value.astype("float64"))
        if (known > 0).any() and (known < 0).any():
            raise ValueError("digitize: bins must be monotonically increasing or decreasing.")
    rising = searchsorted(where(falls, flip(bins), bins), x, "right")
    return where(falls, bins.size - rising, rising)


@operation
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Return for each element of x1 whether it occurs in x2.

    Args:
        x1: a tensor or array-like (...); the result is boolean, of its shape.
        x2: a tensor or array-like of any shape.
        assume_unique: accepted as in Keras, and ignored.
        invert: whether to negate the result.

    >>> from gpunn import ops
    >>> ops.isin([1, 2, 3], [2, 5]).tolist()
    [False, True, False]
    """
    a, b = _comparable(x1, x2)
    found = any_(equal(expand_dims(a, -1), reshape(b, (-1,))), -1)
    return ops.logical_not(found) if invert else found


@operation
def bincount(
    x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False
) -> Tensor:
    """Count the occurrences of each non-negative integer, or sum their weights.

    ``y[b]`` is the sum of ``weights[i]``, 1 by default, over the i with ``x[i] = b``. In a trace,
    where each step has its own values, ``minlength`` sets the number of bins.

    Args:
        x: integers (..., n), also as floats; the counts have shape (..., bins).
        weights: broadcast to x; the result has their dtype, int32 without weights.
        minlength: the least number of bins; there are more if the largest value needs them.
        sparse: must be false.

    Raises:
        ValueError: if ``minlength`` is negative or not an integer; if x has no axes, or the weights
            do not fit.
        UnknownShapeError: a TypeError and ValueError, if ``minlength`` is missing where the values
            are not known.
        IntegerError: a TypeError and ValueError, for a value that is not an integer; in a trace,
            the step raises it.
        IndexError: for negative values, and in a step also for values of ``minlength`` or more.

    >>> from gpunn import ops
    >>> ops.bincount([0, 2, 2]).tolist(), ops.bincount([0, 2, 2], weights=[0.5, 1.0, 1.0]).tolist()
    ([1, 0, 2], [0.5, 0.0, 2.0])
    """
    check_dense(sparse)
    x, n = integers(x, "bincount: values"), whole(minlength, "minlength", 0)
    if not x.ndim:
        raise ValueError("bincount: x must have one axis or more; got shape ().")
    if x.value is not None:
        n = max(n, int(x.value.max(initial=-1)) + 1)
    elif not n:
        raise UnknownShapeError(
            "in a trace, minlength must give the number of bins: the values are those of each step."
        )
    x = checked(x, 0, max(n, 1) - 1, "bincount: values")
    amounts = ops.ones(x.shape, "int32") if weights is None else counting(weights)
    if weights is not None:
        amounts = broadcast_to(amounts, x.shape)
    return put(amounts, x, (*x.shape[:-1], n), x.ndim - 1, along=True, wraps=False)


@operation
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Tensor:
    """Return indices that put the k-th smallest element at index k, smaller ones before it.

    They sort the axis, which is one of the possible results.

    Args:
        x: a tensor or array-like; the result has its shape and dtype int32.
        kth: the index in the sorted order, from -n to n - 1 for an axis of length n.
        axis: the axis to partition along; None flattens x first.

    Raises:
        ValueError: if ``kth`` is not an index of the axis, or the axis is out of range.

    >>> from gpunn import ops
    >>> ops.argpartition([30, 10, 20], 1).tolist()
    [1, 2, 0]
    """
    x, axis = along(x, axis)
    n = x.shape[axis] if x.ndim else 1
    if not -n <= whole(kth, "kth") < n:
        raise ValueError(f"argpartition: kth must be from {-n} to {n - 1}; got {kth}.")
    return argsort(x, axis)


@operation
def in_top_k(targets: Any, predictions: Any, k: int) -> Tensor:
    """Return whether the target's prediction is among the k largest of its row.

    Ties count as in the top k, and NaN counts as larger than any number. The result is False for a
    target that is out of range, or whose prediction is NaN.

    Args:
        targets: class indices (batch,); the result is boolean and has the same shape.
        predictions: (batch, classes).
        k: how many of the largest predictions count.

    Raises:
        ValueError: if targets do not have the shape of predictions without the last axis, or k is
            negative.
        IntegerError: a TypeError and ValueError, if k or a target is not an integer; in a trace,
            the step raises it for a target.

    >>> from gpunn import ops
    >>> ops.in_top_k([0, 2], [[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]], k=2).tolist()
    [False, True]
    """
    predictions, targets, k = convert(predictions), integers(targets, "targets"), whole(k, "k", 0)
    if not predictions.ndim or targets.shape != predictions.shape[:-1]:
        raise ValueError(
            f"targets must be one for each row of {predictions.shape}; got shape {targets.shape}."
        )
    own = take_unchecked(
        predictions, expand_dims(targets, -1), predictions.ndim - 1, along=True, wraps=False
    )
    there = (targets >= 0) & (targets < predictions.shape[-1]) & ~isnan(own[..., 0])
    larger = (predictions > own) | isnan(predictions)
    return there & (sum_(larger, -1) < k)


@operation
def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
) -> Tensor:
    """Encode several class indices per sample: 1 for each class that occurs, else 0.

    Args:
        inputs: class indices (batch, n), or (n,) of one sample; the result is (batch, num_classes)
            or (num_classes,). Indices out of range are ignored.
        num_classes: the number of classes, which must be given.
        axis: of the classes, as in `one_hot`; the n are combined after it is inserted.
        dtype: of the result; floatx by default.
        sparse: must be false.

    Raises:
        ValueError: if ``num_classes`` is not given; otherwise as in `one_hot`.

    >>> from gpunn import ops
    >>> ops.multi_hot([[0, 2], [1, 1]], num_classes=3).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    inputs = convert(inputs)
    if num_classes is None:
        raise ValueError("multi_hot: num_classes must be given, the number of classes.")
    return max_(one_hot(inputs, num_classes, axis, dtype, sparse), 1 if inputs.ndim > 1 else 0)


@operation
def unravel_index(indices: Any, shape: Any) -> tuple[Tensor, ...]:
    """Convert flat indices to indices along each axis of a shape.

    For a shape (m, n): ``(i // n, i % n)``.

    Args:
        indices: integers of any shape, which each result has too.
        shape: the sizes of the axes.

    Returns:
        a tuple with an int32 tensor for each axis.

    Raises:
        IndexError: if an index is negative, or not smaller than the number of elements.
        IntegerError: a TypeError and ValueError, if an index or a size is not an integer.

    >>> from gpunn import ops
    >>> rows, columns = ops.unravel_index([1, 5], (2, 3))
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 2])
    """
    sizes, what = sizes_of(shape), "unravel_index: indices"
    places, found = checked(integers(indices, what), 0, math.prod(sizes) - 1, what), []
    for n in reversed(sizes):
        found.append(places % n)
        places = cast(places // n, "int32")
    return tuple(reversed(found))


@operation
def nonzero(x: Any) -> tuple[Tensor, ...]:
    """Return the indices of the elements that are not 0, one tensor for each axis.

    Args:
        x: a tensor or array-like. Its values must be known: outside of a traced step.

    Returns:
        for each axis, indices (count,) of dtype int32, in the order of the elements.

    Raises:
        UnknownShapeError: a TypeError and ValueError, in a trace, where the count is not known.

    >>> from gpunn import ops
    >>> rows, columns = ops.nonzero([[0, 3], [4, 0]])
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    x = convert(x)
    if x.value is None:
        raise UnknownShapeError(
            f"the number of indices depends on the values of x, of shape {x.shape}, which are "
            f"those of each step. Choose with ops.where(condition, x1, x2)."
        )
    return tuple(convert(places, "int32") for places in np.nonzero(np.atleast_1d(x.numpy())))

"""Weighted means, medians, and reductions that leave out what is not a number."""

from __future__ import annotations

import math
from typing import Any

from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import floating
from gpunn.ops.elementwise import cast, isnan, sqrt, square, where
from gpunn.ops.reductions import Axis, all_, averaged, axes_of, max_, mean, min_, prod, sort, sum_
from gpunn.ops.shapes import expand_dims, moveaxis, reshape
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor


def _floats(x: Any) -> Tensor:
    x = convert(x)
    return convert(x, floating(x.dtype))


@operation
def average(x: Any, axis: Axis = None, weights: Any = None) -> Tensor:
    """The mean, weighted."""
    x = convert(x)
    dtype = floating(x.dtype)
    if weights is None:
        return mean(x, axis)
    x = averaged(x)
    w = convert(weights, x.dtype)
    if w.shape != x.shape:  # one weight for each place along the axis
        (place,) = axes_of(axis, x.ndim)
        w = reshape(w, [-1 if a == place else 1 for a in range(x.ndim)])
    return convert(sum_(x * w, axis) / sum_(w + ops.zeros_like(x), axis), dtype)


@operation
def quantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """What a share q of the numbers along these axes is not above; between two of them linear,
    or as ``method`` says: "lower", "higher", "midpoint" or "nearest"."""
    methods = ("linear", "lower", "higher", "midpoint", "nearest")
    if method not in methods:
        raise ValueError(f"method must be one of {methods}; got {method!r}.")
    x, shares = _floats(x), convert(q)
    axes = axes_of(axis, x.ndim)
    rest = [a for a in range(x.ndim) if a not in axes]
    rows = ops.transpose(x, [*rest, *axes])
    n = math.prod(x.shape[a] for a in axes)
    rows = sort(reshape(rows, [*(x.shape[a] for a in rest), n]))
    place = reshape(convert(shares, x.dtype), (-1,)) * float(n - 1)
    below, above = ops.floor(place), ops.ceil(place)
    if method == "nearest":
        below = above = ops.round(place)
    share = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5}.get(method, place - below)
    low, high = (ops.take(rows, cast(at, "int32"), -1) for at in (below, above))
    found = moveaxis(low + (high - low) * share, -1, 0)
    if keepdims:
        found = expand_dims(found, [a + 1 for a in axes])
    return reshape(found, [*shares.shape, *found.shape[1:]])


@operation
def percentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """`quantile` of q percent."""
    return quantile(x, _floats(q) / 100.0, axis, method, keepdims)


@operation
def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The number in the middle, or the mean of the two there."""
    return quantile(x, 0.5, axis, "midpoint", keepdims)


def _filled(x: Any, value: float) -> tuple[Tensor, Tensor]:
    """x with a value where it is not a number, and where that is."""
    x = convert(x)
    if x.dtype in ("bool", "int32"):
        return x, ops.zeros_like(x, "bool")
    gone = isnan(x)
    return where(gone, value, x), gone


@operation
def nansum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum of what is a number."""
    return sum_(_filled(x, 0.0)[0], axis, keepdims)


@operation
def nanprod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product of what is a number."""
    return prod(_filled(x, 1.0)[0], axis, keepdims)


@operation
def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean of what is a number."""
    x, gone = _filled(_floats(x), 0.0)
    count = cast(sum_(ops.logical_not(gone), axis, keepdims), x.dtype)
    return sum_(x, axis, keepdims) / count


@operation
def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The variance of what is a number."""
    x = _floats(x)
    return nanmean(square(x - nanmean(x, axis, keepdims=True)), axis, keepdims)


@operation
def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The square root of `nanvar`."""
    return sqrt(nanvar(x, axis, keepdims))


@operation
def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest of what is a number."""
    filled, gone = _filled(x, -math.inf)
    return where(all_(gone, axis, keepdims), math.nan, max_(filled, axis, keepdims))


@operation
def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest of what is a number."""
    filled, gone = _filled(x, math.inf)
    return where(all_(gone, axis, keepdims), math.nan, min_(filled, axis, keepdims))

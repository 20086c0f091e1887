"""Weighted means, medians, and reductions that leave out what is not a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import floating, is_float
from gpunn.ops.elementwise import cast, isfinite, isnan, root, square, where
from gpunn.ops.library.order import sort
from gpunn.ops.reductions import Axis, all_, averaged, axes_of, max_, mean, min_, prod, sum_, var
from gpunn.ops.shapes import broadcast_to, expand_dims, moveaxis, places_of, reshape
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor


@operation
def average(x: Any, axis: Axis = None, weights: Any = None) -> Tensor:
    """The mean, weighted.

    Args:
        x: a tensor.
        axis: over which it is; None: over all.
        weights: one for each number, or one for each place along the axes.

    Raises:
        ValueError: for weights of another shape.
    """
    x = convert(x)
    dtype = floating(x.dtype)
    if weights is None:
        return mean(x, axis)
    x = averaged(x)
    w = convert(weights, x.dtype)
    if w.shape != x.shape:
        places = [] if axis is None else places_of(axis, x.ndim)
        if w.shape != tuple(x.shape[a] for a in places):
            raise ValueError(
                f"average: weights must have the shape {x.shape} of x, or one weight for each "
                f"place along the axes {axis!r}; got shape {w.shape}."
            )
        w = ops.transpose(w, sorted(range(w.ndim), key=places.__getitem__))
        w = reshape(w, [n if a in places else 1 for a, n in enumerate(x.shape)])
    return convert(sum_(x * w, axis) / sum_(broadcast_to(w, x.shape), axis), dtype)


@operation
def quantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """What a share q of the numbers along these axes is not above; between two of them linear,
    or as ``method`` says: "lower", "higher", "midpoint" or "nearest".

    NaN if one of the numbers is NaN. Between a number and an infinite one it is the infinite one.
    Integers are compared as integers, and what is between them is computed in float64.

    Raises:
        ValueError: for a q below 0 or above 1; of no numbers.
    """
    methods = ("linear", "lower", "higher", "midpoint", "nearest")
    if method not in methods:
        raise ValueError(f"method must be one of {methods}; got {method!r}.")
    x, shares = convert(x), convert(q, "float64")
    axes = axes_of(axis, x.ndim)
    n = math.prod(x.shape[a] for a in axes)
    if not n:
        raise ValueError(f"quantile: there is none of no elements; got shape {x.shape}.")
    inside = (shares >= 0.0) & (shares <= 1.0)
    if inside.value is not None and not inside.value.all():
        raise ValueError(f"q must be from 0 to 1; got {q!r}.")
    rest = [a for a in range(x.ndim) if a not in axes]
    rows = ops.transpose(x, [*rest, *axes])
    rows = sort(reshape(rows, [*(x.shape[a] for a in rest), n]))
    # In float64, which has a place for each of the numbers.
    place = reshape(where(inside, shares, 0.0), (-1,)) * float(n - 1)
    found = moveaxis(_at(rows, place, method), -1, 0)
    if keepdims:
        found = expand_dims(found, [a + 1 for a in axes])
    found = reshape(found, [*shares.shape, *found.shape[1:]])
    if inside.value is None:  # known in a step only
        inside = reshape(inside, (*shares.shape, *(1,) * (found.ndim - shares.ndim)))
        found = where(inside, found, math.nan)
    return found


def _at(rows: Tensor, place: Tensor, method: str) -> Tensor:
    """What stands at places (k,) between those of the numbers of sorted rows (..., n): (..., k)."""
    dtype = floating(rows.dtype)
    below, above = ops.floor(place), ops.ceil(place)
    if method == "nearest":
        below = above = ops.round(place)
    below, above = (above if method == "higher" else below), (below if method == "lower" else above)
    low, high = (ops.take(rows, cast(at, "int32"), -1) for at in (below, above))
    exact = "float64" if rows.dtype == "int32" else dtype
    low, high = cast(low, exact), cast(high, exact)
    if method in ("linear", "midpoint"):
        share = cast(0.5 * (below != above) if method == "midpoint" else place - below, exact)
        difference = high - low
        between = where(
            isfinite(difference), low + difference * share, low * (1.0 - share) + high * share
        )
        low = where(equal(share, 0.0), low, between)  # then high may be infinite
    low = cast(low, dtype)
    if rows.dtype == "int32":
        return low
    last = rows[..., -1:]  # NaN if one is
    return where(isnan(last), last, low)


@operation
def percentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """`quantile` of q percent."""
    return quantile(x, convert(q, "float64") / 100.0, axis, method, keepdims)


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
    x = convert(x)
    if not is_float(x.dtype):
        return mean(x, axis, keepdims)
    x, gone = _filled(x, 0.0)
    count = cast(sum_(ops.logical_not(gone), axis, keepdims), x.dtype)
    return sum_(x, axis, keepdims) / count


@operation
def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The variance of what is a number."""
    x = convert(x)
    if not is_float(x.dtype):
        return var(x, axis, keepdims)
    filled, gone = _filled(x, 0.0)
    # Chosen by what was no number at first: a difference of infinite numbers is none either.
    apart = where(gone, 0.0, filled - nanmean(x, axis, keepdims=True))
    count = cast(sum_(ops.logical_not(gone), axis, keepdims), x.dtype)
    return sum_(square(apart), axis, keepdims) / count


@operation
def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The square root of `nanvar`."""
    return root(nanvar(x, axis, keepdims))


@operation
def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest of what is a number."""
    return _nan_extreme(max_, x, -math.inf, axis, keepdims)


@operation
def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest of what is a number."""
    return _nan_extreme(min_, x, math.inf, axis, keepdims)


def _nan_extreme(
    extreme: Callable[..., Tensor], x: Any, value: float, axis: Axis, keepdims: bool
) -> Tensor:
    x = convert(x)
    if not is_float(x.dtype):
        return extreme(x, axis, keepdims)
    filled, gone = _filled(x, value)
    return where(all_(gone, axis, keepdims), math.nan, extreme(filled, axis, keepdims))

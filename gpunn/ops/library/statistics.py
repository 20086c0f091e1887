"""Weighted means, quantiles, and reductions that ignore NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert, promoted
from gpunn.ops.dtypes import floating, is_float
from gpunn.ops.elementwise import cast, isfinite, isnan, root, square, where
from gpunn.ops.library.order import sort
from gpunn.ops.reductions import Axis, all_, averaged, axes_of, max_, mean, min_, prod, sum_, var
from gpunn.ops.shapes import broadcast_to, check_some, expand_dims, moveaxis, places_of, reshape
from gpunn.ops.tensor import Tensor, operation, ops


@operation
def average(x: Any, axis: Axis = None, weights: Any = None) -> Tensor:
    """Compute the weighted mean over the given axes, or over all: ``y = sum(w x) / sum(w)``.

    Args:
        x: a tensor or array-like; the mean of integers and booleans is a float (floatx).
        axis: the axes to reduce; None means all.
        weights: of the shape of x, or one weight for each index along the axes; 1 by default.

    Returns:
        a tensor of the shape of x without the reduced axes.

    Raises:
        ValueError: if the weights have another shape, or an axis is out of range.

    >>> from gpunn import ops
    >>> ops.average([1.0, 2.0, 3.0], weights=[3.0, 0.0, 1.0]).item()
    1.5
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
                f"index along the axes {axis!r}; got shape {w.shape}."
            )
        w = ops.transpose(w, sorted(range(w.ndim), key=places.__getitem__))
        w = reshape(w, [n if a in places else 1 for a, n in enumerate(x.shape)])
    return convert(sum_(x * w, axis) / sum_(broadcast_to(w, x.shape), axis), dtype)


@operation
def quantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Compute the q-th quantiles over the given axes: for q = 0.5 the median.

    They are at the place ``q (n - 1)`` of the n sorted elements; between two of them the ``method``
    decides. The result is NaN if an element is NaN, and infinite between a finite and an infinite
    element. Integers are compared as integers, and values between them are computed in float64.

    Args:
        x: a tensor or array-like; the quantiles of integers are floats (floatx).
        q: from 0 to 1. Its axes come first in the result, then the axes of x that are left.
        axis: one axis, several, or None for all.
        method: "linear" interpolation, "lower", "higher", "midpoint" or "nearest".
        keepdims: whether to keep the reduced axes with length 1.

    Raises:
        ValueError: if q is below 0 or above 1, an axis is out of range, there are no elements, or
            for another method.

    >>> from gpunn import ops
    >>> ops.quantile([1.0, 2.0, 3.0, 4.0], [0.25, 0.5]).tolist()
    [1.75, 2.5]
    """
    return quantiles(x, q, 1, axis, method, keepdims)


def quantiles(
    x: Any, q: Any, most: int, axis: Axis, method: str, keepdims: bool, skips: bool = False
) -> Tensor:
    """Compute quantiles for q from 0 to ``most``; ``skips``: of the elements that are not NaN."""
    methods = ("linear", "lower", "higher", "midpoint", "nearest")
    if method not in methods:
        raise ValueError(f"method must be one of {methods}; got {method!r}.")
    x, shares = convert(x), convert(q, "float64")
    shares = shares if most == 1 else shares / float(most)
    axes = axes_of(axis, x.ndim)
    check_some(x, axes)
    n = math.prod(x.shape[a] for a in axes)
    inside = (shares >= 0.0) & (shares <= 1.0)
    if inside.value is not None and not inside.value.all():
        raise ValueError(f"q must be from 0 to {most}; got {q!r}.")
    rest = [a for a in range(x.ndim) if a not in axes]
    rows = ops.transpose(x, [*rest, *axes])
    rows = sort(reshape(rows, [*(x.shape[a] for a in rest), n]))
    # In float64, which represents each index exactly.
    place = reshape(where(inside, shares, 0.0), (-1,))
    if skips and is_float(rows.dtype):  # NaN comes last
        count = sum_(~isnan(rows), -1, keepdims=True)
        place = place * cast(ops.maximum(count - 1, 0), "float64")
    else:
        skips, place = False, place * float(n - 1)
    found = moveaxis(_at(rows, place, method, skips), -1, 0)
    if keepdims:
        found = expand_dims(found, [a + 1 for a in axes])
    found = reshape(found, [*shares.shape, *found.shape[1:]])
    if inside.value is None:  # known only when the step runs
        inside = reshape(inside, (*shares.shape, *(1,) * (found.ndim - shares.ndim)))
        found = where(inside, found, math.nan)
    return found


def _at(rows: Tensor, place: Tensor, method: str, skips: bool) -> Tensor:
    """Interpolate sorted rows (..., n) at fractional indices (k,), or (..., k) of the elements that
    are not NaN if it ``skips`` the others; return (..., k)."""
    dtype = floating(rows.dtype)
    below, above = ops.floor(place), ops.ceil(place)
    if method == "nearest":
        below = above = ops.round(place)
    below, above = (above if method == "higher" else below), (below if method == "lower" else above)
    taken = ops.take_along_axis if skips else ops.take
    low, high = (taken(rows, cast(at, "int32"), -1) for at in (below, above))
    exact = "float64" if rows.dtype == "int32" else dtype
    low, high = cast(low, exact), cast(high, exact)
    if method in ("linear", "midpoint"):
        share = cast(0.5 * (below != above) if method == "midpoint" else place - below, exact)
        difference = high - low
        between = where(
            isfinite(difference), low + difference * share, low * (1.0 - share) + high * share
        )
        low = where(equal(share, 0.0), low, between)  # high may be infinite there
    low = cast(low, dtype)
    if rows.dtype == "int32" or skips:
        return low
    last = rows[..., -1:]  # NaN if one is
    return where(isnan(last), last, low)


@operation
def percentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Compute the q-th percentiles over the given axes: the `quantile` of ``q / 100``.

    Args:
        x, axis, method, keepdims: as in `quantile`.
        q: from 0 to 100. Its axes come first in the result, then the axes of x that are left.

    Raises:
        ValueError: as in `quantile`.

    >>> from gpunn import ops
    >>> ops.percentile([1.0, 2.0, 3.0, 4.0], [25, 50]).tolist()
    [1.75, 2.5]
    """
    return quantiles(x, q, 100, axis, method, keepdims)


@operation
def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the median: the middle element, or the mean of the two in the middle.

    It is NaN if an element is NaN. The median of integers is a float, floatx. Arguments, shape and
    errors: as for `sum`, and for no elements a ValueError.

    >>> from gpunn import ops
    >>> ops.median([[1.0, 3.0, 2.0], [4.0, 5.0, 9.0]], axis=1).tolist()
    [2.0, 5.0]
    """
    return quantile(x, 0.5, axis, "midpoint", keepdims)


def without_nan(x: Any, value: float) -> tuple[Tensor, Tensor]:
    """Replace NaN in x by a value; also return where it was."""
    x = convert(x)
    if x.dtype in ("bool", "int32"):
        return x, ops.zeros_like(x, "bool")
    gone = isnan(x)
    return where(gone, value, x), gone


@operation
def nansum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Add up the elements over the given axes, or over all, ignoring NaN.

    If all elements are NaN, the sum is 0. The gradient of NaN elements is 0. The result has the
    dtype of x, int32 for booleans. Arguments, shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.nansum([1.0, float("nan"), 3.0]).item()
    4.0
    """
    return sum_(without_nan(x, 0.0)[0], axis, keepdims)


@operation
def nanprod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Multiply the elements over the given axes, or over all, ignoring NaN.

    If all elements are NaN, the product is 1. The gradient of NaN elements is 0. The result has the
    dtype of x, int32 for booleans. Arguments, shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.nanprod([2.0, float("nan"), 3.0]).item()
    6.0
    """
    return prod(without_nan(x, 1.0)[0], axis, keepdims)


@operation
def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the mean over the given axes, or over all, ignoring NaN.

    It is NaN if all elements are NaN; see `mean`. The result is a float, floatx for integers.
    Arguments, shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.nanmean([1.0, float("nan"), 3.0]).item()
    2.0
    """
    x = convert(x)
    if not is_float(x.dtype):
        return mean(x, axis, keepdims)
    x, gone = without_nan(x, 0.0)
    count = cast(sum_(ops.logical_not(gone), axis, keepdims), x.dtype)
    return sum_(x, axis, keepdims) / count


@operation
def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the variance over the given axes, or over all, ignoring NaN.

    It is NaN if all elements are NaN; see `var`. The result is a float, floatx for integers.
    Arguments, shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.nanvar([1.0, float("nan"), 3.0]).item()
    1.0
    """
    x = convert(x)
    if not is_float(x.dtype):
        return var(x, axis, keepdims)
    filled, gone = without_nan(x, 0.0)
    # Select by the original NaNs: a difference of infinities is NaN too.
    apart = where(gone, 0.0, filled - nanmean(x, axis, keepdims=True))
    count = cast(sum_(ops.logical_not(gone), axis, keepdims), x.dtype)
    return sum_(square(apart), axis, keepdims) / count


@operation
def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the standard deviation over the given axes, or over all, ignoring NaN.

    It is NaN if all elements are NaN; see `std`. The result is a float, floatx for integers.
    Arguments, shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.nanstd([1.0, float("nan"), 3.0]).item()
    1.0
    """
    return root(nanvar(x, axis, keepdims))


@operation
def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest element over the given axes, or over all, ignoring NaN.

    It is NaN if all elements are NaN; see `max`. The result has the dtype of x. Arguments, shape
    and errors: as for `sum`, and for no elements a ValueError.

    >>> from gpunn import ops
    >>> ops.nanmax([1.0, float("nan"), 3.0]).item()
    3.0
    """
    return _nan_extreme(max_, x, -math.inf, axis, keepdims)


@operation
def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest element over the given axes, or over all, ignoring NaN.

    It is NaN if all elements are NaN; see `min`. The result has the dtype of x. Arguments, shape
    and errors: as for `sum`, and for no elements a ValueError.

    >>> from gpunn import ops
    >>> ops.nanmin([1.0, float("nan"), 3.0]).item()
    1.0
    """
    return _nan_extreme(min_, x, math.inf, axis, keepdims)


def _nan_extreme(
    extreme: Callable[..., Tensor], x: Any, value: float, axis: Axis, keepdims: bool
) -> Tensor:
    x = convert(x)
    if not is_float(x.dtype):
        return extreme(x, axis, keepdims)
    filled, gone = without_nan(x, value)
    return where(all_(gone, axis, keepdims), math.nan, extreme(filled, axis, keepdims))


@operation
def psnr(x1: Any, x2: Any, max_val: Any) -> Tensor:
    """Compute the peak signal-to-noise ratio in decibels: ``10 log10(max_val^2 / mean((x1 -
    x2)^2))``.

    Args:
        x1, x2: tensors of one shape, such as images and those rebuilt from them.
        max_val: the largest possible value, such as 1 or 255.

    Returns:
        one number, of all values together; infinity for equal ones.

    Raises:
        ValueError: if the shapes differ.

    >>> from gpunn import ops
    >>> ops.psnr([0.0, 1.0], [0.1, 0.9], 1.0).round(3).item()
    20.0
    """
    a, b = promoted(x1, x2)
    if a.shape != b.shape:
        raise ValueError(f"x1 and x2 must have one shape; got {a.shape} and {b.shape}.")
    error = mean(square(averaged(a) - averaged(b)))
    y = 20.0 * ops.log10(convert(max_val, error.dtype)) - 10.0 * ops.log10(error)
    return cast(y, floating(a.dtype))

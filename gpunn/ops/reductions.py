"""Operations along axes: sums, means, extremes, their indices, cumulative sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert, floats
from .dtypes import floating, is_float
from .elementwise import (
    counting,
    exp,
    isfinite,
    log,
    logical_not,
    root,
    square,
    stop_gradient,
    where,
)
from .fusion.storing import by_operations
from .primitive import Primitive
from .shapes import Axis as Axis
from .shapes import axes_of as axes_of
from .shapes import (
    axis_of,
    check_some,
    compute_transpose,
    expand_dims,
    reshape,
    squeeze,
)
from .tensor import Shape, Tensor, operation, operation_named, ops


def _reduced(shape: Shape, axis: tuple[int, ...], keepdims: bool) -> Shape:
    if keepdims:
        return tuple(1 if a in axis else n for a, n in enumerate(shape))
    return tuple(n for a, n in enumerate(shape) if a not in axis)


def _reduction(name: str, gradient: str | None = None) -> Primitive:
    def compute(
        backend: Backend, out: Array, x: Array, axis: tuple[int, ...], keepdims: bool
    ) -> None:
        if name == "sum" and x.dtype.kind == "f" and by_operations(backend, x.size):
            _add_up(backend, out, x, axis)
        else:
            getattr(backend.xp, name)(x, axis=axis, out=out, keepdims=keepdims)

    return Primitive(name, compute, _reduced, gradient=gradient, lowering=f"row_{name}")


def _add_up(backend: Backend, out: Array, x: Array, axis: tuple[int, ...]) -> None:
    """Add up the elements along axes between others, as part of a step's program: these axes are
    moved to the front."""
    order = (*axis, *(a for a in range(x.ndim) if a not in axis))
    front = tuple(x.shape[a] for a in order)
    moved = backend.scratch(front, x.dtype, "axes to add up")
    compute_transpose(backend, moved, x, order)
    backend.column_sums(moved.reshape(-1, out.size), out.reshape(-1))


_sum, _max, _min, _prod = (_reduction(name, name) for name in ("sum", "max", "min", "prod"))
_any = _reduction("any")


def _along(primitive: Primitive, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    axes = axes_of(axis, x.ndim)
    return primitive(x, axis=axes, keepdims=keepdims) if axes else x


@operation_named("sum")
def sum_(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Add up the elements over the given axes, or over all: ``y = x_1 + ... + x_n``.

    Booleans count as 0 and 1; the sum of no elements is 0.

    Args:
        x: a tensor or array-like; the result has its dtype, int32 for booleans.
        axis: the axis or axes to reduce; None means all.
        keepdims: keep the reduced axes, at length 1.

    Returns:
        a tensor of the shape of x without the reduced axes.

    Raises:
        ValueError: if an axis is out of range or named twice.

    >>> from gpunn import ops
    >>> ops.sum([[1.0, 2.0], [3.0, 4.0]], axis=0).tolist()
    [4.0, 6.0]
    """
    return _along(_sum, counting(x), axis, keepdims)


@operation
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the mean over the given axes, or over all: ``y = sum(x) / n``.

    The mean of integers is computed in float64 and returned as floatx. No elements give NaN. The
    result has the dtype of x, floatx for integers and booleans. Arguments, shape and errors: as for
    `sum`.

    >>> from gpunn import ops
    >>> ops.mean([[1.0, 2.0], [3.0, 4.0]], axis=1).tolist()
    [1.5, 3.5]
    """
    x = convert(x)
    return convert(_mean(averaged(x), axis, keepdims), floating(x.dtype))


def averaged(x: Tensor) -> Tensor:
    """Convert x to the dtype that means are computed in: float64 for integers, since float32 would
    lose their last digits, which are all that remains where large values cancel."""
    return convert(x, "float64" if x.dtype == "int32" else floating(x.dtype))


def _mean(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    count = math.prod(x.shape[a] for a in axes_of(axis, x.ndim))
    return sum_(x, axis, keepdims) / (float(count) if count else math.nan)


@operation
def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the variance over the given axes, or over all: ``y = mean((x - mean(x))^2)``.

    This is the population variance, divided by n. The result has the dtype of x, floatx for
    integers and booleans. Arguments, shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.var([[1.0, 3.0], [2.0, 6.0]], axis=1).tolist()
    [1.0, 4.0]
    """
    x = convert(x)
    wide = averaged(x)
    found = _mean(square(wide - _mean(wide, axis, True)), axis, keepdims)
    return convert(found, floating(x.dtype))


@operation
def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the standard deviation over the given axes, or over all: ``y = sqrt(var(x))``.

    Its derivative is 0 where all elements are equal, as there it has none. The result has the dtype
    of x, floatx for integers and booleans. Arguments, shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.std([[1.0, 3.0], [2.0, 6.0]], axis=1).tolist()
    [1.0, 2.0]
    """
    return root(var(x, axis, keepdims))


@operation
def moments(x: Any, axes: Axis, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Compute the `mean` and the variance (`var`) of a tensor over the given axes.

    Both have the dtype of x, floatx for integers and booleans. Arguments, shapes and errors: as for
    `sum`.

    >>> from gpunn import ops
    >>> mean, variance = ops.moments([[1.0, 3.0], [2.0, 6.0]], axes=1)
    >>> mean.tolist(), variance.tolist()
    ([2.0, 4.0], [1.0, 4.0])
    """
    return mean(x, axes, keepdims), var(x, axes, keepdims)


def _extreme(
    primitive: Primitive, x: Tensor, axis: Axis, keepdims: bool, initial: Any = None
) -> Tensor:
    axes = axes_of(axis, x.ndim)
    if initial is not None and not all(x.shape[a] for a in axes):
        shape = (1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes)
        return ops.full(tuple(shape), initial, x.dtype)
    if not axes:
        return x
    check_some(x, axes)
    return primitive(x, axis=axes, keepdims=keepdims)


def _unsigned(zero: Tensor) -> Tensor:
    """Replace -0 with +0: among zeros of both signs, backends differ in which they find."""
    return zero + 0.0 if is_float(zero.dtype) else zero


@operation_named("max")
def max_(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Return the largest element over the given axes, or over all; NaN if one is.

    A result is at least ``initial``, a number, if it is given; then there may be no elements.

    Equal maxima share the gradient evenly, as in TensorFlow; ``initial`` takes no share. A zero
    result is +0. The result has the dtype of x. Arguments, shape and errors: as for `sum`, and for
    no elements a ValueError.

    >>> from gpunn import ops
    >>> ops.max([[1, 7, 3], [9, 5, 6]], axis=1).tolist()
    [7, 9]
    """
    found = _unsigned(_extreme(_max, convert(x), axis, keepdims, initial))
    return found if initial is None else ops.maximum(found, convert(initial, found.dtype))


@operation_named("min")
def min_(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Return the smallest element over the given axes, or over all; NaN if one is.

    A result is at most ``initial``, a number, if it is given; then there may be no elements.

    Equal minima share the gradient evenly, as in TensorFlow; ``initial`` takes no share. A zero
    result is +0. The result has the dtype of x. Arguments, shape and errors: as for `sum`, and for
    no elements a ValueError.

    >>> from gpunn import ops
    >>> ops.min([[1, 7, 3], [9, 5, 6]], axis=1).tolist()
    [1, 5]
    """
    found = _unsigned(_extreme(_min, convert(x), axis, keepdims, initial))
    return found if initial is None else ops.minimum(found, convert(initial, found.dtype))


def largest(x: Tensor, axis: Axis) -> Tensor:
    """Compute `max` with the axes kept and a zero's sign kept, as a constant in derivatives."""
    return stop_gradient(_extreme(_max, x, axis, keepdims=True))


@operation
def amax(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest element over the given axes, or over all: `max` under NumPy's other name.

    >>> from gpunn import ops
    >>> ops.amax([[1, 7, 3], [9, 5, 6]], axis=1).tolist()
    [7, 9]
    """
    return max_(x, axis, keepdims)


@operation
def amin(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest element over the given axes, or over all: `min` under NumPy's other name.

    >>> from gpunn import ops
    >>> ops.amin([[1, 7, 3], [9, 5, 6]], axis=1).tolist()
    [1, 5]
    """
    return min_(x, axis, keepdims)


@operation_named("all")
def all_(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return whether all elements are nonzero (or True), over the given axes or over all.

    NaN is nonzero. The result is boolean, True for no elements. Arguments, shape and errors: as for
    `sum`.

    >>> from gpunn import ops
    >>> ops.all([[True, False], [True, True]], axis=1).tolist()
    [False, True]
    """
    return logical_not(any_(logical_not(x), axis, keepdims))


@operation_named("any")
def any_(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return whether any element is nonzero (or True), over the given axes or over all.

    NaN is nonzero. The result is boolean, False for no elements. Arguments, shape and errors: as
    for `sum`.

    >>> from gpunn import ops
    >>> ops.any([[True, False], [False, False]], axis=1).tolist()
    [True, False]
    """
    x = convert(x, "bool")
    if x.is_constant:
        return _along(_any, x, axis, keepdims)
    return sum_(floats(x), axis, keepdims) > 0  # this joins the loops of a step


@operation
def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Multiply the elements over the given axes, or over all: ``y = x_1 ... x_n``.

    The product of no elements is 1.

    Args:
        dtype: the dtype that x is converted to first, which the result has.

    The other arguments, the shape and errors: as for `sum`.

    >>> from gpunn import ops
    >>> ops.prod([[1, 2, 3], [4, 5, 6]], axis=1).tolist()
    [6, 120]
    """
    found = _along(_prod, counting(convert(x, dtype)), axis, keepdims)
    return found if dtype is None else convert(found, dtype)


def _place(name: str) -> Primitive:
    def compute(backend: Backend, out: Array, x: Array, axis: int) -> None:
        # Array functions write indices only as int64.
        place = backend.scratch(out.shape, np.int64, name)
        backend.find_extreme(name, x, axis, place)
        backend.xp.copyto(out, place, casting="unsafe")

    def shape(given: Shape, axis: int) -> Shape:
        return given[:axis] + given[axis + 1 :]

    return Primitive(name, compute, shape, lambda dtype, axis: "int32")


_argmax, _argmin = _place("argmax"), _place("argmin")


def _found(primitive: Primitive, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    x = convert(x)
    given, ndim = (reshape(x, (-1,)), x.ndim) if axis is None else (x, x.ndim)
    place = axis_of(0 if axis is None else axis, given.ndim)
    check_some(x, tuple(range(ndim)) if axis is None else (place,))
    found = primitive(given, axis=place)
    if keepdims:
        return reshape(found, (1,) * ndim) if axis is None else expand_dims(found, place)
    return found


@operation
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the largest element along an axis, or in the flattened x.

    The first of several maxima is found. Indices have no gradient.

    Args:
        x: a tensor or array-like; NaN counts as the maximum.
        axis: the axis to search along; None means the flattened x.
        keepdims: keep the reduced axes, at length 1.

    Returns:
        an int32 tensor of the shape of x without the axis; a scalar for None.

    Raises:
        ValueError: if the axis is out of range or has length 0.

    >>> from gpunn import ops
    >>> ops.argmax([[1, 3, 2], [9, 8, 7]], axis=1).tolist()
    [1, 0]
    """
    return _found(_argmax, x, axis, keepdims)


@operation
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the smallest element along an axis, or in the flattened x.

    The first of several minima is found, and NaN counts as one. Arguments, result and errors: as
    for `argmax`.

    >>> from gpunn import ops
    >>> ops.argmin([[1, 3, 2], [9, 8, 7]], axis=1).tolist()
    [0, 2]
    """
    return _found(_argmin, x, axis, keepdims)


@operation
def count_nonzero(x: Any, axis: Axis = None) -> Tensor:
    """Count the nonzero elements over the given axes, or over all.

    NaN is nonzero. Counts are int32 and have no gradient. Arguments, shape and errors: as for
    `sum`.

    >>> from gpunn import ops
    >>> ops.count_nonzero([[0, 1], [2, 3]], axis=1).tolist()
    [1, 2]
    """
    return sum_(convert(x, "bool"), axis)


@operation
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the logarithm of the sum of exponentials: ``y = log(sum(exp(x)))``.

    It is computed without overflow, by subtracting the maximum first. Its gradient is the `softmax`
    of x. Source: Blanchard, Higham and Higham, Accurately computing the log-sum-exp and softmax
    functions, 2021. Integers and booleans become floats (floatx). Arguments, shape and errors: as
    for `sum`.

    >>> from gpunn import ops
    >>> print(ops.logsumexp([[0.0, 0.0], [200.0, 0.0]], axis=1).numpy().round(4))
    [  0.6931 200.    ]
    """
    x = floats(x)
    axes = axes_of(axis, x.ndim)
    if not axes:
        return x
    if not math.prod(x.shape[a] for a in axes):
        return log(sum_(x, axes, keepdims))
    top = largest(x, axes)
    top = where(isfinite(top), top, 0.0)
    found = log(sum_(exp(x - top), axes, keepdims=True)) + top
    return found if keepdims else squeeze(found, axes)


@operation
def softmax(x: Any, axis: int = -1) -> Tensor:
    """Turn scores into probabilities along an axis: ``y_i = exp(x_i) / sum_j exp(x_j)``.

    The maximum is subtracted first, so that nothing overflows.

    Args:
        x: a tensor or array-like with at least one axis; integers and booleans become floats
            (floatx). The result has its shape.
        axis: the axis or axes along which the results sum to 1; None means all.

    Raises:
        ValueError: if an axis is out of range or named twice.

    >>> from gpunn import ops
    >>> ops.softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    x = floats(x)
    axes = axes_of(axis, x.ndim)
    if not x.size:
        return x
    grown = exp(x - largest(x, axes))
    return grown / sum_(grown, axes, keepdims=True)


@operation
def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """Compute the logarithm of `softmax` along an axis: ``y_i = x_i - log(sum_j exp(x_j))``.

    It neither overflows nor loses small probabilities. Arguments, shape and errors: as for
    `softmax`.

    >>> from gpunn import ops
    >>> print(ops.log_softmax([[0.0, 0.0], [200.0, 0.0]]).numpy().round(4))
    [[  -0.6931   -0.6931]
     [   0.     -200.    ]]
    """
    x = floats(x)
    axes = axes_of(axis, x.ndim)
    if not x.size:
        return x
    x = x - largest(x, axes)  # first: the logarithm would be lost beside a large value
    return x - log(sum_(exp(x), axes, keepdims=True))


# -- along one axis


def _cumulative(name: str) -> Primitive:
    def compute(backend: Backend, out: Array, x: Array, axis: int) -> None:
        getattr(backend.xp, name)(x, axis=axis, out=out)

    return Primitive(name, compute, lambda shape, axis: shape, gradient=name)


def _accumulated(primitive: Primitive, x: Any, axis: int | None, dtype: Any) -> Tensor:
    x = convert(x, dtype)
    x = reshape(x, (-1,)) if axis is None else x
    place = axis_of(0 if axis is None else axis, x.ndim)
    found = primitive(counting(x), axis=place)
    return found if dtype is None else convert(found, dtype)


_cumsum, _cumprod = _cumulative("cumsum"), _cumulative("cumprod")


@operation
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Compute the cumulative sum along an axis: ``y_k = x_1 + ... + x_k``.

    Args:
        x: a tensor or array-like; the result has its shape, and its dtype, int32 for booleans.
        axis: the axis of the sums; by default, x is flattened first.
        dtype: the dtype that x is converted to first, which the result has.

    Raises:
        ValueError: if the axis is out of range.

    >>> from gpunn import ops
    >>> ops.cumsum([1, 2, 3]).tolist()
    [1, 3, 6]
    """
    return _accumulated(_cumsum, x, axis, dtype)


@operation
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Compute the cumulative product along an axis: ``y_k = x_1 ... x_k``.

    Arguments, shape and errors: as for `cumsum`.

    >>> from gpunn import ops
    >>> ops.cumprod([[1, 2, 3], [4, 5, 6]], axis=1).tolist()
    [[1, 2, 6], [4, 20, 120]]
    """
    return _accumulated(_cumprod, x, axis, dtype)

"""Reductions that leave out NaN: quantiles, places, sums so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.library.statistics import quantiles, without_nan
from gpunn.ops.reductions import Axis
from gpunn.ops.tensor import Tensor, operation, ops


def _place(find: Callable[..., Tensor], x: Any, value: float, axis: Any, keepdims: bool) -> Tensor:
    x = convert(x)
    if not is_float(x.dtype):
        return find(x, axis, keepdims)
    known, gone = without_nan(x, value)
    return ops.where(ops.all(gone, axis, keepdims), -1, find(known, axis, keepdims))


@operation
def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the largest element along an axis, or in the flattened x, ignoring NaN.

    It is -1 if all elements are NaN, as in Keras. Arguments, result and errors: as for `argmax`.

    >>> from gpunn import ops
    >>> ops.nanargmax([1.0, float("nan"), 3.0]).item()
    2
    """
    return _place(ops.argmax, x, -math.inf, axis, keepdims)


@operation
def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the smallest element along an axis, or in the flattened x, ignoring NaN.

    It is -1 if all elements are NaN, as in Keras. Arguments, result and errors: as for `argmax`.

    >>> from gpunn import ops
    >>> ops.nanargmin([2.0, float("nan"), 3.0]).item()
    0
    """
    return _place(ops.argmin, x, math.inf, axis, keepdims)


@operation
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Compute the cumulative sum along an axis, with NaN as 0.

    Arguments, shape and errors: as for `cumsum`. The gradient of NaN elements is 0.

    >>> from gpunn import ops
    >>> ops.nancumsum([1.0, float("nan"), 3.0]).tolist()
    [1.0, 1.0, 4.0]
    """
    return ops.cumsum(without_nan(x, 0.0)[0], axis, dtype)


@operation
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Compute the cumulative product along an axis, with NaN as 1.

    Arguments, shape and errors: as for `cumsum`. The gradient of NaN elements is 0.

    >>> from gpunn import ops
    >>> ops.nancumprod([2.0, float("nan"), 3.0]).tolist()
    [2.0, 2.0, 6.0]
    """
    return ops.cumprod(without_nan(x, 1.0)[0], axis, dtype)


@operation
def nanquantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Compute the q-th quantiles over the given axes, ignoring NaN; see `quantile`.

    They are NaN if all elements are NaN. Arguments, result and errors: as for `quantile`.

    >>> from gpunn import ops
    >>> ops.nanquantile([1.0, float("nan"), 3.0, 4.0], 0.5).item()
    3.0
    """
    return quantiles(x, q, 1, axis, method, keepdims, skips=True)


@operation
def nanpercentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Compute the q-th percentiles over the given axes, ignoring NaN; see `percentile`.

    They are NaN if all elements are NaN. Arguments, result and errors: as for `percentile`.

    >>> from gpunn import ops
    >>> ops.nanpercentile([1.0, float("nan"), 3.0, 4.0], 50).item()
    3.0
    """
    return quantiles(x, q, 100, axis, method, keepdims, skips=True)


@operation
def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Compute the median over the given axes, ignoring NaN; see `median`.

    It is NaN if all elements are NaN. Arguments, shape and errors: as for `median`.

    >>> from gpunn import ops
    >>> ops.nanmedian([[1.0, float("nan"), 3.0], [4.0, 5.0, 9.0]], axis=1).tolist()
    [2.0, 5.0]
    """
    return nanquantile(x, 0.5, axis, "midpoint", keepdims)

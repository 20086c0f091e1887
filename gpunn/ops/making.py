"""Operations that create tensors from values and shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.common.arguments import check_number
from gpunn.common.config import floatx

from .conversion import convert, promoted
from .dtypes import is_float, result_type, standard
from .shapes import axis_of, broadcast_to, sizes_of, whole, with_axes
from .tensor import Tensor, constant, operation, ops


@operation
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of the given shape, with the same value everywhere.

    Args:
        shape: an integer or a sequence of them.
        fill_value: a number, or a tensor that broadcasts to the shape.
        dtype: of the result; floatx by default, as in Keras.

    Raises:
        ValueError: if a size is negative or ``fill_value`` does not broadcast to the shape.
        OverflowError: if the dtype cannot hold ``fill_value``.

    >>> from gpunn import ops
    >>> ops.full((2, 3), 7).tolist()
    [[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]
    """
    return broadcast_to(convert(fill_value, dtype or floatx()), sizes_of(shape))


@operation
def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of the given shape, filled with zeros.

    Args:
        shape: an integer or a sequence of them.
        dtype: of the result; floatx by default.

    Raises:
        ValueError: if a size is negative or not an integer.

    >>> from gpunn import ops
    >>> ops.zeros((2, 2)).tolist(), ops.zeros(3, "int32").tolist()
    ([[0.0, 0.0], [0.0, 0.0]], [0, 0, 0])
    """
    return constant(np.zeros(sizes_of(shape)), standard(dtype))


@operation
def ones(shape: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of the given shape, filled with ones.

    Arguments and errors: as for `zeros`.

    >>> from gpunn import ops
    >>> ops.ones((2, 2)).tolist(), ops.ones(3, "int32").tolist()
    ([[1.0, 1.0], [1.0, 1.0]], [1, 1, 1])
    """
    return constant(np.ones(sizes_of(shape)), standard(dtype))


@operation
def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of zeros with the shape and dtype of another one.

    Args:
        x: a tensor or array-like (...); the result has its shape.
        dtype: of the result; by default the dtype of x.

    >>> from gpunn import ops
    >>> ops.zeros_like([1.5, 2.5]).tolist(), ops.zeros_like([1.5, 2.5], "int32").tolist()
    ([0.0, 0.0], [0, 0])
    """
    x = convert(x)
    return zeros(x.shape, dtype or x.dtype)


@operation
def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of ones with the shape and dtype of another one; arguments as for
    `zeros_like`.

    >>> from gpunn import ops
    >>> ops.ones_like([1.5, 2.5]).tolist(), ops.ones_like([1.5, 2.5], "int32").tolist()
    ([1.0, 1.0], [1, 1])
    """
    x = convert(x)
    return ones(x.shape, dtype or x.dtype)


@operation
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """Create a tensor with the shape and dtype of another one, with the same value everywhere.

    ``dtype`` replaces the dtype of x. The other arguments, and errors: as for `full`.

    >>> from gpunn import ops
    >>> ops.full_like([1.0, 2.0], 3).tolist()
    [3.0, 3.0]
    """
    x = convert(x)
    return full(x.shape, fill_value, dtype or x.dtype)


@operation
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """Create evenly spaced values from start up to, but excluding, stop: ``start + k step``.

    The result has the shape (n,), with n = ``ceil((stop - start) / step)``.

    Args:
        start, stop, step: numbers; with a single one, it is ``stop``. ``step`` is 1 by default.
        dtype: of the result; by default floatx if one of them is a float, else int32.

    Raises:
        TypeError: if one of them is not a number.
        ValueError: if one of them is infinite or NaN, or ``step`` is 0.
        OverflowError: if the dtype cannot hold a value.

    >>> from gpunn import ops
    >>> ops.arange(3).tolist(), ops.arange(1, 6, 2).tolist()
    ([0, 1, 2], [1, 3, 5])
    """
    first, end = (0, start) if stop is None else (start, stop)
    ends = {"start": first, "stop": end, "step": 1 if step is None else step}
    given = [x.item() if hasattr(x, "item") and not np.ndim(x) else x for x in ends.values()]
    for name, x in zip(ends, given, strict=True):
        if not math.isfinite(check_number(name, x)):
            raise ValueError(f"{name} must be finite; got {x!r}.")
    if not given[-1]:
        raise ValueError(f"step must not be 0; got {step!r}.")
    values = np.arange(*given)
    kinds = [float if isinstance(x, float) else int for x in given]
    return convert(values, dtype or result_type(*kinds))


@operation
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Create evenly spaced values: ``start + k (stop - start) / (num - 1)`` for k from 0.

    Without ``endpoint``, the divisor is num, and ``stop`` is not reached.

    Args:
        start, stop: numbers, or tensors that broadcast.
        num: the length of the new axis.
        endpoint: whether ``stop`` is the last value; else it is excluded.
        retstep: return (values, step); the step is NaN for a single value.
        dtype: of the values, by default floatx or the dtype of ``start`` and ``stop``; integers are
            rounded down.
        axis: the position of the new axis.

    Returns:
        a tensor of the shape of start and stop with a new axis of length num. With ``retstep``, the
        tuple (values, step).

    Raises:
        ValueError: if ``num`` is negative or not an integer, ``axis`` out of range, or the shapes
            do not broadcast.
        OverflowError: if the dtype cannot hold a value.

    >>> from gpunn import ops
    >>> ops.linspace(0.0, 1.0, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    num = whole(num, "num", 0)
    counts = dtype is not None and not is_float(standard(dtype))
    a, b = promoted(start, stop, at_least="float64" if counts else "float")
    steps = num - 1 if endpoint else num
    step = (b - a) / float(max(steps, 1))
    places = np.arange(num).reshape(num, *(1,) * step.ndim)
    found = a + step * convert(places, step.dtype)
    if endpoint and num > 1:
        found = ops.where(places == num - 1, b, found)
    found = ops.moveaxis(found, 0, axis_of(axis, found.ndim))
    if counts:  # as in NumPy, also below 0
        found = ops.floor(found)
    known = counts and found.is_constant  # then values that the dtype cannot hold raise an error
    found = convert(found.numpy() if known else found, dtype)
    if not retstep:
        return found
    return found, step if steps > 0 else step * math.nan  # one value has no step


@operation
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Create a matrix (N, M) with 1 on a diagonal and 0 elsewhere.

    Args:
        N: the number of rows.
        M: the number of columns; N by default.
        k: the diagonal: 0 is the main one, above it k > 0, below it k < 0.
        dtype: of the result; floatx by default.

    Raises:
        ValueError: if a size is negative or not an integer.

    >>> from gpunn import ops
    >>> ops.eye(2, 3, k=1).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return constant(np.eye(*rows_and_columns(N, M), whole(k, "k")), standard(dtype))


def rows_and_columns(N: Any, M: Any) -> tuple[int, int]:
    """Return the sizes of a matrix, which is square if M is None."""
    rows = whole(N, "N", 0)
    return rows, rows if M is None else whole(M, "M", 0)


@operation
def identity(n: int, dtype: Any = None) -> Tensor:
    """Create the identity matrix (n, n): 1 on the main diagonal and 0 elsewhere.

    Arguments and errors: as for `eye`, of which it is a case.

    >>> from gpunn import ops
    >>> ops.identity(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return eye(whole(n, "n", 0), dtype=dtype)


@operation
def tril(x: Any, k: int = 0) -> Tensor:
    """Return the lower triangle of matrices: elements above a diagonal become 0.

    The gradient of these elements is 0.

    Args:
        x: a tensor or array-like (..., rows, columns); the result has its shape and dtype.
        k: the diagonal: 0 is the main one, above it k > 0, below it k < 0.

    Raises:
        ValueError: if x has fewer than two axes, or k is not an integer.

    >>> from gpunn import ops
    >>> ops.tril([[1, 2], [3, 4]]).tolist(), ops.tril([[1, 2], [3, 4]], k=-1).tolist()
    ([[1, 0], [3, 4]], [[0, 0], [3, 0]])
    """
    x, k = with_axes(x, 2), whole(k, "k")
    return _kept(np.tri(x.shape[-2], x.shape[-1], k, bool), x)


@operation
def triu(x: Any, k: int = 0) -> Tensor:
    """Return the upper triangle of matrices: elements below a diagonal become 0.

    Arguments, result and errors: as for `tril`.

    >>> from gpunn import ops
    >>> ops.triu([[1, 2], [3, 4]]).tolist(), ops.triu([[1, 2], [3, 4]], k=1).tolist()
    ([[1, 2], [0, 4]], [[0, 2], [0, 0]])
    """
    x, k = with_axes(x, 2), whole(k, "k")
    return _kept(~np.tri(x.shape[-2], x.shape[-1], k - 1, bool), x)


def _kept(where: np.ndarray, x: Tensor) -> Tensor:
    """Return x where the mask holds, else 0: by choice, as 0 times a non-finite value is not 0."""
    return ops.where(where, x, convert(0, x.dtype))

"""Operations on diagonals, and matrices of a given pattern."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import standard
from gpunn.ops.elementwise import where
from gpunn.ops.joining import concatenate, pad
from gpunn.ops.making import rows_and_columns, zeros
from gpunn.ops.reductions import sum_
from gpunn.ops.shapes import axis_of, broadcast_to, expand_dims, moveaxis, reshape, whole, with_axes
from gpunn.ops.tensor import Tensor, constant, operation, ops


@operation
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Create a matrix (N, M) with 1 on and below a diagonal and 0 elsewhere.

    ``y[i, j] = 1 if j <= i + k else 0``.

    Arguments and errors: as for `eye`.

    >>> from gpunn import ops
    >>> ops.tri(2, 3, dtype="int32").tolist()
    [[1, 0, 0], [1, 1, 0]]
    """
    return constant(np.tri(*rows_and_columns(N, M), whole(k, "k")), standard(dtype))


@operation
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return a diagonal of two axes as a new last axis: ``y[i] = x[i, i + offset]``.

    Args:
        x: a tensor or array-like of two or more axes: (m, n) -> (min(m, n),) for the main diagonal.
            The result has its dtype.
        offset: 0 for the main diagonal, positive above it, negative below.
        axis1, axis2: the axes of the rows and of the columns.

    Raises:
        ValueError: if x has fewer than two axes, the two are not different axes of it, or the
            offset is not an integer.

    >>> from gpunn import ops
    >>> ops.diagonal([[1, 2, 3], [4, 5, 6]], offset=1).tolist()
    [2, 6]
    """
    x, offset = with_axes(x, 2), whole(offset, "offset")
    one, other = axis_of(axis1, x.ndim, "axis1"), axis_of(axis2, x.ndim, "axis2")
    if one == other:
        raise ValueError(f"axis1 and axis2 must be different axes; got {axis1!r} and {axis2!r}.")
    x = moveaxis(x, (one, other), (-2, -1))
    rows, columns = x.shape[-2:]
    begin = max(0, -offset) * columns + max(0, offset)
    n = max(0, min(rows - max(0, -offset), columns - max(0, offset)))
    flat = reshape(x, (*x.shape[:-2], rows * columns))
    return flat[..., begin : begin + n * (columns + 1) : columns + 1][..., :n]


@operation
def diag(x: Any, k: int = 0) -> Tensor:
    """Return a matrix with a vector on a diagonal, or the diagonal of a matrix.

    Args:
        x: a vector (n,), which gives (n, n) for k = 0, or a matrix. The result has its dtype.
        k: 0 for the main diagonal, positive above it, negative below; the matrix of a vector has
            ``n + |k|`` rows.

    Raises:
        ValueError: if x is neither a vector nor a matrix, or k is not an integer.

    >>> from gpunn import ops
    >>> ops.diag([1, 2]).tolist(), ops.diag([[1, 2], [3, 4]]).tolist()
    ([[1, 0], [0, 2]], [1, 4])
    """
    x, k = convert(x), whole(k, "k")
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag: expected a vector or a matrix; got shape {x.shape}.")
    wide = pad(x, ((max(0, k), max(0, -k)),))  # x at its column indices; the row indices are k less
    n = x.size + abs(k)
    return where(np.eye(n, k=k, dtype=bool), expand_dims(wide, 0), zeros((), x.dtype))


@operation
def diagflat(x: Any, k: int = 0) -> Tensor:
    """Return a square matrix with the flattened x on a diagonal, and 0 elsewhere.

    Args:
        x: a tensor or array-like of n elements; the matrix has ``n + |k|`` rows and the dtype of x.
        k: 0 for the main diagonal, positive above it, negative below; see `diag`.

    >>> from gpunn import ops
    >>> ops.diagflat([[1, 2]], k=1).tolist()
    [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
    """
    return diag(reshape(x, (-1,)), k)


@operation
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Compute the sum of a diagonal: ``y = sum_i x[i, i + offset]``.

    Args:
        x: a tensor or array-like of two or more axes; (n, n) -> (). Booleans are summed as int32.
        offset, axis1, axis2: as in `diagonal`; the result lacks the two axes.

    Raises:
        ValueError: as in `diagonal`.

    >>> from gpunn import ops
    >>> ops.trace([[1, 2], [3, 4]]).item()
    5
    """
    return sum_(diagonal(x, offset, axis1, axis2), -1)


@operation
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the Vandermonde matrix: ``y[i, j] = x[i]^(N - 1 - j)``, or ``x[i]^j`` if increasing.

    Args:
        x: a vector (n,); the matrix (n, N) has its dtype, except that booleans become int32.
        N: the number of columns; by default as many as rows.
        increasing: whether the powers increase, from ``x^0``.

    Raises:
        ValueError: if x is not a vector, or N is negative or not an integer.

    >>> from gpunn import ops
    >>> ops.vander([2, 3], 3).tolist()
    [[4, 2, 1], [9, 3, 1]]
    """
    x = convert(x)
    if x.ndim != 1:
        raise ValueError(f"vander: expected a vector; got shape {x.shape}.")
    columns = x.size if N is None else whole(N, "N", 0)
    if columns < 1:
        return zeros((x.size, 0), x.dtype)
    powers = ops.cumprod(broadcast_to(expand_dims(x, -1), (x.size, columns - 1)), -1)
    rows = concatenate([ops.ones((x.size, 1), x.dtype), powers], -1)
    return rows if increasing else ops.flip(rows, -1)

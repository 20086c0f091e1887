"""Factors of matrices: Cholesky's, QR, LU, singular values, eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.ops.tensor import Tensor, operation, ops

from . import primitives
from .primitives import matrices, parts
from .rules import transposed


@operation
def cholesky(x: Any, upper: bool = False) -> Tensor:
    """Factor symmetric positive definite matrices: ``x = y y^T``, with y lower triangular.

    Only the lower triangle of x is read, or the upper one for ``upper``. The gradient is that of
    both, a symmetric matrix. Source: as `numpy.linalg.cholesky`.

    Args:
        x: matrices (..., n, n); the result has their shape. Integers become floats (floatx).
        upper: whether to return y^T instead.

    Raises:
        ValueError: if x is not square matrices, or if one is not positive definite; in a step its
            result is NaN.

    >>> from gpunn import ops
    >>> ops.cholesky([[4.0, 2.0], [2.0, 2.0]]).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    x = matrices(x, "x")
    if upper:
        return transposed(primitives.cholesky(transposed(x)))
    return primitives.cholesky(x)


@operation
def qr(x: Any, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Factor matrices into q, with orthonormal columns, and r, upper triangular: ``x = q r``.

    The gradient is NaN if the columns of x depend on each other. Source: Walter and Lehmann (2012).

    Args:
        x: matrices (..., m, n). Integers become floats (floatx).
        mode: "reduced" or "complete".

    Returns:
        the tensors (q, r), of shapes (..., m, k) and (..., k, n). Here k is the smaller of m and n,
        or m for "complete".

    Raises:
        ValueError: if x has fewer than two axes, or for another mode.

    >>> from gpunn import ops
    >>> q, r = ops.qr([[3.0, 1.0], [4.0, 2.0]])
    >>> bool(ops.allclose(q @ r, [[3.0, 1.0], [4.0, 2.0]], atol=1e-6)), abs(r[0, 0].item())
    (True, 5.0)
    """
    x = matrices(x, "x", square=False)
    check_choice("mode", mode, ("reduced", "complete"))
    m, n = x.shape[-2:]
    # The first m columns of a wide matrix have the same q.
    square = x[..., :m] if n > m else x
    y = primitives.qr(square, mode=mode)
    q, r = parts(y, primitives.qr_sizes(square.shape, mode))
    if n > m:
        r = ops.concatenate([r, transposed(q) @ x[..., m:]], -1)
    return q, r


@operation
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Factor matrices by singular values: ``x = u diag(s) v``, with orthonormal u and v.

    The gradient of singular vectors of equal singular values is infinite or NaN: they are any of a
    plane.

    Args:
        x: matrices (..., m, n). Integers become floats (floatx).
        full_matrices: whether u and v are square; else they have k columns and rows, the smaller of
            m and n.
        compute_uv: whether to return u and v.

    Returns:
        the tensors (u, s, v), of shapes (..., m, m), (..., k) and (..., n, n), or s alone. The
        singular values are in descending order. v is transposed, as in NumPy.

    Raises:
        ValueError: if x has fewer than two axes.

    >>> from gpunn import ops
    >>> ops.svd([[3.0, 0.0], [0.0, -2.0]], compute_uv=False).tolist()
    [3.0, 2.0]
    """
    x = matrices(x, "x", square=False)
    if not compute_uv:
        return primitives.singular_values(x)
    full = bool(full_matrices)
    return tuple(parts(primitives.svd(x, full=full), primitives.svd_sizes(x.shape, full)))


@operation
def eigh(x: Any) -> tuple[Tensor, Tensor]:
    """Compute eigenvalues and eigenvectors of symmetric matrices: ``x v_j = w_j v_j``.

    Only the lower triangle of x is read. The gradient is that of both, a symmetric matrix; that of
    eigenvectors of equal eigenvalues is infinite or NaN.

    Args:
        x: matrices (..., n, n). Integers become floats (floatx).

    Returns:
        the tensors (w, v): the eigenvalues (..., n) in ascending order, and the eigenvectors
        (..., n, n), which are columns of length 1.

    Raises:
        ValueError: if x is not square matrices.

    >>> from gpunn import ops
    >>> w, v = ops.eigh([[2.0, 0.0], [0.0, 1.0]])
    >>> w.tolist()
    [1.0, 2.0]
    """
    x = matrices(x, "x")
    w, v = parts(primitives.eigh(x), primitives.eigh_sizes(x.shape[-1]))
    return w, v


@operation
def lu_factor(x: Any) -> tuple[Tensor, Tensor]:
    """Factor matrices into triangular ones by elimination: ``p x = l u``.

    The largest element of a column is its pivot: p exchanges row j with row pivots_j, in order.

    Args:
        x: matrices (..., m, n). Integers become floats (floatx).

    Returns:
        the tensors (lu, pivots): (..., m, n) with u on and above the diagonal, l below it, whose
        diagonal is 1; and int32 (..., k), for k the smaller of m and n.

    Raises:
        ValueError: if x has fewer than two axes.

    >>> from gpunn import ops
    >>> lu, pivots = ops.lu_factor([[1.0, 2.0], [4.0, 4.0]])
    >>> lu.tolist(), pivots.tolist()
    ([[4.0, 4.0], [0.25, 1.0]], [1, 1])
    """
    x = matrices(x, "x", square=False)
    lu, pivots, _ = parts(primitives.lu(x), primitives.lu_sizes(x.shape))
    return lu, ops.cast(pivots, "int32")


@operation
def matrix_rank(x: Any, tol: float | None = None) -> Tensor:
    """Count the singular values of matrices that are larger than a bound.

    Args:
        x: matrices (..., m, n); the result is int32 (...). Integers become floats (floatx).
        tol: the bound; by default the largest singular value, times the larger of m and n, times
            the smallest step from 1 to another number of the dtype.

    Raises:
        ValueError: if x has fewer than two axes.

    >>> from gpunn import ops
    >>> ops.matrix_rank([[1.0, 2.0], [2.0, 4.0]]).item()
    1
    """
    x = matrices(x, "x", square=False)
    s = primitives.singular_values(x)
    if tol is None:
        tol = s[..., :1] * (max(x.shape[-2:]) * float(np.finfo(x.dtype).eps))
    return ops.sum(s > tol, -1)

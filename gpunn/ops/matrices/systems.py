"""Systems of linear equations, inverses and determinants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.conversion import promoted
from gpunn.ops.tensor import Tensor, operation, ops

from . import primitives
from .primitives import matrices
from .rules import inverse, transposed


def _system(a: Any, b: Any, square: bool = True) -> tuple[Tensor, Tensor, bool]:
    """Return both sides of equations in one dtype, as stacks of one shape, and whether b is
    vectors."""
    a, b = promoted(a, b, at_least="float")
    a = matrices(a, "a", square)
    is_vector = b.ndim in (1, a.ndim - 1)
    column = ops.expand_dims(b, -1) if is_vector and b.ndim else b
    if b.ndim < 1 or column.shape[-2] != a.shape[-2]:
        raise ValueError(
            f"b must be (..., n) or (..., n, k), for n the rows of a; got shapes {a.shape} of a "
            f"and {b.shape} of b."
        )
    try:
        stack = np.broadcast_shapes(a.shape[:-2], column.shape[:-2])
    except ValueError:
        raise ValueError(f"the stacks of a {a.shape} and b {b.shape} do not broadcast.") from None
    a = ops.broadcast_to(a, (*stack, *a.shape[-2:]))
    return a, ops.broadcast_to(column, (*stack, *column.shape[-2:])), is_vector


def _result(y: Tensor, is_vector: bool) -> Tensor:
    return ops.squeeze(y, -1) if is_vector else y


@operation
def solve(a: Any, b: Any) -> Tensor:
    """Solve systems of linear equations: ``a y = b``.

    With the gradient dy of the result, the gradients are ``g = a^-T dy`` for b and ``-g y^T`` for
    a. Source: Giles (2008).

    Args:
        a: matrices (..., n, n).
        b: vectors (..., n), of one axis less than a, or matrices (..., n, k). Both are promoted to
            one dtype of floats, and the first axes broadcast. The result has the shape of b.

    Raises:
        ValueError: if a is not square matrices, or the shapes do not fit, or a matrix is singular;
            in a step its result is NaN or infinite.

    >>> from gpunn import ops
    >>> ops.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 8.0]).tolist()
    [1.0, 2.0]
    """
    a, b, is_vector = _system(a, b)
    return _result(primitives.solve(a, b), is_vector)


def _triangular(a: Tensor, b: Tensor, lower: bool) -> Tensor:
    """Solve with one triangle of a. LAPACK's elimination finds nothing to do above the diagonal,
    so a lower triangle is turned round."""
    if not lower:
        return primitives.solve(ops.triu(a), b)
    return ops.flip(primitives.solve(ops.flip(ops.tril(a), (-2, -1)), ops.flip(b, -2)), -2)


@operation
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Tensor:
    """Solve systems of linear equations with triangular matrices: ``a y = b``.

    Arguments and errors: as for `solve`. Only the upper triangle of a is read and has a gradient,
    or the lower one for ``lower``.

    >>> from gpunn import ops
    >>> ops.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0], lower=True).tolist()
    [1.0, 2.0]
    """
    a, b, is_vector = _system(a, b)
    return _result(_triangular(a, b, lower), is_vector)


@operation
def inv(x: Any) -> Tensor:
    """Invert matrices: ``x y = 1``. The gradient is ``-y^T dy y^T``.

    Args:
        x: matrices (..., n, n); the result has their shape. Integers become floats (floatx).

    Raises:
        ValueError: if x is not square matrices, or if one is singular; in a step its result is NaN
            or infinite.

    >>> from gpunn import ops
    >>> ops.inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return inverse(matrices(x, "x"))


@operation
def cholesky_inverse(x: Any, upper: bool = False) -> Tensor:
    """Invert matrices, given the factor x of `cholesky`: ``y = (x x^T)^-1``.

    Args:
        x: lower triangular matrices (..., n, n), as returned by `cholesky`; the result has their
            shape. Integers become floats (floatx).
        upper: whether x is upper triangular: ``y = (x^T x)^-1``.

    Raises:
        ValueError: as for `inv`.

    >>> from gpunn import ops
    >>> ops.cholesky_inverse([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.25, 0.0], [0.0, 0.0625]]
    """
    x = matrices(x, "x")
    eye = ops.broadcast_to(ops.eye(x.shape[-1], dtype=x.dtype), x.shape)
    y = _triangular(x, eye, not upper)
    return y @ transposed(y) if upper else transposed(y) @ y


@operation
def pinv(x: Any, rcond: float | None = None) -> Tensor:
    """Compute pseudoinverses, by singular values: y with the least ``|x y - 1|``, then ``|y|``.

    The derivative is that at a constant rank. Source: Golub and Pereyra (1973).

    Args:
        x: matrices (..., m, n); the result is (..., n, m). Integers become floats (floatx).
        rcond: singular values of at most this part of the largest count as 0; by default the larger
            of m and n, times the smallest step from 1 to another number of the dtype.

    Raises:
        ValueError: if x has fewer than two axes.

    >>> from gpunn import ops
    >>> ops.pinv([[2.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    x = matrices(x, "x", square=False)
    step = max(x.shape[-2:]) * float(np.finfo(x.dtype).eps)
    return primitives.pinv(x, rcond=step if rcond is None else float(rcond))


@operation
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Tensor:
    """Solve equations with the least sum of squares: y with the least ``|a y - b|``, then ``|y|``.

    Computed as ``pinv(a) b``.

    Args:
        a: matrices (..., m, n).
        b: vectors (..., m), of one axis less than a, or matrices (..., m, k). Both are promoted to
            one dtype of floats, and the first axes broadcast.
        rcond: as in `pinv`.

    Returns:
        a tensor (..., n) or (..., n, k).

    Raises:
        ValueError: if the shapes do not fit.

    >>> from gpunn import ops
    >>> ops.lstsq([[2.0], [0.0]], [4.0, 1.0]).tolist()
    [2.0]
    """
    a, b, is_vector = _system(a, b, square=False)
    return _result(pinv(a, rcond) @ b, is_vector)


@operation
def det(x: Any) -> Tensor:
    """Compute determinants. The gradient is ``det(x) x^-T``, NaN for a singular matrix.

    Args:
        x: matrices (..., n, n); the result is (...). Integers become floats (floatx).

    Raises:
        ValueError: if x is not square matrices; for the derivative at once of a singular matrix.

    >>> from gpunn import ops
    >>> ops.det([[2.0, 1.0], [0.0, 4.0]]).item()
    8.0
    """
    return primitives.det(matrices(x, "x"))


@operation
def slogdet(x: Any) -> tuple[Tensor, Tensor]:
    """Compute the signs of determinants and the logarithms of their sizes.

    Arguments and errors: as for `det`. The gradient of the logarithm is ``x^-T``.

    Returns:
        the tensors (sign, logarithm), both (...): -1, 0 or 1, and -infinity for a singular matrix.

    >>> from gpunn import ops
    >>> sign, size = ops.slogdet([[2.0, 0.0], [0.0, -0.5]])
    >>> sign.item(), size.item()
    (-1.0, 0.0)
    """
    y = primitives.slogdet(matrices(x, "x"))
    return y[..., 0], y[..., 1]


@operation
def logdet(x: Any) -> Tensor:
    """Compute the logarithm of the determinant of positive definite matrices.

    Arguments and errors: as for `det`. It is NaN for a negative determinant. The gradient is
    ``x^-T``.

    >>> from gpunn import ops
    >>> ops.logdet([[2.0, 0.0], [0.0, 0.5]]).item()
    0.0
    """
    sign, size = slogdet(x)
    return ops.where(sign < 0, math.nan, size)

"""The primitives of linear algebra: NumPy's and CuPy's own functions of stacks of matrices.

Operations are formulas of these few. Several results, such as the factors of a matrix, are one
tensor, whose parts follow one another along its last axis: `parts` cuts it up. So a factorization
is computed once, and has one derivative, in `gpunn.ops.matrices.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.ops.conversion import floats
from gpunn.ops.primitive import Primitive
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Shape, Tensor

Sizes = list[tuple[int, ...]]


class _OfMatrices(Primitive):
    """A primitive that a function of arrays computes, of all matrices of a stack.

    A matrix with NaN or infinite elements gives NaN. One that LAPACK refuses, such as a singular
    one, raises an error where it is computed at once; a step goes on with NaN for this one.

    Args:
        function: ``function(xp, *stacks, **attributes)`` returns the result. The first stack has
            finite elements.
        shape: of the result, for the shapes without the axes of the stack.
        trouble: what is wrong with a matrix that LAPACK refuses.
        rule: of the derivative, if it is not named as the operation.
    """

    def __init__(
        self, name: str, function: Callable[..., Array], shape: Callable[..., Shape], trouble: str,
        rule: str = "",
    ) -> None:
        def compute(backend: Any, out: Array, *stacks: Array, **attributes: Any) -> None:
            backend.apply(partial(self._write, strict=False, **attributes), *stacks, out)

        def whole(*shapes: Shape, **attributes: Any) -> Shape:
            return (*shapes[0][:-2], *shape(*(s[-2:] for s in shapes), **attributes))

        super().__init__(name, compute, whole, gradient=rule or name)
        self._function, self._trouble = function, trouble

    def now(
        self, backend: Any, shape: Shape, dtype: str, arrays: Sequence[Any],
        attributes: dict[str, Any],
    ) -> Array:
        out = np.empty(shape, dtype)
        try:
            with np.errstate(all="ignore"):
                self._write(np, *arrays, out, strict=True, **attributes)
        except np.linalg.LinAlgError:
            raise np.linalg.LinAlgError(f"{self.name}: {self._trouble}.") from None
        return out

    def _write(self, xp: Any, *arrays: Array, strict: bool, **attributes: Any) -> None:
        x, *others, out = arrays
        if not out.size:
            return
        finite = xp.isfinite(x).all(axis=(-2, -1))
        known = xp.where(finite[..., None, None], x, xp.eye(*x.shape[-2:], dtype=x.dtype))
        try:
            found = self._function(xp, known, *others, **attributes)
        except np.linalg.LinAlgError:
            if strict:
                raise
            found = self._one_by_one(xp, out, [known, *others], attributes)
        axes = (None,) * (found.ndim - finite.ndim)
        xp.copyto(out, xp.where(finite[(..., *axes)], found, math.nan))

    def _one_by_one(
        self, xp: Any, out: Array, stacks: list[Array], attributes: dict[str, Any]
    ) -> Array:
        """Compute each matrix alone, since LAPACK refuses all of a stack for one."""
        found = xp.full_like(out, math.nan)
        for place in np.ndindex(stacks[0].shape[:-2]):
            try:
                found[place] = self._function(xp, *(x[place] for x in stacks), **attributes)
            except np.linalg.LinAlgError:
                continue
        return found


def matrices(x: Any, name: str, square: bool = True) -> Tensor:
    """Convert the argument of this name to a tensor of floats, a stack of matrices.

    >>> matrices([[1, 2, 3]], "x")
    Traceback (most recent call last):
    ValueError: x must be square matrices (..., n, n); got shape (1, 3).
    """
    x = floats(x)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices (..., n, n)" if square else "matrices (..., m, n)"
        raise ValueError(f"{name} must be {kind}; got shape {x.shape}.")
    return x


def parts(y: Tensor, sizes: Sizes) -> Iterator[Tensor]:
    """Cut a tensor up along its last axis, into tensors (..., *size)."""
    at = 0
    for size in sizes:
        n = math.prod(size)
        yield reshape(y[..., at : at + n], (*y.shape[:-1], *size))
        at += n


def _joined(xp: Any, *results: tuple[Array, int]) -> Array:
    """Join results along one last axis; each has this many axes beside those of the stack."""
    return xp.concatenate(
        [y.reshape(*y.shape[: y.ndim - axes], math.prod(y.shape[y.ndim - axes :]))
         for y, axes in results], -1
    )  # fmt: skip


def _size(sizes: Sizes) -> Shape:
    return (sum(map(math.prod, sizes)),)


def svd_sizes(shape: Shape, full: bool) -> Sizes:
    m, n = shape[-2:]
    k = min(m, n)
    return [(m, m if full else k), (k,), (n if full else k, n)]


def qr_sizes(shape: Shape, mode: str) -> Sizes:
    m, n = shape[-2:]
    k = m if mode == "complete" else min(m, n)
    return [(m, k), (k, n)]


def eigh_sizes(n: int) -> Sizes:
    return [(n,), (n, n)]


def lu_sizes(shape: Shape) -> Sizes:
    """Return the sizes of the factors, the pivots, and the order of the rows."""
    m, n = shape[-2:]
    return [(m, n), (min(m, n),), (m,)]


def _cholesky(xp: Any, x: Array) -> Array:
    y = xp.linalg.cholesky(x)
    # CuPy says nothing about a matrix without factors.
    fails = ~(xp.diagonal(y, axis1=-2, axis2=-1) > 0).all(axis=-1)
    return xp.where(fails[..., None, None], math.nan, y)


def _svd(xp: Any, x: Array, full: bool) -> Array:
    u, s, v = xp.linalg.svd(x, full_matrices=full)
    return _joined(xp, (u, 2), (s, 1), (v, 2))


def _qr(xp: Any, x: Array, mode: str) -> Array:
    q, r = xp.linalg.qr(x, mode)
    return _joined(xp, (q, 2), (r, 2))


def _eigh(xp: Any, x: Array) -> Array:
    w, v = xp.linalg.eigh(x)
    return _joined(xp, (w, 1), (v, 2))


def _slogdet(xp: Any, x: Array) -> Array:
    return xp.stack(xp.linalg.slogdet(x), -1)


def _pinv(xp: Any, x: Array, rcond: float) -> Array:
    u, s, v = xp.linalg.svd(x, full_matrices=False)
    large = s > rcond * s.max(axis=-1, keepdims=True)
    inverse = xp.where(large, 1 / xp.where(large, s, 1), 0)
    return xp.matmul(v.swapaxes(-1, -2) * inverse[..., None, :], u.swapaxes(-1, -2))


def _lu(xp: Any, x: Array) -> Array:
    """Eliminate column by column, with the largest element as the pivot; NumPy has no such
    function."""
    stack, (m, n) = x.shape[:-2], x.shape[-2:]
    x = x.reshape(math.prod(stack), m, n).copy()
    pivots = xp.empty((len(x), min(m, n)), x.dtype)
    order = xp.zeros((len(x), m), x.dtype) + xp.arange(m, dtype=x.dtype)
    every = xp.arange(len(x))
    for j in range(min(m, n)):
        place = j + xp.argmax(xp.abs(x[:, j:, j]), axis=1)
        pivots[:, j] = place
        for rows in (x, order):
            moved = rows[every, place]
            rows[every, place] = rows[:, j]
            rows[:, j] = moved
        divisor = x[:, j, j, None]
        x[:, j + 1 :, j] /= xp.where(divisor == 0, 1, divisor)
        x[:, j + 1 :, j + 1 :] -= x[:, j + 1 :, j, None] * x[:, j, None, j + 1 :]
    return _joined(
        xp, (x.reshape(*stack, m, n), 2), (pivots.reshape(*stack, min(m, n)), 1),
        (order.reshape(*stack, m), 1),
    )


SINGULAR = "a matrix is singular"
NOT_CONVERGED = "the iteration of LAPACK does not converge for a matrix"

cholesky = _OfMatrices(
    "cholesky", _cholesky, lambda x: x, "a matrix is not positive definite"
)
solve = _OfMatrices("solve", lambda xp, a, b: xp.linalg.solve(a, b), lambda a, b: b, SINGULAR)
det = _OfMatrices("det", lambda xp, x: xp.linalg.det(x), lambda x: (), SINGULAR)
slogdet = _OfMatrices("slogdet", _slogdet, lambda x: (2,), SINGULAR)
singular_values = _OfMatrices(
    "svd", lambda xp, x: xp.linalg.svd(x, compute_uv=False), lambda x: (min(x),), NOT_CONVERGED,
    "singular values",
)
svd = _OfMatrices("svd", _svd, lambda x, full: _size(svd_sizes(x, full)), NOT_CONVERGED)
qr = _OfMatrices("qr", _qr, lambda x, mode: _size(qr_sizes(x, mode)), SINGULAR)
eigh = _OfMatrices("eigh", _eigh, lambda x: _size(eigh_sizes(x[0])), NOT_CONVERGED)
pinv = _OfMatrices("pinv", _pinv, lambda x, rcond: x[::-1], NOT_CONVERGED)
lu = _OfMatrices("lu_factor", _lu, lambda x: _size(lu_sizes(x)), SINGULAR)

"""The derivatives of the primitives of linear algebra, by the same primitives.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); S. F. Walter and L. Lehmann (2012) for QR and LU; G. Golub and V. Pereyra
(1973) for the pseudoinverse.
"""

from __future__ import annotations

from gpunn.ops.gradient_rules import RULES
from gpunn.ops.primitive import Gradients
from gpunn.ops.tensor import Tensor, ops

from .primitives import eigh_sizes, lu_sizes, parts, qr_sizes, solve, svd, svd_sizes


def transposed(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -1, -2)


T = transposed


def inverse(x: Tensor) -> Tensor:
    """Return the inverses of square matrices."""
    eye = ops.eye(x.shape[-1], dtype=x.dtype)
    return solve(x, ops.broadcast_to(eye, x.shape))


def _diagonal(d: Tensor) -> Tensor:
    return d[..., None, :] * ops.eye(d.shape[-1], dtype=d.dtype)


def _divided(a: Tensor, b: Tensor) -> Tensor:
    """Divide, with 0 / 0 = 0: what nothing depends on has no gradient, even between equal
    values."""
    none = ops.logical_and(ops.equal(a, 0.0), ops.equal(b, 0.0))
    return ops.where(none, 0.0, a / ops.where(none, 1.0, b))


def _differences(s: Tensor) -> Tensor:
    """Return s_j - s_i."""
    return s[..., None, :] - s[..., :, None]


def _cholesky(dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
    lower = ops.tril(T(y) @ dy)
    middle = (lower + T(lower) - _diagonal(ops.diagonal(lower, 0, -2, -1))) / 2.0
    left = solve(T(y), middle)
    return (T(solve(T(y), T(left))),)


def _solve(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    by_b = solve(T(a), dy)
    return -(by_b @ T(y)), by_b


def _det(dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
    return ((dy * y)[..., None, None] * T(inverse(x)),)


def _slogdet(dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
    return (dy[..., 1][..., None, None] * T(inverse(x)),)


def _singular_values(dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
    u, _, v = parts(svd(x, full=False), svd_sizes(x.shape, False))
    return ((u * dy[..., None, :]) @ v,)


def _turned(u: Tensor, du: Tensor, k: int) -> Tensor:
    """Return what turns the first columns of u out of the space that they span."""
    first, further = u[..., :k], u[..., k:]
    found = du[..., :k] - first @ (T(first) @ du[..., :k])
    return found - further @ (T(du[..., k:]) @ first) if further.size else found


def _svd(dy: Tensor, y: Tensor, x: Tensor, full: bool) -> Gradients:
    sizes, (m, n) = svd_sizes(x.shape, full), x.shape[-2:]
    u, s, v = parts(y, sizes)
    du, ds, dv = parts(dy, sizes)
    k, v, dv = min(m, n), T(v), T(dv)
    one, other = u[..., :k], v[..., :k]
    by_u, by_v = T(one) @ du[..., :k], T(other) @ dv[..., :k]
    by_u, by_v = (by_u - T(by_u)) / 2.0, (by_v - T(by_v)) / 2.0
    # Both are turned by the same angle, and by opposite ones.
    middle = _divided(by_u + by_v, _differences(s)) + _diagonal(ds)
    middle = middle + _divided(by_u - by_v, s[..., None, :] + s[..., :, None])
    found = one @ middle @ T(other)
    if m > k:
        found = found + _divided(_turned(u, du, k), s[..., None, :]) @ T(other)
    if n > k:
        found = found + one @ T(_divided(_turned(v, dv, k), s[..., None, :]))
    return (found,)


def _eigh(dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
    sizes = eigh_sizes(x.shape[-1])
    (w, v), (dw, dv) = parts(y, sizes), parts(dy, sizes)
    by_v = T(v) @ dv
    middle = _divided((by_v - T(by_v)) / 2.0, _differences(w)) + _diagonal(dw)
    return (v @ middle @ T(v),)


def _qr(dy: Tensor, y: Tensor, x: Tensor, mode: str) -> Gradients:
    sizes, n = qr_sizes(x.shape, mode), x.shape[-1]
    (q, r), (dq, dr) = parts(y, sizes), parts(dy, sizes)
    one, two, r, dr = q[..., :n], q[..., n:], r[..., :n, :], dr[..., :n, :]
    # Further columns are any, but for the space that they span.
    by_q = dq[..., :n] - two @ (T(dq[..., n:]) @ one) if two.size else dq
    upper = ops.triu(dr @ T(r) - T(one) @ by_q)
    middle = upper + T(upper) - _diagonal(ops.diagonal(upper, 0, -2, -1))
    return (T(solve(r, T(by_q + one @ middle))),)


def _pinv(dy: Tensor, y: Tensor, x: Tensor, rcond: float) -> Gradients:
    # From dy = -y dx y + y y^T dx^T (1 - x y) + (1 - y x) dx^T y^T y.
    d, t = T(dy), T(y)
    return ((d - x @ (y @ d)) @ y @ t + t @ y @ (d - (d @ y) @ x) - t @ dy @ t,)


def _lu(dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
    (m, n), k = x.shape[-2:], min(x.shape[-2:])
    sizes = lu_sizes(x.shape)
    both, _, order = parts(y, sizes)
    change, _, _ = parts(dy, sizes)
    eye = ops.eye(m, k, dtype=x.dtype)
    low, up = ops.tril(both[..., :k], -1) + eye, ops.triu(both[..., :k, :])
    by_low, by_up = ops.tril(change[..., :k], -1), ops.triu(change[..., :k, :])
    one, other = low[..., :k, :], up[..., :k]  # triangular
    below = T(solve(other, T(by_low[..., k:, :]))) if m > k else None
    beside = solve(T(one), by_up[..., k:]) if n > k else None
    left = T(one) @ by_low[..., :k, :]
    if beside is not None:
        left = left - by_up[..., k:] @ T(up[..., k:])
    right = by_up[..., :k] @ T(other)
    if below is not None:
        right = right - T(low[..., k:, :]) @ by_low[..., k:, :]
    middle = ops.tril(left, -1) + ops.triu(right)
    found = solve(T(one), T(solve(other, T(middle))))
    found = found if below is None else ops.concatenate([found, below], -2)
    found = found if beside is None else ops.concatenate([found, beside], -1)
    places = ops.argsort(ops.cast(order, "int32"), -1)[..., None]
    return (ops.take_along_axis(found, ops.broadcast_to(places, found.shape), -2),)


RULES |= {
    "cholesky": _cholesky,
    "solve": _solve,
    "det": _det,
    "slogdet": _slogdet,
    "singular values": _singular_values,
    "svd": _svd,
    "eigh": _eigh,
    "qr": _qr,
    "pinv": _pinv,
    "lu_factor": _lu,
}

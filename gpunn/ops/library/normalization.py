"""Normalization by given or computed means and variances, and by attention."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.config import epsilon as default_epsilon
from gpunn.ops.conversion import convert, floats
from gpunn.ops.elementwise import exp, rsqrt, square, where
from gpunn.ops.primitive import Primitive
from gpunn.ops.reductions import Axis, axes_of, max_, mean, sum_, var
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Tensor, operation, ops


def _along(values: Any, name: str, x: Tensor, axis: Axis) -> Tensor:
    """Reshape one value per index along these axes so that it broadcasts to x."""
    own = isinstance(getattr(values, "dtype", None), str)  # of a tensor or a parameter
    axes, values = axes_of(axis, x.ndim), convert(values) if own else convert(values, x.dtype)
    shape = [n if a in axes else 1 for a, n in enumerate(x.shape)]
    if values.size != math.prod(shape):
        raise ValueError(f"{name} must have the shape {x.shape} along {axis}; got {values.shape}.")
    return reshape(values, shape)


def _flat(values: Any, name: str, x: Tensor, axis: Axis) -> Tensor | None:
    """Return one value per index along these axes as a vector, or None."""
    return None if values is None else reshape(_along(values, name, x, axis), (-1,))


@operation
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Tensor:
    """Normalize by given moments: ``scale (x - mean) / sqrt(variance + epsilon) + offset``.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167.

    Args:
        x: a tensor or array-like, such as (batch, n); the result has its shape. Integers become
            floats.
        mean, variance, offset, scale: one value for each index along ``axis``, such as (n,).
        axis: one axis, or several.
        epsilon: added to the variance.

    Raises:
        ValueError: if the axis is out of range, or a number of values does not fit it.

    >>> from gpunn import ops
    >>> x = [[1.0, 2.0], [3.0, 6.0]]
    >>> ops.batch_normalization(x, [2.0, 4.0], [1.0, 4.0], axis=-1, epsilon=0.0).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """
    x = floats(x)
    factor = rsqrt(_along(variance, "variance", x, axis) + epsilon)
    if scale is not None:
        factor = factor * _along(scale, "scale", x, axis)
    y = (x - _along(mean, "mean", x, axis)) * factor
    return y if offset is None else y + _along(offset, "offset", x, axis)


@operation
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Axis = -1, epsilon: float | None = None
) -> Tensor:
    """Normalize each sample: ``gamma (x - mean(x)) / sqrt(var(x) + epsilon) + beta``.

    The mean and the variance are those over ``axis``. Source: Ba, Kiros & Hinton 2016,
    arXiv:1607.06450.

    Args:
        x: a tensor or array-like (..., n); the result has its shape. Integers become floats.
        gamma, beta: one value for each index along the axes, such as (n,).
        axis: one axis, several, or None for all.
        epsilon: added to the variance; by default 1e-7.

    Raises:
        ValueError: if an axis is out of range, or a number of values does not fit them.

    >>> from gpunn import ops
    >>> x = [[1.0, 3.0]]
    >>> ops.layer_normalization(x, gamma=[2.0, 2.0], beta=[0.0, 1.0]).numpy().round(3).tolist()
    [[-2.0, 3.0]]
    """
    x = floats(x)
    small = default_epsilon() if epsilon is None else epsilon
    if (rows := _by_rows(x, gamma, beta, axis, small, centered=True)) is not None:
        return rows
    y = (x - mean(x, axis, keepdims=True)) * rsqrt(var(x, axis, keepdims=True) + small)
    y = y if gamma is None else y * _along(gamma, "gamma", x, axis)
    return y if beta is None else y + _along(beta, "beta", x, axis)


def _by_rows(
    x: Tensor, gamma: Any, beta: Any, axis: Axis, epsilon: float, centered: bool
) -> Tensor | None:
    """Normalize samples by one operation; None unless the axes are the last ones, there are
    elements, and the factors have x's dtype."""
    axes = sorted(axes_of(axis, x.ndim))
    factors = _flat(gamma, "gamma", x, axis), _flat(beta, "beta", x, axis)
    alike = all(t is None or t.dtype == x.dtype for t in factors)
    if not (x.size and alike and axes == list(range(x.ndim - len(axes), x.ndim))):
        return None
    from gpunn.ops.fusion.normalizing import normalized_rows

    n = math.prod(x.shape[a] for a in axes)
    return reshape(normalized_rows(reshape(x, (-1, n)), factors, epsilon, centered), x.shape)


@operation
def rms_normalization(
    x: Any, scale: Any = None, axis: Axis = -1, epsilon: float | None = None
) -> Tensor:
    """Divide each sample by its root mean square: ``scale x / sqrt(mean(x^2) + epsilon)``.

    The mean is that over ``axis``. Source: Zhang & Sennrich 2019, arXiv:1910.07467.

    Arguments and errors: as for `layer_normalization`, of which ``scale`` is the gamma.

    >>> from gpunn import ops
    >>> ops.rms_normalization([[3.0, 4.0]]).numpy().round(3)
    array([[0.849, 1.131]], dtype=float32)
    """
    x = floats(x)
    small = default_epsilon() if epsilon is None else epsilon
    if (rows := _by_rows(x, scale, None, axis, small, centered=False)) is not None:
        return rows
    y = x * rsqrt(mean(square(x), axis, keepdims=True) + small)
    return y if scale is None else y * _along(scale, "scale", x, axis)


# -- attention: composed, or in blocks of queries whose scores are not kept


@operation
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
) -> Tensor:
    """Compute scaled dot-product attention: ``softmax(scale query key^T + bias) value``.

    For each position of a query, it is the mean of the values, weighted by the match of the keys.
    The result has shape (batch, T, heads, size of values). Source: Vaswani et al. 2017,
    arXiv:1706.03762.

    Args:
        query: (batch, T, heads, size).
        key: (batch, S, heads, size), or fewer heads, each for as many heads of the query.
        value: (batch, S, heads, size of values), of as many heads as the key.
        bias: (batch, heads, T, S), or broadcast to it; added to the products of queries and keys.
        mask: broadcast like ``bias``; where it is false, a value is ignored. If all values of a
            query are masked, they get equal weights, as in Keras.
        scale: of the products; ``1 / sqrt(size)`` by default.
        is_causal: whether a query attends only to keys up to its own position.
        flash_attention: accepted as in Keras, and ignored: long sequences are always computed in
            blocks.

    Raises:
        ValueError: if the shapes do not match.

    >>> from gpunn import ops
    >>> x, values = ops.ones((1, 2, 1, 4)), ops.reshape([1.0, 3.0], (1, 2, 1, 1))
    >>> ops.dot_product_attention(x, x, values, is_causal=True).tolist()
    [[[[1.0]], [[2.0]]]]
    """
    query, key, value = floats(query), floats(key), floats(value)
    if query.ndim == key.ndim == value.ndim == 4 and key.shape[2] not in (0, query.shape[2]):
        each, rest = divmod(query.shape[2], key.shape[2])
        if not rest:
            key, value = ops.repeat(key, each, axis=2), ops.repeat(value, each, axis=2)
    q, k, v = query.shape, key.shape, value.shape
    if not len(q) == len(k) == 4 or (q[:1], q[2:], k[:3]) != (k[:1], k[2:], v[:3]):
        raise ValueError(f"query, key and value must have shapes that match; got {q}, {k}, {v}.")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if mask is not None:
        mask = convert(mask, "bool")
        mask = ops.reshape(mask, (*[1] * (4 - mask.ndim), *mask.shape))
    given = (query, key, value, *([] if mask is None else [mask]))
    scores = q[1] * k[1]
    if bias is None and scores >= get_backend().blocks_from and all(map(math.prod, (q, k, v))):
        return _in_blocks(*given, scale=float(factor), causal=bool(is_causal))
    return composed(*given, scale=factor, causal=is_causal, bias=bias)


def composed(
    query: Tensor, key: Tensor, value: Tensor, mask: Any = None, *, scale: Any, causal: bool,
    bias: Any = None,
) -> Tensor:
    """Return the result by operations that have derivatives of every order."""
    scores = ops.einsum("btnh,bsnh->bnts", query * scale, key)
    if bias is not None:
        scores = scores + bias
    if causal:
        seen = ops.tri(query.shape[1], key.shape[1], dtype="bool")
        mask = seen if mask is None else ops.logical_and(mask, seen)
    if mask is not None:
        some = ops.any(mask, -1, keepdims=True)
        scores = where(some, where(mask, scores, -math.inf), 0.0)
    top = ops.stop_gradient(max_(scores, -1, keepdims=True))
    grown = exp(scores - top)
    return ops.einsum("bnts,bsnh->btnh", grown / sum_(grown, -1, keepdims=True), value)


def _compute(
    backend: Backend, out: Array, q: Array, k: Array, v: Array, mask: Array = None, *,
    scale: float, causal: bool,
) -> None:
    backend.attention(q, k, v, mask, scale, causal, out)


def _compute_gradient(
    backend: Backend, out: Array, dy: Array, q: Array, k: Array, v: Array, mask: Array = None, *,
    scale: float, causal: bool,
) -> None:
    ends = pairwise((0, q.size, q.size + k.size, out.size))
    found = [out[a:b].reshape(x.shape) for (a, b), x in zip(ends, (q, k, v), strict=True)]
    backend.attention_gradient(q, k, v, mask, dy, scale, causal, *found)


_in_blocks = Primitive(
    "attention", _compute, lambda q, k, v, *mask, **how: (*q[:3], v[3]), gradient="attention"
)
_in_blocks.composed = composed
of_blocks = Primitive(
    "attention's gradient", _compute_gradient,
    lambda dy, *shapes, **attributes: (sum(map(math.prod, shapes[:3])),),
    gradient="attention's gradient",
)


part_of_blocks = Primitive(
    "part of attention's gradient",
    lambda array, start, shape: array[start : start + math.prod(shape)].reshape(shape),
    lambda given, start, shape: shape, gradient="part of attention's gradient", view=True,
)

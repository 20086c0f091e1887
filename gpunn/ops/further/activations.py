"""Further functions of neural networks."""

from __future__ import annotations

import math
from typing import Any

from gpunn.ops.arithmetic import maximum, minimum
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import floating
from gpunn.ops.elementwise import (
    abs_,
    exp,
    expm1,
    relu,
    sigmoid,
    sign,
    sqrt,
    square,
    tanh,
    where,
)
from gpunn.ops.further.networks import hard_silu, silu
from gpunn.ops.further.order import sort
from gpunn.ops.further.special import erfc
from gpunn.ops.joining import split
from gpunn.ops.reductions import cumsum, max_, sum_
from gpunn.ops.shapes import flip, moveaxis
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor


def _floats(x: Any) -> Tensor:
    x = convert(x)
    return convert(x, floating(x.dtype))


swish = operation(silu, "swish")
hard_swish = operation(hard_silu, "hard_swish")


@operation
def gelu(x: Any, approximate: bool = True) -> Tensor:
    """x times the normal distribution at x, or nearly that, by tanh."""
    x = _floats(x)
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1.0 + tanh(inner))
    return 0.5 * x * erfc(x * -math.sqrt(0.5))


@operation
def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where it is above 0, else alpha (exp(x / alpha) - 1)."""
    x = _floats(x)
    return where(x > 0, x, alpha * expm1(minimum(x, 0.0) / alpha))


@operation
def glu(x: Any, axis: int = -1) -> Tensor:
    """The first half along an axis, times `sigmoid` of the second."""
    first, second = split(_floats(x), 2, axis)
    return first * sigmoid(second)


@operation
def hard_tanh(x: Any) -> Tensor:
    """x between -1 and 1."""
    x = _floats(x)
    return where(x >= 1.0, 1.0, where(x <= -1.0, -1.0, x))


@operation
def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """x, but 0 where |x| is not above the threshold."""
    x = _floats(x)
    return where(abs_(x) <= threshold, 0.0, x)


@operation
def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """x, closer to 0 by the threshold, but no further than 0."""
    x = _floats(x)
    return where(abs_(x) <= threshold, 0.0, x - threshold * sign(x))


@operation
def tanh_shrink(x: Any) -> Tensor:
    """x - tanh(x)."""
    x = _floats(x)
    return x - tanh(x)


@operation
def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """x where it is above the threshold, else the default value."""
    x = _floats(x)
    return where(x <= threshold, default_value, x)


@operation
def sparse_plus(x: Any) -> Tensor:
    """0 up to -1, x from 1 on, and (x + 1)^2 / 4 between."""
    x = _floats(x)
    return where(x <= -1, 0.0, where(x < 1, 0.25 * square(x + 1.0), x))


@operation
def sparse_sigmoid(x: Any) -> Tensor:
    """(x + 1) / 2, between 0 and 1."""
    y = relu((_floats(x) + 1.0) * 0.5)
    return where(y >= 1.0, 1.0, y)


@operation
def squareplus(x: Any, b: float = 4) -> Tensor:
    """(x + sqrt(x^2 + b)) / 2."""
    x = _floats(x)
    return (x + sqrt(square(x) + b)) * 0.5


@operation
def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """The probabilities along an axis that are closest to x: many of them are 0."""
    x = moveaxis(_floats(x), axis, -1)
    ordered = flip(sort(x), -1)
    sums = cumsum(ordered, -1)
    ranks = ops.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    inside = 1.0 + ranks * ordered > sums
    count = sum_(inside, -1, keepdims=True)
    over = (sum_(where(inside, ordered, 0.0), -1, keepdims=True) - 1.0) / convert(count, x.dtype)
    return moveaxis(maximum(x - over, 0.0), -1, axis)


@operation
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Tensor:
    """The values, weighted by how well their keys fit each query.

    Args:
        query: (batch, T, heads, size).
        key, value: (batch, S, heads, size).
        bias: is added to the products of queries and keys, (batch, heads, T, S).
        mask: where it is false, a value counts for nothing. Where it is so for all values of a
            query, they count alike, as in Keras.
        scale: of the products; 1 / sqrt(size) by default.
        is_causal: whether a query sees only keys up to its own place.
    """
    query, key, value = _floats(query), _floats(key), _floats(value)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = ops.einsum("btnh,bsnh->bnts", query * factor, key)
    if bias is not None:
        scores = scores + bias
    if is_causal:
        causal = ops.tri(query.shape[1], key.shape[1], dtype="bool")
        mask = causal if mask is None else ops.logical_and(mask, causal)
    if mask is not None:
        some = ops.any(mask, -1, keepdims=True)
        scores = where(some, where(mask, scores, -math.inf), 0.0)
    top = ops.stop_gradient(max_(scores, -1, keepdims=True))
    grown = exp(scores - top)
    return ops.einsum("bnts,bsnh->btnh", grown / sum_(grown, -1, keepdims=True), value)

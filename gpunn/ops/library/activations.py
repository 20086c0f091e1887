"""Activations, and attention."""

from __future__ import annotations

import math
from typing import Any

from gpunn.ops.arithmetic import maximum, minimum, softplus
from gpunn.ops.conversion import convert, floats
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
from gpunn.ops.joining import split
from gpunn.ops.library.order import sort
from gpunn.ops.library.special import erfc
from gpunn.ops.reductions import cumsum, max_, sum_
from gpunn.ops.shapes import flip, moveaxis
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor

SELU_SCALE = 1.0507009873554804934
SELU_DEPTH = SELU_SCALE * 1.6732632423543772848


@operation
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """Compute x where x > 0, else negative_slope * x, element-wise."""
    x = floats(x)
    return where(x > 0, x, x * negative_slope)


@operation
def relu6(x: Any) -> Tensor:
    """Compute min(max(x, 0), 6), element-wise."""
    x = relu(x)
    return where(x >= 6.0, 6.0, x)


@operation
def silu(x: Any) -> Tensor:
    """Compute x * sigmoid(x), element-wise."""
    x = floats(x)
    return x * sigmoid(x)


swish = operation(silu, "swish")


@operation
def log_sigmoid(x: Any) -> Tensor:
    """Compute log(sigmoid(x)) without overflow, element-wise."""
    return -softplus(-floats(x))


@operation
def hard_sigmoid(x: Any) -> Tensor:
    """Compute x / 6 + 1 / 2, clipped to [0, 1], element-wise."""
    return minimum(1.0, relu(floats(x) * (1 / 6) + 0.5))  # derivatives at both ends are 0


@operation
def hard_silu(x: Any) -> Tensor:
    """Compute x * hard_sigmoid(x), element-wise."""
    x = floats(x)
    bent = where(abs_(x) >= 3.0, 0.0, x)  # beyond, the result is 0 or x
    return where(x >= 3.0, x, bent * (bent / 6.0 + 0.5))


hard_swish = operation(hard_silu, "hard_swish")


@operation
def gelu(x: Any, approximate: bool = True) -> Tensor:
    """Compute x P(X <= x) for a standard normal X, by default approximated as
    x (1 + tanh u) / 2 = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    x = floats(x)
    return x * gelu_gate(x, approximate)


def gelu_gate(x: Tensor, approximate: bool) -> Tensor:
    """Compute P(X <= x) for a standard normal X, or its approximation."""
    if approximate:
        return sigmoid((x * x * 0.044715 + 1.0) * x * (2 * math.sqrt(2 / math.pi)))
    return 0.5 * erfc(x * -math.sqrt(0.5))


@operation
def softsign(x: Any) -> Tensor:
    """Compute x / (1 + |x|), element-wise."""
    x = floats(x)
    return x / (abs_(x) + 1.0)


@operation
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """Compute x where x > 0, else alpha (exp(x) - 1), element-wise."""
    x = floats(x)
    return alpha * expm1(minimum(x, 0.0)) + relu(x)


@operation
def selu(x: Any) -> Tensor:
    """Compute 1.0507 elu(x, alpha=1.67326), which keeps activations at mean 0 and variance 1."""
    x = floats(x)
    return SELU_DEPTH * expm1(minimum(x, 0.0)) + SELU_SCALE * relu(x)


@operation
def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """Compute x where x > 0, else alpha (exp(x / alpha) - 1), element-wise."""
    x = floats(x)
    return alpha * expm1(minimum(x, 0.0) * (1 / alpha)) + relu(x)


@operation
def glu(x: Any, axis: int = -1) -> Tensor:
    """Multiply the first half along an axis by the `sigmoid` of the second half."""
    first, second = split(floats(x), 2, axis)
    return first * sigmoid(second)


@operation
def hard_tanh(x: Any) -> Tensor:
    """Clip x to [-1, 1]."""
    x = floats(x)
    return where(x >= 1.0, 1.0, where(x <= -1.0, -1.0, x))


@operation
def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """Compute x where |x| > threshold, else 0, element-wise."""
    x = floats(x)
    return where(abs_(x) <= threshold, 0.0, x)


@operation
def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """Move x towards 0 by the threshold, and set it to 0 where |x| <= threshold."""
    x = floats(x)
    return where(abs_(x) <= threshold, 0.0, x - threshold * sign(x))


@operation
def tanh_shrink(x: Any) -> Tensor:
    """Compute x - tanh(x), element-wise."""
    x = floats(x)
    return x - tanh(x)


@operation
def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """Compute x where x > threshold, else default_value, element-wise."""
    x = floats(x)
    return where(x <= threshold, default_value, x)


@operation
def sparse_plus(x: Any) -> Tensor:
    """Compute 0 for x <= -1, x for x >= 1, and (x + 1)^2 / 4 between, element-wise."""
    x = floats(x)
    return where(x <= -1, 0.0, where(x < 1, 0.25 * square(x + 1.0), x))


@operation
def sparse_sigmoid(x: Any) -> Tensor:
    """Compute (x + 1) / 2, clipped to [0, 1], element-wise."""
    y = relu((floats(x) + 1.0) * 0.5)
    return where(y >= 1.0, 1.0, y)


@operation
def squareplus(x: Any, b: float = 4) -> Tensor:
    """Compute (x + sqrt(x^2 + b)) / 2, element-wise."""
    x = floats(x)
    return (x + sqrt(square(x) + b)) * 0.5


@operation
def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """Project x onto the probability simplex along an axis; many of the results are 0."""
    x = moveaxis(floats(x), axis, -1)
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
    """Compute scaled dot-product attention: the values, weighted by the match of key and query.

    Args:
        query: (batch, T, heads, size).
        key, value: (batch, S, heads, size).
        bias: (batch, heads, T, S), added to the products of queries and keys.
        mask: where it is false, a value is ignored. If all values of a query are masked, they get
            equal weights, as in Keras.
        scale: of the products; 1 / sqrt(size) by default.
        is_causal: whether a query attends only to keys up to its own position.
    """
    query, key, value = floats(query), floats(key), floats(value)
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

"""Activations."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.numeric.normal import SELU_DEPTH, SELU_SCALE
from gpunn.ops.arithmetic import clip, maximum, minimum, softplus
from gpunn.ops.conversion import convert, floats
from gpunn.ops.elementwise import (
    abs_,
    expm1,
    of_floats,
    relu,
    sigmoid,
    sign,
    sqrt,
    square,
    stop_gradient,
    tanh,
    where,
)
from gpunn.ops.joining import split
from gpunn.ops.library.special import erfc
from gpunn.ops.reductions import largest, sum_
from gpunn.ops.shapes import axis_of
from gpunn.ops.tensor import Tensor, operation


@operation
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """Apply a ReLU with a slope below 0: ``y = x if x > 0 else negative_slope x``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx). The
    derivative at 0 is the slope. Source: Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve
    neural network acoustic models".

    >>> from gpunn import ops
    >>> ops.leaky_relu([-2.0, 3.0], negative_slope=0.5).tolist()
    [-1.0, 3.0]
    """
    x = floats(x)
    return where(x > 0, x, x * negative_slope)


relu6 = of_floats(
    lambda x: where(x >= 6.0, 6.0, relu(x)),
    "the ReLU of each element, limited to 6: ``y = min(max(x, 0), 6)``",
    "The derivative at 0 and 6 is 0. Source: Krizhevsky 2010, 'Convolutional deep belief\n"
    "    networks on CIFAR-10'.",
    "[-1.0, 3.0, 8.0]", "[0. 3. 6.]", "relu6",
)
silu = of_floats(
    lambda x: x * sigmoid(x), "the sigmoid linear unit, also called swish: ``y = x sigmoid(x)``",
    "Source: Elfwing, Uchibe & Doya 2017, arXiv:1702.03118.", "[-1.0, 0.0, 1.0]",
    "[-0.2689  0.      0.7311]", "silu",
)


swish = operation(silu, "swish")


log_sigmoid = of_floats(
    lambda x: -softplus(-x),
    "the logarithm of the sigmoid without overflow: ``y = -log(1 + exp(-x))``",
    "The derivative is ``sigmoid(-x)``.", "[-100.0, 0.0]", "[-100.       -0.6931]", "log_sigmoid",
)
hard_sigmoid = of_floats(
    lambda x: minimum(1.0, relu(x * (1 / 6) + 0.5)),  # derivatives at both ends are 0
    "a piecewise linear sigmoid of each element: ``y = min(max(x / 6 + 1 / 2, 0), 1)``",
    "The derivative is 1/6 between -3 and 3, else 0. Source: Howard et al. 2019, arXiv:1905.02244.",
    "[-4.0, 0.0, 4.0]", "[0.  0.5 1. ]", "hard_sigmoid",
)


@operation
def hard_silu(x: Any) -> Tensor:
    """Apply a piecewise approximation of `silu`: ``y = x hard_sigmoid(x)``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).
    Source: Howard et al. 2019, arXiv:1905.02244.

    >>> from gpunn import ops
    >>> ops.hard_silu([-4.0, 1.5, 4.0]).tolist()
    [0.0, 1.125, 4.0]
    """
    x = floats(x)
    bent = where(abs_(x) >= 3.0, 0.0, x)  # beyond, the result is 0 or x
    return where(x >= 3.0, x, bent * (bent / 6.0 + 0.5))


hard_swish = operation(hard_silu, "hard_swish")


@operation
def gelu(x: Any, approximate: bool = True) -> Tensor:
    """Apply the Gaussian error linear unit: ``y = x P(X <= x)`` for a standard normal X.

    By default it is approximated: ``y = x sigmoid(2 u)`` with
    ``u = sqrt(2 / pi) (x + 0.044715 x^3)``, which equals ``x (1 + tanh(u)) / 2``. With
    ``approximate=False`` it is exact.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).
    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.

    >>> from gpunn import ops
    >>> ops.gelu([-1.0, 0.0, 1.0]).numpy().round(3)
    array([-0.159,  0.   ,  0.841], dtype=float32)
    """
    x = floats(x)
    return x * gelu_gate(x, approximate)


def gelu_gate(x: Tensor, approximate: bool) -> Tensor:
    """Compute P(X <= x) for a standard normal X, or its approximation."""
    if approximate:
        return sigmoid((x * x * 0.044715 + 1.0) * x * (2 * math.sqrt(2 / math.pi)))
    return 0.5 * erfc(x * -math.sqrt(0.5))


softsign = of_floats(
    lambda x: x / (abs_(x) + 1.0),
    "the softsign function, which is bounded by -1 and 1: ``y = x / (1 + |x|)``",
    "The derivative is ``1 / (1 + |x|)^2``.", "[-3.0, 0.0, 1.0]", "[-0.75  0.    0.5 ]", "softsign",
)


@operation
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """Apply the exponential linear unit: ``y = x if x > 0 else alpha (exp(x) - 1)``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).
    Source: Clevert, Unterthiner & Hochreiter 2015, arXiv:1511.07289.

    >>> from gpunn import ops
    >>> ops.elu([-1.0, 2.0]).numpy().round(3)
    array([-0.632,  2.   ], dtype=float32)
    """
    x = floats(x)
    return alpha * expm1(minimum(x, 0.0)) + relu(x)


selu = of_floats(
    lambda x: SELU_DEPTH * expm1(minimum(x, 0.0)) + SELU_SCALE * relu(x),
    "the scaled exponential linear unit: ``y = 1.0507 elu(x, alpha=1.67326)``",
    "It keeps activations near mean 0 and variance 1. Source: Klambauer et al. 2017,\n"
    "    arXiv:1706.02515.",
    "[-1.0, 0.0, 1.0]", "[-1.1113  0.      1.0507]", "selu",
)


@operation
def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """Apply an ELU with a continuous derivative:
    ``y = x if x > 0 else alpha (exp(x / alpha) - 1)``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).
    Source: Barron 2017, arXiv:1704.07483.

    >>> from gpunn import ops
    >>> ops.celu([-2.0, 2.0], alpha=2.0).numpy().round(3)
    array([-1.264,  2.   ], dtype=float32)
    """
    x = floats(x)
    return alpha * expm1(minimum(x, 0.0) * (1 / alpha)) + relu(x)


@operation
def glu(x: Any, axis: int = -1) -> Tensor:
    """Apply the gated linear unit: ``y = a sigmoid(b)`` for the halves a and b along an axis.

    Source: Dauphin et al. 2016, arXiv:1612.08083.

    Args:
        x: a tensor or array-like (..., 2 n); the result is (..., n). Integers become floats
            (floatx).
        axis: the axis to halve, of an even length.

    Raises:
        ValueError: if that length is odd, or the axis out of range.

    >>> from gpunn import ops
    >>> ops.glu([[3.0, 4.0, 0.0, 100.0]]).tolist()
    [[1.5, 4.0]]
    """
    first, second = split(floats(x), 2, axis)
    return first * sigmoid(second)


hard_tanh = of_floats(
    lambda x: where(x >= 1.0, 1.0, where(x <= -1.0, -1.0, x)),
    "each element limited to the interval from -1 to 1: ``y = min(max(x, -1), 1)``",
    "The derivative is 1 between -1 and 1, else 0: also at both ends.", "[-2.0, 0.5, 2.0]",
    "[-1.   0.5  1. ]", "hard_tanh",
)


@operation
def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """Set elements near 0 to 0: ``y = x if |x| > threshold else 0``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).
    Source: Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".

    >>> from gpunn import ops
    >>> ops.hard_shrink([-2.0, 0.25, 0.75]).tolist()
    [-2.0, 0.0, 0.75]
    """
    x = floats(x)
    return where(abs_(x) <= threshold, 0.0, x)


@operation
def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """Move each element towards 0: ``y = sign(x) max(|x| - threshold, 0)``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx). The
    derivative is 1 where ``|x| > threshold``, else 0. Source: Donoho 1995, "De-noising by
    soft-thresholding".

    >>> from gpunn import ops
    >>> ops.soft_shrink([-2.0, 0.25, 0.75]).tolist()
    [-1.5, 0.0, 0.25]
    """
    x = floats(x)
    return where(abs_(x) <= threshold, 0.0, x - threshold * sign(x))


tanh_shrink = of_floats(
    lambda x: x - tanh(x), "each element minus its hyperbolic tangent: ``y = x - tanh(x)``",
    "The derivative is ``tanh(x)^2``.", "[-1.0, 0.0, 1.0]", "[-0.2384  0.      0.2384]",
    "tanh_shrink",
)


@operation
def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """Replace elements up to a threshold by a value: ``y = x if x > threshold else default_value``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx). The
    derivative is 1 above the threshold, else 0: also at it.

    >>> from gpunn import ops
    >>> ops.threshold([1.0, 2.0, 3.0], 1.5, 0.0).tolist()
    [0.0, 2.0, 3.0]
    """
    x = floats(x)
    return where(x <= threshold, default_value, x)


sparse_plus = of_floats(
    lambda x: where(x <= -1, 0.0, where(x < 1, 0.25 * square(x + 1.0), x)),
    "a softplus that is 0 below -1 and x above 1: ``y = (x + 1)^2 / 4`` between them",
    "The derivative is `sparse_sigmoid`.", "[-2.0, 0.0, 2.0]", "[0.   0.25 2.  ]", "sparse_plus",
)


@operation
def sparse_sigmoid(x: Any) -> Tensor:
    """Apply a piecewise linear sigmoid: ``y = min(max((x + 1) / 2, 0), 1)``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx). It
    is the derivative of `sparse_plus`. Its own derivative is 1/2 between -1 and 1, else 0.

    >>> from gpunn import ops
    >>> ops.sparse_sigmoid([-2.0, 0.0, 0.5]).tolist()
    [0.0, 0.5, 0.75]
    """
    y = relu((floats(x) + 1.0) * 0.5)
    return where(y >= 1.0, 1.0, y)


@operation
def squareplus(x: Any, b: float = 4) -> Tensor:
    """Apply an algebraic softplus: ``y = (x + sqrt(x^2 + b)) / 2``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).
    Source: Barron 2021, arXiv:2112.11687.

    >>> from gpunn import ops
    >>> ops.squareplus([-1.5, 0.0, 1.5]).tolist()
    [0.5, 1.0, 2.0]
    """
    x = floats(x)
    z = clip(x, -1e18, 1e18)  # beyond, squares overflow, and the result is 0 or x
    size = where(z >= 0.0, z, -z)  # whose derivative at 0 is 1
    above = b / maximum(2.0 * (sqrt(square(z) + b) + size), 1e-30)  # no digits cancel
    return where(x >= 0.0, x + above, where(x <= -1e18, 0.0, above))


def _thresholds(size: int | None, dtype: str) -> int:
    """Return how many steps of Newton's method end at the threshold of `sparsemax`.

    A step removes an element, or leaves all as they are. With the excess f of the sum over 1, its
    slope g <= n and f < n, a step divides f g by 4 at least, as the excess is convex. So f is
    below a rounding error of p bits after log2(n) + p / 2 steps.
    """
    size = size or 1 << 31
    return min(size, math.ceil(math.log2(size)) + (27 if dtype == "float64" else 12))


@operation
def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """Project x onto the probability simplex along an axis: the nearest probabilities to x.

    ``y = argmin_p |p - x|^2`` over the p with ``p_i >= 0`` and ``sum(p) = 1``; many of them are 0.
    Source: Martins & Astudillo 2016, arXiv:1602.02068.

    Args:
        x: a tensor or array-like of one or more axes; the result has its shape. Integers become
            floats (floatx).
        axis: the axis along which the results sum to 1.

    Raises:
        ValueError: if the axis is out of range.

    >>> from gpunn import ops
    >>> ops.sparsemax([1.0, 0.5, 0.0]).tolist()
    [0.75, 0.25, 0.0]
    """
    x = floats(x)
    place = axis_of(axis, x.ndim)
    x = x - largest(x, place)  # sums of large numbers would lose digits

    def threshold(below: Any) -> Tensor:
        inside = x > below
        total = sum_(where(inside, x, 0.0), place, keepdims=True)
        return (total - 1.0) / sum_(convert(inside, x.dtype), place, keepdims=True)

    below: Any = -1.0
    for _ in range(_thresholds(x.shape[place], x.dtype) - 1):
        below = threshold(below)
    return maximum(x - threshold(stop_gradient(below)), 0.0)

"""Normalization by given or computed means and variances."""

from __future__ import annotations

from typing import Any

from gpunn.common.config import epsilon as default_epsilon
from gpunn.ops.conversion import floats
from gpunn.ops.elementwise import rsqrt, square
from gpunn.ops.reductions import Axis, axes_of, mean, var
from gpunn.ops.shapes import reshape
from gpunn.ops.table import operation
from gpunn.ops.tensor import Tensor


def _along(values: Any, x: Tensor, axis: Axis) -> Tensor:
    """Reshape one value per index along these axes so that it broadcasts to x."""
    axes = axes_of(axis, x.ndim)
    return reshape(values, [n if a in axes else 1 for a, n in enumerate(x.shape)])


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
    """Compute (x - mean) / sqrt(variance + epsilon) * scale + offset, with values per ``axis``."""
    x = floats(x)
    factor = rsqrt(_along(variance, x, axis) + epsilon)
    if scale is not None:
        factor = factor * _along(scale, x, axis)
    y = (x - _along(mean, x, axis)) * factor
    return y if offset is None else y + _along(offset, x, axis)


@operation
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Axis = -1, epsilon: float | None = None
) -> Tensor:
    """Normalize x to mean 0 and variance 1 over the given axes, times gamma, plus beta."""
    x = floats(x)
    small = default_epsilon() if epsilon is None else epsilon
    y = (x - mean(x, axis, keepdims=True)) * rsqrt(var(x, axis, keepdims=True) + small)
    y = y if gamma is None else y * _along(gamma, x, axis)
    return y if beta is None else y + _along(beta, x, axis)


@operation
def rms_normalization(
    x: Any, scale: Any = None, axis: Axis = -1, epsilon: float | None = None
) -> Tensor:
    """Divide x by its root mean square over the given axes, and multiply by scale."""
    x = floats(x)
    small = default_epsilon() if epsilon is None else epsilon
    y = x * rsqrt(mean(square(x), axis, keepdims=True) + small)
    return y if scale is None else y * _along(scale, x, axis)

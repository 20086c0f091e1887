"""Normalization by given or computed means and variances."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.config import epsilon as default_epsilon
from gpunn.ops.conversion import convert, floats
from gpunn.ops.elementwise import rsqrt, square
from gpunn.ops.reductions import Axis, axes_of, mean, var
from gpunn.ops.shapes import reshape
from gpunn.ops.table import operation
from gpunn.ops.tensor import Tensor


def _along(values: Any, name: str, x: Tensor, axis: Axis) -> Tensor:
    """Reshape one value per index along these axes so that it broadcasts to x."""
    axes, values = axes_of(axis, x.ndim), convert(values)
    shape = [n if a in axes else 1 for a, n in enumerate(x.shape)]
    if values.size != math.prod(shape):
        raise ValueError(f"{name} must have the shape {x.shape} along {axis}; got {values.shape}.")
    return reshape(values, shape)


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
    y = (x - mean(x, axis, keepdims=True)) * rsqrt(var(x, axis, keepdims=True) + small)
    y = y if gamma is None else y * _along(gamma, "gamma", x, axis)
    return y if beta is None else y + _along(beta, "beta", x, axis)


@operation
def rms_normalization(
    x: Any, scale: Any = None, axis: Axis = -1, epsilon: float | None = None
) -> Tensor:
    """Divide each sample by its root mean square: ``scale x / sqrt(mean(x^2) + epsilon)``.

    The mean is that over ``axis``. Source: Zhang & Sennrich 2019, arXiv:1910.07467.

    Args:
        x: a tensor or array-like (..., n); the result has its shape. Integers become floats.
        scale: one value for each index along the axes, such as (n,).
        axis: one axis, several, or None for all.
        epsilon: added to the mean square; by default 1e-7.

    Raises:
        ValueError: if an axis is out of range, or a number of values does not fit them.

    >>> from gpunn import ops
    >>> ops.rms_normalization([[3.0, 4.0]]).numpy().round(3)
    array([[0.849, 1.131]], dtype=float32)
    """
    x = floats(x)
    small = default_epsilon() if epsilon is None else epsilon
    y = x * rsqrt(mean(square(x), axis, keepdims=True) + small)
    return y if scale is None else y * _along(scale, "scale", x, axis)

"""The derivative of each large primitive: products, convolution, pooling, normalization, attention.

As in `gpunn.ops.gradient_rules`, to whose table they are added. What is linear in an input has a
derivative that is linear in dy, by a primitive that is its transpose. Modules that most networks do
not need are imported in the rules.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from gpunn.backends.shared.geometry import Geometry
from gpunn.ops.conversion import convert
from gpunn.ops.gradient_rules import RULES
from gpunn.ops.gradients import gradients_of
from gpunn.ops.primitive import Gradients
from gpunn.ops.products import product
from gpunn.ops.table import ops
from gpunn.ops.tensor import Shape, Tensor

from .images import (
    cells_of,
    convolved,
    image_gradient,
    kernel_gradient,
    largest_gradient,
    mean_gradient,
    mean_of_windows,
    sides_of,
)
from .normalization import composed, of_blocks, part_of_blocks


def _matmul(
    dy: Tensor, y: Tensor, a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool
) -> Gradients:
    def of_a() -> Tensor:
        if transpose_a:
            return _summed(product(b, dy, transpose_b, True), a)
        return _summed(product(dy, b, False, not transpose_b), a)

    def of_b() -> Tensor:
        if transpose_b:
            return _summed(product(dy, a, True, transpose_a), b)
        return _summed(product(a, dy, not transpose_a, False), b)

    return of_a, of_b


def _summed(gradient: Tensor, factor: Tensor) -> Tensor:
    """Sum the gradient over the stack if the factor is one matrix, used for all."""
    same = gradient.shape == factor.shape
    return gradient if same else ops.sum(gradient, 0, keepdims=True)


def _at_largest(g: Tensor, x: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    """Return for each window the value of ``g`` at the first maximum of ``x``."""
    sides = sides_of(geometry)
    x, g = ops.pad(x, sides, constant_values=-math.inf), ops.pad(g, sides)
    found, unknown = ops.zeros_like(y), ops.ones_like(y, "bool")
    for _, cells in cells_of(geometry):
        here = ops.equal(x[cells], y) & unknown
        found, unknown = ops.where(here, g[cells], found), unknown & ~here
    return found


def _rows(dy: Tensor, y: Tensor, x: Tensor, *factors: Tensor, **how: Any) -> Gradients:
    from gpunn.ops.fusion.normalizing import moments_of_rows, slopes_of_rows

    moments = moments_of_rows(x, *factors, **how)
    by_x, _, *by_factors = slopes_of_rows.of(dy, x, [moments], factors, how)
    return [by_x, *by_factors]


def _features(dy: Tensor, y: Tensor, x: Tensor, *rest: Tensor, **how: Any) -> Gradients:
    from gpunn.ops.fusion.normalizing import composed_features, slopes_of_features

    known, factors = rest[:2], rest[2:]
    found = list(slopes_of_features.of(dy, x, known, factors, how))

    def normalized(*moments: Tensor) -> Tensor:
        return composed_features(x, *factors, known=moments, **how)

    def of_moment(at: int) -> Tensor | None:
        return gradients_of(normalized, known, dy)[at]

    for at in range(2) if how["constant"] else ():
        found[1 + at] = partial(of_moment, at)
    return found


def _attention(
    dy: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor, *mask: Tensor, **how: Any
) -> Gradients:
    whole, at, found = of_blocks(dy, q, k, v, *mask, **how), 0, list[Any]()
    for x in (q, k, v):
        found.append(part_of_blocks(whole, start=at, shape=x.shape))
        at += x.size
    return [*found, *(None for _ in mask)]


def _second_of_attention(
    d: Tensor, y: Tensor, dy: Tensor, q: Tensor, k: Tensor, v: Tensor, *mask: Tensor, **how: Any
) -> Gradients:
    """Return the gradients of the gradients, which are composed for it."""

    def slopes(dy: Tensor, *given: Tensor) -> Tensor:
        firsts = gradients_of(lambda *x: composed(*x, *mask, **how), given, dy)
        return ops.concatenate([ops.reshape(convert(t), -1) for t in firsts])

    return [*gradients_of(slopes, [dy, q, k, v], d), *(None for _ in mask)]


def _dropout(dy: Tensor, mask: Tensor, rate: float) -> Tensor:
    from gpunn.ops.running.streams import dropped_gradient

    return dropped_gradient(dy, mask, rate=rate)


def _part_of_attention(d: Tensor, y: Tensor, whole: Tensor, start: int, shape: Shape) -> Gradients:
    flat = ops.reshape(d, -1)
    return (ops.pad(flat, ((start, whole.size - start - flat.size),)),)


RULES |= {
    "matmul": _matmul,
    # -- convolution: linear in both of its inputs, as are its gradients
    "conv": lambda dy, y, x, kernel, geometry: (
        image_gradient(dy, kernel, geometry=geometry, channels=x.shape[-1]),
        kernel_gradient(x, dy, geometry=geometry, depth=kernel.shape[2]),
    ),
    "conv by the image": lambda g, y, dy, kernel, geometry, channels: (
        convolved(g, kernel, geometry=geometry),
        kernel_gradient(g, dy, geometry=geometry, depth=kernel.shape[2]),
    ),
    "conv by the kernel": lambda g, y, x, dy, geometry, depth: (
        image_gradient(dy, g, geometry=geometry, channels=x.shape[-1]),
        convolved(x, g, geometry=geometry),
    ),
    # -- pooling
    "max_pool": lambda dy, y, x, geometry: (largest_gradient(dy, x, y, geometry=geometry),),
    "max_pool's gradient": lambda g, dx, dy, x, y, geometry: (
        _at_largest(g, x, y, geometry), None, None
    ),
    "average_pool": lambda dy, y, x, geometry: (mean_gradient(dy, geometry=geometry),),
    "average_pool's gradient": lambda g, dx, dy, geometry: (
        mean_of_windows(g, geometry=geometry),
    ),
    # -- normalization; for gradients of gradients, see `fusion.normalizing`
    "normalization": _rows,
    "normalization of features": _features,
    "attention": _attention,
    "attention's gradient": _second_of_attention,
    "part of attention's gradient": _part_of_attention,
    # -- random numbers
    "dropout": lambda dy, y, x, rate, mask, **how: (_dropout(dy, mask, rate),),
    "dropout's gradient": lambda g, dx, dy, mask, rate: (_dropout(g, mask, rate), None),
    "noise": lambda dy, y, x, factors, **how: (dy if factors is None else dy * factors,),
}

"""The derivative of each large primitive: convolution, pooling, normalization, attention; and of
elements that move.

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
from gpunn.ops.gather_scatter.gather import put, taken
from gpunn.ops.gradient_rules import RULES
from gpunn.ops.gradients import gradients_of
from gpunn.ops.indexing import placed
from gpunn.ops.joining import middle_of, part
from gpunn.ops.primitive import Gradients
from gpunn.ops.tensor import Shape, Tensor, ops

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


def _part(dy: Tensor, y: Tensor, x: Tensor, axis: int, start: int, width: int) -> Gradients:
    behind = x.shape[axis] - start - width
    return (ops.pad(dy, [(0, 0)] * axis + [(start, behind)] + [(0, 0)] * (x.ndim - axis - 1)),)


def _concatenate(dy: Tensor, y: Tensor, *xs: Tensor, axis: int) -> Gradients:
    parts, at = [], 0
    for x in xs:
        parts.append(part(dy, axis=axis, start=at, width=x.shape[axis]))
        at += x.shape[axis]
    return parts


def _scatter(
    dy: Tensor, y: Tensor, before: Tensor, rows: Tensor, places: Tensor, merging: str,
    shape: Shape, **how: Any,
) -> Gradients:
    if merging == "Sum":
        return dy, taken(dy, places, **how), None
    # Equal maxima share the gradient.
    largest = taken(y, places, **how)
    hits = ops.logical_or(
        ops.equal(rows, largest), ops.logical_and(ops.isnan(rows), ops.isnan(largest))
    )
    count = put(ops.cast(hits, dy.dtype), places, shape, **how)
    share = ops.where(count > 0, dy / ops.where(count > 0, count, 1.0), 0.0)
    return None, ops.where(hits, taken(share, places, **how), 0.0), None


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
    # -- elements that move
    "indexing": lambda dy, y, x, key: (placed(dy, shape=x.shape, key=key),),
    "placing": lambda dy, y, x, shape, key: (ops.get_item(dy, key),),
    "pad": lambda dy, y, x, widths, value: (dy[middle_of(widths, x.shape)],),
    "part": _part,
    "concatenate": _concatenate,
    "take": lambda dy, y, x, places, **how: (put(dy, places, x.shape, **how), None),
    "scatter": _scatter,
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

"""Jacobians from reverse passes, one for each element of a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from gpunn.ops.joining import stack
from gpunn.ops.shapes import broadcast_to, reshape
from gpunn.ops.tensor import Tensor, constant


def jacobian_of(
    y: Tensor, pulled: Callable[[Tensor], Sequence[Tensor | None]], samples: bool = False
) -> list[Tensor | None]:
    """Return the Jacobians of a tensor with respect to several sources; None without a gradient.

    For y (*m) and x (*n) it has the shape (*m, *n). If the first axis is one of ``samples`` that do
    not depend on each other, it has the shape (b, *m, *n) for y (b, *m) and x (b, *n). ``pulled``
    maps the gradient of y, of its shape, to the gradient of each source.
    """
    kept = int(samples)
    rows = math.prod(y.shape[kept:])
    count = max(rows, 1)  # the shape of a gradient is known from one pass at least
    basis = np.eye(count, rows).reshape(count, *y.shape[kept:])
    passes = [pulled(broadcast_to(constant(one, y.dtype), y.shape)) for one in basis]

    def stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        each = stack(known, kept)[(slice(None),) * kept + (slice(rows),)]  # ([b,] rows, *n)
        return reshape(each, (*y.shape, *known[0].shape[kept:]))

    return [stacked(parts) for parts in zip(*passes, strict=True)]


__all__ = ["jacobian_of"]

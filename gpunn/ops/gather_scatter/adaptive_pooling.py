"""Pooling to a given output size: each window is gathered, and then pooled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.ops.conversion import convert
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Tensor

from .gather import take_unchecked


def _windows(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n pixels make each of m windows, (m, longest), and which of these are beyond
    the window's end. It begins at ``floor(k n / m)`` and ends before ``ceil((k + 1) n / m)``.

    >>> indices, beyond = _windows(5, 3)
    >>> indices.tolist(), beyond.sum(1).tolist()
    ([[0, 1, 2], [1, 2, 3], [3, 4, 5]], [1, 0, 1])
    """
    first, end = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
    indices = first[:, None] + np.arange((end - first).max())
    return indices.astype(np.int32), indices >= end[:, None]


def adaptive_pool(images: Any, size: Any, pool: Callable[..., Tensor], mean: bool) -> Tensor:
    """Return the mean or the largest value of each window, with the operation that pools; see
    `ops.adaptive_max_pool`."""
    sizes, flat = images.sizes("output_size", size), images.x.ndim == 3
    if not math.prod(images.image):
        raise ValueError(f"images with pixels are expected; got {images.image}, height and width.")
    x = reshape(images.x, (len(images.x), *images.image, images.x.shape[-1]))
    window, shares = [], np.ones((1, 1, 1))
    for axis, (n, m) in enumerate(zip(images.image, sizes, strict=True), 1):
        indices, beyond = _windows(n, m)
        window.append(indices.shape[1])
        if n % m:
            # Beyond the end are zeros for means, and otherwise the last pixel again.
            last = np.where(beyond, 0, indices).max(1, keepdims=True)
            indices = np.where(beyond, -1, indices) if mean else np.minimum(indices, last)
            x = take_unchecked(x, convert(indices.ravel().astype("int32")), axis, wraps=False)
            counts = indices.shape[1] / (~beyond).sum(1)
            shares = shares * (counts[:, None, None] if axis == 1 else counts[None, :, None])
    y = pool(x, window)
    if mean and (shares != 1).any():
        factors = np.broadcast_to(shares, y.shape[1:]).ravel().astype(y.dtype)
        y = reshape(reshape(y, (len(y), factors.size)) * factors, y.shape)
    return images.back(reshape(y, (len(y), *y.shape[2:])) if flat else y)

"""Pooling to a given number of places: each window is gathered, and then pooled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.conversion import convert, floats
from gpunn.ops.library.images import Sizes, _Images, average_pool, max_pool
from gpunn.ops.shapes import reshape
from gpunn.ops.table import operation
from gpunn.ops.tensor import Tensor

from .taking import take_unchecked


def _windows(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n pixels make each of m windows, (m, longest), and which of these are beyond
    the window's end. It begins at ``floor(k n / m)`` and ends before ``ceil((k + 1) n / m)``.

    >>> [array.tolist() for array in _windows(5, 3)]
    [[[0, 1], [1, 2], [3, 4]], [[False, False], [False, False], [False, False]]]
    """
    first, end = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
    places = first[:, None] + np.arange((end - first).max())
    return places.astype(np.int32), places >= end[:, None]


@operation
def adaptive_max_pool(
    inputs: Any, output_size: Sizes, data_format: str | None = None
) -> Tensor:
    """Return the largest value in each of as many windows as the result has places.

    Of n pixels, the window for place k of m begins at ``floor(k n / m)`` and ends before
    ``ceil((k + 1) n / m)``: windows cover the image, and may overlap by a pixel. The first maximum
    of a window gets its gradient.

    Args:
        inputs: (batch, height, width, channels), or (batch, steps, channels), as floats.
        output_size: a number, or (height, width).
        data_format: "channels_last" (the default), or "channels_first".

    Returns:
        floats (batch, height, width, channels), or (batch, steps, channels), of this size.

    Raises:
        ValueError: for other shapes, images without pixels, or another option.

    >>> from gpunn import ops
    >>> ops.adaptive_max_pool([[[1.0], [3.0], [2.0], [4.0], [0.0]]], 2).tolist()
    [[[3.0], [4.0]]]
    """
    return _adaptive_pool(inputs, output_size, data_format, mean=False)


@operation
def adaptive_average_pool(
    inputs: Any, output_size: Sizes, data_format: str | None = None
) -> Tensor:
    """Compute the mean over each of as many windows as the result has places.

    Windows, arguments, result and errors: as for `adaptive_max_pool`.

    >>> from gpunn import ops
    >>> ops.adaptive_average_pool([[[1.0], [3.0], [2.0], [4.0], [0.0]]], 2).tolist()
    [[[2.0], [2.0]]]
    """
    return _adaptive_pool(inputs, output_size, data_format, mean=True)


def _adaptive_pool(inputs: Any, size: Sizes, data_format: str | None, mean: bool) -> Tensor:
    images = _Images(floats(inputs), data_format, by_channel=True)
    sizes, flat = images.sizes("output_size", size), images.x.ndim == 3
    if not math.prod(images.image):
        raise ValueError(f"images with pixels are expected; got shape {np.shape(inputs)}.")
    x = reshape(images.x, (len(images.x), *images.image, images.x.shape[-1]))
    window, shares = [], np.ones((1, 1, 1))
    for axis, (n, m) in enumerate(zip(images.image, sizes, strict=True), 1):
        places, beyond = _windows(n, m)
        window.append(places.shape[1])
        if n % m:
            # Beyond the end are zeros for means, and otherwise the last pixel again.
            last = np.where(beyond, 0, places).max(1, keepdims=True)
            places = np.where(beyond, -1, places) if mean else np.minimum(places, last)
            x = take_unchecked(x, convert(places.ravel().astype("int32")), axis, wraps=False)
            counts = places.shape[1] / (~beyond).sum(1)
            shares = shares * (counts[:, None, None] if axis == 1 else counts[None, :, None])
    y = (average_pool if mean else max_pool)(x, window)
    if mean and (shares != 1).any():
        factors = np.broadcast_to(shares, y.shape[1:]).ravel().astype(y.dtype)
        y = reshape(reshape(y, (len(y), -1)) * factors, y.shape)
    return images.back(reshape(y, (len(y), y.shape[2], y.shape[3])) if flat else y)

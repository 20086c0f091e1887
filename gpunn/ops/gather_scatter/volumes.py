"""Convolution of volumes and adaptive pooling, which few programs use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.backends.shared.geometry import Geometry
from gpunn.ops.conversion import convert
from gpunn.ops.shapes import listed, moveaxis, reshape
from gpunn.ops.tensor import Tensor, ops

from .gather import take_unchecked


def three(argument: str, given: Any) -> tuple[int, int, int]:
    """Return an argument as (depth, height, width)."""
    several = listed(given)
    several = several * 3 if len(several) == 1 else several
    if len(several) != 3 or not all(isinstance(n, int) and n >= 1 for n in several):
        raise ValueError(f"{argument} must be one number or three, of 1 or more; got {given!r}.")
    depth, height, width = several
    return depth, height, width


def _channels_last(x: Tensor, kernel: Tensor, data_format: Any) -> tuple[Tensor, bool]:
    """Return volumes with channels last, and whether they came first."""
    if data_format not in (None, "channels_last", "channels_first"):
        raise ValueError(
            f"data_format must be 'channels_last' or 'channels_first'; got {data_format!r}."
        )
    if kernel.ndim != 5:
        raise ValueError(
            f"expected a kernel of three spatial axes for volumes; got shape {kernel.shape}."
        )
    first = data_format == "channels_first"
    return (moveaxis(x, 1, -1) if first else x), first


def conv_volumes(
    conv: Callable[..., Tensor], x: Tensor, kernel: Tensor, strides: Any, padding: str,
    data_format: Any, dilation: Any,
) -> Tensor:
    """Convolve x (batch, depth, height, width, channels) with a kernel (depth, height, width,
    channels, filters), by the operation for images; see `ops.conv`. Each of the kernel's slices
    meets as many of the volume's.
    """
    x, first = _channels_last(x, kernel, data_format)
    by, *steps = three("strides", strides)
    apart, *between = three("dilation_rate", dilation)
    (n, depth), deep, padding = x.shape[:2], kernel.shape[0], str(padding).lower()
    if padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same'; got {padding!r}.")
    try:
        along = Geometry.fit((1, depth), (1, deep), (1, by), padding, (1, apart))
    except ValueError:
        raise ValueError(
            f"a kernel with a depth of {apart * (deep - 1) + 1} is larger than the volume, whose "
            f"depth is {depth}."
        ) from None
    before, many = along.padding[1], along.windows[1]
    after = max((many - 1) * by + apart * (deep - 1) + 1 - depth - before, 0)
    if before or after:
        x = ops.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))
    total = None
    for k in range(deep):
        start = k * apart
        slices = x[:, start : start + (many - 1) * by + 1 : by]
        images = reshape(slices, (n * many, *x.shape[2:]))
        y = conv(images, kernel[k], steps, padding, "channels_last", between)
        total = y if total is None else total + y
    found: Tensor = reshape(total, (n, many, *total.shape[1:]))  # type: ignore[union-attr]
    return moveaxis(found, -1, 1) if first else found


def conv_transpose_volumes(
    conv_transpose: Callable[..., Tensor], geometry_of: Callable[..., Geometry], x: Tensor,
    kernel: Tensor, strides: Any, padding: str, output_padding: Any, data_format: Any,
    dilation: Any,
) -> Tensor:
    """Compute the transposed convolution of volumes, by the operation for images; see
    `ops.conv_transpose`. Each slice of the result is a sum over slices of the kernel.

    Args:
        geometry_of: returns where the windows along the depth lie, for steps (batch, depth,
            channels), a kernel of steps, and one number for each other argument.
    """
    x, first = _channels_last(x, kernel, data_format)
    by, *steps = three("strides", strides)
    apart, *between = three("dilation_rate", dilation)
    more: Any = (None, None)
    if output_padding is not None:
        several = listed(output_padding)
        more = several * 3 if len(several) == 1 else several
        if len(more) != 3:
            raise ValueError(
                f"output_padding must be one number or three; got {output_padding!r}."
            )
    beyond, *others = more
    (n, depth), deep = x.shape[:2], kernel.shape[0]
    slice_of = x[:, :, 0, 0], kernel[:, 0, 0]
    along = geometry_of(*slice_of, by, padding, beyond, apart)
    images = reshape(x, (n * depth, *x.shape[2:]))
    total = None
    for k in range(deep):
        size = None if output_padding is None else others
        y = conv_transpose(images, kernel[k], steps, padding, size, "channels_last", between)
        sizes = y.shape[1:]
        # Slice i of the volume reaches slice i by + k apart - before of the result.
        y = ops.pad(reshape(y, (n, depth, 1, *sizes)), [(0, 0)] * 2 + [(0, by - 1)] + [(0, 0)] * 3)
        y = reshape(y, (n, depth * by, *sizes))
        start, longest = k * apart - along.padding[1], along.image[1]
        y = y[:, max(-start, 0) : max(longest - start, 0)]
        before = max(start, 0)
        after = longest - before - y.shape[1]
        y = ops.pad(y, [(0, 0), (before, after), (0, 0), (0, 0), (0, 0)])
        total = y if total is None else total + y
    assert total is not None
    return moveaxis(total, -1, 1) if first else total


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

"""Images of another size: resized, cropped or padded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_positive_integer
from gpunn.ops.conversion import floats
from gpunn.ops.places.taking import take_unchecked
from gpunn.ops.table import operation_named, ops
from gpunn.ops.tensor import Tensor

from .sampling import Batched

RESIZINGS = ("bilinear", "nearest", "bicubic")


def _triangle(x: np.ndarray, sharpness: float) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: np.ndarray, sharpness: float) -> np.ndarray:
    """Keys's cubic convolution (1981), with its parameter a."""
    a, x = sharpness, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x <= 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0.0))


def taps(n: int, m: int, interpolation: str, antialias: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n pixels make each of m, (m, k), and their weights.

    Pixels have their centres at halves, as in PyTorch, TensorFlow and Pillow. Those outside have
    the value at the edge; with ``antialias`` they have none, and the filter is as wide as a new
    pixel.

    >>> [array.tolist() for array in taps(4, 2, "bilinear", False)]
    [[[0, 1], [2, 3]], [[0.5, 0.5], [0.5, 0.5]]]
    """
    scale = n / m
    centre = (np.arange(m) + 0.5) * scale
    if interpolation == "nearest":
        return np.minimum(np.floor(centre), n - 1).astype(np.int32)[:, None], np.ones((m, 1))
    radius, kernel = (1, _triangle) if interpolation == "bilinear" else (2, _cubic)
    wide = max(scale, 1.0) if antialias else 1.0
    count = 2 * math.ceil(radius * wide) + (1 if wide > 1 else 0)
    begin = np.floor(centre - 0.5).astype(int) - (count - 1) // 2
    places = begin[:, None] + np.arange(count)
    weights = kernel((places + 0.5 - centre[:, None]) / wide, -0.5 if antialias else -0.75)
    if antialias:
        weights = np.where((places >= 0) & (places < n), weights, 0.0)
        weights /= weights.sum(1, keepdims=True)
    return np.clip(places, 0, n - 1).astype(np.int32), weights


def resized(x: Tensor, size: Sequence[int], interpolation: str, antialias: bool = False) -> Tensor:
    """Return images (batch, height, width, channels) of another size."""
    for axis, m in zip((1, 2), size, strict=True):
        if x.shape[axis] == m:
            continue
        places, weights = taps(x.shape[axis], m, interpolation, antialias)
        parts = [take_unchecked(x, ops.convert_to_tensor(p), axis) for p in places.T]
        if len(parts) == 1:
            x = parts[0]
            continue
        # As rows with a factor for each column, which every backend multiplies in a loop.
        shape, behind = (-1, *parts[0].shape[1:]), math.prod(x.shape[axis + 1 :])
        factors = np.repeat(weights, behind, axis=0).astype(x.dtype).T
        rows = [ops.reshape(part, (-1, m * behind)) for part in parts]
        x = ops.reshape(sum(r * f for r, f in zip(rows, factors, strict=True)), shape)
    return x


def crop_of(image: Sequence[int], size: Sequence[int]) -> list[tuple[int, int]]:
    """Return first and length along both axes of the largest part in the middle of an image that
    has the proportions of a size."""
    (height, width), (rows, columns) = image, size
    lengths = int(width * rows / columns), int(height * columns / rows)
    found = [max(min(n, length), 1) for n, length in zip(image, lengths, strict=True)]
    return [((n - length) // 2, length) for n, length in zip(image, found, strict=True)]


@operation_named("image.resize")
def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Resize images, by interpolation between their pixels.

    Args:
        images: (batch, height, width, channels), or one image.
        size: (height, width) of the result.
        interpolation: "bilinear", "nearest", or "bicubic" with PyTorch's cubic.
        antialias: whether smaller images come from the mean of all pixels, as in Pillow, not only
            of those around each new one; for "bilinear" and "bicubic".
        crop_to_aspect_ratio: whether what exceeds the new proportions is cut off at both sides.
        pad_to_aspect_ratio: whether it is completed by ``fill_value`` instead.
        fill_mode: "constant".
        fill_value: of the padding.
        data_format: "channels_last" (the default), or "channels_first".

    Returns:
        images of this size, of the same kind: integers are rounded.

    Raises:
        ValueError: for other options, or cropping and padding at once.

    >>> from gpunn import ops
    >>> ops.image.resize([[[0.0], [1.0]]], (1, 4)).tolist()
    [[[0.0], [0.25], [0.75], [1.0]]]
    """
    check_choice("interpolation", interpolation, RESIZINGS)
    check_choice("fill_mode", fill_mode, ("constant",))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other.")
    if len(size) != 2:
        raise ValueError(f"size must be (height, width); got {size!r}.")
    rows, columns = (check_positive_integer("size", n) for n in size)
    given = Batched(images, data_format)
    x = given.x if interpolation == "nearest" else floats(given.x)
    height, width = x.shape[1:3]
    if crop_to_aspect_ratio:
        (top, n), (left, m) = crop_of((height, width), (rows, columns))
        x = x[:, top : top + n, left : left + m]
    if pad_to_aspect_ratio:
        more = max(int(width * rows / columns) - height, 0) // 2
        wide = max(int(height * columns / rows) - width, 0) // 2
        x = ops.pad(x, [(0, 0), (more, more), (wide, wide), (0, 0)], constant_values=fill_value)
    return given.back(resized(x, (rows, columns), interpolation, antialias))

"""Images of another size: resized, cropped or padded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_positive_integer
from gpunn.ops.conversion import floats
from gpunn.ops.gather_scatter.gather import take_unchecked
from gpunn.ops.tensor import Tensor, operation_named, ops

from .sampling import Batched

RESIZINGS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")
Kernel = Callable[[np.ndarray], np.ndarray]


def linear(x: np.ndarray) -> np.ndarray:
    """Return 1 - x, the weight of a pixel at a distance from 0 to 1."""
    return 1 - x


def cubic(b: float, c: float) -> Kernel:
    """Return the kernel of Mitchell and Netravali (1988) with these parameters, of radius 2."""

    def kernel(x: np.ndarray) -> np.ndarray:
        near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b
        far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x
        return np.where(x < 1, near, far + 8 * b + 24 * c) / 6

    return kernel


def lanczos(radius: int) -> Kernel:
    """Return the kernel of Lanczos: a sinc, times one that is as wide as its radius."""
    return lambda x: np.sinc(x) * np.sinc(x / radius)


def taps(
    n: int, m: int, radius: float, kernel: Kernel, wide: float = 1.0, inside: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n pixels make each of m, (k, m), and their weights.

    Pixels have their centres at halves, as in PyTorch, TensorFlow and Pillow.

    The weight is a kernel's value at the distance divided by ``wide``, below the radius; the
    nearest pixel alone for radius 0. With ``inside``, pixels outside have none, and the weights are
    divided by their sum; without, pixels outside have the value at the edge.

    >>> [array.tolist() for array in taps(4, 2, 1, linear)]
    [[[0, 2], [1, 3]], [[0.5, 0.5], [0.5, 0.5]]]
    """
    centres, reach = (np.arange(m) + 0.5) * (n / m), radius * wide
    if not radius:
        return np.minimum(centres, n - 1).astype(np.int32)[None], np.ones((1, m))
    first = np.ceil(centres - reach - 0.5).astype(np.int32)
    places = first + np.arange(math.ceil(2 * reach), dtype=np.int32)[:, None]
    distance = np.abs(places + 0.5 - centres) / wide
    weights = np.where(distance < radius, kernel(np.minimum(distance, radius)), 0.0)
    if inside:
        weights[(places < 0) | (places >= n)] = 0.0
        weights /= weights.sum(axis=0)
    used = weights.any(axis=1)
    return places[used].clip(0, n - 1), weights[used]


def resized(x: Tensor, size: Sequence[int], interpolation: str, antialias: bool = False) -> Tensor:
    """Return images (batch, height, width, channels) of another size; with ``antialias`` the
    filter is as wide as a new pixel."""
    keys = cubic(0.0, 0.5 if antialias else 0.75)  # of Keys (1981), with his parameter -c
    filters = {"nearest": (0, linear), "bilinear": (1, linear), "bicubic": (2, keys)}
    filters |= {f"lanczos{radius}": (radius, lanczos(radius)) for radius in (3, 5)}
    inside = antialias or interpolation.startswith("lanczos")
    for axis, m in zip((1, 2), size, strict=True):
        if x.shape[axis] == m:
            continue
        wide = max(x.shape[axis] / m, 1.0) if antialias else 1.0
        places, weights = taps(x.shape[axis], m, *filters[interpolation], wide, inside)
        parts = [take_unchecked(x, ops.convert_to_tensor(p), axis) for p in places]
        if interpolation == "nearest":
            x = parts[0]
            continue
        # As rows with a factor for each column, which every backend multiplies in a loop.
        shape, behind = (-1, *parts[0].shape[1:]), math.prod(x.shape[axis + 1 :])
        factors = np.repeat(weights, behind, axis=1).astype(x.dtype)
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
        interpolation: "bilinear", "nearest", "bicubic" with PyTorch's cubic, "lanczos3" or
            "lanczos5".
        antialias: whether smaller images come from the mean of all pixels, as in Pillow, not only
            of those around each new one; not for "nearest".
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

"""Colors of images in other terms: hue, saturation and value, or gray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.conversion import floats
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import Tensor, operation_named, ops

from .sampling import Batched

# Expressions of the backends compute matrices in one pass, so each color is one: (batch, pixels).


def flat_of(x: Tensor) -> Tensor:
    """Return each image of a batch as a row, (batch, values), also of an empty batch."""
    return ops.reshape(x, (len(x), math.prod(x.shape[1:])))


def planes_of(x: Tensor) -> list[Tensor]:
    """Return a matrix (batch, pixels) for each color of images (batch, height, width, 3)."""
    if x.shape[-1] != 3:
        raise ValueError(
            f"images of three channels, red, green and blue, are expected; got shape {x.shape}."
        )
    return [flat_of(x[..., k]) for k in range(3)]


def joined(planes: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Return images of this shape with these colors."""
    return ops.reshape(ops.stack(planes, -1), shape)


def hsv_of(red: Tensor, green: Tensor, blue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue, saturation and value (batch, pixels); see `rgb_to_hsv`."""
    least = float(np.finfo(red.dtype).eps)
    r, g, b = (ops.where(ops.abs(x) < least, 0.0, x) for x in (red, green, blue))
    value = ops.maximum(ops.maximum(r, g), b)
    spread = value - ops.minimum(ops.minimum(r, g), b)
    colored = spread > 0.0
    saturation = ops.where(value > 0.0, spread / ops.where(value > 0.0, value, 1.0), 0.0)
    sixth = 1.0 / (6.0 * ops.where(colored, spread, 1.0))
    of_red = (g - b) * sixth
    of_red = ops.where(of_red < 0.0, of_red + 1.0, of_red)
    hue = ops.where(value == g, (b - r) * sixth + 1.0 / 3.0, (r - g) * sixth + 2.0 / 3.0)
    hue = ops.where(colored, ops.where(value == r, of_red, hue), 0.0)
    return hue, saturation, value


def rgb_of(hue: Tensor, saturation: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """Return red, green and blue (batch, pixels); see `hsv_to_rgb`."""
    sixths = ops.mod(hue, 1.0) * 6.0
    shares = (
        ops.abs(sixths - 3.0) - 1.0, 2.0 - ops.abs(sixths - 2.0), 2.0 - ops.abs(sixths - 4.0),
    )
    return tuple(
        value * (1.0 - saturation + saturation * ops.clip(share, 0.0, 1.0)) for share in shares
    )


def gray_of(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    """Return the brightness of colors; see `rgb_to_grayscale`."""
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def _recolored(images: Any, data_format: str | None, change: Any) -> Tensor:
    given = Batched(images, data_format)
    if not is_float(given.x.dtype):
        raise ValueError(
            f"images of floats from 0 to 1 are expected; got {given.x.dtype}. Divide by 255 first."
        )
    return given.back(joined(change(*planes_of(given.x)), given.x.shape))


@operation_named("image.rgb_to_hsv")
def rgb_to_hsv(images: Any, data_format: str | None = None) -> Tensor:
    """Convert colors from red, green and blue to hue, saturation and value.

    The value is the largest of the three, v. The saturation is ``(v - least) / v``. The hue is 0
    for red, 1/3 for green and 2/3 for blue. Source: Smith 1978, "Color gamut transform pairs".

    Args:
        images: floats (batch, height, width, 3) from 0 to 1, or one image.
        data_format: "channels_last" (the default), or "channels_first".

    Returns:
        images of the same shape, with numbers from 0 to 1.

    Raises:
        ValueError: for integers, another number of channels, and another data format.

    >>> from gpunn import ops
    >>> ops.image.rgb_to_hsv([[[0.5, 0.0, 0.0], [0.25, 0.5, 0.5]]]).tolist()
    [[[0.0, 1.0, 0.5], [0.5, 0.5, 0.5]]]
    """
    return _recolored(images, data_format, hsv_of)


@operation_named("image.hsv_to_rgb")
def hsv_to_rgb(images: Any, data_format: str | None = None) -> Tensor:
    """Convert colors from hue, saturation and value to red, green and blue.

    Each color is ``v (1 - s + s k)``, with a k from 0 to 1 that the hue gives. Hues repeat: 1.25 is
    0.25. Arguments, result and errors: as for `rgb_to_hsv`, of which it is the inverse.

    >>> from gpunn import ops
    >>> ops.image.hsv_to_rgb([[[0.0, 0.5, 1.0]]]).tolist()
    [[[1.0, 0.5, 0.5]]]
    """
    return _recolored(images, data_format, rgb_of)


@operation_named("image.rgb_to_grayscale")
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Tensor:
    """Convert colors to gray: ``0.2989 red + 0.587 green + 0.114 blue``.

    The weights are those of ITU-R BT.601, for how bright each color looks.

    Args:
        images: (batch, height, width, 3), or one image. Images of one channel stay as they are.
        data_format: "channels_last" (the default), or "channels_first".

    Returns:
        images (batch, height, width, 1), of the same kind: integers are rounded.

    Raises:
        ValueError: for another number of channels, and another data format.

    >>> from gpunn import ops
    >>> ops.image.rgb_to_grayscale([[[100, 0, 0], [0, 100, 0]]]).tolist()
    [[[30], [59]]]
    """
    given = Batched(images, data_format)
    if given.x.shape[-1] == 1:
        return given.back(given.x)
    return given.back(joined([gray_of(*planes_of(floats(given.x)))], (*given.x.shape[:-1], 1)))

"""Filters of images, and conversions of their colors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_number, check_pair
from gpunn.ops.conversion import floats, promoted
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import Tensor, operation_named, ops

from .sampling import Batched


def check_kernel_size(name: str, value: Any) -> int:
    """Return the odd length of both sides of a window."""
    one, other = check_pair(name, value)
    if one % 2 == 0 or one != other:
        raise ValueError(
            f"{name} must be an odd number, or twice the same; got {name}={value!r}. A window "
            f"that is not square is not supported."
        )
    return one


def blurred(x: Tensor, size: int, sigmas: Sequence[Tensor]) -> Tensor:
    """Return images (batch, height, width, channels) blurred by a Gaussian window of this size.

    The deviations, of columns and of rows, are (batch, 1), or (1, 1) for all images.
    """
    batch, half = len(x), size // 2
    for axis, sigma in zip((2, 1), sigmas, strict=True):
        weights = ops.exp(-0.5 * ops.square((np.arange(size, dtype=x.dtype) - half) / sigma))
        weights = weights / ops.sum(weights, -1, keepdims=True)  # (batch, size)
        n, shape = x.shape[axis], x.shape
        padded = ops.pad(x, [(half, half) if k == axis else (0, 0) for k in range(4)])
        parts = [padded[:, k : k + n] if axis == 1 else padded[:, :, k : k + n]
                 for k in range(size)]
        rows = (ops.reshape(part, (batch, -1)) for part in parts)
        x = ops.reshape(sum(row * weights[:, k : k + 1] for k, row in enumerate(rows)), shape)
    return x


@operation_named("image.gaussian_blur")
def gaussian_blur(
    images: Any,
    kernel_size: int | Sequence[int] = (3, 3),
    sigma: float | Sequence[float] = (1.0, 1.0),
    data_format: str | None = None,
) -> Tensor:
    """Blur images: each pixel is a mean of those around it, weighted by a normal distribution.

    The weight of a pixel at the distance (a, b) is proportional to
    ``exp(-(a / sigma_x)^2 / 2 - (b / sigma_y)^2 / 2)``. Pixels outside of the image count as 0.

    Args:
        images, data_format: as in `resize`.
        kernel_size: length of both sides of the window, an odd number, or twice the same.
        sigma: standard deviation in pixels, above 0: (from column to column, from row to row), in
            the order in which Keras uses them, or one number.

    Returns:
        images of the same shape, and of the same kind: integers are rounded.

    Raises:
        ValueError: for other shapes or sizes.

    >>> from gpunn import ops
    >>> ops.image.gaussian_blur([[[0.0], [100.0], [0.0]]], sigma=0.5).round().ravel().tolist()
    [8.0, 62.0, 8.0]
    """
    size = check_kernel_size("kernel_size", kernel_size)
    is_one = not isinstance(sigma, (tuple, list, np.ndarray))
    several: list[Any] = [sigma] * 2 if is_one else list(sigma)  # type: ignore[arg-type]
    numbers = [check_number("sigma", float(s)) for s in several]
    if len(numbers) != 2 or min(numbers) <= 0:
        raise ValueError(f"sigma must be a number above 0, or two; got sigma={sigma!r}.")
    given = Batched(images, data_format)
    x = floats(given.x)
    return given.back(blurred(x, size, [ops.full((1, 1), s, x.dtype) for s in numbers]))


_SOBEL = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], float)


@operation_named("image.sobel_edges")
def sobel_edges(images: Any, data_format: str | None = None) -> Tensor:
    """Compute how fast images become brighter, downwards and to the right, by Sobel's windows.

    The window of dy is ``[[-1, -2, -1], [0, 0, 0], [1, 2, 1]]``, and that of dx is its transpose.
    Pixels outside of the image count as 0. Source: Sobel & Feldman 1968.

    Args:
        images, data_format: as in `resize`.

    Returns:
        floats (batch, height, width, channels, 2), or (batch, channels, height, width, 2): the last
        axis has dy and dx.

    Raises:
        ValueError: for other shapes.

    >>> from gpunn import ops
    >>> ops.image.sobel_edges([[[0.0], [1.0], [3.0]]])[0, 1, 0].tolist()
    [0.0, 6.0]
    """
    given = Batched(images, data_format)
    x = floats(given.x)
    channels = x.shape[-1]
    kernel = np.stack([_SOBEL, _SOBEL.T], -1)[:, :, None].repeat(channels, 2).astype(x.dtype)
    both = ops.reshape(ops.depthwise_conv(x, kernel, padding="same"), (*x.shape, 2))
    parts = [given.back(both[..., k]) for k in range(2)]
    return ops.stack([ops.cast(part, x.dtype) for part in parts], -1)


@operation_named("image.ssim")
def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Tensor:
    """Compute how alike images are (structural similarity): 1 for equal ones, at least -1.

    With means m, variances v and the covariance v12 in windows that are weighted by a normal
    distribution, it is the mean over windows and channels of ``(2 m1 m2 + c1)(2 v12 + c2) / ((m1^2
    + m2^2 + c1)(v1 + v2 + c2))``. Source: Wang et al. 2004.

    Args:
        image1, image2, data_format: images of one shape; see `resize`.
        max_val: the largest possible value, such as 1 or 255.
        filter_size: length of both sides of a window, odd; it must fit into the images.
        filter_sigma: standard deviation of the window's weights, above 0.
        k1, k2: ``c1 = (k1 max_val)^2`` and ``c2 = (k2 max_val)^2`` keep the quotient finite.

    Returns:
        floats (batch,), or one number for single images.

    Raises:
        ValueError: for other shapes, sizes or numbers.

    >>> from gpunn import ops
    >>> x = ops.reshape(ops.arange(0.0, 1.0, 1 / 144), (12, 12, 1))
    >>> ops.image.ssim(x, x).item(), ops.image.ssim(x, 1 - x).item() < 0
    (1.0, True)
    """
    size = check_kernel_size("filter_size", filter_size)
    if not check_number("filter_sigma", filter_sigma) > 0:
        raise ValueError(f"filter_sigma must be above 0; got {filter_sigma!r}.")
    given = [Batched(images, data_format) for images in (image1, image2)]
    a, b = promoted(*(floats(one.x) for one in given))
    if a.shape != b.shape or min(a.shape[1:3]) < size:
        raise ValueError(
            f"image1 and image2 must have one shape, of at least filter_size={size} pixels; got "
            f"{a.shape} and {b.shape}."
        )
    weights = np.exp(-0.5 * ((np.arange(size) - size // 2) / filter_sigma) ** 2)
    window = np.outer(weights, weights)[:, :, None, None] / weights.sum() ** 2
    kernel = window.repeat(a.shape[-1], 2).astype(a.dtype)
    m1, m2, of_a, of_b, both = (
        ops.depthwise_conv(x, kernel) for x in (a, b, a * a, b * b, a * b)
    )
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    squares, product = m1 * m1 + m2 * m2, m1 * m2
    alike = (2.0 * product + c1) * (2.0 * (both - product) + c2)
    y = ops.mean(alike / ((squares + c1) * (of_a + of_b - squares + c2)), (1, 2, 3))
    return ops.squeeze(y, 0) if given[0].alone else y


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

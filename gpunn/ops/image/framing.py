"""The size of images: resizing, crops, borders and patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn.backends.shared.geometry import Geometry
from gpunn.common.arguments import check_choice, check_pair, check_positive_integer, check_sizes
from gpunn.ops.conversion import floats
from gpunn.ops.gather_scatter.gather import take_unchecked
from gpunn.ops.library.images import cells_of, sides_of
from gpunn.ops.shapes import whole
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


def _frame(kind: str, image: Any, sign: int, *given: Any) -> list[tuple[int, int]]:
    """Return the rows and the columns that are cut (a sign of -1) or added (1) before and after: of
    three numbers for each, before, after, and those of the result, two are given."""
    found = []
    sides = ("top", "bottom", "height"), ("left", "right", "width")
    for place, (n, (one, other, size)) in enumerate(zip(image, sides, strict=True)):
        names = f"{one}_{kind}", f"{other}_{kind}", f"target_{size}"
        all_three = dict(zip(names, given[place::2], strict=True))
        known = {k: whole(v, k, 0) for k, v in all_three.items() if v is not None}
        said = ", ".join(f"{k}={v!r}" for k, v in all_three.items())
        if len(known) != 2:
            raise ValueError(f"exactly two of {', '.join(names)} are expected; got {said}.")
        before, after, new = (known.get(name) for name in names)
        rest = sign * ((new or 0) - n) - (before or 0) - (after or 0)
        ends = rest if before is None else before, rest if after is None else after
        if min(ends) < 0 or (sign < 0 and sum(ends) > n):
            raise ValueError(f"{said} do not fit images of {size} {n}.")
        found.append(ends)
    return found


@operation_named("image.crop_images")
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Cut rows and columns off images.

    Args:
        images, data_format: as in `resize`.
        top_cropping, bottom_cropping, target_height: rows to cut off above and below, and rows that
            are left: exactly two of the three.
        left_cropping, right_cropping, target_width: likewise for columns.

    Returns:
        images (batch, target_height, target_width, channels), of the same kind.

    Raises:
        ValueError: for another number of arguments, and for more rows or columns than there are.

    >>> from gpunn import ops
    >>> x = [[[1.0], [2.0], [3.0]]]
    >>> ops.image.crop_images(x, 0, 1, target_height=1, target_width=1).tolist()
    [[[2.0]]]
    """
    given = Batched(images, data_format)
    height, width = given.x.shape[1:3]
    (top, below), (left, right) = _frame(
        "cropping", (height, width), -1, top_cropping, left_cropping, bottom_cropping,
        right_cropping, target_height, target_width,
    )
    return given.back(given.x[:, top : height - below, left : width - right])


@operation_named("image.pad_images")
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Add rows and columns of zeros to images.

    Args:
        images, data_format: as in `resize`.
        top_padding, bottom_padding, target_height: rows to add above and below, and rows of the
            result: exactly two of the three.
        left_padding, right_padding, target_width: likewise for columns.

    Returns:
        images (batch, target_height, target_width, channels), of the same kind.

    Raises:
        ValueError: for another number of arguments, and for a result that is smaller.

    >>> from gpunn import ops
    >>> ops.image.pad_images([[[1.0]]], 0, 1, target_height=1, target_width=3).tolist()
    [[[0.0], [1.0], [0.0]]]
    """
    given = Batched(images, data_format)
    widths = _frame(
        "padding", given.x.shape[1:3], 1, top_padding, left_padding, bottom_padding, right_padding,
        target_height, target_width,
    )
    return given.back(ops.pad(given.x, [(0, 0), *widths, (0, 0)]))


@operation_named("image.extract_patches")
def extract_patches(
    images: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Cut images into patches, whose pixels follow one another along the axis of channels.

    Args:
        images, data_format: as in `resize`.
        size: (height, width) of a patch, or one number for both, as in the next two arguments.
        strides: from one patch to the next; by default the size.
        dilation_rate: from one pixel of a patch to the next.
        padding: "valid", or "same" for patches that reach over the edges, with zeros there.

    Returns:
        patches (batch, rows, columns, height x width x channels).

    Raises:
        ValueError: if no patch fits into the images, or for other options.

    >>> from gpunn import ops
    >>> ops.image.extract_patches([[[1.0], [2.0], [3.0], [4.0]]], (1, 2)).tolist()
    [[[1.0, 2.0], [3.0, 4.0]]]
    """
    check_choice("padding", padding, ("valid", "same"))
    given = Batched(images, data_format)
    height, width = given.x.shape[1:3]
    window, apart = check_pair("size", size), check_pair("dilation_rate", dilation_rate)
    steps = window if strides is None else check_pair("strides", strides)
    try:
        geometry = Geometry.fit((height, width), window, steps, padding, apart)
    except ValueError:
        raise ValueError(
            f"A patch of {window} pixels, {apart} apart, does not fit into images of {height} x "
            f"{width}."
        ) from None
    x = ops.pad(given.x, sides_of(geometry)) if padding == "same" else given.x
    return given.back(ops.concatenate([x[cells] for _, cells in cells_of(geometry)], axis=-1))


@operation_named("image.extract_patches_3d")
def extract_patches_3d(
    volumes: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Cut volumes into patches, whose cells follow one another along the axis of channels.

    Args:
        volumes: (batch, depth, height, width, channels), or one without the batch axis.
        size: (depth, height, width) of a patch, or one number for all, as in the next two
            arguments.
        strides, dilation_rate, padding, data_format: as in `extract_patches`.

    Returns:
        patches (batch, planes, rows, columns, depth x height x width x channels).

    Raises:
        ValueError: as in `extract_patches`.

    >>> from gpunn import ops
    >>> ops.image.extract_patches_3d(ops.zeros((4, 4, 6, 1)), 2).shape
    (2, 2, 3, 8)
    """
    check_choice("padding", padding, ("valid", "same"))
    window, apart = check_sizes("size", size, 3), check_sizes("dilation_rate", dilation_rate, 3)
    steps = window if strides is None else check_sizes("strides", strides, 3)
    given = Batched(volumes, data_format, "depth, height, width", "volumes")
    batch, depth, *plane, channels = given.x.shape
    reach = [(n - 1) * step + 1 for n, step in zip(window, apart, strict=True)]
    if padding == "valid" and any(n > of for n, of in zip(reach, (depth, *plane), strict=True)):
        raise ValueError(
            f"A patch of {window} cells, {apart} apart, does not fit into volumes of {depth} x "
            f"{plane[0]} x {plane[1]}."
        )
    # The patches of each plane, and then of the planes above one another.
    flat = ops.reshape(given.x, (batch * depth, *plane, channels))
    flat = extract_patches(flat, window[1:], steps[1:], apart[1:], padding)
    _, *cells, values = flat.shape
    x = ops.reshape(flat, (batch, depth, cells[0] * cells[1], values))
    x = extract_patches(x, (window[0], 1), (steps[0], 1), (apart[0], 1), padding)
    return given.back(ops.reshape(x, (batch, x.shape[1], *cells, window[0] * values)))

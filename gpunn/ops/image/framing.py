"""Crops, borders and patches of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.backends.shared.geometry import Geometry
from gpunn.common.arguments import check_choice, check_pair, check_sizes
from gpunn.ops.library.images import cells_of, sides_of
from gpunn.ops.shapes import whole
from gpunn.ops.tensor import Tensor, operation_named, ops

from .sampling import Batched


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
    window, apart = check_sizes("size", size, 3), check_sizes("dilation_rate", dilation_rate, 3)
    steps = window if strides is None else check_sizes("strides", strides, 3)
    given = Batched(volumes, data_format, "depth, height, width", "volumes")
    batch, depth, *plane, channels = given.x.shape
    # The patches of each plane, and then of the planes above one another.
    flat = ops.reshape(given.x, (batch * depth, *plane, channels))
    flat = extract_patches(flat, window[1:], steps[1:], apart[1:], padding)
    _, *cells, values = flat.shape
    x = ops.reshape(flat, (batch, depth, cells[0] * cells[1], values))
    x = extract_patches(x, (window[0], 1), (steps[0], 1), (apart[0], 1), padding)
    return given.back(ops.reshape(x, (batch, x.shape[1], *cells, window[0] * values)))

"""Patches of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.backends.shared.geometry import Geometry
from gpunn.common.arguments import check_choice, check_pair, check_sizes
from gpunn.ops.library.images import cells_of, sides_of
from gpunn.ops.tensor import Tensor, operation_named, ops

from .sampling import Batched


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

"""Patches of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.backends.shared.geometry import Geometry
from gpunn.common.arguments import check_choice, check_pair
from gpunn.ops.library.images import cells_of, sides_of
from gpunn.ops.table import operation_named, ops
from gpunn.ops.tensor import Tensor

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

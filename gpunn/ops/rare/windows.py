"""Windows of images: their pixels in columns, and images of the sums of such columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn.backends.shared.geometry import Geometry
from gpunn.common.arguments import check_pair
from gpunn.ops.conversion import convert
from gpunn.ops.indexing import placed
from gpunn.ops.library.images import cells_of
from gpunn.ops.tensor import Tensor, operation, ops

Sizes = int | Sequence[int]


def _geometry(
    image: Sequence[int], kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Geometry, list[tuple[int, int]]]:
    """Return the windows of padded images, and the widths of the padding."""
    sides = check_pair("padding", padding, 0)
    wide = (image[0] + 2 * sides[0], image[1] + 2 * sides[1])
    window = check_pair("kernel_size", kernel_size)
    steps, apart = check_pair("stride", stride), check_pair("dilation", dilation)
    try:
        geometry = Geometry.fit(wide, window, steps, "valid", apart)
    except ValueError:
        raise ValueError(
            f"kernel_size {window}, {apart} apart, does not fit into images of {wide[0]} x "
            f"{wide[1]} pixels with their padding."
        ) from None
    return geometry, [(0, 0), (0, 0), (sides[0], sides[0]), (sides[1], sides[1])]


def _cells(geometry: Geometry) -> list[tuple[slice, ...]]:
    """Return the slices of images (batch, channels, height, width) for each cell of a window."""
    return [(slice(None), *cells) for _, cells in cells_of(geometry)]


@operation
def unfold(
    x: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """Cut images into windows, whose pixels become columns (im2col).

    Args:
        x: images (batch, channels, height, width), channels first, as in Keras.
        kernel_size: (height, width) of a window, or one number for both, as in the others.
        dilation: from one pixel of a window to the next.
        padding: how many zeros are put around an image on each side.
        stride: from one window to the next.

    Returns:
        a tensor (batch, channels x height x width of a window, windows).

    Raises:
        ValueError: if x are not images, or no window fits.

    >>> from gpunn import ops
    >>> ops.unfold([[[[1.0, 2.0, 3.0]]]], (1, 2)).tolist()
    [[[1.0, 2.0], [2.0, 3.0]]]
    """
    x = convert(x)
    if x.ndim != 4:
        raise ValueError(f"x must be (batch, channels, height, width); got shape {x.shape}.")
    geometry, widths = _geometry(x.shape[2:], kernel_size, dilation, padding, stride)
    wide = ops.pad(x, widths)
    found = ops.stack([wide[cells] for cells in _cells(geometry)], 2)
    n = math.prod(geometry.window)
    return ops.reshape(found, (x.shape[0], x.shape[1] * n, math.prod(geometry.windows)))


@operation
def fold(
    x: Any, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Add up windows in images (col2im): the transpose of `unfold`.

    Args:
        x: a tensor (batch, channels x height x width of a window, windows).
        output_size: (height, width) of the images, or one number for both.
        kernel_size, dilation, padding, stride: as in `unfold`.

    Returns:
        images (batch, channels, height, width).

    Raises:
        ValueError: if x does not have as many windows as fit, or pixels of them.

    >>> from gpunn import ops
    >>> ops.fold([[[1.0, 2.0], [2.0, 3.0]]], (1, 3), (1, 2)).tolist()
    [[[[1.0, 4.0, 3.0]]]]
    """
    x, size = convert(x), check_pair("output_size", output_size)
    geometry, widths = _geometry(size, kernel_size, dilation, padding, stride)
    n, windows = math.prod(geometry.window), geometry.windows
    if x.ndim != 3 or x.shape[1] % n or x.shape[2] != math.prod(windows):
        raise ValueError(
            f"x must be (batch, channels x {n}, {math.prod(windows)}) for images of {size}; got "
            f"shape {x.shape}."
        )
    batch, channels = x.shape[0], x.shape[1] // n
    parts = ops.unstack(ops.reshape(x, (batch, channels, n, *windows)), axis=2)
    wide = (batch, channels, *(n + 2 * k for n, (k, _) in zip(size, widths[2:], strict=True)))
    first, *others = (
        placed(part, shape=wide, key=key)
        for part, key in zip(parts, _cells(geometry), strict=True)
    )
    total = sum(others, first)
    (top, _), (left, _) = widths[2:]
    return total[:, :, top : top + size[0], left : left + size[1]]

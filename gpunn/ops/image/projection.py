"""Values of arrays at any coordinates, and images seen from another side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.ops.conversion import convert, floats
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import Tensor, operation_named, ops

from .sampling import FILL_MODES, INTERPOLATIONS, Batched, sampled


@operation_named("image.map_coordinates")
def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0
) -> Tensor:
    """Return the values of an array at coordinates, which may lie between its entries.

    Args:
        inputs: an array of one axis or more.
        coordinates: (axes of inputs, ...): for each axis, the index of each result.
        order: 1 to interpolate linearly between the neighbours, or 0 for the nearest entry.
        fill_mode, fill_value: as in `affine_transform`.

    Returns:
        a tensor of the shape of ``coordinates`` without its first axis, and of the same kind as
        ``inputs``: integers are rounded.

    Raises:
        ValueError: for another order or mode, and other shapes.

    >>> from gpunn import ops
    >>> ops.image.map_coordinates([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.5], [0.5, 1.0]], 1).tolist()
    [1.5, 3.0]
    """
    if order not in (0, 1):
        raise ValueError(f"order must be 0 or 1; got {order!r}.")
    check_choice("fill_mode", fill_mode, FILL_MODES)
    given = convert(inputs)
    x = floats(given)
    at = convert(coordinates, x.dtype)
    if at.ndim < 2 or not x.ndim or at.shape[0] != x.ndim:
        raise ValueError(
            f"coordinates must have the shape ({x.ndim}, ...), an index for each axis of inputs "
            f"{x.shape}; got {at.shape}."
        )
    count = math.prod(at.shape[1:])
    axes = [(n, ops.reshape(at[k], (1, count))) for k, n in enumerate(x.shape)]
    values = ops.reshape(x, (1, math.prod(x.shape), 1))
    found = sampled(values, axes, INTERPOLATIONS[order], fill_mode, float(fill_value))
    y: Tensor = ops.reshape(found, at.shape[1:])
    return y if is_float(given.dtype) else ops.cast(ops.round(y), given.dtype)


@operation_named("image.perspective_transform")
def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Move four points of images to other places, as if the plane were seen from another side.

    The pixel (x, y) of the result is the image's pixel at ``(a0 x + a1 y + a2, b0 x + b1 y + b2) /
    (c0 x + c1 y + 1)``, with the eight numbers for which the end points come from the start points.

    Args:
        images, data_format: as in `resize`.
        start_points: (4, 2) for all images or (batch, 4, 2): x and y of points of the image.
        end_points: of the same shape: where they are in the result.
        interpolation: "bilinear", between four pixels, or "nearest".
        fill_value: of pixels that come from outside of the image.

    Returns:
        images of the same shape, and of the same kind: integers are rounded.

    Raises:
        ValueError: for other shapes.

    >>> from gpunn import ops
    >>> corners = [[0, 0], [2, 0], [0, 2], [2, 2]]
    >>> turned = [[2, 0], [2, 2], [0, 0], [0, 2]]
    >>> picture = [[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]], [[7.0], [8.0], [9.0]]]
    >>> y = ops.image.perspective_transform(picture, corners, turned)
    >>> ops.round(y)[..., 0].tolist()
    [[7.0, 4.0, 1.0], [8.0, 5.0, 2.0], [9.0, 6.0, 3.0]]
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    given = Batched(images, data_format)
    x = floats(given.x)
    start, end = convert(start_points, x.dtype), convert(end_points, x.dtype)
    for name, points in (("start_points", start), ("end_points", end)):
        if points.shape not in ((4, 2), (1, 4, 2), (len(x), 4, 2)) or points.shape != start.shape:
            raise ValueError(
                f"{name} must be (4, 2), or (batch, 4, 2) for {len(x)} images, and start_points "
                f"and end_points of one shape; got {start.shape} and {end.shape}."
            )
    batch, height, width, channels = x.shape
    a0, a1, a2, b0, b1, b2, c0, c1 = _projection(start, end)
    row, column = (k.reshape(1, -1) for k in np.indices((height, width)).astype(x.dtype))
    depth = c0 * column + c1 * row + 1.0
    axes = [
        (height, (b0 * column + b1 * row + b2) / depth),
        (width, (a0 * column + a1 * row + a2) / depth),
    ]
    pixels = ops.reshape(x, (batch, height * width, channels))
    y = sampled(pixels, axes, interpolation, "constant", float(fill_value))
    return given.back(ops.reshape(y, x.shape))


def _projection(start: Tensor, end: Tensor) -> list[Tensor]:
    """Return the eight numbers, (batch, 1) each, by which end points come from start points."""
    start, end = ops.reshape(start, (-1, 4, 2)), ops.reshape(end, (-1, 4, 2))
    line = ops.concatenate([end, ops.ones_like(end[..., :1])], -1)  # (batch, 4, 3)
    nothing = ops.zeros_like(line)
    equations = ops.concatenate(
        [
            ops.concatenate([line, nothing, -start[..., :1] * end], -1),
            ops.concatenate([nothing, line, -start[..., 1:] * end], -1),
        ],
        1,
    )  # (batch, 8, 8)
    wanted = ops.concatenate([start[..., :1], start[..., 1:]], 1)  # (batch, 8, 1)
    found = ops.solve(equations, wanted)
    return [found[:, k] for k in range(8)]

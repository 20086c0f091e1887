"""Values of images between their pixels, and outside of them, with derivatives of any order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.ops.conversion import convert, floats
from gpunn.ops.dtypes import is_float
from gpunn.ops.gather_scatter.checks import checked
from gpunn.ops.gather_scatter.gather import take_unchecked
from gpunn.ops.shapes import moveaxis
from gpunn.ops.tensor import Tensor, operation_named, ops

FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")
INTERPOLATIONS = ("nearest", "bilinear")


def _inside(at: Tensor, n: int, mode: str) -> Tensor:
    """Return for indices of pixels outside an axis of length n those whose values they have."""
    if mode == "wrap":
        return ops.mod(at, float(n))
    if mode == "reflect":  # about the edge: d c b a | a b c d | d c b a
        around = ops.mod(at, 2.0 * n)
        return ops.minimum(around, 2.0 * n - 1.0 - around)
    if mode == "mirror":  # about the last pixel: d c b | a b c d | c b a
        period = 2.0 * max(n - 1, 1)
        around = ops.mod(at, period)
        return ops.minimum(ops.minimum(around, period - around), float(n - 1))
    return ops.clip(at, 0.0, float(n - 1))


def _neighbours(
    at: Tensor, n: int, interpolation: str, mode: str
) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Return the pixels that a coordinate's value comes from: the index, whether it is inside the
    image (None if always), and the weight (None for 1)."""
    if interpolation == "nearest":
        found = [(ops.round(at), None)]
    else:
        low = ops.floor(at)
        part = at - low  # exact, also where low + 1 is no float
        found = [(low, 1.0 - part), (low + 1.0, part)]
    if mode != "constant":
        return [(_inside(k, n, mode), None, weight) for k, weight in found]
    return [
        (_inside(k, n, mode), ops.logical_and(k >= 0.0, k <= n - 1.0), weight)
        for k, weight in found
    ]


def _product(a: Any, b: Any, merge: Callable[[Any, Any], Any]) -> Any:
    return b if a is None else a if b is None else merge(a, b)


def _corners(
    axes: Sequence[tuple[int, Tensor]], interpolation: str, mode: str, dtype: str
) -> Iterator[tuple[Tensor, Any, Any]]:
    """Yield the row, counted over all axes, whether it is inside, and its weight, for each
    combination of neighbours along the axes."""
    (n, at), *others = axes
    after = math.prod(m for m, _ in others)
    for k, inside, weight in _neighbours(at, n, interpolation, mode):
        place = ops.cast(k, dtype) * float(after) if others else ops.cast(k, dtype)
        for more, also, factor in _corners(others, interpolation, mode, dtype) if others else ():
            both = _product(inside, also, ops.logical_and)
            yield place + more, both, _product(weight, factor, ops.multiply)
        if not others:
            yield place, inside, weight


def sampled(
    x: Tensor,
    axes: Sequence[tuple[int, Tensor]],
    interpolation: str,
    mode: str,
    fill_value: float = 0.0,
    first: np.ndarray | None = None,
) -> Tensor:
    """Return the values (batch, count, channels) of images (batch, pixels, channels) at
    coordinates (batch, count), which ``axes`` has with the length of each axis.

    ``first`` (1, count) is added to the index of each pixel. All arithmetic is on matrices with one
    row for each image, or each pixel: expressions of the backends compute such in one pass.
    """
    batch, pixels, channels = x.shape
    count = axes[0][1].shape[1]
    dtype = x.dtype if pixels <= 1 << 24 else "float64"  # which holds these indices exactly
    total: Any = None
    for place, inside, weight in _corners(axes, interpolation, mode, dtype):
        place = place if first is None else place + first.astype(dtype)
        if inside is not None:
            place = ops.where(inside, place, -1.0)  # rows of zeros
        place = ops.broadcast_to(ops.cast(place, "int32"), (batch, count))
        part = take_unchecked(x, place, 1, along=True, wraps=False)
        part = ops.reshape(part, (batch * count, channels))
        if inside is not None and fill_value:
            lost = ops.where(inside, 0.0, ops.full((), fill_value, x.dtype))
            part = part + ops.reshape(ops.broadcast_to(lost, (batch, count)), (-1, 1))
        if weight is not None:
            weight = ops.broadcast_to(weight, (batch, count))
            part = part * ops.reshape(weight, (-1, 1))
        total = part if total is None else total + part
    return ops.reshape(total, (batch, count, channels))


def sampled_along(
    x: Tensor,
    axis: int,
    length: int,
    coordinate: Callable[[np.ndarray], Tensor],
    interpolation: str,
    mode: str,
    fill_value: float = 0.0,
) -> Tensor:
    """Return images (batch, height, width, channels) with as many other pixels along axis 1 or 2,
    whose coordinates (batch, n) replace their indices (1, n)."""
    batch, height, width, channels = x.shape
    new, first = np.arange(length, dtype=x.dtype)[None], None
    if axis == 1:
        pixels = ops.reshape(x, (batch, height, width * channels))
    else:  # each row has its own first pixel
        pixels = ops.reshape(x, (batch, height * width, channels))
        new = np.tile(new, height)
        first = np.repeat(np.arange(height) * width, length)[None]
    at = [(x.shape[axis], coordinate(new))]
    y = sampled(pixels, at, interpolation, mode, fill_value, first)
    shape = (length, width) if axis == 1 else (height, length)
    return ops.reshape(y, (batch, *shape, channels))


def transformed(
    x: Tensor, matrix: Sequence[Any], interpolation: str, mode: str, fill_value: float = 0.0
) -> Tensor:
    """Return images (batch, height, width, channels) of which the pixel (x, y) comes from
    ``(a0 x + a1 y + a2, b0 x + b1 y + b2)``, for a matrix ``(a0, a1, a2, b0, b1, b2)`` of numbers
    and tensors (batch, 1)."""
    batch, height, width, channels = x.shape
    a0, a1, a2, b0, b1, b2 = matrix
    row, column = (k.reshape(1, -1) for k in np.indices((height, width)).astype(x.dtype))
    axes = [(height, b0 * column + b1 * row + b2), (width, a0 * column + a1 * row + a2)]
    pixels = ops.reshape(x, (batch, height * width, channels))
    return ops.reshape(sampled(pixels, axes, interpolation, mode, fill_value), x.shape)


class Batched:
    """One image or several as (batch, height, width, channels), and back; or volumes, whose
    ``sides`` are three."""

    def __init__(
        self, images: Any, data_format: str | None, sides: str = "height, width",
        what: str = "images",
    ) -> None:
        x = convert(images)
        check_choice("data_format", data_format or "channels_last",
                     ("channels_last", "channels_first"))
        axes = sides.count(",") + 2
        if x.ndim not in (axes, axes + 1):
            raise ValueError(
                f"{what} (batch, {sides}, channels), or one ({sides}, channels), are expected; got "
                f"shape {x.shape}."
            )
        self._first, self.alone = data_format == "channels_first", x.ndim == axes
        x = ops.expand_dims(x, 0) if self.alone else x
        self.x = moveaxis(x, 1, -1) if self._first else x

    def back(self, y: Tensor) -> Tensor:
        """Return images of the form of the given ones; integers if those were."""
        if is_float(y.dtype) and not is_float(self.x.dtype):
            y = ops.cast(ops.round(y), "int32")
        y = moveaxis(y, -1, 1) if self._first else y
        return ops.squeeze(y, 0) if self.alone else y


@operation_named("image.affine_transform")
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Rotate, scale, shear or shift images: each pixel comes from another place, by a matrix.

    The pixel (x, y) of the result is the image's pixel at ``(a0 x + a1 y + a2, b0 x + b1 y + b2)``.

    Args:
        images, data_format: as in `resize`.
        transform: ``(a0, a1, a2, b0, b1, b2, c0, c1)`` for all images, or (batch, 8). c0 and c1,
            of a projection, must be 0.
        interpolation: "bilinear", between four pixels, or "nearest".
        fill_mode: what is outside: "constant", "nearest" (the pixel at the edge), "reflect" and
            "mirror" (the picture reflected about its edge, or its last pixel) or "wrap".
        fill_value: for the mode "constant".

    Returns:
        images of the same shape, and of the same kind: integers are rounded.

    Raises:
        ValueError: for other shapes, modes or projections.

    >>> from gpunn import ops
    >>> one_to_the_right = [1, 0, -1, 0, 1, 0, 0, 0]
    >>> ops.image.affine_transform([[[1.0], [2.0], [3.0]]], one_to_the_right).tolist()
    [[[0.0], [1.0], [2.0]]]
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    check_choice("fill_mode", fill_mode, FILL_MODES)
    given = Batched(images, data_format)
    x = floats(given.x)
    matrix = convert(transform, x.dtype)
    if matrix.shape not in ((8,), (1, 8), (len(x), 8)):
        raise ValueError(
            f"transform must hold 8 numbers, or 8 for each of {len(x)} images; got shape "
            f"{matrix.shape}."
        )
    matrix = ops.reshape(matrix, (-1, 8))
    last = checked(matrix[:, 6:], 0, 0, "transform: c0 and c1, of a projection,", ValueError)
    # The check runs where its result is used.
    matrix = ops.concatenate([matrix[:, :6] + 0.0 * last[:, :1], last], 1)
    entries = [matrix[:, k : k + 1] for k in range(6)]
    return given.back(transformed(x, entries, interpolation, fill_mode, float(fill_value)))


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

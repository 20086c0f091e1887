"""More operations that create, rotate, split and combine tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.conversion import convert, promoted
from gpunn.ops.dtypes import floating
from gpunn.ops.elementwise import where
from gpunn.ops.joining import at_least, concatenate, pad, sections_of, split
from gpunn.ops.making import zeros, zeros_like
from gpunn.ops.reductions import max_, min_, sum_
from gpunn.ops.shapes import (
    axis_of,
    broadcast_to,
    expand_dims,
    flip,
    moveaxis,
    places_of,
    reshape,
    swapaxes,
    whole,
)
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor, constant


@operation
def array(x: Any, dtype: Any = None) -> Tensor:
    """Convert x to a tensor."""
    return convert(x, dtype)


@operation
def copy(x: Any) -> Tensor:
    """Return x as a tensor; as tensors are immutable, this may be x itself."""
    return convert(x)


@operation
def empty(shape: Any, dtype: Any = None) -> Tensor:
    """Return a tensor of the given shape; its elements are 0."""
    return zeros(shape, dtype)


@operation
def empty_like(x: Any, dtype: Any = None) -> Tensor:
    """Return a tensor of the shape of x; its elements are 0."""
    return zeros_like(x, dtype)


@operation
def dtype(x: Any) -> str:
    """Return the name of the dtype of x."""
    return convert(x).dtype


@operation
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Return a matrix with 1 on and below a diagonal and 0 elsewhere."""
    return convert(constant(np.tri(N, M, k), "float32"), dtype or "float32")


@operation
def append(x1: Any, x2: Any, axis: int | None = None) -> Tensor:
    """Append x2 to x1 along an axis; by default both are flattened first."""
    a, b = promoted(x1, x2)
    if axis is None:
        return concatenate([reshape(a, (-1,)), reshape(b, (-1,))], 0)
    return concatenate([a, b], axis)


@operation
def array_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Split a tensor like `split`; if the length is not divisible, the first parts are 1 longer."""
    x = convert(x)
    parts = sections_of(indices_or_sections)
    if parts is not None:
        n = x.shape[axis_of(axis, x.ndim)]
        sizes = [n // parts + (i < n % parts) for i in range(parts)]
        indices_or_sections = np.cumsum(sizes)[:-1].tolist()
    return split(x, indices_or_sections, axis)


@operation
def hsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor along its second axis, or a vector along its first; see `split`."""
    x = convert(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@operation
def vsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor of two or more axes along its first axis; see `split`."""
    return split(with_axes(x, 2, "vsplit"), indices_or_sections, 0)


@operation
def dsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor along its third axis; see `split`."""
    return split(x, indices_or_sections, 2)


def with_axes(x: Any, ndim: int, name: str) -> Tensor:
    """Convert x to a tensor of at least ``ndim`` axes.

    Raises:
        ValueError: if x has fewer axes.
    """
    x = convert(x)
    if x.ndim < ndim:
        raise ValueError(f"{name}: expected a tensor of {ndim} or more axes; got shape {x.shape}.")
    return x


@operation
def dstack(xs: Sequence[Any]) -> Tensor:
    """Stack tensors along the third axis; vectors are treated as rows."""
    tensors = [at_least(t, 2) for t in promoted(*xs)]
    return concatenate([expand_dims(t, -1) if t.ndim == 2 else t for t in tensors], 2)


@operation
def fliplr(x: Any) -> Tensor:
    """Reverse a tensor along its second axis."""
    return flip(with_axes(x, 2, "fliplr"), 1)


@operation
def flipud(x: Any) -> Tensor:
    """Reverse a tensor along its first axis."""
    return flip(x, 0)


@operation
def rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Rotate a tensor by k times 90 degrees, from the first axis towards the second."""
    x = convert(array)
    given = places_of(axes, x.ndim, "axes")
    if len(given) != 2:
        raise ValueError(f"axes must name two axes; got {axes!r}.")
    first, second = given
    if k % 4 == 2:
        return flip(flip(x, first), second)
    if k % 4 == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second) if k % 4 == 3 else x


@operation
def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """Roll a tensor along an axis; elements shifted past the end reappear at the start."""
    x = convert(x)
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), np.sum(shift), 0), x.shape)
    for by, given in np.broadcast(shift, axis):
        place = axis_of(given, x.ndim)
        n = x.shape[place]
        cut = -whole(by, "shift") % n if n else 0
        if cut:
            first, second = split(x, [cut], place)
            x = concatenate([second, first], place)
    return x


@operation
def diff(a: Any, n: int = 1, axis: int = -1) -> Tensor:
    """Compute the n-th difference along an axis."""
    x = moveaxis(a, axis, -1)
    if n < 0:
        raise ValueError(f"diff: n must be 0 or more; got {n}.")
    for _ in range(n):
        x = x[..., 1:] != x[..., :-1] if x.dtype == "bool" else x[..., 1:] - x[..., :-1]
    return moveaxis(x, -1, axis)


@operation
def meshgrid(*x: Any, indexing: str = "xy") -> list[Tensor]:
    """Return coordinate tensors from coordinate vectors."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij'; got {indexing!r}.")
    vectors = [reshape(t, (-1,)) for t in x]
    shape = [t.size for t in vectors]
    grids = [
        broadcast_to(reshape(t, [-1 if a == i else 1 for a in range(len(shape))]), shape)
        for i, t in enumerate(vectors)
    ]
    return [swapaxes(t, 0, 1) for t in grids] if indexing == "xy" and len(x) > 1 else grids


@operation
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return a diagonal of two axes, as a new last axis."""
    x = moveaxis(with_axes(x, 2, "diagonal"), (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    begin = max(0, -offset) * columns + max(0, offset)
    n = max(0, min(rows - max(0, -offset), columns - max(0, offset)))
    flat = reshape(x, (*x.shape[:-2], rows * columns))
    return flat[..., begin : begin + n * (columns + 1) : columns + 1][..., :n]


@operation
def diag(x: Any, k: int = 0) -> Tensor:
    """Return a matrix with a vector on a diagonal, or the diagonal of a matrix."""
    x = convert(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag: expected a vector or a matrix; got shape {x.shape}.")
    wide = pad(x, ((max(0, k), max(0, -k)),))  # x at its column indices; the row indices are k less
    n = x.size + abs(k)
    return where(np.eye(n, k=k, dtype=bool), expand_dims(wide, 0), zeros((), x.dtype))


@operation
def diagflat(x: Any, k: int = 0) -> Tensor:
    """Return a matrix with the flattened x on a diagonal."""
    return diag(reshape(x, (-1,)), k)


@operation
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Compute the sum of a diagonal."""
    return sum_(diagonal(x, offset, axis1, axis2), -1)


@operation
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the Vandermonde matrix: row i holds the powers of x[i], highest first by default."""
    x = convert(x)
    if x.ndim != 1:
        raise ValueError(f"vander: expected a vector; got shape {x.shape}.")
    columns = x.size if N is None else N
    if columns < 1:
        return zeros((x.size, 0), x.dtype)
    powers = ops.cumprod(broadcast_to(expand_dims(x, -1), (x.size, columns - 1)), -1)
    rows = concatenate([ops.ones((x.size, 1), x.dtype), powers], -1)
    return rows if increasing else flip(rows, -1)


@operation
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Compute the range, maximum - minimum, along the given axes."""
    return max_(x, axis, keepdims) - min_(x, axis, keepdims)


@operation
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis with the trapezoidal rule."""
    y = convert(y)
    y = moveaxis(convert(y, floating(y.dtype)), axis, -1)
    if x is not None:
        x = convert(x)
        dx = diff(x if x.ndim == 1 else moveaxis(x, axis, -1))
    return sum_((y[..., 1:] + y[..., :-1]) * dx / 2.0, -1)


@operation
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """Choose, element-wise, from the first choice whose condition is true, or else the default."""
    found = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        found = where(condition, choice, found)
    return convert(found)


@operation
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: float = 10
) -> Tensor:
    """Return ``num`` values spaced evenly on a log scale, from base^start to base^stop."""
    return ops.power(float(base), ops.linspace(start, stop, num, endpoint))


def _blocks(x: Any, block_size: int, data_format: str) -> tuple[Tensor, bool]:
    """Return images with their channels last, and whether the channels were first."""
    x = convert(x)
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"data_format must be 'channels_last' or 'channels_first'; got {data_format!r}."
        )
    if x.ndim != 4 or block_size < 1:
        raise ValueError(
            f"expected images (batch, height, width, channels) and a block_size of 1 or more; got "
            f"shape {x.shape} and block_size {block_size}."
        )
    first = data_format == "channels_first"
    return moveaxis(x, 1, -1) if first else x, first


@operation
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Rearrange each block of pixels into channels; height and width shrink by ``block_size``."""
    x, first = _blocks(x, block_size, data_format)
    n, height, width, channels = x.shape
    if height % block_size or width % block_size:
        raise ValueError(
            f"space_to_depth: {height} x {width} pixels do not divide into blocks of {block_size}."
        )
    rows, columns = height // block_size, width // block_size
    apart = reshape(x, (n, rows, block_size, columns, block_size, channels))
    # Adjacent: the pixels of a block or, if channels come first, those of a channel.
    together = ops.transpose(apart, (0, 1, 3, 5, 2, 4) if first else (0, 1, 3, 2, 4, 5))
    y = reshape(together, (n, rows, columns, channels * block_size**2))
    return moveaxis(y, -1, 1) if first else y


@operation
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Rearrange channels into blocks of pixels; height and width grow by ``block_size``."""
    x, first = _blocks(x, block_size, data_format)
    n, rows, columns, channels = x.shape
    if channels % block_size**2:
        raise ValueError(
            f"depth_to_space: {channels} channels are not divisible into blocks of {block_size} x "
            f"{block_size} pixels."
        )
    rest = channels // block_size**2
    if first:
        apart = reshape(x, (n, rows, columns, rest, block_size, block_size))
        together = ops.transpose(apart, (0, 1, 4, 2, 5, 3))
    else:
        apart = reshape(x, (n, rows, columns, block_size, block_size, rest))
        together = ops.transpose(apart, (0, 1, 3, 2, 4, 5))
    y = reshape(together, (n, rows * block_size, columns * block_size, rest))
    return moveaxis(y, -1, 1) if first else y

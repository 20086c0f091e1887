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
    """Convert x to a tensor.

    Args:
        x: a tensor, an array, a number or nested lists of numbers.
        dtype: of the result; by default float64 arrays become floatx and integers int32.

    Raises:
        TypeError: if x holds no numbers.
        ValueError: for nested lists of different lengths, or an unknown dtype.
        OverflowError: for values that the dtype cannot hold.

    >>> from gpunn import ops
    >>> ops.array([1, 2]).dtype, ops.array([1.7, 2.0], "int32").tolist()
    ('int32', [1, 2])
    """
    return convert(x, dtype)


@operation
def copy(x: Any) -> Tensor:
    """Return x as a tensor; as tensors are immutable, this may be x itself.

    ``x``: tensor or array-like, as in `array`.

    >>> from gpunn import ops
    >>> ops.copy([1, 2]).tolist()
    [1, 2]
    """
    return convert(x)


@operation
def empty(shape: Any, dtype: Any = None) -> Tensor:
    """Return a tensor of the given shape; its elements are 0.

    ``dtype`` is floatx by default.

    Raises:
        ValueError: if a size is negative, or the dtype unknown.

    >>> from gpunn import ops
    >>> ops.empty((2, 2), "int32").tolist()
    [[0, 0], [0, 0]]
    """
    return zeros(shape, dtype)


@operation
def empty_like(x: Any, dtype: Any = None) -> Tensor:
    """Return a tensor of the shape of x; its elements are 0.

    ``dtype`` is that of x by default.

    >>> from gpunn import ops
    >>> ops.empty_like([1, 2]).tolist()
    [0, 0]
    """
    return zeros_like(x, dtype)


@operation
def dtype(x: Any) -> str:
    """Return the name of the dtype of x.

    ``x``: tensor or array-like; Python integers are int32 and floats are floatx.

    >>> from gpunn import ops
    >>> ops.dtype([1, 2]), ops.dtype([1.0]), ops.dtype(True)
    ('int32', 'float32', 'bool')
    """
    return convert(x).dtype


@operation
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Return a matrix with 1 on and below a diagonal and 0 elsewhere.

    Args:
        N, M: the numbers of rows and of columns; M is N by default.
        k: the diagonal: 0 is the main one, 1 the one above it, -1 the one below.
        dtype: of the result; float32 by default.

    >>> from gpunn import ops
    >>> ops.tri(2, 3, dtype="int32").tolist()
    [[1, 0, 0], [1, 1, 0]]
    """
    return convert(constant(np.tri(N, M, k), "float32"), dtype or "float32")


@operation
def append(x1: Any, x2: Any, axis: int | None = None) -> Tensor:
    """Append x2 to x1 along an axis; by default both are flattened first.

    ``x1`` and ``x2`` are promoted to one dtype.

    Raises:
        ValueError: if the axis is out of range, or shapes differ along another axis.

    >>> from gpunn import ops
    >>> ops.append([[1, 2]], [[3, 4]]).tolist(), ops.append([[1, 2]], [[3, 4]], axis=0).tolist()
    ([1, 2, 3, 4], [[1, 2], [3, 4]])
    """
    a, b = promoted(x1, x2)
    if axis is None:
        return concatenate([reshape(a, (-1,)), reshape(b, (-1,))], 0)
    return concatenate([a, b], axis)


@operation
def array_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Split a tensor like `split`; if the length is not divisible, the first parts are 1 longer.

    Args:
        x: a tensor of one or more axes.
        indices_or_sections: the number of parts, or the indices at which parts begin.
        axis: the axis to split.

    Raises:
        ValueError: for fewer than one part, or an axis out of range.

    >>> from gpunn import ops
    >>> [part.tolist() for part in ops.array_split([1, 2, 3, 4, 5], 3)]
    [[1, 2], [3, 4], [5]]
    """
    x = convert(x)
    parts = sections_of(indices_or_sections)
    if parts is not None:
        n = x.shape[axis_of(axis, x.ndim)]
        sizes = [n // parts + (i < n % parts) for i in range(parts)]
        indices_or_sections = np.cumsum(sizes)[:-1].tolist()
    return split(x, indices_or_sections, axis)


@operation
def hsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor along its second axis, or a vector along its first; see `split`.

    Raises:
        ValueError: if the length is not divisible into equal parts, or x has too few axes.

    >>> from gpunn import ops
    >>> [part.tolist() for part in ops.hsplit([[1, 2], [3, 4]], 2)]
    [[[1], [3]], [[2], [4]]]
    """
    x = convert(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@operation
def vsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor of two or more axes along its first axis; see `split`.

    Raises:
        ValueError: if the length is not divisible into equal parts, or x has too few axes.

    >>> from gpunn import ops
    >>> [part.tolist() for part in ops.vsplit([[1, 2], [3, 4], [5, 6]], [1])]
    [[[1, 2]], [[3, 4], [5, 6]]]
    """
    return split(with_axes(x, 2, "vsplit"), indices_or_sections, 0)


@operation
def dsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor along its third axis; see `split`.

    Raises:
        ValueError: if the length is not divisible into equal parts, or x has too few axes.

    >>> from gpunn import ops
    >>> [part.shape for part in ops.dsplit(ops.ones((2, 3, 4)), 2)]
    [(2, 3, 2), (2, 3, 2)]
    """
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
    """Stack tensors along the third axis; vectors are treated as rows.

    ``xs``: tensors of equal shapes except along the third axis; promoted to one dtype. The result
    has three or more axes.

    Raises:
        ValueError: if the shapes do not match, or there are no tensors.

    >>> from gpunn import ops
    >>> ops.dstack([[1, 2], [3, 4]]).tolist()
    [[[1, 3], [2, 4]]]
    """
    tensors = [at_least(t, 2) for t in promoted(*xs)]
    return concatenate([expand_dims(t, -1) if t.ndim == 2 else t for t in tensors], 2)


@operation
def fliplr(x: Any) -> Tensor:
    """Reverse a tensor along its second axis.

    Raises:
        ValueError: if x has fewer than two axes.

    >>> from gpunn import ops
    >>> ops.fliplr([[1, 2], [3, 4]]).tolist()
    [[2, 1], [4, 3]]
    """
    return flip(with_axes(x, 2, "fliplr"), 1)


@operation
def flipud(x: Any) -> Tensor:
    """Reverse a tensor along its first axis.

    Raises:
        ValueError: if x has no axes.

    >>> from gpunn import ops
    >>> ops.flipud([[1, 2], [3, 4]]).tolist()
    [[3, 4], [1, 2]]
    """
    return flip(x, 0)


@operation
def rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Rotate a tensor by k times 90 degrees, from the first axis towards the second.

    Args:
        array: a tensor of two or more axes.
        k: how often to rotate; negative values rotate the other way.
        axes: the two axes of the plane of rotation.

    Raises:
        ValueError: if ``axes`` does not name two different axes of the tensor.

    >>> from gpunn import ops
    >>> ops.rot90([[1, 2], [3, 4]]).tolist()
    [[2, 4], [1, 3]]
    """
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
    """Roll a tensor along an axis; elements shifted past the end reappear at the start.

    Args:
        x: a tensor.
        shift: by how many positions, an integer; or several, one for each axis.
        axis: one axis, or several; by default x is flattened, rolled and given its shape again.

    Raises:
        ValueError: if a shift is not an integer, an axis is out of range, or their counts differ.

    >>> from gpunn import ops
    >>> ops.roll([1, 2, 3, 4], 1).tolist(), ops.roll([[1, 2], [3, 4]], 1, axis=1).tolist()
    ([4, 1, 2, 3], [[2, 1], [4, 3]])
    """
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
    """Compute the n-th difference along an axis.

    It takes x[i + 1] - x[i] n times, and the axis becomes n shorter. For booleans the difference is
    whether the two differ.

    Raises:
        ValueError: if n is negative, or the axis out of range.

    >>> from gpunn import ops
    >>> ops.diff([1, 4, 9, 16]).tolist(), ops.diff([1, 4, 9, 16], n=2).tolist()
    ([3, 5, 7], [2, 2])
    """
    x = moveaxis(a, axis, -1)
    if n < 0:
        raise ValueError(f"diff: n must be 0 or more; got {n}.")
    for _ in range(n):
        x = x[..., 1:] != x[..., :-1] if x.dtype == "bool" else x[..., 1:] - x[..., :-1]
    return moveaxis(x, -1, axis)


@operation
def meshgrid(*x: Any, indexing: str = "xy") -> list[Tensor]:
    """Return coordinate tensors from coordinate vectors.

    Args:
        x: the vectors, of lengths n1, n2, n3, ...; each keeps its dtype.
        indexing: "xy" gives tensors (n2, n1, n3, ...), "ij" (n1, n2, n3, ...).

    Raises:
        ValueError: for another indexing.

    >>> from gpunn import ops
    >>> [t.tolist() for t in ops.meshgrid([1, 2, 3], [4, 5])]
    [[[1, 2, 3], [1, 2, 3]], [[4, 4, 4], [5, 5, 5]]]
    """
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
    """Return a diagonal of two axes, as a new last axis.

    ``offset`` is 0 for the main diagonal, positive above it, negative below.

    Raises:
        ValueError: if x has fewer than two axes, or the two are not different axes of it.

    >>> from gpunn import ops
    >>> ops.diagonal([[1, 2, 3], [4, 5, 6]], offset=1).tolist()
    [2, 6]
    """
    x = moveaxis(with_axes(x, 2, "diagonal"), (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    begin = max(0, -offset) * columns + max(0, offset)
    n = max(0, min(rows - max(0, -offset), columns - max(0, offset)))
    flat = reshape(x, (*x.shape[:-2], rows * columns))
    return flat[..., begin : begin + n * (columns + 1) : columns + 1][..., :n]


@operation
def diag(x: Any, k: int = 0) -> Tensor:
    """Return a matrix with a vector on a diagonal, or the diagonal of a matrix.

    ``k`` is 0 for the main diagonal, positive above it, negative below.

    Raises:
        ValueError: if x is neither a vector nor a matrix.

    >>> from gpunn import ops
    >>> ops.diag([1, 2]).tolist(), ops.diag([[1, 2], [3, 4]]).tolist()
    ([[1, 0], [0, 2]], [1, 4])
    """
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
    """Return a matrix with the flattened x on a diagonal.

    The matrix is square, with size + |k| rows; see `diag`.

    >>> from gpunn import ops
    >>> ops.diagflat([[1, 2]], k=1).tolist()
    [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
    """
    return diag(reshape(x, (-1,)), k)


@operation
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Compute the sum of a diagonal.

    The arguments are those of `diagonal`; the result lacks the two axes. Booleans are summed as
    int32.

    Raises:
        ValueError: as in `diagonal`.

    >>> from gpunn import ops
    >>> ops.trace([[1, 2], [3, 4]]).item()
    5
    """
    return sum_(diagonal(x, offset, axis1, axis2), -1)


@operation
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the Vandermonde matrix: row i holds the powers of x[i], highest first by default.

    Args:
        x: a vector; its dtype is that of the matrix, except that booleans become int32.
        N: the number of columns; by default as many as rows.
        increasing: whether the powers increase, from x^0.

    Raises:
        ValueError: if x is not a vector.

    >>> from gpunn import ops
    >>> ops.vander([2, 3], 3).tolist()
    [[4, 2, 1], [9, 3, 1]]
    """
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
    """Compute the range, maximum - minimum, along the given axes.

    ``axis`` is one axis, several, or None for all; ``keepdims`` keeps them with length 1.

    Raises:
        ValueError: if an axis is out of range, or there are no elements.

    >>> from gpunn import ops
    >>> ops.ptp([[1, 5], [2, 9]], axis=1).tolist()
    [4, 7]
    """
    return max_(x, axis, keepdims) - min_(x, axis, keepdims)


@operation
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis with the trapezoidal rule.

    Args:
        y: the values at the points; integers become floats (floatx).
        x: the points, a vector or of the shape of y; by default they are ``dx`` apart.
        dx: the distance between points.
        axis: the axis to integrate along, which is removed.

    Raises:
        ValueError: if the axis is out of range, or the shapes do not broadcast.

    >>> from gpunn import ops
    >>> ops.trapezoid([1.0, 2.0, 3.0], x=[0.0, 1.0, 3.0]).item()
    6.5
    """
    y = convert(y)
    y = moveaxis(convert(y, floating(y.dtype)), axis, -1)
    if x is not None:
        x = convert(x)
        dx = diff(x if x.ndim == 1 else moveaxis(x, axis, -1))
    return sum_((y[..., 1:] + y[..., :-1]) * dx / 2.0, -1)


@operation
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """Choose, element-wise, from the first choice whose condition is true, or else the default.

    ``condlist`` and ``choicelist`` are lists of equal length, of tensors that broadcast.

    Raises:
        ValueError: if the lists differ in length, or the shapes do not broadcast.

    >>> from gpunn import ops
    >>> x = ops.array([1, 5, 9])
    >>> ops.select([x < 3, x < 7], [x * 10, x * 100], default=-1).tolist()
    [10, 500, -1]
    """
    found = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        found = where(condition, choice, found)
    return convert(found)


@operation
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: float = 10
) -> Tensor:
    """Return ``num`` values spaced evenly on a log scale, from base^start to base^stop.

    The values are floats; without ``endpoint`` they end before base^stop. If ``start`` and ``stop``
    are tensors, the values are along a new first axis.

    Raises:
        ValueError: if ``num`` is negative.

    >>> from gpunn import ops
    >>> ops.logspace(0, 3, num=4, base=2).numpy().round(3).tolist()
    [1.0, 2.0, 4.0, 8.0]
    """
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
    """Rearrange each block of pixels into channels; height and width shrink by ``block_size``.

    From (batch, height, width, channels) to (batch, height / b, width / b, channels b^2),
    with the block size b. For "channels_first", the channels are the second axis.

    Raises:
        ValueError: if x does not have four axes, its sizes are not divisible, or for another
            ``data_format``.

    >>> from gpunn import ops
    >>> ops.space_to_depth(ops.reshape([1, 2, 3, 4], (1, 2, 2, 1)), 2).tolist()
    [[[[1, 2, 3, 4]]]]
    """
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
    """Rearrange channels into blocks of pixels; height and width grow by ``block_size``.

    From (batch, height, width, channels) to (batch, height b, width b, channels / b^2),
    with the block size b. For "channels_first", the channels are the second axis.

    Raises:
        ValueError: if x does not have four axes, its channels are not divisible, or for another
            ``data_format``.

    >>> from gpunn import ops
    >>> ops.depth_to_space(ops.reshape([1, 2, 3, 4], (1, 1, 1, 4)), 2).tolist()
    [[[[1], [2]], [[3], [4]]]]
    """
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

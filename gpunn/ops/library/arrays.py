"""More operations that create, rotate and combine tensors."""

from __future__ import annotations

from typing import Any

from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import floating
from gpunn.ops.joining import concatenate, split
from gpunn.ops.making import zeros, zeros_like
from gpunn.ops.reductions import max_, min_, sum_
from gpunn.ops.shapes import (
    axis_of,
    broadcast_to,
    flip,
    listed,
    moveaxis,
    places_of,
    reshape,
    swapaxes,
    whole,
    with_axes,
)
from gpunn.ops.tensor import Tensor, operation, ops


@operation
def array(x: Any, dtype: Any = None) -> Tensor:
    """Convert numbers, lists or arrays to a tensor; the same as `convert_to_tensor`.

    Arguments and errors: as of that function.

    >>> from gpunn import ops
    >>> ops.array([1, 2]).dtype, ops.array([1.7, 2.0], "int32").tolist()
    ('int32', [1, 2])
    """
    return convert(x, dtype)


@operation
def copy(x: Any) -> Tensor:
    """Return x as a tensor; as tensors are immutable, this may be x itself.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype.

    >>> from gpunn import ops
    >>> ops.copy([1, 2]).tolist()
    [1, 2]
    """
    return convert(x)


empty, empty_like = operation(zeros, "empty"), operation(zeros_like, "empty_like")


@operation
def dtype(x: Any) -> str:
    """Return the name of the dtype of x: "bool", "int32", "float32" or "float64".

    ``x``: tensor or array-like; Python integers are int32 and floats are floatx.

    >>> from gpunn import ops
    >>> ops.dtype([1, 2]), ops.dtype([1.0]), ops.dtype(True)
    ('int32', 'float32', 'bool')
    """
    return convert(x).dtype


@operation
def fliplr(x: Any) -> Tensor:
    """Reverse the order along the second axis: the columns of a matrix, from left to right.

    ``x`` (m, n, ...) -> (m, n, ...): a tensor or array-like; the result has its dtype.

    Raises:
        ValueError: if x has fewer than two axes.

    >>> from gpunn import ops
    >>> ops.fliplr([[1, 2], [3, 4]]).tolist()
    [[2, 1], [4, 3]]
    """
    return flip(with_axes(x, 2), 1)


@operation
def flipud(x: Any) -> Tensor:
    """Reverse the order along the first axis: the rows of a matrix, upside down.

    ``x`` (m, ...) -> (m, ...): a tensor or array-like; the result has its dtype.

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
        array: a tensor of two or more axes; (m, n) becomes (n, m) for an odd k.
        k: how often to rotate; negative values rotate the other way.
        axes: the two axes of the plane of rotation.

    Raises:
        ValueError: if ``axes`` does not name two different axes of the tensor, or k is not an
            integer.

    >>> from gpunn import ops
    >>> ops.rot90([[1, 2], [3, 4]]).tolist()
    [[2, 4], [1, 3]]
    """
    x, k = convert(array), whole(k, "k")
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
    """Shift elements along an axis: ``y[i] = x[i - shift]``; those past the end reappear at the
    start.

    Args:
        x: a tensor; the result has its shape and dtype.
        shift: by how many positions, an integer; or several, one for each axis.
        axis: one axis, or several; by default x is flattened, rolled and given its shape again.

    Raises:
        ValueError: if a shift is not an integer, an axis is out of range, or their counts differ.

    >>> from gpunn import ops
    >>> ops.roll([1, 2, 3, 4], 1).tolist(), ops.roll([[1, 2], [3, 4]], 1, axis=1).tolist()
    ([4, 1, 2, 3], [[2, 1], [4, 3]])
    """
    x = convert(x)
    shifts = [whole(by, "shift") for by in listed(shift)]
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), sum(shifts), 0), x.shape)
    places = [axis_of(a, x.ndim) for a in listed(axis)]
    count = max(len(shifts), len(places))
    if not {len(shifts), len(places)} <= {1, count}:
        raise ValueError(f"shift and axis must have equally many; got {shift!r} and {axis!r}.")
    shifts, places = shifts * (count // len(shifts)), places * (count // len(places))
    for by, place in zip(shifts, places, strict=True):
        n = x.shape[place]
        cut = -by % n if n else 0
        if cut:
            first, second = split(x, [cut], place)
            x = concatenate([second, first], place)
    return x


@operation
def diff(a: Any, n: int = 1, axis: int = -1) -> Tensor:
    """Compute the n-th difference along an axis: ``y[i] = x[i + 1] - x[i]``, n times.

    Args:
        a: a tensor or array-like (..., m); the result (..., m - n) has its dtype. For booleans the
            difference is whether the two differ.
        n: how often the difference is taken.
        axis: the axis of the differences.

    Raises:
        ValueError: if n is negative or not an integer, or the axis out of range.

    >>> from gpunn import ops
    >>> ops.diff([1, 4, 9, 16]).tolist(), ops.diff([1, 4, 9, 16], n=2).tolist()
    ([3, 5, 7], [2, 2])
    """
    x = convert(a)
    place = axis_of(axis, x.ndim)
    x = moveaxis(x, place, -1)
    for _ in range(whole(n, "n", 0)):
        x = x[..., 1:] != x[..., :-1] if x.dtype == "bool" else x[..., 1:] - x[..., :-1]
    return moveaxis(x, -1, place)


@operation
def meshgrid(*x: Any, indexing: str = "xy") -> list[Tensor]:
    """Return coordinate tensors of a grid from the coordinates along each axis.

    For vectors x and y they are ``X[i, j] = x[j]`` and ``Y[i, j] = y[i]``.

    Args:
        x: the vectors, of lengths n1, n2, n3, ...; each keeps its dtype.
        indexing: "xy" gives tensors (n2, n1, n3, ...), "ij" (n1, n2, n3, ...).

    Returns:
        a list with a tensor for each vector.

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
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Compute the range over the given axes, or over all: ``y = max(x) - min(x)``.

    Arguments, shape and errors: as for `max`.

    >>> from gpunn import ops
    >>> ops.ptp([[1, 5], [2, 9]], axis=1).tolist()
    [4, 7]
    """
    return max_(x, axis, keepdims) - min_(x, axis, keepdims)


@operation
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis by the trapezoidal rule: ``sum_i dx[i] (y[i] + y[i + 1]) / 2``.

    Args:
        y: the values at the points (..., n), which give (...); integers become floats (floatx).
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
    y = moveaxis(convert(y, floating(y.dtype)), axis_of(axis, y.ndim), -1)
    if x is not None:
        x = convert(x)
        dx = diff(x if x.ndim == 1 else moveaxis(x, axis_of(axis, x.ndim), -1))
    return sum_((y[..., 1:] + y[..., :-1]) * dx / 2.0, -1)


@operation
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Tensor:
    """Create values spaced evenly on a log scale, from ``base^start`` to ``base^stop``.

    They are ``base^e`` for the exponents e of `linspace`. The result is of floats, or of the
    ``dtype``; its new axis ``axis`` has length num.

    Arguments and errors: as for `linspace`, and ``base``, the base of the powers.

    >>> from gpunn import ops
    >>> ops.logspace(0, 3, num=4, base=2).numpy().round(3).tolist()
    [1.0, 2.0, 4.0, 8.0]
    """
    found = ops.power(float(base), ops.linspace(start, stop, num, endpoint, axis=axis))
    return found if dtype is None else ops.cast(found, dtype)


# Pickles of earlier versions find operations where they were defined.
__getattr__ = ops.__getattr__

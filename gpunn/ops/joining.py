"""Operations that join, split, repeat and pad tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert, promoted
from .indexing import compute_placed
from .primitive import Primitive
from .shapes import axis_of, broadcast_to, expand_dims, reshape, sizes_of, whole
from .tensor import Shape, Tensor, operation, ops


def _in_columns(axis: int, *arrays: Array) -> list[Array] | None:
    """View arrays as matrices whose columns span an axis and those after it. Return None if they
    are not contiguous, or not of floats."""
    if not all(array.dtype.kind == "f" and array.flags.c_contiguous for array in arrays):
        return None
    return [array.reshape(math.prod(array.shape[:axis]), -1) for array in arrays if array.size]


def _compute_joined(backend: Backend, out: Array, *xs: Array, axis: int) -> None:
    at, columns = 0, _in_columns(axis, out, *xs)
    if columns is not None:
        for x in columns[1:]:
            backend.copy_columns(x, 0, columns[0], at, x.shape[1])
            at += x.shape[1]
        return
    for x in xs:
        key = (slice(None),) * axis + (slice(at, at + x.shape[axis]),)
        backend.xp.copyto(out[key], x)
        at += x.shape[axis]


def _joined_shape(*shapes: Shape, axis: int) -> Shape:
    first = shapes[0]
    for shape in shapes:
        if len(shape) != len(first) or any(
            a != axis and n != m for a, (n, m) in enumerate(zip(shape, first, strict=True))
        ):
            raise ValueError(f"shapes must be equal except along axis {axis}.")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


def _compute_part(
    backend: Backend, out: Array, x: Array, axis: int, start: int, width: int
) -> None:
    columns = _in_columns(axis, out, x)
    if columns is None:
        backend.xp.copyto(out, x[(slice(None),) * axis + (slice(start, start + width),)])
    elif out.size:
        into, inner = columns[0], math.prod(out.shape[axis + 1 :])
        backend.copy_columns(columns[1], start * inner, into, 0, into.shape[1])


part = Primitive(
    "part", _compute_part,
    lambda shape, axis, start, width: (*shape[:axis], width, *shape[axis + 1 :]), gradient="part",
)
_joined = Primitive("concatenate", _compute_joined, _joined_shape, gradient="concatenate")


@operation
def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along an existing axis: (m, k) and (n, k) -> (m + n, k).

    Args:
        xs: tensors of the same shape except along ``axis``; they are promoted to one dtype.
        axis: the axis to concatenate along.

    Raises:
        ValueError: if other lengths differ, the axis is out of range, or there are no tensors.

    >>> from gpunn import ops
    >>> ops.concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    tensors = several(xs, "xs")
    place = axis_of(axis, max(t.ndim for t in tensors))
    return tensors[0] if len(tensors) == 1 else _joined(*tensors, axis=place)


def several(xs: Sequence[Any], name: str) -> list[Tensor]:
    """Convert the entries of a sequence that is not empty to tensors of one dtype."""
    if not hasattr(xs, "__iter__") or getattr(xs, "ndim", 1) == 0:
        raise TypeError(f"{name} must be a sequence of tensors; got {xs!r}.")
    tensors = promoted(*xs)
    if not tensors:
        raise ValueError(f"{name} must have one tensor or more; got none.")
    return tensors


@operation
def stack(x: Sequence[Any], axis: int = 0) -> Tensor:
    """Stack tensors along a new axis: n tensors (m,) -> (n, m).

    Args:
        x: tensors of one shape; they are promoted to one dtype.
        axis: the position of the new axis in the result.

    Raises:
        ValueError: if the shapes differ, the axis is out of range, or there are no tensors.

    >>> from gpunn import ops
    >>> ops.stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    tensors = several(x, "x")
    if len(shapes := {t.shape: None for t in tensors}) > 1:
        raise ValueError(f"x must have tensors of one shape; got {', '.join(map(str, shapes))}.")
    place = axis_of(axis, tensors[0].ndim + 1)
    return concatenate([expand_dims(t, place) for t in tensors], place)


def at_least(t: Tensor, ndim: int) -> Tensor:
    """Prepend axes of length 1 until the tensor has ``ndim`` axes."""
    return t if t.ndim >= ndim else reshape(t, (1,) * (ndim - t.ndim) + t.shape)


@operation
def hstack(xs: Sequence[Any]) -> Tensor:
    """Join tensors side by side: along the second axis, or vectors along the first.

    Args:
        xs: tensors of the same shape except along that axis, such as (m, j) and (m, k), which give
            (m, j + k). They are promoted to one dtype.

    Raises:
        ValueError: if other lengths differ, or if there are no tensors.

    >>> from gpunn import ops
    >>> ops.hstack([[1, 2], [3]]).tolist(), ops.hstack([[[1], [2]], [[3], [4]]]).tolist()
    ([1, 2, 3], [[1, 3], [2, 4]])
    """
    tensors = [at_least(t, 1) for t in several(xs, "xs")]
    return concatenate(tensors, 1 if any(t.ndim > 1 for t in tensors) else 0)


@operation
def vstack(xs: Sequence[Any]) -> Tensor:
    """Join tensors on top of each other: along the first axis; vectors (n,) are rows (1, n).

    Such as (j, n) and (k, n), which give (j + k, n). Arguments and errors: as for `hstack`.

    >>> from gpunn import ops
    >>> ops.vstack([[1, 2], [[3, 4], [5, 6]]]).tolist()
    [[1, 2], [3, 4], [5, 6]]
    """
    return concatenate([at_least(t, 2) for t in several(xs, "xs")], 0)


@operation
def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Split a tensor along an axis, into a number of equal parts or at the given indices.

    Args:
        x: a tensor or array-like; the parts have its dtype, and its shape except along ``axis``.
        indices_or_sections: the number of parts, or the index at which each part after the first
            begins.
        axis: the axis to split.

    Raises:
        ValueError: if the length is not divisible into equal parts, or the axis is out of range.

    >>> from gpunn import ops
    >>> [t.tolist() for t in ops.split([1, 2, 3, 4], 2)]
    [[1, 2], [3, 4]]
    >>> [t.tolist() for t in ops.split([1, 2, 3, 4], [1, 3])]
    [[1], [2, 3], [4]]
    """
    x = convert(x)
    place = axis_of(axis, x.ndim)
    n = x.shape[place]
    parts = sections_of(indices_or_sections)
    if parts is None:
        places: Any = indices_or_sections
        cuts = [0, *(whole(at, "indices_or_sections") for at in places), n]
    elif n % parts:
        raise ValueError(f"split: a length of {n} is not divisible into {parts} equal parts.")
    else:
        cuts = [k * (n // parts) for k in range(parts + 1)]
    front = (slice(None),) * place
    return [x[(*front, slice(a, b))] for a, b in pairwise(cuts)]


def sections_of(indices_or_sections: Any) -> int | None:
    """Return the number of parts to split into, or None if indices are given."""
    if np.ndim(indices_or_sections):
        return None
    return whole(indices_or_sections, "indices_or_sections", 1)


@operation
def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """Take a tensor apart along an axis: (m, n) -> m tensors (n,). It is the inverse of `stack`.

    Args:
        x: a tensor or array-like; the parts have its dtype.
        num: the length of the axis; only checked.
        axis: the axis to remove.

    Returns:
        a list with a tensor for each index of the axis.

    Raises:
        ValueError: if ``num`` is not the length of the axis, or the axis is out of range.

    >>> from gpunn import ops
    >>> [t.tolist() for t in ops.unstack([[1, 2, 3], [4, 5, 6]], axis=1)]
    [[1, 4], [2, 5], [3, 6]]
    """
    x = convert(x)
    place = axis_of(axis, x.ndim)
    n = x.shape[place]
    if num is not None and num != n:
        raise ValueError(f"unstack: num must be {n}, the length of axis {axis}; got {num!r}.")
    front = (slice(None),) * place
    return [x[(*front, k)] for k in range(n)]


def _compute_padded(
    backend: Backend, out: Array, x: Array, widths: tuple[tuple[int, int], ...], value: float
) -> None:
    inside = middle_of(widths, x.shape)
    if backend.repeats and value == 0 and math.copysign(1, value) > 0:
        compute_placed(backend, out, x, out.shape, inside)
        return
    backend.xp.copyto(out, value)
    backend.xp.copyto(out[inside], x)


def middle_of(widths: tuple[tuple[int, int], ...], shape: Shape) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for (a, _), n in zip(widths, shape, strict=True))


_padded = Primitive(
    "pad", _compute_padded,
    lambda shape, widths, value: tuple(a + n + b for n, (a, b) in zip(shape, widths, strict=True)),
    gradient="pad",
)


@operation
def pad(
    x: Any, pad_width: Any, mode: str = "constant", constant_values: float | None = None
) -> Tensor:
    """Pad a tensor before and after each axis, with a constant or by reflection.

    With a width (a, b), an axis of length n gets the length a + n + b. Constants have no gradient;
    the gradient of reflected elements is added to the originals'.

    Args:
        x: a tensor or array-like; the result has its dtype.
        pad_width: one number, a pair (before, after) for all axes, or a pair for each axis.
        mode: "constant", "reflect" (without the border itself) or "symmetric" (with it).
        constant_values: one number, 0 by default; converted to the dtype of x.

    Raises:
        ValueError: if widths are negative or not integers, for another mode, for constant values in
            a mode other than "constant", and for an axis of length 0 in such a mode.

    >>> from gpunn import ops
    >>> ops.pad([1, 2], (1, 2)).tolist()
    [0, 1, 2, 0, 0]
    """
    x = convert(x)
    widths = _widths(pad_width, x.ndim)
    if mode == "constant":
        given = convert(0 if constant_values is None else constant_values, x.dtype)
        if given.ndim:
            raise ValueError(f"constant_values must be one number; got {constant_values!r}.")
        value = given.item()
        return _padded(x, widths=widths, value=value) if any(map(any, widths)) else x
    if mode not in ("reflect", "symmetric"):
        raise ValueError(f"mode must be 'constant', 'reflect' or 'symmetric'; got {mode!r}.")
    if constant_values is not None:
        raise ValueError(
            f"Argument `constant_values` can only be provided when `mode == 'constant'`; got "
            f"mode {mode!r}. Leave constant_values out, or the mode."
        )
    for axis, pair in enumerate(widths):
        if not x.shape[axis] and any(pair):
            raise ValueError(f"mode {mode!r} needs elements to pad with; got shape {x.shape}.")
        places = np.pad(np.arange(x.shape[axis]), pair, mode)  # type: ignore[call-overload]
        x = ops.take(x, places, axis)
    return x


def _widths(pad_width: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    """Return the padding before and after each axis, of a number, a pair or a pair for each."""
    try:
        pairs = np.broadcast_to(np.asarray(pad_width), (ndim, 2))
    except ValueError:
        pairs = None
    if pairs is None or (pairs.size and (pairs.dtype.kind not in "iu" or pairs.min() < 0)):
        raise ValueError(
            f"pad_width must be one number of 0 or more, a pair of them, or a pair for each of "
            f"{ndim} axes; got {pad_width!r}."
        )
    return tuple((int(a), int(b)) for a, b in pairs)


@operation
def tile(x: Any, repeats: int | Sequence[int]) -> Tensor:
    """Repeat a whole tensor along each axis: (n,) -> (k * n,) for k repetitions.

    Args:
        x: a tensor or array-like; the result has its dtype.
        repeats: the number of repetitions along each of the last axes. If they are more than x has
            axes, x gets new first axes.

    Raises:
        ValueError: if a number of repetitions is negative or not an integer.

    >>> from gpunn import ops
    >>> ops.tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    x = convert(x)
    times = list(sizes_of(repeats, "repeats"))
    ndim = max(x.ndim, len(times))
    shape = (1,) * (ndim - x.ndim) + x.shape
    times = [1] * (ndim - len(times)) + list(times)
    apart = [m for n in shape for m in (1, n)]
    wide = [m for n, k in zip(shape, times, strict=True) for m in (k, n)]
    long = [n * k for n, k in zip(shape, times, strict=True)]
    return reshape(broadcast_to(reshape(x, apart), wide), long)


@operation
def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Repeat each element along an axis: (m, n) -> (m, k * n) for k repeats and axis 1.

    Args:
        x: a tensor or array-like; the result has its dtype.
        repeats: one count, or one for each element along the axis.
        axis: by default, x is flattened first.

    Raises:
        ValueError: if the axis is out of range, or if the counts are negative, not integers, or not
            one for each element.

    >>> from gpunn import ops
    >>> ops.repeat([1, 2], 2).tolist(), ops.repeat([1, 2], [1, 2]).tolist()
    ([1, 1, 2, 2], [1, 2, 2])
    """
    x = convert(x)
    x = reshape(x, (-1,)) if axis is None else x
    place = 0 if axis is None else axis_of(axis, x.ndim)
    each = sizes_of(repeats, "repeats")
    if len(each) not in (1, x.shape[place]):
        raise ValueError(
            f"repeats must be one number, or one for each of {x.shape[place]} elements; got "
            f"{len(each)}."
        )
    if len(each) != 1:
        places = np.repeat(np.arange(x.shape[place]), np.array(each, int))
        return ops.take(x, places, place)
    (times,) = each
    wide = (*x.shape[: place + 1], times, *x.shape[place + 1 :])
    long = (*x.shape[:place], x.shape[place] * times, *x.shape[place + 1 :])
    return reshape(broadcast_to(expand_dims(x, place + 1), wide), long)

"""Tensors put together, cut up, repeated and padded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import index
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert, promoted
from .primitive import Gradients, Primitive
from .shapes import axis_of, broadcast_to, expand_dims, reshape, squeeze
from .table import operation, ops
from .tensor import Shape, Tensor


def _compute_joined(backend: Backend, out: Array, *xs: Array, axis: int) -> None:
    at = 0
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
            raise ValueError(f"shapes must be equal, but for the axis {axis}.")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


def _joined_gradient(dy: Tensor, y: Tensor, *xs: Tensor, axis: int) -> Gradients:
    parts, at = [], 0
    for x in xs:
        parts.append(dy[(slice(None),) * axis + (slice(at, at + x.shape[axis]),)])
        at += x.shape[axis]
    return parts


_joined = Primitive(
    "concatenate",
    _compute_joined,
    _joined_shape,
    lambda *dtypes, axis: dtypes[0],
    _joined_gradient,
)


@operation
def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """One behind the other along an axis."""
    tensors = promoted(*xs)
    if not tensors:
        raise ValueError("concatenate: at least one tensor is expected; got none.")
    ndim = tensors[0].ndim
    place = axis_of(axis, ndim)
    return tensors[0] if len(tensors) == 1 else _joined(*tensors, axis=place)


@operation
def stack(x: Sequence[Any], axis: int = 0) -> Tensor:
    """Side by side along a new axis."""
    tensors = promoted(*x)
    if not tensors:
        raise ValueError("stack: at least one tensor is expected; got none.")
    place = axis + tensors[0].ndim + 1 if axis < 0 else axis
    return concatenate([expand_dims(t, place) for t in tensors], place)


@operation
def hstack(xs: Sequence[Any]) -> Tensor:
    """One behind the other along the second axis, or along the first of vectors."""
    tensors = promoted(*xs)
    return concatenate(tensors, 0 if tensors[0].ndim == 1 else 1)


@operation
def vstack(xs: Sequence[Any]) -> Tensor:
    """One below the other; vectors are rows."""
    tensors = promoted(*xs)
    return concatenate([expand_dims(t, 0) if t.ndim == 1 else t for t in tensors], 0)


@operation
def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Equal parts along an axis, so many; or the parts between these places.

    >>> from gpunn import ops
    >>> [t.tolist() for t in ops.split([1, 2, 3, 4], 2)]
    [[1, 2], [3, 4]]
    """
    x = convert(x)
    place = axis_of(axis, x.ndim)
    n = x.shape[place]
    if isinstance(indices_or_sections, (int, np.integer)):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(f"split: {n} cannot be cut into {indices_or_sections} equal parts.")
        step = n // int(indices_or_sections)
        cuts = [step * k for k in range(int(indices_or_sections) + 1)]
    else:
        cuts = [0, *map(index, indices_or_sections), n]
    front = (slice(None),) * place
    return [x[(*front, slice(a, b))] for a, b in pairwise(cuts)]


@operation
def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """The parts along an axis, without it."""
    x = convert(x)
    place = axis_of(axis, x.ndim)
    return [squeeze(part, place) for part in split(x, num or x.shape[place], place)]


def _compute_padded(
    backend: Backend, out: Array, x: Array, widths: tuple[tuple[int, int], ...], value: float
) -> None:
    backend.xp.copyto(out, value)
    backend.xp.copyto(out[_inside(widths, x.shape)], x)


def _inside(widths: tuple[tuple[int, int], ...], shape: Shape) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for (a, _), n in zip(widths, shape, strict=True))


_padded = Primitive(
    "pad",
    _compute_padded,
    lambda shape, widths, value: tuple(a + n + b for n, (a, b) in zip(shape, widths, strict=True)),
    lambda dtype, widths, value: dtype,
    lambda dy, y, x, widths, value: (dy[_inside(widths, x.shape)],),
)


@operation
def pad(
    x: Any, pad_width: Any, mode: str = "constant", constant_values: float | None = None
) -> Tensor:
    """With so many more before and behind each axis: constants, or what is inside mirrored.

    Args:
        x: a tensor.
        pad_width: one number, a pair for all axes, or a pair for each.
        mode: "constant", "reflect" or "symmetric".
        constant_values: 0 by default.
    """
    x = convert(x)
    numbers = np.asarray(pad_width)
    if (numbers.dtype.kind not in "iu" and numbers.size) or (numbers < 0).any():
        raise ValueError(f"pad: pad_width must be whole numbers from 0 on; got {pad_width!r}.")
    pairs = np.broadcast_to(numbers.astype(int), (x.ndim, 2)).tolist()
    if mode == "constant":
        widths = tuple((a, b) for a, b in pairs)
        value = convert(0 if constant_values is None else constant_values, x.dtype).item()
        return _padded(x, widths=widths, value=value)
    if mode not in ("reflect", "symmetric"):
        raise ValueError(f"mode must be 'constant', 'reflect' or 'symmetric'; got {mode!r}.")
    for axis, (before, behind) in enumerate(pairs):
        places = np.pad(np.arange(x.shape[axis]), (before, behind), mode)  # type: ignore[call-overload]
        x = ops.take(x, places, axis)
    return x


@operation
def tile(x: Any, repeats: int | Sequence[int]) -> Tensor:
    """The whole so many times along each axis."""
    x = convert(x)
    times = [repeats] if isinstance(repeats, int) else [int(n) for n in repeats]
    ndim = max(x.ndim, len(times))
    shape = (1,) * (ndim - x.ndim) + x.shape
    times = [1] * (ndim - len(times)) + list(times)
    apart = [m for n in shape for m in (1, n)]
    wide = [m for n, k in zip(shape, times, strict=True) for m in (k, n)]
    whole = [n * k for n, k in zip(shape, times, strict=True)]
    return reshape(broadcast_to(reshape(x, apart), wide), whole)


@operation
def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Each so many times along an axis."""
    x = convert(x)
    x = reshape(x, (-1,)) if axis is None else x
    place = 0 if axis is None else axis_of(axis, x.ndim)
    if not isinstance(repeats, (int, np.integer)):
        times = np.broadcast_to(np.asarray(repeats, int), (x.shape[place],))
        return ops.take(x, np.repeat(np.arange(x.shape[place]), times), place)
    wide = (*x.shape[: place + 1], int(repeats), *x.shape[place + 1 :])
    whole = (*x.shape[:place], x.shape[place] * int(repeats), *x.shape[place + 1 :])
    return reshape(broadcast_to(expand_dims(x, place + 1), wide), whole)

"""Parts of tensors, and what takes elements by tensors of places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .arithmetic import equal
from .conversion import convert
from .dtypes import standard
from .elementwise import cast, where
from .fusion.storing import fill
from .making import arange
from .primitive import Gradients, Primitive
from .products import matmul
from .shapes import expand_dims, moveaxis, reshape
from .table import operation, operation_named, ops
from .tensor import Shape, Tensor


def _columns(shape: Shape, key: tuple[Any, ...]) -> tuple[int, int, int] | None:
    """Of a part that is less along one axis alone: as columns of a matrix, how many these are,
    where the part begins, and how wide it is. None: it is another part.

    >>> _columns((5, 4, 3), (Ellipsis, slice(1, 3), slice(None)))
    (12, 3, 6)
    """
    if None in key:
        return None
    at = key.index(Ellipsis) if Ellipsis in key else len(key)
    rest = [slice(None)] * (len(shape) - len(key) + (Ellipsis in key))
    whole = [*key[:at], *rest, *key[at + 1 :]]
    parts = [
        range(n)[e] if isinstance(e, slice) else range(n)[e:][:1]
        for n, e in zip(shape, whole, strict=True)
    ]
    cut = [axis for axis, n in enumerate(shape) if len(parts[axis]) != n]
    if len(cut) != 1 or any(part.step != 1 for part in parts):
        return None
    behind = math.prod(shape[cut[0] + 1 :])
    part = parts[cut[0]]
    return shape[cut[0]] * behind, part.start * behind, len(part) * behind


def _compute_part(backend: Backend, out: Array, x: Array, key: tuple[Any, ...]) -> None:
    columns = _columns(x.shape, key) if _is_plain(x) and _is_plain(out) else None
    if columns is None:
        backend.xp.copyto(out, x[key])
        return
    n, start, width = columns
    backend.copy_columns(x.reshape(-1, n), start, out.reshape(-1, width), 0, width)


def _is_plain(x: Array) -> bool:
    """Whether operations of the contract take it."""
    return x.dtype.kind == "f" and x.size > 0 and bool(x.flags.c_contiguous)


def _part_shape(shape: Shape, key: tuple[Any, ...]) -> Shape:
    try:
        return np.broadcast_to(np.empty(()), shape)[key].shape  # of no memory
    except IndexError as error:
        raise ValueError(f"{error}.") from None


def _part_gradient(dy: Tensor, y: Tensor, x: Tensor, key: tuple[Any, ...]) -> Gradients:
    return (_placed(dy, shape=x.shape, key=key),)


def _compute_placed(
    backend: Backend, out: Array, x: Array, shape: Shape, key: tuple[Any, ...]
) -> None:
    columns = _columns(shape, key) if _is_plain(x) and _is_plain(out) else None
    if columns is not None:
        n, start, width = columns
        fill(backend, 0.0, out)
        backend.copy_columns(x.reshape(-1, width), 0, out.reshape(-1, n), start, width)
        return
    backend.xp.copyto(out, 0)
    part = out[key if Ellipsis in key else (*key, ...)]  # an array, even of one number
    backend.xp.copyto(part, x)


_part = Primitive("indexing", _compute_part, _part_shape, lambda dtype, key: dtype, _part_gradient)
_placed = Primitive(
    "placing",
    _compute_placed,
    lambda given, shape, key: shape,
    lambda dtype, shape, key: dtype,
    lambda dy, y, x, shape, key: (ops.get_item(dy, key),),
)


@operation
def get_item(x: Any, key: Any) -> Tensor:
    """x[key]: whole numbers, slices, None and ``...``; a tensor of whole numbers takes rows.

    >>> from gpunn import ops
    >>> ops.convert_to_tensor([[1, 2, 3], [4, 5, 6]])[:, 1:].tolist()
    [[2, 3], [5, 6]]
    """
    x = convert(x)
    entries = key if isinstance(key, tuple) else (key,)
    if any(isinstance(entry, (Tensor, np.ndarray, list)) for entry in entries):
        return by_tensor(x, entries)
    plain = tuple(
        entry if isinstance(entry, slice) or entry in (None, Ellipsis) else int(entry)
        for entry in map(_numbers_in, entries)
    )
    if plain in ((slice(None),), (Ellipsis,), ()):
        return x
    return _part(x, key=plain)


def _numbers_in(entry: Any) -> Any:
    if not isinstance(entry, slice):
        return entry
    ends = (entry.start, entry.stop, entry.step)
    return slice(*[None if end is None else int(end) for end in ends])


@operation_named("slice")
def slice_of(inputs: Any, start_indices: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The part of this shape that begins there; a size of -1 goes to the end."""
    return get_item(
        inputs,
        tuple(
            slice(int(at), None if n == -1 else int(at) + int(n))
            for at, n in zip(start_indices, shape, strict=True)
        ),
    )


def by_tensor(x: Tensor, entries: tuple[Any, ...]) -> Tensor:
    """x[entries] where some entries are tensors of places: NumPy's rules."""
    arrays = [isinstance(e, (Tensor, np.ndarray, list)) for e in entries]
    tensors = [convert(e) if a else e for e, a in zip(entries, arrays, strict=True)]
    masks = any(a and t.dtype != "int32" for t, a in zip(tensors, arrays, strict=True))
    if masks or any(e is None for e in tensors):
        if x.is_constant:
            return convert(x.numpy()[tuple(map(_as_numpy, tensors))], x.dtype)
        raise ValueError(
            "tensors of whole numbers, without None, can be an index here; for a choice by truth "
            "values use ops.where."
        )
    rest = [slice(None)] * (x.ndim - sum(e is not Ellipsis for e in tensors))
    at = next((i for i, e in enumerate(tensors) if e is Ellipsis), len(tensors))
    whole = [*tensors[:at], *rest, *tensors[at + 1 :]]
    axes = [axis for axis, e in enumerate(whole) if not isinstance(e, slice)]
    if len(whole) > x.ndim:
        raise ValueError(f"{len(whole)} entries are too many for a tensor of shape {x.shape}.")
    x = get_item(x, tuple(e if isinstance(e, slice) else slice(None) for e in whole))
    if len(axes) == 1:
        return take(x, whole[axes[0]], axes[0])
    places = [_from_0(convert(whole[axis], "int32"), x.shape[axis]) for axis in axes]
    row = places[0]
    for axis, place in zip(axes[1:], places[1:], strict=True):
        row = row * x.shape[axis] + place
    front = moveaxis(x, axes, list(range(len(axes))))
    kept = front.shape[len(axes) :]
    found = take(reshape(front, (math.prod(front.shape[: len(axes)]), *kept)), row, 0)
    if axes[-1] - axes[0] == len(axes) - 1:  # side by side: there, else in front
        new = list(range(row.ndim))
        return moveaxis(found, new, [axes[0] + a for a in new])
    return found


def _as_numpy(entry: Any) -> Any:
    return entry.numpy() if isinstance(entry, Tensor) else entry


def _from_0(places: Tensor, n: int) -> Tensor:
    """Places along an axis of length n, of which negative ones count from its end."""
    if places.value is not None and places.size:
        low, high = places.value.min(), places.value.max()
        if low < -n or high >= n:
            raise ValueError(f"places must be from {-n} to {n - 1}; got {low} to {high}.")
    return where(places < 0, places + n, places)


# -- by tensors of places


def _compute_take(backend: Backend, out: Array, x: Array, places: Array, axis: int) -> None:
    backend.xp.take(x, places, axis=axis, out=out)


def _take_gradient(dy: Tensor, y: Tensor, x: Tensor, places: Tensor, axis: int) -> Gradients:
    n, behind = x.shape[axis], places.ndim
    front = moveaxis(dy, list(range(axis, axis + behind)), list(range(behind)))
    rest = front.shape[behind:]
    columns = 1
    for size in rest:
        columns *= size
    rows = reshape(front, (places.size, columns))
    return moveaxis(reshape(rows_added(rows, places, n), (n, *rest)), 0, axis), None


SMALL = 1 << 16
"""Numbers up to which places are written as a matrix of 0 and 1, and multiplied with."""


def rows_added(rows: Tensor, places: Tensor, n: int) -> Tensor:
    """(n, columns): at each place the sum of the rows that belong there.

    The order of the sums is the same each time; rows of places that there are not are left out.
    """
    places = reshape(places, (-1,))
    if places.size * n <= SMALL:
        return matmul(one_hot(places, n, dtype=rows.dtype).T, rows)
    return _rows_added(rows, places, n=n)


def _write_sums(xp: Any, rows: Array, places: Array, out: Array) -> None:
    """Sorted by their places, the rows of one are side by side: in each of a few rounds what
    is summed up so far is added to what is twice as far behind it."""
    count, n = len(rows), len(out)
    number = xp.arange(count, dtype=np.int64)
    order = xp.argsort(places.astype(np.int64) * count + number)
    at, sums, step = places[order], rows[order], 1
    while step < count:
        same = (at[step:] == at[:-step])[:, None]
        sums[step:] = sums[step:] + xp.where(same, sums[:-step], 0)
        step *= 2
    counts = (at >= 0) & (at < n)
    counts[:-1] &= at[1:] != at[:-1]  # the last of a place has the sum of all
    found = xp.zeros((n + 1, rows.shape[1]), rows.dtype)
    found[xp.where(counts, at, n)] = sums
    xp.copyto(out, found[:n])


def _compute_sums(backend: Backend, out: Array, rows: Array, places: Array, n: int) -> None:
    backend.apply(_write_sums, rows, places, out)


_rows_added = Primitive(
    "sums of rows",
    _compute_sums,
    lambda rows, places, n: (n, rows[1]),
    lambda rows, places, n: rows,
    lambda dy, y, rows, places, n: (_rows_at(dy, places, n), None),
)


def _rows_at(x: Tensor, places: Tensor, n: int) -> Tensor:
    """The rows at these places; zeros for places that there are not."""
    inside = (places >= 0) & (places < n)
    return where(expand_dims(inside, -1), _take(x, where(inside, places, 0), axis=0), 0)


_take = Primitive(
    "take",
    _compute_take,
    lambda shape, places, axis: (*shape[:axis], *places, *shape[axis + 1 :]),
    lambda dtype, places, axis: dtype,
    _take_gradient,
)


@operation
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements, or rows, at these places along an axis; negative ones count from the end.

    >>> from gpunn import ops
    >>> ops.take([[1, 2], [3, 4], [5, 6]], [2, 0], axis=0).tolist()
    [[5, 6], [1, 2]]
    """
    x = convert(x)
    x = reshape(x, (-1,)) if axis is None else x
    place = 0 if axis is None else axis % x.ndim
    return _take(x, _from_0(convert(indices, "int32"), x.shape[place]), axis=place)


@operation
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at these places along an axis, which differ from row to row."""
    x, places = convert(x), convert(indices, "int32")
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    place = axis % x.ndim
    n = x.shape[place]
    x, places = moveaxis(x, place, -1), moveaxis(places, place, -1)
    rows, k = x.size // n if n else 0, places.shape[-1]
    starts = arange(rows) * n
    flat = reshape(where(places < 0, places + n, places), (rows, k)) + expand_dims(starts, -1)
    found = take(reshape(x, (-1,)), flat, 0)
    return moveaxis(reshape(found, places.shape), -1, place)


@operation
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None) -> Tensor:
    """1 at the place of each class and 0 at the others, along a new axis.

    >>> from gpunn import ops
    >>> ops.one_hot([1, 0], 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    x = convert(x, "int32")
    hits = cast(equal(expand_dims(x, -1), np.arange(num_classes)), standard(dtype))
    return hits if axis in (-1, x.ndim) else moveaxis(hits, -1, axis)

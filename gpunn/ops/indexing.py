"""Parts of tensors, and what takes elements by tensors of places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .arithmetic import equal
from .conversion import convert
from .dtypes import standard
from .elementwise import cast, where
from .making import arange
from .primitive import Gradients, Primitive
from .products import matmul
from .shapes import expand_dims, moveaxis, reshape
from .table import operation, operation_named, ops
from .tensor import Shape, Tensor


def _compute_part(backend: Backend, out: Array, x: Array, key: tuple[Any, ...]) -> None:
    backend.xp.copyto(out, x[key])


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
    """x[entries] where one entry is a tensor of places; slices without ends may be before it."""
    arrays = [i for i, e in enumerate(entries) if isinstance(e, (Tensor, np.ndarray, list))]
    if len(arrays) == 1 and all(e == slice(None) for e in entries[: arrays[0]]):
        places = convert(entries[arrays[0]])
        if places.dtype == "int32":
            taken = ops.take(x, places, arrays[0])
            rest = entries[arrays[0] + 1 :]
            if all(e == slice(None) for e in rest):
                return taken
            return taken[(slice(None),) * (arrays[0] + places.ndim) + rest]
    if x.value is not None:
        key = tuple(np.asarray(e) if i in arrays else e for i, e in enumerate(entries))
        return convert(x.value[key], x.dtype)
    raise ValueError(
        "one tensor of whole numbers, behind nothing but `:`, can be an index here; for a choice "
        "by truth values use ops.where."
    )


# -- by tensors of places


def _compute_take(backend: Backend, out: Array, x: Array, places: Array, axis: int) -> None:
    backend.xp.take(x, places, axis=axis, out=out)


def _take_gradient(dy: Tensor, y: Tensor, x: Tensor, places: Tensor, axis: int) -> Gradients:
    """By a product with the places as rows of 0 and 1: elements taken twice get both, and the
    order of the sums is the same each time."""
    n = x.shape[axis]
    chosen = one_hot(reshape(places, (-1,)), n, dtype=dy.dtype)  # (places, n)
    behind = places.ndim
    front = moveaxis(dy, list(range(axis, axis + behind)), list(range(behind)))
    rest = front.shape[behind:]
    columns = 1
    for size in rest:
        columns *= size
    rows = reshape(front, (places.size, columns))
    return moveaxis(reshape(matmul(chosen.T, rows), (n, *rest)), 0, axis), None


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
    places, n = convert(indices, "int32"), x.shape[place]
    if places.value is not None and places.size:
        low, high = places.value.min(), places.value.max()
        if low < -n or high >= n:
            raise ValueError(f"take: places must be from {-n} to {n - 1}; got {low} to {high}.")
    return _take(x, where(places < 0, places + n, places), axis=place)


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

"""Operations that take elements by tensors of places."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert
from .dtypes import standard
from .elementwise import cast, equal, where
from .making import arange
from .primitive import Gradients, Primitive
from .products import matmul
from .shapes import expand_dims, moveaxis, reshape
from .table import operation
from .tensor import Tensor


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

"""Parts of tensors: slices, and what is before and behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert
from .primitive import Gradients, Primitive
from .table import operation, ops
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
    backend.xp.copyto(out[key], x)


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


@operation
def slice_of(x: Any, start_indices: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The part of this shape that begins there; a size of -1 goes to the end."""
    return get_item(
        x,
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

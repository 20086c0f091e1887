"""Slices that begin at indices which each step computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.ops.shapes import listed, reshape, whole
from gpunn.ops.tensor import Tensor, ops

from .checks import checked, integers
from .gather import take_unchecked


def moving_starts(start_indices: Any) -> list[Any] | None:
    """Return the start along each axis, if those of any are not known before the step; else None.

    >>> moving_starts([0, 1]) is None
    True
    """
    given = [start_indices] if isinstance(start_indices, Tensor) else listed(start_indices)
    if all(not isinstance(at, Tensor) or at.value is not None for at in given):
        return None
    return listed(start_indices)


def part_at(x: Tensor, starts: Sequence[Any], shape: Any) -> Tensor:
    """Return the part of this shape, of the first axes. The step checks that it is within x."""
    sizes = [whole(size, "slice: shape") for size in listed(shape)]
    if not len(starts) == len(sizes) <= x.ndim or min(sizes) < 0:
        raise ValueError(
            f"slice: a start and a size of 0 or more are expected for axes of {x.shape}, since a "
            f"start is not known before the step; got {len(starts)} starts and the shape {sizes}."
        )
    for axis, (at, size) in enumerate(zip(starts, sizes, strict=True)):
        place = _start(at, x.shape[axis] - size, "slice")
        x = take_unchecked(x, place + ops.arange(size), axis, wraps=False)
    return x


def replaced_at(x: Tensor, starts: Sequence[Any], new: Tensor) -> Tensor:
    """Return x with a part replaced, of as many axes. The step checks that it is within x."""
    inside: Any = True
    for axis, at in enumerate(starts):
        room = x.shape[axis] - new.shape[axis]
        places = ops.arange(x.shape[axis]) - _start(at, room, "slice_update")
        here = ops.logical_and(places >= 0, places < new.shape[axis])
        inside = ops.logical_and(inside, reshape(here, (-1, *(1,) * (x.ndim - axis - 1))))
        new = take_unchecked(new, places, axis, wraps=False)  # zeros outside
    return ops.where(inside, new, x)


def _start(at: Any, room: int, what: str) -> Tensor:
    """Return a start, which is checked."""
    if room < 0:
        raise ValueError(f"{what}: a part is longer than the axis that it is of, by {-room}.")
    what = f"{what}: start_indices"
    return checked(integers(at, what), 0, room, what)

"""Elements in order along an axis: sorted ones, their places, the largest.

The order is NumPy's: what is not a number comes last, behind infinity; equal elements, and zeros of
both signs, stay as they are.
"""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.conversion import convert
from gpunn.ops.places.taking import take_along
from gpunn.ops.primitive import Primitive
from gpunn.ops.reductions import axes_of
from gpunn.ops.shapes import flip, reshape
from gpunn.ops.table import operation
from gpunn.ops.tensor import Tensor


def _compute_argsort(backend: Backend, out: Array, x: Array, axis: int) -> None:
    backend.apply(_order, x, out, axis)


def _order(xp: Any, x: Array, out: Array, axis: int) -> None:
    xp.copyto(out, xp.argsort(x, axis=axis, kind="stable"), casting="unsafe")


_argsort = Primitive(
    "argsort", _compute_argsort, lambda shape, axis: shape, lambda dtype, axis: "int32"
)


def _along(x: Any, axis: int | None) -> tuple[Tensor, int]:
    """A tensor with the axis to sort along; all elements in a row for None."""
    x = convert(x)
    if axis is None:
        return reshape(x, (-1,)), 0
    return x, axes_of(axis, x.ndim)[0]


@operation
def argsort(x: Any, axis: int | None = -1) -> Tensor:
    """The places of the elements along an axis, from the smallest on; NaN comes last."""
    x, place = _along(x, axis)
    return _argsort(x, axis=place)


@operation
def sort(x: Any, axis: int | None = -1) -> Tensor:
    """The elements along an axis, from the smallest on; NaN comes last."""
    x, place = _along(x, axis)
    return take_along(x, _argsort(x, axis=place), place)


@operation
def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest of each row, and their places: those of equals in order. NaN counts as larger
    than any number."""
    x = convert(x)
    if not x.ndim or not 0 <= k <= x.shape[-1]:
        length = x.shape[-1] if x.ndim else 0
        raise ValueError(f"k must be from 0 to {length}, the length of a row; got {k}.")
    # The largest come last; turned round, equal ones are in order.
    last = flip(argsort(flip(x, -1), -1), -1)[..., :k]
    places = (x.shape[-1] - 1) - last
    return take_along(x, places, x.ndim - 1), places

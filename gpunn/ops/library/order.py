"""Sorting along an axis: sorted elements, their indices, the largest.

The order is NumPy's: NaN comes last, after infinity; equal elements, including zeros of both signs,
keep their order.
"""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.ops.conversion import convert
from gpunn.ops.gather_scatter.gather import take_along
from gpunn.ops.primitive import Primitive
from gpunn.ops.shapes import axis_of, flip, reshape, whole
from gpunn.ops.tensor import Tensor, operation, ops


def _order(xp: Any, x: Array, out: Array, axis: int) -> None:
    xp.copyto(out, xp.argsort(x, axis=axis, kind="stable"), casting="unsafe")


_argsort = Primitive(
    "argsort", lambda backend, out, x, axis: backend.apply(_order, x, out, axis),
    lambda shape, axis: shape, lambda dtype, axis: "int32",
)


def along(x: Any, axis: int | None) -> tuple[Tensor, int]:
    """Return a tensor and the axis to sort along; None flattens it."""
    x = convert(x)
    if axis is None:
        return reshape(x, (-1,)), 0
    if not x.ndim and axis in (0, -1):
        return x, 0
    return x, axis_of(axis, x.ndim)


@operation
def argsort(x: Any, axis: int | None = -1) -> Tensor:
    """Return the indices that sort a tensor along an axis; NaN comes last.

    Equal elements keep their order. Indices have no gradient.

    Args:
        x: a tensor or array-like (..., n); the result has its shape and dtype int32.
        axis: the axis to sort along; None flattens x first.

    Raises:
        ValueError: if the axis is out of range.

    >>> from gpunn import ops
    >>> ops.argsort([3, 1, 2]).tolist()
    [1, 2, 0]
    """
    x, place = along(x, axis)
    return _argsort(x, axis=place) if x.ndim else ops.zeros((), "int32")


@operation
def sort(x: Any, axis: int | None = -1) -> Tensor:
    """Sort a tensor along an axis in ascending order; NaN comes last.

    Each element gets the gradient of its place in the result, which has the dtype of x. Arguments,
    shape and errors: as for `argsort`.

    >>> from gpunn import ops
    >>> ops.sort([3, 1, 2]).tolist()
    [1, 2, 3]
    """
    x, place = along(x, axis)
    return take_along(x, _argsort(x, axis=place), place) if x.ndim else x


@operation
def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """Return the k largest elements of each row, in descending order, and their indices.

    Ties keep their order, and NaN counts as larger than any number. The gradient flows to the
    elements that are returned.

    Args:
        x: a tensor or array-like (..., n).
        k: from 0 to n.
        sorted: accepted as in Keras; the elements are always sorted in descending order.

    Returns:
        the tensors (values, indices), both (..., k); the indices have dtype int32.

    Raises:
        ValueError: if x has no axes, or fewer than k elements in a row, or k is not an integer.

    >>> from gpunn import ops
    >>> values, indices = ops.top_k([1.0, 3.0, 2.0], 2)
    >>> values.tolist(), indices.tolist()
    ([3.0, 2.0], [1, 2])
    """
    x, k = convert(x), whole(k, "k")
    if not x.ndim or not 0 <= k <= x.shape[-1]:
        length = x.shape[-1] if x.ndim else 0
        raise ValueError(f"k must be from 0 to {length}, the length of a row; got {k}.")
    # The largest come last; reversing makes ties come in order.
    last = flip(argsort(flip(x, -1), -1), -1)[..., :k]
    places = (x.shape[-1] - 1) - last
    return take_along(x, places, x.ndim - 1), places

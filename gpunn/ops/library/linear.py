"""More products of vectors and matrices."""

from __future__ import annotations

from typing import Any

from gpunn.ops.conversion import promoted
from gpunn.ops.elementwise import negative
from gpunn.ops.joining import stack
from gpunn.ops.products import matmul, tensordot
from gpunn.ops.shapes import axis_of, expand_dims, moveaxis, reshape
from gpunn.ops.tensor import Tensor, operation


@operation
def vdot(x1: Any, x2: Any) -> Tensor:
    """Compute the dot product of two flattened tensors: ``y = sum_i x1_i x2_i``.

    ``x1``, ``x2``: tensors or array-likes of as many elements; promoted to one dtype, booleans to
    int32. The result is a scalar.

    Raises:
        ValueError: if their sizes differ.

    >>> from gpunn import ops
    >>> ops.vdot([[1, 2]], [3, 4]).item()
    11
    """
    a, b = promoted(x1, x2)
    if a.size != b.size:
        raise ValueError(f"x1 and x2 must be of one size; got shapes {a.shape} and {b.shape}.")
    return matmul(reshape(a, (-1,)), reshape(b, (-1,)))


@operation
def inner(x1: Any, x2: Any) -> Tensor:
    """Compute the inner product over the last axes: ``y[i, j] = sum_k x1[i, k] x2[j, k]``.

    The result has the other axes of x1, then of x2: (m, k), (n, k) -> (m, n).

    Args:
        x1, x2: tensors or array-likes (..., k); promoted to one dtype. A scalar multiplies the
            other.

    Raises:
        ValueError: if the last axes differ in length.

    >>> from gpunn import ops
    >>> ops.inner([[1, 2], [3, 4]], [1, 10]).tolist()
    [21, 43]
    """
    a, b = promoted(x1, x2)
    return tensordot(a, b, [[a.ndim - 1], [b.ndim - 1]]) if a.ndim and b.ndim else a * b


@operation
def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tensor:
    """Compute the cross product of vectors of 3 elements; for 2 elements, its third component.

    ``y = (a2 b3 - a3 b2, a3 b1 - a1 b3, a1 b2 - a2 b1)`` for vectors a and b.

    Args:
        x1, x2: tensors or array-likes (..., 3) or (..., 2), promoted to one dtype; their other axes
            broadcast.
        axisa, axisb: the axes of the vectors in x1 and x2.
        axisc: the axis of the vectors in the result; two vectors of 2 have none.
        axis: used for all three, if given.

    Raises:
        ValueError: for vectors of another length, axes out of range, and shapes that do not
            broadcast.

    >>> from gpunn import ops
    >>> ops.cross([1, 0, 0], [0, 1, 0]).tolist(), ops.cross([1, 2], [3, 4]).item()
    ([0, 0, 1], -2)
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = promoted(x1, x2)
    names = ("axisa", "axisb", "axisc") if axis is None else ("axis",) * 3
    a = moveaxis(a, axis_of(axisa, a.ndim, names[0]), -1)
    b = moveaxis(b, axis_of(axisb, b.ndim, names[1]), -1)
    if not {a.shape[-1], b.shape[-1]} <= {2, 3}:
        raise ValueError(f"cross: expected vectors of 2 or 3; got shapes {a.shape} and {b.shape}.")
    one, other = a.shape[-1], b.shape[-1]

    def product(i: int, j: int) -> Tensor | None:
        return a[..., i] * b[..., j] if i < one and j < other else None

    def difference(i: int, j: int) -> Tensor:
        """Compute a_i b_j - a_j b_i, without products with a missing third element."""
        first, second = product(i, j), product(j, i)
        if first is None:
            return negative(second)
        return first if second is None else first - second

    if one == other == 2:
        return difference(0, 1)
    parts = [difference(1, 2), difference(2, 0), difference(0, 1)]
    return stack(parts, axis_of(axisc, parts[0].ndim + 1, names[2]))


@operation
def kron(x1: Any, x2: Any) -> Tensor:
    """Compute the Kronecker product: x2 times each element of x1, in blocks.

    For matrices (m, n) and (p, q): ``y[i p + k, j q + l] = x1[i, j] x2[k, l]``, of shape (m * p, n
    * q).

    ``x1``, ``x2``: tensors or array-likes of any shapes, promoted to one dtype. Lengths of axes
    multiply.

    >>> from gpunn import ops
    >>> ops.kron([1, 10], [1, 2]).tolist()
    [1, 2, 10, 20]
    """
    a, b = promoted(x1, x2)
    ndim = max(a.ndim, b.ndim)
    a = reshape(a, (1,) * (ndim - a.ndim) + a.shape)
    b = reshape(b, (1,) * (ndim - b.ndim) + b.shape)
    apart = expand_dims(a, [2 * i + 1 for i in range(ndim)]) * expand_dims(
        b, [2 * i for i in range(ndim)]
    )
    return reshape(apart, [n * m for n, m in zip(a.shape, b.shape, strict=True)])

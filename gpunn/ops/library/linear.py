"""More products of vectors and matrices, and their norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.config import epsilon as default_epsilon
from gpunn.ops.arithmetic import equal, maximum, not_equal, power
from gpunn.ops.conversion import convert, floats, promoted
from gpunn.ops.elementwise import abs_, negative, root, rsqrt, square, where
from gpunn.ops.joining import stack
from gpunn.ops.products import matmul, tensordot
from gpunn.ops.reductions import Axis, max_, min_, sum_
from gpunn.ops.shapes import axis_of, expand_dims, moveaxis, places_of, reshape, squeeze
from gpunn.ops.tensor import Tensor, operation, ops


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


MATRIX_ORDERS = (None, "fro", "nuc", math.inf, -math.inf, 1, -1, 2, -2)


@operation
def norm(
    x: Any, ord: Any = None, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Tensor:
    """Compute norms of vectors along one axis, or of matrices along two.

    For vectors: ``sqrt(sum(x^2))`` (the default, or ``ord=2``); the largest or smallest ``|x|``
    (infinity or -infinity); the number of nonzero elements (0); for other numbers
    ``sum(|x|^ord)^(1 / ord)``.

    For matrices: ``sqrt(sum(x^2))`` ("fro", the default); the sum of the singular values ("nuc"),
    the largest (2) or smallest (-2) of them; the largest sum of ``|x|`` over a row (infinity) or
    column (1), and the smallest (-infinity, -1). Singular values are those of `svd`.

    Where the root of a sum is 0, its derivative is 0.

    Args:
        x: a tensor or array-like; integers become floats (floatx).
        ord: which norm.
        axis: one axis, for vectors, or the axes of the rows and columns of matrices. By default a
            tensor of one or two axes is a vector or a matrix; without an ``ord``, the norm is over
            all elements.
        keepdims: whether to keep the reduced axes with length 1.

    Returns:
        a tensor of the shape of x without the reduced axes.

    Raises:
        ValueError: if ``ord`` is not supported, or given with more than two axes, or an axis is out
            of range.

    >>> from gpunn import ops
    >>> x = [[3.0, 4.0], [0.0, 0.0]]
    >>> float(ops.norm(x)), float(ops.norm(x, ord=1)), ops.norm(x, axis=1).tolist()
    (5.0, 4.0, [5.0, 0.0])
    """
    x = floats(x)
    axes = list(range(x.ndim)) if axis is None else places_of(axis, x.ndim)
    if ord is None:
        return root(sum_(square(x), axes, keepdims))
    if len(axes) == 1:
        return _of_vectors(x, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _of_matrices(x, ord, axes[0], axes[1], keepdims)
    raise ValueError(
        f"norm: ord={ord!r} needs vectors or matrices; name one axis or two of a tensor of shape "
        f"{x.shape}. Got axis={axis!r}."
    )


def _of_vectors(x: Tensor, ord: Any, axis: int, keepdims: bool) -> Tensor:
    if isinstance(ord, str) or not isinstance(ord, (int, float, np.number)):
        raise ValueError(f"norm: ord of a vector is a number; got {ord!r}.")
    if ord == 2:
        return root(sum_(square(x), axis, keepdims))
    if ord == 0:
        return sum_(convert(not_equal(x, 0.0), x.dtype), axis, keepdims)
    size = abs_(x)
    if ord == 1:
        return sum_(size, axis, keepdims)
    if math.isinf(ord):
        return (max_ if ord > 0 else min_)(size, axis, keepdims)
    total = sum_(power(size, float(ord)), axis, keepdims)
    nothing = equal(total, 0.0 if ord > 0 else math.inf)  # there the norm is 0
    return where(nothing, 0.0, power(where(nothing, 1.0, total), 1.0 / float(ord)))


def _of_matrices(x: Tensor, ord: Any, rows: int, columns: int, keepdims: bool) -> Tensor:
    if ord not in MATRIX_ORDERS:
        known = ", ".join(map(repr, MATRIX_ORDERS[1:]))
        raise ValueError(f"norm: ord of a matrix is one of {known}; got {ord!r}.")
    both = [rows, columns]
    if ord == "fro":
        return root(sum_(square(x), both, keepdims))
    if ord in ("nuc", 2, -2):
        values = ops.svd(moveaxis(x, both, [-2, -1]), compute_uv=False)
        found = {"nuc": sum_, 2: max_, -2: min_}[ord](values, -1)
        return expand_dims(found, both) if keepdims else found
    along, across = (columns, rows) if math.isinf(ord) else (rows, columns)
    sums = sum_(abs_(x), along, keepdims=True)
    found = (max_ if ord > 0 else min_)(sums, across, keepdims=True)
    return found if keepdims else squeeze(found, both)


@operation
def normalize(x: Any, axis: Axis = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """Divide x by its norm along an axis, to length 1: ``y = x / max(norm(x), epsilon)``.

    Args:
        x: a tensor or array-like; the result has its shape. Integers become floats (floatx), and a
            scalar a vector.
        axis: one axis, or several.
        order: of the norm, 1 or more; 2 is the length, also over several axes.
        epsilon: the smallest divisor; by default 1e-7, as in Keras.

    Raises:
        ValueError: if order is not an integer of 1 or more, or an axis is out of range.

    >>> from gpunn import ops
    >>> ops.normalize([[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    if not isinstance(order, (int, np.integer)) or order < 1:
        raise ValueError(f"normalize: order must be an integer of 1 or more; got {order!r}.")
    x = floats(x)
    x = x if x.ndim else reshape(x, (1,))
    least = default_epsilon() if epsilon is None else epsilon
    if order != 2:
        return x / maximum(norm(x, order, axis, keepdims=True), least)
    smallest = max(least * least, float(np.finfo(x.dtype).tiny))  # its root has an inverse
    return x * rsqrt(maximum(sum_(square(x), axis, keepdims=True), smallest))

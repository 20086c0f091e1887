"""Products of matrices and of tensors along axes."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert, promoted
from .primitive import Gradients, Primitive
from .shapes import axis_of, broadcast_to, expand_dims, reshape, squeeze, transpose
from .table import operation, ops
from .tensor import Shape, Tensor


def _compute_product(
    backend: Backend, out: Array, a: Array, b: Array, transpose_a: bool, transpose_b: bool
) -> None:
    if a.ndim == b.ndim == 2 and a.dtype.kind == "f":
        if a.shape[transpose_a ^ 1]:
            backend.matmul(a, b, out, transpose_a=transpose_a, transpose_b=transpose_b)
        else:  # a sum of nothing
            backend.xp.copyto(out, 0)
        return
    a = a.swapaxes(-1, -2) if transpose_a else a
    b = b.swapaxes(-1, -2) if transpose_b else b
    backend.xp.matmul(a, b, out=out)


def _product_shape(a: Shape, b: Shape, transpose_a: bool, transpose_b: bool) -> Shape:
    (m, k), (n, columns) = a[-2:], b[-2:]
    m, k = (k, m) if transpose_a else (m, k)
    n, columns = (columns, n) if transpose_b else (n, columns)
    if k != n or a[:-2] != b[:-2]:
        raise ValueError("the columns of the first must be as many as the rows of the second.")
    return (*a[:-2], m, columns)


def _product_gradient(
    dy: Tensor, y: Tensor, a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool
) -> Gradients:
    of_a = _product(dy, b, False, not transpose_b)
    if transpose_a:
        of_a = _product(b, dy, transpose_b, True)
    of_b = _product(a, dy, not transpose_a, False)
    if transpose_b:
        of_b = _product(dy, a, True, transpose_a)
    return of_a, of_b


_matmul = Primitive(
    "matmul",
    _compute_product,
    _product_shape,
    lambda a, b, **attributes: a,
    _product_gradient,
)


def _product(a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Of two matrices, or of as many pairs of them, whose memory is read turned round."""
    return _matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


@operation
def matmul(x1: Any, x2: Any) -> Tensor:
    """The product of matrices: of vectors, matrices, or stacks of them, as NumPy's ``@``.

    >>> from gpunn import ops
    >>> ops.matmul([[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    """
    a, b = promoted(x1, x2)
    if a.dtype == "bool":
        a, b = convert(a, "int32"), convert(b, "int32")
    if not (a.ndim and b.ndim):
        raise ValueError(f"matmul: tensors with axes are expected; got {a.shape} and {b.shape}.")
    if a.ndim == 1:
        return squeeze(matmul(expand_dims(a, 0), b), -2 if b.ndim > 1 else 0)
    if b.ndim == 1:
        return squeeze(matmul(a, expand_dims(b, 1)), -1)
    if b.ndim == 2 and a.ndim > 2 and a.shape[-1] == b.shape[0]:
        rows = _product(reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])), b)
        return reshape(rows, (*a.shape[:-1], b.shape[1]))
    if a.ndim > 2 or b.ndim > 2:
        stacks = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = broadcast_to(a, (*stacks, *a.shape[-2:]))
        b = broadcast_to(b, (*stacks, *b.shape[-2:]))
    return _product(a, b)


@operation
def dot(x1: Any, x2: Any) -> Tensor:
    """The sum of products along the last axis of x1 and the last but one of x2."""
    a, b = promoted(x1, x2)
    if not a.ndim or not b.ndim:
        return a * b
    if b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, [[a.ndim - 1], [b.ndim - 2]])


@operation
def tensordot(x1: Any, x2: Any, axes: int | Sequence[Any] = 2) -> Tensor:
    """The sums of products along these axes: pairs of them, or the last so many and the first."""
    a, b = promoted(x1, x2)
    if isinstance(axes, int):
        of_a, of_b = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        of_a, of_b = ([e] if isinstance(e, int) else list(e) for e in axes)
    of_a, of_b = [axis_of(e, a.ndim) for e in of_a], [axis_of(e, b.ndim) for e in of_b]
    if [a.shape[e] for e in of_a] != [b.shape[e] for e in of_b]:
        raise ValueError(
            f"tensordot: the axes {of_a} of {a.shape} and {of_b} of {b.shape} differ in length."
        )
    free_a = [e for e in range(a.ndim) if e not in of_a]
    free_b = [e for e in range(b.ndim) if e not in of_b]
    k = math.prod(a.shape[e] for e in of_a)
    left = reshape(transpose(a, free_a + of_a), (math.prod(a.shape[e] for e in free_a), k))
    right = reshape(transpose(b, of_b + free_b), (k, math.prod(b.shape[e] for e in free_b)))
    shape = [a.shape[e] for e in free_a] + [b.shape[e] for e in free_b]
    return reshape(matmul(left, right), shape)


@operation
def outer(x1: Any, x2: Any) -> Tensor:
    """The products of each of x1 with each of x2."""
    a, b = promoted(x1, x2)
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


@operation
def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sums of products, as the subscripts say: ``"ij,jk->ik"`` is a product of matrices.

    Two operands are multiplied as stacks of matrices, several one after the other.

    >>> from gpunn import ops
    >>> ops.einsum("ij,kj->ik", [[1.0, 2.0]], [[3.0, 4.0]]).tolist()
    [[11.0]]
    """
    tensors = promoted(*operands)
    given, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = given.split(",")
    if "." in subscripts:
        free = [c for c in string.ascii_letters if c not in subscripts]
        most = max((t.ndim - len(e) + 3 for e, t in zip(terms, tensors, strict=False) if "." in e))
        for i, (term, t) in enumerate(zip(terms, tensors, strict=False)):
            own = most - (t.ndim - len(term) + 3)
            terms[i] = term.replace("...", "".join(free[own:most]))
        if not arrow:
            raise ValueError("einsum: with `...` the result must be named behind `->`.")
        result = result.replace("...", "".join(free[:most]))
    if len(terms) != len(tensors):
        raise ValueError(f"einsum: {subscripts!r} is of {len(terms)} tensors; got {len(tensors)}.")
    for term, t in zip(terms, tensors, strict=True):
        if len(term) != t.ndim or len(set(term)) != len(term):
            raise ValueError(
                f"einsum: {term!r} must name each axis of a tensor of shape {t.shape} once."
            )
    letters = "".join(terms)
    if not arrow:
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    now, names = tensors[0], terms[0]
    for t, term, later in zip(
        tensors[1:], terms[1:], ["".join(terms[i:]) for i in range(2, len(terms) + 1)], strict=True
    ):
        keep = set(result) | set(later)
        now, names = _pair(now, names, t, term, keep)
    gone = [i for i, c in enumerate(names) if c not in result]
    now = ops.sum(now, gone) if gone else now
    names = "".join(c for c in names if c in result)
    if sorted(names) != sorted(result):
        raise ValueError(f"einsum: {result!r} names axes that no tensor of {given!r} has.")
    return transpose(now, [names.index(c) for c in result])


def _pair(a: Tensor, of_a: str, b: Tensor, of_b: str, keep: set[str]) -> tuple[Tensor, str]:
    """The product of two, summed over what both have and nobody keeps."""
    for alone, other in ((0, of_b), (1, of_a)):  # what only one has is summed at once
        names = (of_a, of_b)[alone]
        gone = [i for i, c in enumerate(names) if c not in other and c not in keep]
        if gone:
            left = "".join(c for i, c in enumerate(names) if i not in gone)
            if alone == 0:
                a, of_a = ops.sum(a, gone), left
            else:
                b, of_b = ops.sum(b, gone), left
    stacks = [c for c in of_a if c in of_b and c in keep]
    summed = [c for c in of_a if c in of_b and c not in keep]
    rows = [c for c in of_a if c not in of_b]
    columns = [c for c in of_b if c not in of_a]
    sizes = {**dict(zip(of_a, a.shape, strict=True)), **dict(zip(of_b, b.shape, strict=True))}
    for c in (*stacks, *summed):
        if a.shape[of_a.index(c)] != b.shape[of_b.index(c)]:
            raise ValueError(f"einsum: the axis {c!r} has two lengths: {a.shape} and {b.shape}.")

    def arranged(t: Tensor, names: str, *groups: list[str]) -> Tensor:
        t = transpose(t, [names.index(c) for group in groups for c in group])
        return reshape(t, [math.prod(sizes[c] for c in group) for group in groups])

    factor = arranged(a, of_a, stacks, rows, summed)
    right = arranged(b, of_b, stacks, summed, columns)
    out = matmul(factor, right) if stacks else matmul(factor[0], right[0])
    order = [*stacks, *rows, *columns]
    return reshape(out, [sizes[c] for c in order]), "".join(order)

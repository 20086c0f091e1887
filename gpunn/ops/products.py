"""Matrix products, and tensor products along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert, promoted
from .fusion.storing import write_elements
from .primitive import Primitive
from .shapes import broadcast_to, expand_dims, listed, places_of, reshape, squeeze, transpose, whole
from .tensor import Shape, Tensor, operation, ops

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The names of axes in `einsum`."""


def _compute_product(
    backend: Backend, out: Array, a: Array, b: Array, transpose_a: bool, transpose_b: bool,
    precision: str | None = None, accumulate: bool = False,
) -> None:
    if accumulate and (out.ndim > 2 or not a.size):
        product = backend.scratch(out.shape, out.dtype, "product")
        _compute_product(backend, product, a, b, transpose_a, transpose_b)
        write_elements(backend, "copy", [product], out, accumulate=True)
    elif not a.shape[-2 if transpose_a else -1]:  # an empty sum
        backend.xp.copyto(out, 0)
    elif a.dtype.kind == "f":
        transposed = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        if out.ndim == 2:
            backend.matmul(a, b, out, **transposed, accumulate=accumulate, precision=precision)
        else:
            backend.batched_matmul(a, b, out, **transposed)
    else:
        a = a.swapaxes(-1, -2) if transpose_a else a
        b = b.swapaxes(-1, -2) if transpose_b else b
        backend.xp.matmul(a, b, out=out)


def _product_shape(a: Shape, b: Shape, transpose_a: bool, transpose_b: bool) -> Shape:
    (m, k), (n, columns) = a[-2:], b[-2:]
    m, k = (k, m) if transpose_a else (m, k)
    n, columns = (columns, n) if transpose_b else (n, columns)
    if k != n:
        raise ValueError("the first must have as many columns as the second has rows.")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), m, columns)


_matmul = Primitive(
    "matmul", _compute_product, _product_shape, lambda a, b, **attributes: a, gradient="matmul",
)
_matmul.rounds = _matmul.adds = True


def product(a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Multiply two matrices, or stacks of them (stack, m, n), each optionally read as its
    transpose. A stack of one is used for all."""
    return _matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


@operation
def matmul(x1: Any, x2: Any) -> Tensor:
    """Multiply matrices, vectors, or stacks of matrices, like ``x1 @ x2`` in NumPy.

    For matrices: ``y[i, j] = sum_k x1[i, k] x2[k, j]``. With the gradient dy of the result, the
    gradients are ``dy x2^T`` for x1 and ``x1^T dy`` for x2.

    Args:
        x1: a tensor or array-like (..., m, k), or a vector (k,).
        x2: a tensor or array-like (..., k, n), or a vector (k,). The first axes broadcast.

    Returns:
        a tensor (..., m, n) of the promoted dtype, int32 for booleans. Vectors lack their axis, as
        in NumPy.

    Raises:
        ValueError: if the shapes do not match or broadcast, or if one has no axes.

    >>> from gpunn import ops
    >>> ops.matmul([[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    """
    a, b = promoted(x1, x2)
    if a.dtype == "bool":
        a, b = convert(a, "int32"), convert(b, "int32")
    if not (a.ndim and b.ndim):
        raise ValueError(f"matmul: expected tensors with axes; got shapes {a.shape} and {b.shape}.")
    if a.ndim == 1:
        return squeeze(matmul(expand_dims(a, 0), b), -2 if b.ndim > 1 else 0)
    if b.ndim == 1:
        return squeeze(matmul(a, expand_dims(b, 1)), -1)
    if a.ndim == b.ndim == 2 or a.shape[-1] != b.shape[-2]:
        return product(a, b)
    try:
        stacks = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"the stacks of {a.shape} and {b.shape} do not broadcast.") from None
    of_a, of_b = a.shape[-2:], b.shape[-2:]
    if math.prod(b.shape[:-2]) == 1:  # the rows of all of a in one product
        rows = reshape(a, (math.prod(a.shape[:-1]), of_a[1]))
        out = product(rows, reshape(b, of_b))
    else:
        count = math.prod(stacks)
        if math.prod(a.shape[:-2]) == 1:
            a = reshape(a, (1, *of_a))
        else:
            a = reshape(broadcast_to(a, (*stacks, *of_a)), (count, *of_a))
        b = reshape(broadcast_to(b, (*stacks, *of_b)), (count, *of_b))
        out = product(a, b)
    return reshape(out, (*stacks, of_a[0], of_b[1]))


@operation
def dot(x1: Any, x2: Any) -> Tensor:
    """Compute the dot product ``y = sum_k x1[..., k] x2[..., k, :]`` over one axis of each.

    It is the last axis of x1 and the second-to-last of x2: (..., k), (k, n) -> (..., n). Unlike in
    `matmul`, other axes do not broadcast: the result has the axes of x1, then of x2.

    Args:
        x1: a tensor or array-like (..., k); a number multiplies all elements.
        x2: a tensor or array-like (..., k, n) or (k,), likewise. Both are promoted to one dtype.

    Raises:
        ValueError: if the lengths of the two axes differ.

    >>> from gpunn import ops
    >>> ops.dot([1, 2], [3, 4]).item(), ops.dot([[1, 2], [3, 4]], [1, 1]).tolist()
    (11, [3, 7])
    """
    a, b = promoted(x1, x2)
    if not a.ndim or not b.ndim:
        return a * b
    if b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, [[a.ndim - 1], [b.ndim - 2]])


@operation
def tensordot(x1: Any, x2: Any, axes: int | Sequence[Any] = 2) -> Tensor:
    """Sum the products of two tensors over pairs of axes.

    With a number of axes, these are the last ones of x1 and the first ones of x2: (l, m, n), (m, n,
    o) -> (l, o) for 2.

    Args:
        x1, x2: tensors or array-likes, promoted to one dtype. The result has the other axes of x1,
            then of x2.
        axes: a number of axes, or (axes of x1, axes of x2).

    Raises:
        ValueError: if paired axes differ in length, or if axes are out of range.

    >>> from gpunn import ops
    >>> ops.tensordot([[1, 2], [3, 4]], [[1, 2], [3, 4]], axes=1).tolist()
    [[7, 10], [15, 22]]
    >>> ops.tensordot([[1, 2], [3, 4]], [[1, 2], [3, 4]], axes=[[0, 1], [1, 0]]).item()
    29
    """
    a, b = promoted(x1, x2)
    pair = listed(axes)
    if len(pair) == 1 and pair[0] is axes:
        count = whole(axes, "axes", 0)
        if count > min(a.ndim, b.ndim):
            raise ValueError(
                f"axes must be at most the number of axes of {a.shape} and {b.shape}; got {count}."
            )
        of_a, of_b = list(range(a.ndim - count, a.ndim)), list(range(count))
    elif len(pair) != 2:
        raise ValueError(f"axes must be a number, or (axes of x1, axes of x2); got {axes!r}.")
    else:
        first, second = pair
        of_a, of_b = places_of(first, a.ndim, "axes"), places_of(second, b.ndim, "axes")
    if [a.shape[e] for e in of_a] != [b.shape[e] for e in of_b]:
        raise ValueError(f"the axes {of_a} of {a.shape} and {of_b} of {b.shape} differ in length.")
    free_a = [e for e in range(a.ndim) if e not in of_a]
    free_b = [e for e in range(b.ndim) if e not in of_b]
    k = math.prod(a.shape[e] for e in of_a)
    left = reshape(transpose(a, free_a + of_a), (math.prod(a.shape[e] for e in free_a), k))
    right = reshape(transpose(b, of_b + free_b), (k, math.prod(b.shape[e] for e in free_b)))
    shape = [a.shape[e] for e in free_a] + [b.shape[e] for e in free_b]
    return reshape(matmul(left, right), shape)


@operation
def outer(x1: Any, x2: Any) -> Tensor:
    """Multiply each element of one vector by each of another: ``y[i, j] = x1[i] x2[j]``.

    ``x1``, ``x2``: tensors or array-likes, which are flattened and promoted to one dtype. The
    result has the shape (size of x1, size of x2).

    >>> from gpunn import ops
    >>> ops.outer([1, 2], [3, 4, 5]).tolist()
    [[3, 4, 5], [6, 8, 10]]
    """
    a, b = promoted(x1, x2)
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


@operation
def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sum products of elements as subscripts say: ``"ij,jk->ik"`` is a matrix product.

    Letters that are missing after the arrow are summed over. Two operands are multiplied as stacks
    of matrices; more than two are multiplied in order.

    Args:
        subscripts: a letter for each axis of each operand, ``...`` for axes that are broadcast, and
            the axes of the result; by default the letters that occur once, in order.
        operands: tensors or array-likes, promoted to one dtype.

    Raises:
        ValueError: if the subscripts do not match the operands, or if an axis has two lengths.

    >>> from gpunn import ops
    >>> ops.einsum("ij,kj->ik", [[1.0, 2.0]], [[3.0, 4.0]]).tolist()
    [[11.0]]
    """
    tensors = promoted(*operands)
    terms, result = _terms(subscripts, [t.ndim for t in tensors])
    for i, t in enumerate(tensors):
        tensors[i], terms[i] = _on_diagonals(t, terms[i])
    for c in set("".join(terms)) - set(subscripts):  # the axes of `...`, which are broadcast
        pairs = [pair for pair in zip(tensors, terms, strict=True) if c in pair[1]]
        sizes = [t.shape[term.index(c)] for t, term in pairs]
        for i, (t, term) in enumerate(zip(tensors, terms, strict=True)):
            if c in term and t.shape[term.index(c)] == 1 and any(n != 1 for n in sizes):
                tensors[i], terms[i] = squeeze(t, term.index(c)), term.replace(c, "")
    now, names = tensors[0], terms[0]
    for i, (t, term) in enumerate(zip(tensors[1:], terms[1:], strict=True), 2):
        now, names = _pair(now, names, t, term, {*result, *"".join(terms[i:])})
    gone = [i for i, c in enumerate(names) if c not in result]
    now = ops.sum(now, gone) if gone else now
    names = "".join(c for c in names if c in result)
    return transpose(now, [names.index(c) for c in result])


def _terms(subscripts: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each operand's axes and the result's, with letters for ``...``.

    >>> _terms("...i,ij", [3, 2])
    (['abi', 'ij'], 'abj')
    """
    given, arrow, result = str(subscripts).replace(" ", "").partition("->")
    terms = given.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: {subscripts!r} names {len(terms)} operands; got {len(ndims)}.")
    for term in (*terms, result):
        letters = term.replace("...", "", 1)
        if not all(c in LETTERS for c in letters):
            raise ValueError(f"einsum: expected letters and at most one `...`; got {term!r}.")
    if not arrow:  # letters that occur once, in alphabetical order
        letters = given.replace(".", "")
        once = "".join(sorted(c for c in set(letters) if c != "," and letters.count(c) == 1))
        result = "..." * ("..." in given) + once
    named = [len(term.replace("...", "")) for term in terms]
    rest = [n - k if "..." in term else 0 for term, n, k in zip(terms, ndims, named, strict=True)]
    for term, n, k, more in zip(terms, ndims, named, rest, strict=True):
        if more < 0 or n != k + more:
            raise ValueError(f"einsum: {term!r} must name each axis of a tensor of {n} axes.")
    free = [c for c in LETTERS if c not in subscripts][: max(rest)]
    for i, more in enumerate(rest):
        terms[i] = terms[i].replace("...", "".join(free[len(free) - more :]))
    result = result.replace("...", "".join(free))
    if len(set(result)) != len(result) or not set(result) <= set("".join(terms)):
        raise ValueError(f"einsum: {result!r} must name axes of the operands, each once.")
    return terms, result


def _on_diagonals(t: Tensor, term: str) -> tuple[Tensor, str]:
    """Take the diagonals of axes with the same name; return them and the remaining names."""
    for c in [c for k, c in enumerate(term) if c in term[:k]]:
        first = term.index(c)
        second = term.index(c, first + 1)
        if t.shape[first] != t.shape[second]:
            raise ValueError(f"einsum: the axis {c!r} has two lengths in shape {t.shape}.")
        t = ops.diagonal(t, 0, first, second)
        term = term[:first] + term[first + 1 : second] + term[second + 1 :] + c
    return t, term


def _pair(a: Tensor, of_a: str, b: Tensor, of_b: str, keep: set[str]) -> tuple[Tensor, str]:
    """Multiply two operands, summed over shared axes that are not needed later."""
    for alone, other in ((0, of_b), (1, of_a)):  # axes of only one operand are summed first
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

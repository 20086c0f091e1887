"""The derivative of a loop: another one, over the steps in the opposite order.

What the first loop computes and the other reads is kept for each step. The gradient of what is
fixed is a sum over the steps. Where its terms are products, or sums over rows, as for weights and
biases, their factors are kept, and it is one product, or one sum, after the loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from gpunn.ops.dtypes import is_float
from gpunn.ops.gradients import gradients, topological_sort
from gpunn.ops.making import zeros
from gpunn.ops.primitive import Gradients
from gpunn.ops.products import product
from gpunn.ops.reductions import sum_
from gpunn.ops.shapes import reshape, transpose
from gpunn.ops.tensor import Tensor, leaf
from gpunn.ops.trace import current

from .loop import Loop, base_of, gradient_of_loop, gradients_given, read_by


def _gradient_of_loop(
    dy: Tensor, token: Tensor, *inputs: Tensor, loop: Loop, wants: Sequence[bool]
) -> Gradients:
    given, count = gradients_given(dy), len(loop.carries)
    back = _Back(loop)
    floats = [k for k, t in enumerate(loop.carries) if is_float(t.dtype)]
    firsts = [given.get(("last", k)) for k in floats]
    carried = [back.carry(loop.carries[k], first) for k, first in zip(floats, firsts, strict=True)]
    kept = [(loop.kept[k], g) for (kind, k), g in given.items() if kind == "all"]
    by_kept = [back.row(t, g) for t, g in kept]
    leaves = [*loop.carries, *loop.rows, *loop.fixed]
    wanted = [k for k in range(count, len(inputs)) if wants[k]]
    found = gradients(
        [*(loop.nexts[k] for k in floats), *(t for t, _ in kept)],
        [*(leaves[k] for k in (*floats, *wanted))],
        [*carried, *by_kept],
        lambda t: id(t) in loop.inside,
    )
    back.nexts += [
        zeros(t.shape, t.dtype) if g is None else g for g, t in zip(found, carried, strict=False)
    ]
    by = dict(zip(wanted, found[len(floats) :], strict=True))
    rows = {k: g for k, g in by.items() if g is not None and k < count + len(loop.rows)}
    terms = {k: [*_terms(g)] for k, g in by.items() if g is not None and k not in rows}
    products = [t for own in terms.values() for t in own if _is_product(t)]
    factors = {id(base_of(x)) for t in products for x in t.inputs}
    sums = {k: _Sum(back, own, factors) for k, own in terms.items()}
    back.close([*rows.values(), *(t for total in sums.values() for t in total.operands())])
    results: dict[int, Tensor] = {k: back.loop.last(place) for place, k in enumerate(floats)}
    results |= {k: back.all(g) for k, g in rows.items()}
    results |= {k: total.made() for k, total in sums.items()}
    return [results.get(k) for k in range(len(inputs))]


gradient_of_loop.append(_gradient_of_loop)


class _Back:
    """The loop that computes gradients of the ``forward`` loop, while it is being made."""

    loop: Loop

    def __init__(self, forward: Loop) -> None:
        self._forward = forward
        self._carries: list[Tensor] = []
        self.nexts: list[Tensor] = []  # what it carries out of a step, for each of its `carries`
        self._firsts: list[Tensor] = []
        self._rows: dict[int, Tensor] = {}
        self._sequences: list[Tensor] = []

    def carry(self, like: Tensor, first: Tensor | None = None) -> Tensor:
        """Return a leaf for a value that is carried, from ``first`` or zeros."""
        self._firsts.append(zeros(like.shape, like.dtype) if first is None else first)
        self._carries.append(_leaf(like))
        return self._carries[-1]

    def row(self, like: Tensor, sequence: Tensor) -> Tensor:
        """Return a leaf for the rows of a sequence."""
        return self._read(_leaf(like), sequence)

    def _read(self, t: Tensor, sequence: Tensor) -> Tensor:
        self._rows[id(t)] = t
        self._sequences.append(sequence)
        return t

    def last(self, carried: Tensor) -> Tensor:
        """Return a carried value after all steps."""
        return self.loop.last([t is carried for t in self._carries].index(True))

    def close(self, wanted: Sequence[Tensor]) -> None:
        """Make the loop, whose wanted tensors are kept."""
        forward, wanted = self._forward, [base_of(t) for t in wanted]
        own = {id(t) for t in self._carries} | self._rows.keys()

        def is_read(t: Tensor) -> bool:
            return id(t) in own or (forward.reads(t) and base_of(t) is t)

        roots = [*self.nexts, *wanted]
        for t in topological_sort(roots, lambda t: () if is_read(t) else read_by(t)):
            if id(t) not in own and is_read(t):
                self._read(t, forward.all(t))
        kept = [t for t in wanted if id(t) not in self._rows]
        rows, turned = list(self._rows.values()), not forward.reverse
        self.loop = Loop(self._carries, self.nexts, rows, kept, forward.length, turned)
        self.loop.apply(self._firsts, self._sequences)

    def all(self, t: Tensor) -> Tensor:
        """Return a wanted tensor's values in all steps."""
        return reshape(self.loop.all(base_of(t)), (self.loop.length, *t.shape))


def _leaf(like: Tensor) -> Tensor:
    trace = current()
    return leaf(like.shape, like.dtype) if trace is None else trace.leaf(like.shape, like.dtype)


class _Sum:
    """A gradient that is a sum of the terms of one step over all steps.

    ``factors`` are the ``id`` of what is kept for products.
    """

    def __init__(self, back: _Back, terms: Sequence[Tensor], factors: Collection[int]) -> None:
        self._back = back
        self._products: list[Tensor] = []
        self._sums: list[tuple[Tensor, Tensor]] = []  # terms, and the sums that they are shapes of
        self._carried: Tensor | None = None
        rest: Tensor | None = None
        for t in terms:
            base = base_of(t)
            if _is_product(t):
                self._products.append(t)
            elif _name(base) == "sum" and id(base_of(base.inputs[0])) in factors:
                self._sums.append((t, base))
            else:
                rest = t if rest is None else rest + t
        if rest is not None:
            self._carried = back.carry(rest)
            back.nexts.append(self._carried + rest)

    def operands(self) -> Iterator[Tensor]:
        """Yield the tensors that must be kept for each step."""
        for t in (*self._products, *(total for _, total in self._sums)):
            yield from t.inputs

    def made(self) -> Tensor:
        """Return the sum, when the loop is closed."""
        parts = [] if self._carried is None else [self._back.last(self._carried)]
        for t in self._products:
            turned = t.attributes["transpose_a"], t.attributes["transpose_b"]
            a, b = (self._back.all(x) for x in t.inputs)
            parts.append(product(_joined(a, turned[0]), _joined(b, not turned[1]), *turned))
        for t, total in self._sums:
            axes = [0, *(axis + 1 for axis in total.attributes["axis"])]
            parts.append(reshape(sum_(self._back.all(total.inputs[0]), axes), t.shape))
        return sum(parts[1:], parts[0])


def _joined(x: Tensor, along_rows: bool) -> Tensor:
    """Return the matrices (n, r, c) of all steps as one: below or beside each other."""
    n, rows, columns = x.shape
    if along_rows:
        return reshape(x, (n * rows, columns))
    return reshape(transpose(x, [1, 0, 2]), (rows, n * columns))


def _name(t: Tensor) -> str:
    return "" if t.primitive is None or t.is_constant else str(t.primitive.name)


def _is_product(t: Tensor) -> bool:
    return _name(t) == "matmul" and t.ndim == 2


def _terms(t: Tensor) -> Iterator[Tensor]:
    """Yield the terms that a tensor is the sum of."""
    waiting = [t]
    while waiting:
        t = waiting.pop()
        if _name(t) == "add" and all(x.shape == t.shape and x.dtype == t.dtype for x in t.inputs):
            waiting += t.inputs[::-1]
        else:
            yield t

"""Matrix products, attention, element-wise operations, and sums of columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .control import Control
from .declaration import (
    COUNTERS,
    PLAIN,
    KernelCall,
    MatrixProduct,
    OpCall,
    reads,
    transposed,
    writes,
)
from .device import Array
from .formulas import ActivationProtocol
from .operation import Operations, operation


def dropout_scale(rate: float) -> float:
    """Return dropout's scale, 1 / (1 - rate); 0 for a rate of 1, which keeps nothing.

    >>> dropout_scale(0.5), dropout_scale(1.0)
    (2.0, 0.0)
    """
    return 1.0 / (1.0 - rate) if rate < 1.0 else 0.0


QUERIES = 128
"""Queries of a block, at most."""

_ATTENDING = {
    "q": reads("batch queries heads size"),
    "k": reads("batch keys heads size"),
    "v": reads("batch keys heads depth"),
    "mask": reads("masks mask_heads mask_queries mask_keys", "bool", optional=True),
}
_FITS = tuple(
    f"mask is None or {name} in (1, {whole})"
    for name, whole in (
        ("masks", "batch"), ("mask_heads", "heads"), ("mask_queries", "queries"),
        ("mask_keys", "keys"),
    )
)
_MASK = "mask, *((0, 0, 0, 0) if mask is None else (masks, mask_heads, mask_queries, mask_keys))"
_SIZES = "batch, queries, keys, heads, size, depth, scale, causal"


def _of_attention(sizes: int, depths: int) -> Callable[[OpCall], list[MatrixProduct]]:
    """Return a function for so many products over each head's ``size``, and over its ``depth``."""

    def products(call: OpCall) -> list[MatrixProduct]:
        terms = [call.size] * sizes + [call.depth] * depths
        stack = call.batch * call.heads
        return [MatrixProduct(call.queries, call.keys, k, stack=stack) for k in terms]

    return products


def _keeps_input(call: OpCall) -> bool:
    """Return whether x + bias is kept in x, for the gradient."""
    return call.bias is not None and call.activation.saves == "input"


def _by_head(backend: Any, x: Array, name: str, scale: float = 1.0) -> Array:
    """Return ``scale x``, (batch, steps, heads, size), as a stack (batch heads, steps, size)."""
    batch, steps, heads, size = x.shape
    made = backend.scratch((batch * heads, steps, size), x.dtype, name)
    backend.xp.multiply(x.swapaxes(1, 2), scale, out=made.reshape(batch, heads, steps, size))
    return made


def _store(backend: Any, stacked: Array, out: Array) -> None:
    """Write what `_by_head` copies back."""
    batch, steps, heads, size = out.shape
    backend.xp.copyto(out, stacked.reshape(batch, heads, steps, size).swapaxes(1, 2))


def _weights(
    backend: Any, q: Array, keys: Array, whole: tuple[int, ...], mask: Array | None, first: int,
    causal: bool,
) -> tuple[Array, Array]:
    """Return the weights (batch heads, rows, keys) of a block of queries, and, with a mask, which
    of these see no key."""
    xp, (batch, _, heads, _), rows, count = backend.xp, whole, q.shape[1], keys.shape[1]
    lowest = float(np.finfo(q.dtype).min)
    scores = backend.scratch((len(q), rows, count), q.dtype, "scores")
    backend.batched_matmul(q, keys, scores, transpose_b=True)
    by_sample = scores.reshape(batch, heads, rows, count)
    if mask is not None:
        seen = mask if mask.shape[2] == 1 else mask[:, :, first : first + rows]
        hidden = backend.scratch(seen.shape, np.bool_, "hidden")
        xp.logical_not(seen, out=hidden)
        xp.copyto(by_sample, lowest, where=hidden)
    if causal:
        later = ~np.tri(rows, count, first, dtype=bool)
        hidden = backend.scratch(
            later.shape, np.bool_, f"later than {first}", lambda a: backend.write(a, later)
        )
        xp.copyto(by_sample, lowest, where=hidden)
    extreme = backend.scratch((len(q), rows, 1), q.dtype, "extreme")
    xp.max(scores, axis=2, keepdims=True, out=extreme)
    blind = backend.scratch(extreme.shape, np.bool_, "blind")
    if mask is not None:
        xp.equal(extreme, lowest, out=blind)
    xp.subtract(scores, extreme, out=scores)
    xp.exp(scores, out=scores)
    xp.sum(scores, axis=2, keepdims=True, out=extreme)
    xp.divide(scores, extreme, out=scores)
    return scores, blind


class Passes(Operations):
    """Matrix products, attention and element-wise operations."""

    @operation(
        a=reads("m k", transposed="transpose_a"),
        b=reads("k n", transposed="transpose_b"),
        out=writes("m n", accumulate_if="accumulate"),
        products=lambda call: [MatrixProduct(call.m, call.n, call.k, transposed(call))],
    )
    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        accumulate: bool = False,
        precision: str | None = None,
    ) -> None:
        """out = a @ b; += with ``accumulate``.

        ``precision``: one of ``precisions``, the format that a and b are rounded to; None: no
        rounding.
        """

    @operation(
        a=reads("a_stack m k", transposed="transpose_a"),
        b=reads("b_stack k n", transposed="transpose_b"),
        out=writes("stack m n"),
        where=("a_stack in (1, stack)", "b_stack in (1, stack)"),
        products=lambda call: [
            MatrixProduct(call.m, call.n, call.k, transposed(call), call.stack)
        ],
    )
    def batched_matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> None:
        """out[i] = a[i] @ b[i] for each matrix of the stacks; a stack of one is used for all."""

    @operation(
        x=reads("*rows features", rewritten=_keeps_input),
        bias=reads("features", optional=True),
        out=writes("*rows features", over=lambda call: () if _keeps_input(call) else ("x",)),
    )
    def bias_activation(
        self, x: Array, bias: Array | None, activation: ActivationProtocol, out: Array
    ) -> None:
        """out = activation(x + bias).

        ``out`` may be ``x``. For an activation whose gradient reads its input
        (``activation.saves == "input"``), ``x`` is a different array and holds
        ``x + bias`` afterwards.
        """

    @operation(
        saved=reads("*rows features"),
        dy=reads("*rows features"),
        out=writes("*rows features", accumulate_if="accumulate", over=("dy",)),
    )
    def activation_gradient(
        self,
        activation: ActivationProtocol,
        saved: Array,
        dy: Array,
        out: Array,
        accumulate: bool = False,
    ) -> None:
        """out = dy * f'(.), from the activation's saved output or input; out may be dy."""

    @operation(
        x=reads("rows features"),
        out=writes("features", accumulate_if="accumulate"),
    )
    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        """out = the sum over the rows of x, as for a bias gradient."""

    @operation(
        x=reads("*shape", "real"),
        out=writes("*shape", "float or int32", accumulate_if="accumulate", over=("x",)),
        where=(PLAIN,),
    )
    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        """out = x * scale + offset, converted to out's dtype; out may be x."""

    @operation(
        x=reads(
            "rows x_columns",
            part=lambda call: call.x[:, call.start : call.start + call.width],
        ),
        into=writes(
            "rows into_columns",
            accumulate_if="accumulate",
            part=lambda call: call.into[:, call.at : call.at + call.width],
        ),
        where=(
            "0 <= width",
            "0 <= start <= x_columns - width",
            "0 <= at <= into_columns - width",
        ),
        by_kernel=KernelCall(
            "x, x_columns, start, rows, width, at, into_columns, accumulate, into",
            n="rows * width", slices="rows",
        ),
    )
    def copy_columns(
        self, x: Array, start: int, into: Array, at: int, width: int, accumulate: bool = False
    ) -> None:
        """into[:, at : at + width] = x[:, start : start + width]; += with ``accumulate``.

        It concatenates or splits rows.
        """
        source, target = x[:, start : start + width], into[:, at : at + width]
        if accumulate:
            self.xp.add(target, source, out=target)
        else:
            self.xp.copyto(target, source)

    @operation(
        x=reads("*shape"),
        out=writes("*shape"),
        mask=writes("*shape", "bool"),
        counters=COUNTERS,
        where=("0 <= rate <= 1", "0 <= first < 2**62"),
    )
    def dropout(
        self,
        x: Array,
        rate: float,
        seed: int,
        stream: int,
        control: Control,
        out: Array,
        mask: Array,
        first: int = 0,
    ) -> None:
        """Inverted dropout: out = x * mask / (1 - rate), mask kept for the gradient.

        An element is kept where its uniform float32 random number is below 1 - rate. The random
        numbers are drawn by ``numpy.random.Generator(Philox(key=seed, counter=c))
        .random(dtype=float32)`` in C order, with
        c = (0, 0, control's batch counter, stream) as the four 64-bit words. The first ``first``
        numbers are skipped: x may be a rank's part of a larger array, from this element on.
        """

    @operation(
        dy=reads("*shape"),
        mask=reads("*shape", "bool"),
        out=writes("*shape", accumulate_if="accumulate", over=("dy",)),
        where=("0 <= rate <= 1",),
    )
    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        """out = dy * mask / (1 - rate); out may be dy."""

    @operation(
        **_ATTENDING, out=writes("batch queries heads depth"), where=_FITS,
        products=_of_attention(1, 1),
        by_kernel=KernelCall(f"q, k, v, {_MASK}, {_SIZES}, out", n="1"),
    )
    def attention(
        self, q: Array, k: Array, v: Array, mask: Array | None, scale: float, causal: bool,
        out: Array,
    ) -> None:
        """out = softmax(scale q k^T) v for each sample and head. A query sees the keys where
        ``mask`` is true and, with ``causal``, only those up to its position. If it sees none, it
        weighs all alike."""
        keys, values = _by_head(self, k, "keys"), _by_head(self, v, "values")
        for first in range(0, q.shape[1], QUERIES):
            rows = slice(first, first + QUERIES)
            queries = _by_head(self, q[:, rows], "queries", scale)
            weights = _weights(self, queries, keys, q.shape, mask, first, causal)[0]
            read = self.scratch((*weights.shape[:2], v.shape[3]), v.dtype, "read")
            self.batched_matmul(weights, values, read)
            _store(self, read, out[:, rows])

    @operation(
        **_ATTENDING, dy=reads("batch queries heads depth"), dq=writes("batch queries heads size"),
        dk=writes("batch keys heads size"), dv=writes("batch keys heads depth"), where=_FITS,
        products=_of_attention(3, 2),
        by_kernel=KernelCall(f"q, k, v, {_MASK}, dy, {_SIZES}, dq, dk, dv", n="1"),
    )
    def attention_gradient(
        self, q: Array, k: Array, v: Array, mask: Array | None, dy: Array, scale: float,
        causal: bool, dq: Array, dk: Array, dv: Array,
    ) -> None:
        """The gradients of `attention` with respect to q, k and v.

        They are ``scale ds k``, ``scale ds^T q`` and ``p^T dy``, with ``dp = dy v^T`` and
        ``ds = p (dp - sum(p dp))``. The weights p are computed again.
        """
        xp, like = self.xp, q.dtype
        keys, values = _by_head(self, k, "keys"), _by_head(self, v, "values")
        sums = self.scratch(keys.shape, like, "dk"), self.scratch(values.shape, like, "dv")
        for first in range(0, q.shape[1], QUERIES):
            rows = slice(first, first + QUERIES)
            queries = _by_head(self, q[:, rows], "queries", scale)
            slopes = _by_head(self, dy[:, rows], "slopes")
            weights, blind = _weights(self, queries, keys, q.shape, mask, first, causal)
            change = self.scratch(weights.shape, like, "change")
            terms = self.scratch(weights.shape, like, "terms")
            total = self.scratch((*weights.shape[:2], 1), like, "total")
            self.batched_matmul(slopes, values, change, transpose_b=True)
            xp.multiply(weights, change, out=terms)
            xp.sum(terms, axis=2, keepdims=True, out=total)
            xp.subtract(change, total, out=change)
            xp.multiply(change, weights, out=change)
            if mask is not None:
                xp.copyto(change, 0, where=blind)
            for total, factor, right in ((sums[0], change, queries), (sums[1], weights, slopes)):
                part = self.scratch(total.shape, like, "part") if first else total
                self.batched_matmul(factor, right, part, transpose_a=True)
                if first:
                    xp.add(total, part, out=total)
            self.batched_matmul(change, keys, queries)
            xp.multiply(queries, scale, out=queries)
            _store(self, queries, dq[:, rows])
        _store(self, sums[0], dk)
        _store(self, sums[1], dv)

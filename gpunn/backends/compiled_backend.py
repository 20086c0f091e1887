"""The contract on NumPy arrays, with compiled operations in place of array passes.

What is compiled stands in ``kernels/compiled/``: loops around the formulas that the card's
kernels have. Each method here asks for one such operation, or leaves it to NumPy where there
is none: for a formula without a functor, and for arrays that do not lie in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from .array_calls import ArrayCall
from .base import Array, Program, Step
from .compiled_images import CompiledImages
from .compiled_losses import CompiledLosses
from .compiled_normalization import CompiledNormalization
from .compiled_operations import MASK64, alike, in_one_piece, row_length, type_of
from .compiled_products import ours_is_faster
from .compiled_updates import CompiledUpdates
from .contract import dropout_scale
from .control import Control
from .order import Order


class CompiledBackend(
    CompiledImages, CompiledLosses, CompiledNormalization, CompiledUpdates
):
    """Arrays in host memory, and loops over them that were compiled."""

    name = "compiled"

    @contextmanager
    def _session(self) -> Iterator[None]:
        try:
            with super()._session():
                self.library.set_threads(self._workers.count)
                yield
        finally:
            self.library.set_threads(self._workers.count)

    # What is compiled does not warn: NumPy is told not to where it computes itself.

    def session(self, threads: bool = True) -> AbstractContextManager[None]:
        return self._session() if threads else nullcontext()

    def capture(self, step: Step, listable: bool = False) -> Program:
        return super().capture(np.errstate(all="ignore")(step), listable)

    def within(self, array: Any, limit: float) -> bool:
        if type(array) is np.ndarray and array.dtype.char in "fd" and in_one_piece(array):
            return self.library.within(array, limit)
        with np.errstate(all="ignore"):
            return super().within(array, limit)

    def repeated(self, calls: list[ArrayCall]) -> Callable[[int], None]:
        """Neighbouring compiled calls become a program, which needs no Python between them."""
        joined: list[ArrayCall] = []
        for compiled, some in groupby(calls, lambda call: isinstance(call, self.library.Bound)):
            if not compiled:
                joined += some
                continue
            program = self.library.Program(some)
            if len(program.calls) == len(calls):
                return program.run
            joined.append(partial(program.run, 1))
        return np.errstate(all="ignore")(super().repeated(joined))

    def matmul(
        self, a: Array, b: Array, out: Array, transpose_a: bool = False,
        transpose_b: bool = False, accumulate: bool = False, precision: str | None = None,
    ) -> None:
        operation = self._compiled("matmul", type_of(out))
        (m, n), k = out.shape, len(a) if transpose_a else a.shape[1]
        fits = a.shape == ((k, m) if transpose_a else (m, k)) and b.shape == (
            (n, k) if transpose_b else (k, n)
        )
        ours = operation is not None and ours_is_faster(self.instructions, m, n, k)
        if not (ours and fits and in_one_piece(a, b, out)):
            super().matmul(a, b, out, transpose_a, transpose_b, accumulate, precision)
            return
        strides = a.shape[1], b.shape[1], out.shape[1]
        self._do(operation, a, b, out, m, n, k, *strides, transpose_a, transpose_b, accumulate)

    def bias_activation(self, x: Array, bias: Array | None, activation: Any, out: Array) -> None:
        name = "row_activation" if activation.rowwise else "bias_activation"
        operation = self._compiled(name, type_of(out), activation.functor)
        fits = alike(x, out) and (bias is None or bias.shape == x.shape[-1:])
        if operation is None or not (fits and in_one_piece(bias)):
            super().bias_activation(x, bias, activation, out)
            return
        keeps = bias is not None and activation.saves == "input"
        features = row_length(x)
        self._do(
            operation, x, bias, self._parameters(activation), x.size // features, features, keeps,
            out,
        )  # fmt: skip

    def activation_gradient(
        self, activation: Any, saved: Array, dy: Array, out: Array, accumulate: bool = False
    ) -> None:
        name = "row_activation_gradient" if activation.rowwise else "activation_gradient"
        operation = self._compiled(name, type_of(out), activation.functor)
        if operation is None or not alike(saved, dy, out):
            super().activation_gradient(activation, saved, dy, out, accumulate)
            return
        features = row_length(saved)
        rows = (saved.size // features, features) if activation.rowwise else (saved.size,)
        self._do(operation, saved, dy, self._parameters(activation), *rows, accumulate, out)

    def prelu(self, x: Array, slopes: Array, out: Array) -> None:
        if not (alike(x, out) and in_one_piece(slopes) and slopes.shape == x.shape[-1:]):
            super().prelu(x, slopes, out)
            return
        operation = self._compiled("prelu", type_of(out))
        self._do(operation, x, slopes, len(x), x.shape[-1], out)

    def prelu_gradient(
        self, x: Array, slopes: Array, dy: Array, terms: Array, dx: Array | None,
        accumulate: bool = False,
    ) -> None:
        fits = alike(x, dy, terms, dx) and slopes.shape == x.shape[-1:]
        if not (fits and in_one_piece(slopes)):
            super().prelu_gradient(x, slopes, dy, terms, dx, accumulate)
            return
        operation = self._compiled("prelu_gradient", type_of(terms))
        self._do(operation, x, slopes, dy, len(x), x.shape[-1], accumulate, terms, dx)

    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        if not (in_one_piece(x, out) and out.shape == x.shape[1:]):
            super().column_sums(x, out, accumulate)
            return
        self._do(self._compiled("column_sums", type_of(out)), x, *x.shape, accumulate, out)

    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        operation = self._compiled("affine", type_of(x), type_of(out))
        if operation is None or not alike(x, out):
            super().affine(x, scale, offset, out, accumulate)
            return
        self._do(operation, x, scale, offset, out.size, accumulate, out)

    def combine(
        self, combination: str, a: Array, b: Array, out: Array, accumulate: bool = False
    ) -> None:
        operation = self._compiled("combine", type_of(out), combination)
        if operation is None or not alike(a, b, out):
            super().combine(combination, a, b, out, accumulate)
            return
        self._do(operation, a, b, out.size, accumulate, out)

    def copy_columns(
        self, x: Array, start: int, out: Array, at: int, width: int, accumulate: bool = False
    ) -> None:
        operation = self._compiled("copy_columns", type_of(out))
        if operation is None or not in_one_piece(x, out):
            super().copy_columns(x, start, out, at, width, accumulate)
            return
        self._do(
            operation, x, x.shape[1], start, len(out), width, at, out.shape[1], accumulate, out
        )

    def dropout(
        self, x: Array, rate: float, seed: int, stream: int, control: Control, out: Array,
        mask: Array,
    ) -> None:
        if not alike(x, out, mask):
            super().dropout(x, rate, seed, stream, control, out, mask)
            return
        self._do(
            self._compiled("dropout", type_of(out)), x, 1.0 - rate, dropout_scale(rate),
            seed & MASK64, stream & MASK64, control.counters, out.size, out, mask,
        )  # fmt: skip

    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        if not alike(dy, mask, out):
            super().dropout_gradient(dy, rate, mask, out, accumulate)
            return
        operation = self._compiled("dropout_gradient", type_of(out))
        self._do(operation, dy, mask, dropout_scale(rate), out.size, accumulate, out)

    def gather(
        self, source: Array, order: Order, control: Control, out: Array,
        scale: float = 1.0, offset: float = 0.0,
    ) -> None:
        operation = self._compiled("gather", type_of(source), type_of(out))
        fits = source.shape[1:] == out.shape[1:] and order.rows <= len(source)
        if operation is None or not (fits and in_one_piece(source, out)):
            super().gather(source, order, control, out, scale, offset)
            return
        self._do(
            operation, source, order.rows, math.prod(out.shape[1:]), (order.seed or 0) & MASK64,
            order.seed is not None, control.counters, len(out), scale, offset, out,
        )  # fmt: skip

    def advance(self, control: Control, rows: int, totals: Array) -> None:
        self._do(self._compiled("advance"), control.counters, rows, totals)

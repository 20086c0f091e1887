"""The contract on NumPy arrays, with compiled operations in place of array passes.

What is compiled stands in ``kernels/cpu/``: loops around the formulas that the card's
kernels have. Each method here asks for one such operation, or leaves it to NumPy where there
is none: for a formula without a functor.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from gpunn.backends.contract import Given, dropout_scale
from gpunn.backends.numpy.backend import check_position
from gpunn.backends.numpy.trace import ArrayCall
from gpunn.backends.shared.threads import Session
from gpunn.common.holds import Hold

from .images import CompiledImages
from .losses import CompiledLosses
from .normalization import CompiledNormalization
from .operations import MASK64, name_of
from .products import ours_is_faster
from .updates import CompiledUpdates


class CompiledBackend(
    CompiledImages, CompiledLosses, CompiledNormalization, CompiledUpdates
):
    """Arrays in host memory, and loops over them that were compiled."""

    name = "compiled"

    def session(self) -> AbstractContextManager[None]:
        return _Session(self.library)

    def within(self, array: Any, limit: float) -> bool:
        plain = type(array) is np.ndarray and array.dtype.char in "fd" and array.dtype.isnative
        if plain and array.flags.c_contiguous and array.flags.aligned:
            return self.library.within(array, limit)
        return super().within(array, limit)

    def replay_of(self, calls: list[ArrayCall]) -> Callable[[int], None]:
        """Neighbouring compiled calls become a program, which needs no Python between them."""
        joined: list[ArrayCall] = []
        for compiled, neighbours in groupby(calls, lambda c: isinstance(c, self.library.Bound)):
            if not compiled:
                joined += neighbours
                continue
            program = self.library.Program(neighbours)
            if len(program.calls) == len(calls):
                return program.run
            joined.append(partial(program.run, 1))
        return super().replay_of(joined)

    def _matmul(self, given: Given) -> None:
        operation = self._compiled("matmul", name_of(given.dtype))
        a, b, out, m, n, k = given.a, given.b, given.out, given.m, given.n, given.k
        if operation is None or not ours_is_faster(self.instructions, m, n, k):
            super()._matmul(given)
            return
        strides = a.shape[1], b.shape[1], out.shape[1]
        turned = given.transpose_a, given.transpose_b
        self._do(operation, a, b, out, m, n, k, *strides, *turned, given.accumulate)

    def _bias_activation(self, given: Given) -> None:
        x, bias, activation = given.x, given.bias, given.activation
        name = "row_activation" if activation.rowwise else "bias_activation"
        operation = self._compiled(name, name_of(given.dtype), activation.functor)
        if operation is None:
            super()._bias_activation(given)
            return
        keeps = bias is not None and activation.saves == "input"
        parameters, features = self._parameters(activation), max(given.features, 1)
        self._do(operation, x, bias, parameters, x.size // features, features, keeps, given.out)

    def _activation_gradient(self, given: Given) -> None:
        activation, saved = given.activation, given.saved
        name = "row_activation_gradient" if activation.rowwise else "activation_gradient"
        operation = self._compiled(name, name_of(given.dtype), activation.functor)
        if operation is None:
            super()._activation_gradient(given)
            return
        features, parameters = max(given.features, 1), self._parameters(activation)
        sizes = (saved.size // features, features) if activation.rowwise else (saved.size,)
        self._do(operation, saved, given.dy, parameters, *sizes, given.accumulate, given.out)

    def _prelu(self, given: Given) -> None:
        operation = self._compiled("prelu", name_of(given.dtype))
        rows = math.prod(given.rows)
        self._do(operation, given.x, given.slopes, rows, given.features, given.out)

    def _prelu_gradient(self, given: Given) -> None:
        operation, rows = self._compiled("prelu_gradient", name_of(given.dtype)), given.rows
        self._do(
            operation, given.x, given.slopes, given.dy, math.prod(rows), given.features,
            given.accumulate_dx, given.terms, given.dx,
        )  # fmt: skip

    def _column_sums(self, given: Given) -> None:
        operation = self._compiled("column_sums", name_of(given.dtype))
        self._do(operation, given.x, given.rows, given.features, given.accumulate, given.out)

    def _affine(self, given: Given) -> None:
        x, out = given.x, given.out
        operation = self._compiled("affine", name_of(x.dtype), name_of(out.dtype))
        if operation is None:
            super()._affine(given)
            return
        self._do(operation, x, given.scale, given.offset, out.size, given.accumulate, out)

    def _combine(self, given: Given) -> None:
        operation = self._compiled("combine", name_of(given.dtype), given.combination)
        self._do(operation, given.a, given.b, given.out.size, given.accumulate, given.out)

    def _copy_columns(self, given: Given) -> None:
        operation = self._compiled("copy_columns", name_of(given.dtype))
        self._do(
            operation, given.x, given.x_columns, given.start, given.rows, given.width, given.at,
            given.out_columns, given.accumulate, given.out,
        )  # fmt: skip

    def _dropout(self, given: Given) -> None:
        rate, out = given.rate, given.out
        self._do(
            self._compiled("dropout", name_of(given.dtype)), given.x, 1.0 - rate,
            dropout_scale(rate), given.seed & MASK64, given.stream & MASK64,
            given.control.counters, out.size, out, given.mask,
        )  # fmt: skip

    def _dropout_gradient(self, given: Given) -> None:
        operation = self._compiled("dropout_gradient", name_of(given.dtype))
        scale, out = dropout_scale(given.rate), given.out
        self._do(operation, given.dy, given.mask, scale, out.size, given.accumulate, out)

    def _gather(self, given: Given) -> None:
        source, out, order = given.source, given.out, given.order
        operation = self._compiled("gather", name_of(source.dtype), name_of(out.dtype))
        if operation is None:
            super()._gather(given)
            return
        if self._trace is None:  # a program trusts in who sets the position
            check_position(order, given.control.counters, given.batch)
        self._do(
            operation, source, order.rows, math.prod(given.row), (order.seed or 0) & MASK64,
            order.seed is not None, given.control.counters, given.batch, given.scale,
            given.offset, out,
        )  # fmt: skip

    def _advance(self, given: Given) -> None:
        self._do(self._compiled("advance"), given.control.counters, given.rows, given.totals)


class _Session(Session):
    """A session in which the compiled operations of this thread may use several threads."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __enter__(self) -> None:
        self.begin(Hold(sys._getframe(1)))
        self._library.set_threads(Session.threads())

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._library.set_threads(Session.threads() if Session.of_this_thread() else 1)

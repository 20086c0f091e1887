"""The contract on NumPy: each operation a few array passes into given arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from .base import Array, Backend, Program, Step, dropout_scale
from .control import (
    BAD_BATCH,
    BATCHES,
    LEARNING_RATE,
    PASS,
    POSITION,
    UPDATES,
    Control,
)
from .order import Order

# A product of fewer flops than this is slower on two threads than on one, counting
# what the passes after it lose because half of the result is in another core's cache.
FLOPS_WORTH_THREADS = 50_000_000


@functools.cache
def _threadpools() -> Any:
    """The control of BLAS's threads; None where a source tree is run without threadpoolctl."""
    try:
        import threadpoolctl
    except ImportError:
        return None
    return threadpoolctl.ThreadpoolController()


def _blas_threads(limit: int | None) -> AbstractContextManager[Any]:
    pools = _threadpools()
    return pools.limit(limits=limit, user_api="blas") if pools else nullcontext()


class _Repeat:
    """NumPy's `Program`: there is nothing to record, the step is called."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def run(self, steps: int) -> None:
        step = self._step
        for _ in range(steps):
            step()


class NumpyBackend(Backend):
    """Arrays in host memory. Also the reference that the card is checked against."""

    name = "numpy"
    xp = np

    def __init__(self) -> None:
        super().__init__()
        self._philox = np.random.Philox(key=0)
        self._uniform = np.random.Generator(self._philox)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.zeros(shape, dtype)

    def upload(self, source: Any) -> Array:
        if hasattr(source, "__cuda_array_interface__"):
            source = source.get() if hasattr(source, "get") else source.cpu()
        if not isinstance(source, np.ndarray) and hasattr(source, "__dlpack__"):
            source = np.from_dlpack(source)
        return np.ascontiguousarray(source)

    def write(self, target: Array, source: Any) -> None:
        np.copyto(target, source, casting="unsafe")

    def read(self, array: Array) -> np.ndarray:
        return np.array(array)

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def capture(self, step: Step) -> Program:
        return _Repeat(step)

    @contextmanager
    def session(self, flops: int) -> Iterator[None]:
        threads = 1 if flops < FLOPS_WORTH_THREADS else None
        # A loss that is no longer finite is reported as such, by the step that it came from.
        with _blas_threads(threads), np.errstate(all="ignore"):
            yield

    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        accumulate: bool = False,
    ) -> None:
        # BLAS reads a transposed view in place: no copy is made of .T.
        a = a.T if transpose_a else a
        b = b.T if transpose_b else b
        if accumulate:
            product = self.scratch(out.shape, out.dtype, "product")
            np.dot(a, b, out=product)
            np.add(out, product, out=out)
        else:
            np.dot(a, b, out=out)

    def bias_activation(self, x: Array, bias: Array | None, activation: Any, out: Array) -> None:
        if bias is not None:
            target = x if activation.saves == "input" else out
            np.add(x, bias, out=target)
            x = target
        activation.forward(self, x, out)

    def activation_gradient(
        self, activation: Any, saved: Array, dy: Array, out: Array, accumulate: bool = False
    ) -> None:
        if accumulate:
            term = self.scratch(out.shape, out.dtype, "term")
            activation.gradient(self, saved, dy, term)
            np.add(out, term, out=out)
        else:
            activation.gradient(self, saved, dy, out)

    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        if accumulate:
            sums = self.scratch(out.shape, out.dtype, "sums")
            np.add.reduce(x, axis=0, out=sums)
            np.add(out, sums, out=out)
        else:
            np.add.reduce(x, axis=0, out=out)

    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        if accumulate:
            term = self.scratch(out.shape, out.dtype, "term")
            self.affine(x, scale, offset, term)
            np.add(out, term, out=out)
        elif scale == 1.0 and offset == 0.0:
            np.copyto(out, x, casting="unsafe")
        else:
            # dtype= makes the buffered loop convert x piece by piece, not as a whole.
            np.multiply(x, scale, out=out, dtype=out.dtype, casting="unsafe")
            if offset:
                np.add(out, offset, out=out)

    def dropout(
        self,
        x: Array,
        rate: float,
        seed: int,
        stream: int,
        control: Control,
        out: Array,
        mask: Array,
    ) -> None:
        self._philox.state = {
            "bit_generator": "Philox",
            "state": {
                "counter": np.array([0, 0, control.counters[BATCHES], stream], np.uint64),
                "key": np.array([seed, 0], np.uint64),
            },
            "buffer": np.zeros(4, np.uint64),
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        uniform = self.scratch(x.shape, np.float32, "uniform")
        self._uniform.random(out=uniform, dtype=np.float32)
        np.less(uniform, 1.0 - rate, out=mask)
        self.dropout_gradient(x, rate, mask, out)

    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        target = self.scratch(out.shape, out.dtype, "term") if accumulate else out
        np.multiply(dy, mask, out=target)
        np.multiply(target, dropout_scale(rate), out=target)
        if accumulate:
            np.add(out, target, out=out)

    def gather(
        self,
        source: Array,
        order: Order,
        control: Control,
        out: Array,
        scale: float = 1.0,
        offset: float = 0.0,
    ) -> None:
        position = int(control.counters[POSITION])
        rows = order.indices(int(control.counters[PASS]))[position : position + len(out)]
        plain = scale == 1.0 and offset == 0.0
        same = source.dtype == out.dtype
        target = out if same else self.scratch(out.shape, source.dtype, "rows")
        # mode="clip" because "raise" would buffer the output; the rows are in range.
        source.take(rows, axis=0, out=target, mode="clip")
        if not (same and plain):
            self.affine(target, scale, offset, out)

    def loss(
        self,
        loss: Any,
        y_true: Array,
        y_pred: Array,
        weights: Array | None,
        scale: float,
        gradient: Array | None,
        totals: Array,
    ) -> None:
        rows = len(y_pred)
        values = self.scratch((rows,), y_pred.dtype, "values")
        loss.forward_backward(self, y_true, y_pred, values, gradient)
        if weights is not None:
            np.multiply(values, weights, out=values)
        if gradient is not None:
            np.multiply(gradient, scale, out=gradient)
            if weights is not None:
                np.multiply(gradient, weights[:, np.newaxis], out=gradient)
        totals[0] += scale * rows * float(np.add.reduce(values, dtype=np.float64))
        totals[1] += rows
        if loss.counts_matches and len(totals) > 2:
            hits = loss.matches(self, y_true, y_pred)
            totals[2] += np.count_nonzero(hits)

    def metric(
        self, metric: Any, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        metric.accumulate(self, y_true, y_pred, weights, state)

    def update(self, optimizer: Any, arena: Any, control: Control) -> None:
        learning_rate = float(control.rates[LEARNING_RATE])
        updates = int(control.counters[UPDATES])
        for run in arena.runs:
            optimizer.update(
                self,
                run.values,
                run.gradients,
                run.slots,
                learning_rate * run.multiplier,
                updates,
                run.decay,
            )

    def advance(self, control: Control, rows: int, totals: Array) -> None:
        counters = control.counters
        if counters[BAD_BATCH] < 0 and not math.isfinite(totals[0]):
            counters[BAD_BATCH] = counters[BATCHES]
        counters[UPDATES] += 1
        counters[BATCHES] += 1
        counters[POSITION] += rows

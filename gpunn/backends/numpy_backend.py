"""The contract on NumPy: each operation a few array passes into given arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from .array_calls import ArrayCall, ArrayCalls, Notes
from .base import Array, Program, Step
from .contract import dropout_scale
from .control import (
    BAD_BATCH,
    BATCHES,
    PASS,
    POSITION,
    UPDATES,
    Control,
)
from .numpy_images import NumpyImages
from .numpy_normalization import NumpyNormalization
from .numpy_penalties import NumpyPenalties
from .numpy_updates import NumpyUpdates
from .order import Order
from .threads import Workers, worth_threads

COMBINATIONS = {
    "Product": np.multiply,
    "Quotient": np.divide,
    "Larger": np.maximum,
    "Smaller": np.minimum,
    "Same": np.equal,
}


class NumpyBackend(NumpyImages, NumpyNormalization, NumpyPenalties, NumpyUpdates):
    """Arrays in host memory. Also the reference that the card is checked against.

    An operation does by ``self._do`` what is the same in each step: a program notes it.
    What reads the control block, or adds up in Python, is a method that is noted as a whole.
    """

    name = "numpy"
    xp: Any = np
    cache_bytes = 1 << 22

    def __init__(self) -> None:
        super().__init__()
        self._workers = Workers()
        self._philox = np.random.Philox(key=0)
        self._uniform = np.random.Generator(self._philox)

    @staticmethod
    def _do(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    _do_once = _do

    # NumPy reduces short rows one by one; what follows takes a third of the time.

    def row_max(self, x: Array, out: Array) -> None:
        n, features = x.size // x.shape[-1], x.shape[-1]
        place = self.scratch(x.shape[:-1], np.int64, "place of the largest")
        starts = self.scratch(
            x.shape[:-1], np.int64, f"rows of {features}",
            lambda array: np.copyto(array.reshape(-1), np.arange(0, n * features, features)),
        )
        self._do(np.argmax, x, axis=-1, out=place)
        self._do(np.add, place, starts, out=place)
        self._do(np.take, x.reshape(-1), place.reshape(-1), out=out.reshape(-1))

    def row_sums(self, x: Array, out: Array) -> None:
        ones = self.scratch(x.shape[-1:], x.dtype, "ones", lambda array: array.fill(1))
        self._do(np.dot, x.reshape(-1, x.shape[-1]), ones, out=out.reshape(-1))

    def apply(self, function: Callable[..., None], *args: Any) -> None:
        self._do(function, np, *args)

    @contextmanager
    def noting(self) -> Iterator[list[ArrayCall]]:
        """List the array calls that the block comes to, without performing them."""
        notes, before = Notes(), dict(vars(self))
        self.__dict__.update(_do=notes.note, _do_once=notes.note_once, xp=notes)
        try:
            yield notes.calls
        finally:
            del self.__dict__["_do"], self.__dict__["_do_once"], self.__dict__["xp"]
            self.__dict__.update(before)

    def repeated(self, calls: list[ArrayCall]) -> Callable[[int], None]:
        """What performs the calls so many times."""

        def run(steps: int) -> None:
            for _ in range(steps):
                for call in calls:
                    call()

        return run

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

    def capture(self, step: Step, listable: bool = False) -> Program:
        return ArrayCalls(self, step, listable)

    def share(self, n: int, work: Callable[[slice], None]) -> None:
        self._workers.share(n, work)

    def session(self, threads: bool = True) -> AbstractContextManager[None]:
        return self._session() if threads else np.errstate(all="ignore")

    @contextmanager
    def _session(self) -> Iterator[None]:
        # A loss that is no longer finite is reported as such, by the step that it came from.
        with self._workers.session(), np.errstate(all="ignore"):
            yield

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
        # BLAS reads a transposed view in place: no copy is made of .T.
        a = a.T if transpose_a else a
        b = b.T if transpose_b else b
        target = self.scratch(out.shape, out.dtype, "product") if accumulate else out
        dot = self._workers.dot if worth_threads(len(out), out.shape[1], a.shape[1]) else np.dot
        self._do(dot, a, b, out=target)
        if accumulate:
            self._do(np.add, out, target, out=out)

    def bias_activation(self, x: Array, bias: Array | None, activation: Any, out: Array) -> None:
        if bias is not None:
            target = x if activation.saves == "input" else out
            self._do(np.add, x, bias, out=target)
            x = target
        self._formula(activation, activation.forward, x, out)

    def activation_gradient(
        self, activation: Any, saved: Array, dy: Array, out: Array, accumulate: bool = False
    ) -> None:
        target = self.scratch(out.shape, out.dtype, "term") if accumulate else out
        self._formula(activation, activation.gradient, saved, dy, target)
        if accumulate:
            self._do(np.add, out, target, out=out)

    def _formula(self, formula: Any, function: Callable[..., None], *arrays: Any) -> None:
        """A formula is noted call by call, but as a whole if it has no functor: then it may
        look at what its arrays hold."""
        if formula.functor is None:
            self._do(function, self, *arrays)
        else:
            function(self, *arrays)

    def prelu(self, x: Array, slopes: Array, out: Array) -> None:
        below = self.scratch(x.shape, x.dtype, "below")
        self._do(np.minimum, x, 0.0, out=below)
        self._do(np.multiply, below, slopes, out=below)
        self._do(np.maximum, x, 0.0, out=out)
        self._do(np.add, out, below, out=out)

    def prelu_gradient(
        self, x: Array, slopes: Array, dy: Array, terms: Array, dx: Array | None,
        accumulate: bool = False,
    ) -> None:
        self._do(np.minimum, x, 0.0, out=terms)
        self._do(np.multiply, terms, dy, out=terms)
        if dx is None:
            return
        slope = self.scratch(x.shape, x.dtype, "slope")
        side = self.scratch(x.shape, bool, "side")
        self._do(np.less_equal, x, 0.0, out=side)
        self._do(np.multiply, side, slopes, out=slope)
        self._do(np.greater, x, 0.0, out=side)
        self._do(np.add, slope, side, out=slope)
        self._do(np.multiply, dy, slope, out=slope if accumulate else dx)
        if accumulate:
            self._do(np.add, dx, slope, out=dx)

    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        target = self.scratch(out.shape, out.dtype, "sums") if accumulate else out
        ones = self.scratch((len(x),), x.dtype, "ones", lambda array: array.fill(1))
        self._do(np.dot, ones, x, out=target)  # faster than a sum along the first axis
        if accumulate:
            self._do(np.add, out, target, out=out)

    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        target = out
        if accumulate:
            if (scale, offset) == (1.0, 0.0) and x.dtype == out.dtype:
                self._do(np.add, out, x, out=out)
                return
            target = self.scratch(out.shape, out.dtype, "term")
        if scale == 1.0 and offset == 0.0:
            self._do(np.copyto, target, x, casting="unsafe")
        else:
            # dtype= makes the buffered loop convert x piece by piece, not as a whole.
            self._do(np.multiply, x, scale, out=target, dtype=out.dtype, casting="unsafe")
            if offset:
                self._do(np.add, target, offset, out=target)
        if accumulate:
            self._do(np.add, out, target, out=out)

    def combine(
        self, combination: str, a: Array, b: Array, out: Array, accumulate: bool = False
    ) -> None:
        target = self.scratch(out.shape, out.dtype, "term") if accumulate else out
        # "unsafe": what is true counts as 1
        self._do(COMBINATIONS[combination], a, b, out=target, casting="unsafe")
        if accumulate:
            self._do(np.add, out, target, out=out)

    def copy_columns(
        self, x: Array, start: int, out: Array, at: int, width: int, accumulate: bool = False
    ) -> None:
        source, target = x[:, start : start + width], out[:, at : at + width]
        if accumulate:
            self._do(np.add, target, source, out=target)
        else:
            self._do(np.copyto, target, source)

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
        uniform = self.scratch(x.shape, np.float32, "uniform")
        self._do(self._draw, seed, stream, control.counters, uniform)
        self._do(np.less, uniform, 1.0 - rate, out=mask)
        self.dropout_gradient(x, rate, mask, out)

    def _draw(self, seed: int, stream: int, counters: Array, uniform: Array) -> None:
        self._philox.state = {
            "bit_generator": "Philox",
            "state": {
                "counter": np.array([0, 0, counters[BATCHES], stream], np.uint64),
                "key": np.array([seed, 0], np.uint64),
            },
            "buffer": np.zeros(4, np.uint64),
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._uniform.random(out=uniform, dtype=np.float32)

    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        target = self.scratch(out.shape, out.dtype, "term") if accumulate else out
        self._do(np.multiply, dy, mask, out=target)
        self._do(np.multiply, target, dropout_scale(rate), out=target)
        if accumulate:
            self._do(np.add, out, target, out=out)

    def gather(
        self,
        source: Array,
        order: Order,
        control: Control,
        out: Array,
        scale: float = 1.0,
        offset: float = 0.0,
    ) -> None:
        plain = scale == 1.0 and offset == 0.0
        same = source.dtype == out.dtype
        target = out if same else self.scratch(out.shape, source.dtype, "rows")
        rows = self.scratch((len(out),), np.intp, "rows of a batch")
        self._do_once(self._find_rows, order, control.counters, rows)
        # mode="clip" because "raise" would buffer the output; the rows are in range.
        self._do(np.take, source, rows, axis=0, out=target, mode="clip")
        if not (same and plain):
            self.affine(target, scale, offset, out)

    @staticmethod
    def _find_rows(order: Order, counters: Array, out: Array) -> None:
        position = int(counters[POSITION])
        out[:] = order.indices(int(counters[PASS]))[position : position + len(out)]

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
        values = self.scratch((len(y_pred),), y_pred.dtype, "values")
        self._formula(loss, loss.forward_backward, y_true, y_pred, values, gradient)
        if weights is not None:
            self._do(np.multiply, values, weights, out=values)
        if gradient is not None:
            self._do(np.multiply, gradient, scale, out=gradient)
            if weights is not None:
                self._do(np.multiply, gradient, weights[:, np.newaxis], out=gradient)
        # A column of sums for each of the totals, added up in float64 by one product.
        counts = loss.counts_matches and len(totals) > 2
        rows, n = len(values), 3 if counts else 2
        sums = self.scratch((n, rows), np.float64, "row sums", lambda array: array.fill(1))
        self._do(np.copyto, sums[0], values)
        if counts:
            hits = self.scratch((rows,), bool, "hits")
            self._formula(loss, loss.matches, y_true, y_pred, hits)
            self._do(np.copyto, sums[2], hits)
        ones = self.scratch((rows,), np.float64, "ones", lambda array: array.fill(1))
        added = self.scratch((n,), np.float64, "added")
        self._do(np.dot, sums, ones, out=added)
        factors = self.scratch(
            (n,), np.float64, f"{scale * rows} of the losses",
            lambda array: np.copyto(array, [scale * rows, 1.0, 1.0][:n]),
        )
        self._do(np.multiply, added, factors, out=added)
        totals = totals[:n]
        self._do(np.add, totals, added, out=totals)

    def metric(
        self, metric: Any, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        self._formula(metric, metric.accumulate, y_true, y_pred, weights, state)

    def advance(self, control: Control, rows: int, totals: Array) -> None:
        counters = control.counters
        places = (UPDATES, BATCHES, POSITION)
        more = self.scratch(
            counters.shape, counters.dtype, f"{rows} rows further",
            lambda array: np.copyto(array, np.isin(np.arange(len(array)), places)),
        )
        more[POSITION] = rows
        self._do(self._mark_bad_batch, counters, totals)
        self._do(np.add, counters, more, out=counters)

    @staticmethod
    def _mark_bad_batch(counters: Array, totals: Array) -> None:
        if counters[BAD_BATCH] < 0 and not math.isfinite(totals[0]):
            counters[BAD_BATCH] = counters[BATCHES]

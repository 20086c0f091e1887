"""The NumPy backend: each operation is a few array passes that write into given arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.backends.contract import LATER, OpCall, dropout_scale
from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.control import BAD_BATCH, BATCHES, PASS, POSITION, UPDATES
from gpunn.backends.contract.operation import operations_later
from gpunn.backends.host.program import TracingBackend
from gpunn.backends.host.trace import without_blas
from gpunn.backends.shared.functions import select
from gpunn.backends.shared.order import Order
from gpunn.backends.shared.threads import pieces_of_product, workers

from .updates import NumpyUpdates

if TYPE_CHECKING:
    from .convolution import NumpyConvolution
    from .expressions import NumpyExpressions
    from .gather_scatter import NumpyGatherScatter
    from .normalization import NumpyNormalization
else:
    NumpyConvolution, NumpyExpressions, NumpyGatherScatter, NumpyNormalization = (
        operations_later(group, TracingBackend, __package__) for group in LATER
    )

_GENERATOR = ("generator of uniform numbers",)
WORDS = 8  # float32 numbers of one block of Philox

class NumpyBackend(
    NumpyExpressions, NumpyConvolution, NumpyNormalization, NumpyGatherScatter, NumpyUpdates,
):
    """The backend of arrays in host memory. It is also the reference for testing the GPU."""

    name = "numpy"
    cache_bytes = 1 << 22

    # NumPy reduces short rows one by one; these methods take a third of the time.

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
        ones = self._ones(x.shape[-1], x.dtype)
        self._do(np.dot, x.reshape(-1, x.shape[-1]), ones, out=out.reshape(-1))

    # -- arrays

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.zeros(shape, dtype)

    def upload(self, source: Any) -> Array:
        if hasattr(source, "__cuda_array_interface__"):
            source = source.get() if hasattr(source, "get") else source.cpu()
        if not isinstance(source, np.ndarray) and hasattr(source, "__dlpack__"):
            source = np.from_dlpack(source)
        array = np.ascontiguousarray(source)
        return array if array.flags.aligned else array.copy()

    def write(self, target: Array, source: Any) -> None:
        target[...] = source

    def read(self, array: Array) -> np.ndarray:
        return np.array(array)

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    # -- operations

    def _matmul(self, call: OpCall) -> None:
        # BLAS reads a transposed view in place: .T is not copied.
        a = call.a.T if call.transpose_a else call.a
        b = call.b.T if call.transpose_b else call.b
        pieces = pieces_of_product(call.m, call.n, call.k)
        with self._accumulating(call.out, call.accumulate) as target:
            if pieces > 1:
                self._do(_dot_in_pieces, a, b, target, pieces)
            else:
                self._do(np.dot, a, b, out=target)

    def _batched_matmul(self, call: OpCall) -> None:
        a = call.a.swapaxes(1, 2) if call.transpose_a else call.a
        b = call.b.swapaxes(1, 2) if call.transpose_b else call.b
        self._do(np.matmul, a, b, out=call.out)

    def _bias_activation(self, call: OpCall) -> None:
        x, bias, activation, out = call.x, call.bias, call.activation, call.out
        if bias is not None:
            target = x if activation.saves == "input" else out
            self._do(np.add, x, bias, out=target)
            x = target
        self.apply_formula(activation, activation.forward, x, out)

    def _activation_gradient(self, call: OpCall) -> None:
        activation = call.activation
        with self._accumulating(call.out, call.accumulate) as target:
            self.apply_formula(activation, activation.backward, call.saved, call.dy, target)

    def _column_sums(self, call: OpCall) -> None:
        x, ones = call.x, self._ones(call.rows, call.dtype)
        with self._accumulating(call.out, call.accumulate) as target:
            self._do(np.dot, ones, x, out=target)  # faster than a sum along the first axis

    def _affine(self, call: OpCall) -> None:
        x, scale, offset, out = call.x, call.scale, call.offset, call.out
        plain = (scale, offset) == (1.0, 0.0)
        if plain and x.dtype == out.dtype:
            self._store(x, out, call.accumulate)
            return
        with self._accumulating(out, call.accumulate) as target:
            if plain:
                self._convert(x, target)
                return
            # dtype= makes the buffered loop convert x in pieces, not as a whole.
            self._do(np.multiply, x, scale, out=target, dtype=out.dtype, casting="unsafe")
            if offset:
                self._do(np.add, target, offset, out=target)

    def _dropout(self, call: OpCall) -> None:
        x, rate, mask, out = call.x, call.rate, call.mask, call.out
        uniform = self._uniform(call, call.first, x.size).reshape(x.shape)
        self._do(np.less, uniform, 1.0 - rate, out=mask)
        select(self, mask, x, out)
        self._do(np.multiply, out, dropout_scale(rate), out=out)

    def _uniform(self, call: OpCall, first: int, size: int) -> Array:
        """Return ``size`` uniform numbers of the stream, from number ``first`` on."""
        block, skipped = divmod(first, WORDS)
        uniform = self.scratch((skipped + size,), np.float32, "uniform")
        self._do(self._draw, call.seed, call.stream, call.control.counters, block, uniform)
        return uniform[skipped:]

    @without_blas
    def _draw(self, seed: int, stream: int, counters: Array, block: int, uniform: Array) -> None:
        cached = self._scratch.arrays.get(_GENERATOR)
        if cached is None:  # one for each thread, as for work arrays
            generator = np.random.Generator(np.random.Philox(key=0))
            state = generator.bit_generator.state
            cached = self._scratch.arrays[_GENERATOR] = generator, generator.bit_generator, state
        generator, philox, state = cached  # the state of an exhausted buffer
        counter = state["state"]["counter"]
        counter[0], counter[2], counter[3] = block, counters[BATCHES], stream
        state["state"]["key"][0] = seed
        philox.state = state
        generator.random(out=uniform, dtype=np.float32)

    def _dropout_gradient(self, call: OpCall) -> None:
        with self._accumulating(call.out, call.accumulate) as target:
            select(self, call.mask, call.dy, target)
            self._do(np.multiply, target, dropout_scale(call.rate), out=target)

    def _gather(self, call: OpCall) -> None:
        source, out, scale, offset = call.source, call.out, call.scale, call.offset
        plain = scale == 1.0 and offset == 0.0
        same = source.dtype == out.dtype
        target = out if same else self.scratch(out.shape, source.dtype, "rows")
        rows = self.scratch((call.batch,), np.intp, "rows of a batch")
        self._do_once(_find_rows, call.order, call.control.counters, call.first, rows)
        # mode="clip" because "raise" would buffer the output; the rows are in range.
        self._do(np.take, source, rows, axis=0, out=target, mode="clip")
        if not (same and plain):
            self.affine(target, scale, offset, out)

    def _loss(self, call: OpCall) -> None:
        loss, y_true, y_pred = call.loss, call.y_true, call.y_pred
        weights, gradient, totals = call.weights, call.gradient, call.totals
        rows = call.rows
        values = self.scratch((rows,), y_pred.dtype, "values")
        self.apply_formula(loss, loss.forward_backward, y_true, y_pred, values, gradient)
        if weights is not None:
            self._do(np.multiply, values, weights, out=values)
        if gradient is not None:
            self._do(np.multiply, gradient, call.scale, out=gradient)
            if weights is not None:
                self._do(np.multiply, gradient, weights[:, np.newaxis], out=gradient)
        # A row of values for each of the totals, summed in float64 by one product.
        counts = loss.counts_matches and call.sums > 2
        n = 3 if counts else 2
        sums = self.scratch((n, rows), np.float64, "row sums", lambda array: array.fill(1))
        self._do(np.copyto, sums[0], values)
        if counts:
            hits = self.scratch((rows,), bool, "hits")
            self.apply_formula(loss, loss.matches, y_true, y_pred, hits)
            self._do(np.copyto, sums[2], hits)
        ones = self._ones(rows, np.float64)
        added = self.scratch((n,), np.float64, "added")
        self._do(np.dot, sums, ones, out=added)
        factor = call.scale * (call.batch or rows)
        factors = self.scratch(
            (n,), np.float64, f"{factor} of the losses",
            lambda array: np.copyto(array, [factor, 1.0, 1.0][:n]),
        )
        self._do(np.multiply, added, factors, out=added)
        totals = totals[:n]
        self._do(np.add, totals, added, out=totals)

    def _metric(self, call: OpCall) -> None:
        metric, arrays = call.metric, (call.y_true, call.y_pred, call.weights, call.state)
        self.apply_formula(metric, metric.accumulate, *arrays)

    def _advance(self, call: OpCall) -> None:
        counters, rows = call.control.counters, call.rows
        places = (UPDATES, BATCHES, POSITION)
        more = self.scratch(
            counters.shape, counters.dtype, f"{rows} rows further",
            lambda array: np.copyto(array, np.isin(np.arange(len(array)), places)),
        )
        more[POSITION] = rows
        self._do(np.add, counters, more, out=counters)  # first: it follows the update at once
        self._do(_mark_bad_batch, counters, call.totals)


def _dot_in_pieces(a: Array, b: Array, out: Array, pieces: int) -> None:
    """out = a @ b, in pieces of rows, or of columns if there are more.

    BLAS repacks the undivided factor for each piece, so the smaller one stays undivided.
    """
    rows, columns = out.shape
    cuts = [max(rows, columns) * i // pieces for i in range(pieces + 1)]

    def some_rows(piece: int) -> None:
        at = slice(cuts[piece], cuts[piece + 1])
        np.matmul(a[at], b, out=out[at])  # `dot` would copy rows of a transposed array

    def some_columns(piece: int) -> None:
        at = slice(cuts[piece], cuts[piece + 1])
        np.matmul(a, b[:, at], out=out[:, at])

    workers.parallel_for(pieces, some_rows if rows >= columns else some_columns)


@without_blas
def _find_rows(order: Order, counters: Array, first: int, out: Array) -> None:
    position = check_position(order, counters, first, len(out))
    out[:] = order.indices(int(counters[PASS]))[position : position + len(out)]


def check_position(order: Order, counters: Array, first: int, batch: int) -> int:
    """Return the position in the pass of row ``first`` of the next batch, or raise a ValueError if
    the ``batch`` rows from there on are not all within the pass."""
    position = int(counters[POSITION]) + first
    if not 0 <= position <= order.rows - batch:
        raise ValueError(
            f"gather: {batch} rows from position {position} are not within a pass of "
            f"{order.rows} rows."
        )
    return position


@without_blas
def _mark_bad_batch(counters: Array, totals: Array) -> None:
    if counters[BAD_BATCH] < 0 and not math.isfinite(totals[0]):
        counters[BAD_BATCH] = counters[BATCHES] - 1

"""The contract on a card: each operation one kernel of ``kernels/``, or one product.

What only a card has comes in from outside: the array module, the kernels, the matrix
product and the stream. ``cuda.py`` supplies CuPy's; the tests supply NumPy, the same
kernels compiled for the CPU, and a stream that stores what it is asked and repeats it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .base import Array, Backend, Program, Step, dropout_scale
from .control import LEARNING_RATE, UPDATES, Control
from .device import KernelSet, Matmul, Replay, Run, Stream
from .kernel_source import kernels, type_name
from .order import Order

BLOCK = 256  # threads of an element-wise block
ROW_BLOCK = 128  # threads of a block in which each warp takes a row
WARP = 32
COLUMN_BLOCK = (32, 16)  # COLUMN_TILE and ROW_THREADS of reductions.cu
NORM_BLOCK = 1024
NORM_CHUNK = 1 << 14  # elements that one block sums the squares of

_MASK64 = (1 << 64) - 1

LONG = 32  # steps in the longer of a program's two recordings


class _Recorded:
    """A step once and `LONG` times over, each as a recording: a launch has its price.

    The first step is performed as it stands: that compiles kernels and makes work arrays,
    neither of which can be recorded. The object holds on to the arrays that the recordings
    read and write, as a CUDA graph does not.
    """

    def __init__(self, backend: CupyBackend, step: Step) -> None:
        self._backend = backend
        self._step = step
        self._scratch: dict[tuple, Array] | None = None
        self._recordings: dict[int, tuple[Replay, list[Array]]] = {}

    def run(self, steps: int) -> None:
        if self._scratch is None and steps > 0:
            self._step()
            self._scratch = dict(self._backend._scratch)
            steps -= 1
        for times, count in ((LONG, steps // LONG), (1, steps % LONG)):
            if count and times not in self._recordings:
                self._backend._scratch.update(self._scratch or {})  # it may have been released
                self._recordings[times] = self._backend.record(self._step, times)
            for _ in range(count):
                self._recordings[times][0]()


class CupyBackend(Backend):
    """Arrays on a card, or on what the tests put in its place.

    Args:
        xp: the array module, cupy.
        kernels: the kernels of ``kernels/``.
        blas: the matrix product.
        stream: the queue that all of them use.
        name: as ``get_backend`` knows it.
        free: tells how many bytes of memory the device can still give.
    """

    def __init__(
        self,
        xp: Any,
        kernels: KernelSet,
        blas: Matmul,
        stream: Stream,
        name: str = "cupy",
        free: Callable[[], int] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.xp = xp
        self._kernels = kernels
        self._blas = blas
        self._stream = stream
        self._free = free
        self._prepared: dict[tuple[str, ...], Run] = {}
        self._kept: list[Array] | None = None

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.zeros(shape, dtype)

    def upload(self, source: Any) -> Array:
        if not isinstance(source, np.ndarray) and hasattr(source, "__dlpack__"):
            on_host = source.__dlpack_device__()[0] == 1  # kDLCPU
            if not self.owns(source):
                source = (np if on_host else self.xp).from_dlpack(source)
        return self.xp.ascontiguousarray(self.xp.asarray(source))

    def write(self, target: Array, source: Any) -> None:
        target[...] = self.xp.asarray(source)

    def read(self, array: Array) -> np.ndarray:
        return self._stream.read(array)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.xp.ndarray)

    def free_bytes(self) -> int | None:
        return self._free() if self._free else None

    def capture(self, step: Step) -> Program:
        return _Recorded(self, step)

    def record(self, step: Step, times: int) -> tuple[Replay, list[Array]]:
        """``step`` so often over as one launch, and the arrays that it needs."""
        self._kept = []
        try:
            replay = self._stream.record(step, times)
            return replay, list({id(array): array for array in self._kept}.values())
        finally:
            self._kept = None

    # -- launching

    def _launch(
        self, name: str, choices: tuple[str, ...], grid: tuple[int, ...], block: tuple[int, ...],
        *values: Any,
    ) -> None:
        kernel = kernels()[name]
        run = self._prepared.get((name, *choices))
        if run is None:
            run = self._kernels.prepare(kernel.entry(*choices), kernel)
            self._prepared[(name, *choices)] = run
        arguments = kernel.arguments(choices, values)
        if self._kept is not None:
            self._kept.extend(value for value in arguments if self.owns(value))
        run(grid, block, arguments)
        self.launched += 1

    def _each(self, name: str, choices: tuple[str, ...], n: int, *values: Any) -> None:
        """Launch with a thread for each of ``n`` elements, or fewer that take several."""
        if n:
            grid = min(-(-n // BLOCK), self._kernels.blocks)
            self._launch(name, choices, (grid,), (BLOCK,), *values)

    def _rows(self, name: str, choices: tuple[str, ...], rows: int, *values: Any) -> None:
        """Launch with a warp for each row, or fewer that take several."""
        if rows:
            grid = min(-(-rows * WARP // ROW_BLOCK), self._kernels.blocks)
            self._launch(name, choices, (grid,), (ROW_BLOCK,), *values)

    def _constant(self, slot: str, values: np.ndarray) -> Array:
        """These values on the device, written there once."""
        return self.scratch(
            values.shape, values.dtype, f"{slot} {values.tolist()}",
            lambda array: self.write(array, values),
        )

    def _parameters(self, formula: Any) -> Array:
        """The numbers of a formula, on the device."""
        return self._constant("parameters", np.array(formula.parameters or (0.0,), np.float64))

    def _arrivals(self) -> Array:
        """The counter by which a launch's last block knows that it is the last."""
        return self.scratch((1,), np.uint32, "arrivals", lambda array: array.fill(0))

    # -- products and element-wise passes

    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        accumulate: bool = False,
    ) -> None:
        if self._kept is not None:
            self._kept += [a, b, out]
        if out.size:
            self._blas(a, b, out, transpose_a, transpose_b, accumulate)
            self.launched += 1

    def bias_activation(self, x: Array, bias: Array | None, activation: Any, out: Array) -> None:
        keep_input = activation.saves == "input" and bias is not None
        if activation.functor is None:
            if bias is not None:
                target = x if keep_input else out
                self.xp.add(x, bias, out=target)
                x = target
            activation.forward(self, x, out)
            return
        choices = (type_name(out.dtype), activation.functor)
        features = x.shape[-1] if x.ndim else 1
        parameters = self._parameters(activation)
        if activation.rowwise:
            rows = x.size // features
            self._rows(
                "row_activation", choices, rows,
                x, bias, parameters, rows, features, keep_input, out,
            )
        else:
            self._each(
                "bias_activation", choices, x.size,
                x, bias, parameters, x.size, features, keep_input, out,
            )

    def activation_gradient(
        self, activation: Any, saved: Array, dy: Array, out: Array, accumulate: bool = False
    ) -> None:
        if activation.functor is None:
            term = self.scratch(out.shape, out.dtype, "term") if accumulate else out
            activation.gradient(self, saved, dy, term)
            if accumulate:
                self.xp.add(out, term, out=out)
            return
        choices = (type_name(out.dtype), activation.functor)
        parameters = self._parameters(activation)
        if activation.rowwise:
            features = saved.shape[-1]
            rows = saved.size // features
            self._rows(
                "row_activation_gradient", choices, rows,
                saved, dy, parameters, rows, features, accumulate, out,
            )
        else:
            self._each(
                "activation_gradient", choices, saved.size,
                saved, dy, parameters, saved.size, accumulate, out,
            )

    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        rows, features = x.shape
        if features:
            grid = min(-(-features // COLUMN_BLOCK[0]), self._kernels.blocks)
            self._launch(
                "column_sums", (type_name(out.dtype),), (grid,), COLUMN_BLOCK,
                x, rows, features, accumulate, out,
            )

    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        choices = (type_name(x.dtype), type_name(out.dtype))
        self._each("affine", choices, out.size, x, scale, offset, out.size, accumulate, out)

    def dropout(
        self, x: Array, rate: float, seed: int, stream: int, control: Control, out: Array,
        mask: Array,
    ) -> None:
        draws = -(-out.size // 8)  # a thread takes eight elements
        self._each(
            "dropout", (type_name(out.dtype),), draws,
            x, 1.0 - rate, dropout_scale(rate), seed & _MASK64, stream & _MASK64,
            control.counters, out.size, out, mask,
        )

    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        self._each(
            "dropout_gradient", (type_name(out.dtype),), out.size,
            dy, mask, dropout_scale(rate), out.size, accumulate, out,
        )

    # -- the two ends of a step

    def gather(
        self, source: Array, order: Order, control: Control, out: Array,
        scale: float = 1.0, offset: float = 0.0,
    ) -> None:
        batch, width = len(out), math.prod(out.shape[1:])
        if batch == 0 or width == 0:
            return
        across = min(1 << (width - 1).bit_length(), BLOCK)
        block = (across, BLOCK // across)
        self._launch(
            "gather", (type_name(source.dtype), type_name(out.dtype)),
            (min(-(-batch // block[1]), self._kernels.blocks),), block,
            source, order.rows, width, (order.seed or 0) & _MASK64, order.seed is not None,
            control.counters, batch, scale, offset, out,
        )

    def loss(
        self, loss: Any, y_true: Array, y_pred: Array, weights: Array | None, scale: float,
        gradient: Array | None, totals: Array,
    ) -> None:
        rows, classes = y_pred.shape
        counts = loss.counts_matches and len(totals) > 2
        values = self.scratch((rows,), y_pred.dtype, "loss values")
        if loss.functor is None:
            self._slow_loss(loss, y_true, y_pred, weights, scale, gradient, totals, values)
            return
        self._rows(
            "loss_rows", (type_name(y_pred.dtype), loss.functor), rows,
            y_pred, None if loss.sparse else y_true, y_true if loss.sparse else None, weights,
            self._parameters(loss), scale, rows, classes, counts, gradient,
            values, self.scratch((rows,), np.bool_, "loss matches"), self._arrivals(), totals,
        )

    def _slow_loss(
        self, loss: Any, y_true: Array, y_pred: Array, weights: Array | None, scale: float,
        gradient: Array | None, totals: Array, values: Array,
    ) -> None:
        xp, rows = self.xp, len(y_pred)
        loss.forward_backward(self, y_true, y_pred, values, gradient)
        if weights is not None:
            xp.multiply(values, weights, out=values)
        if gradient is not None:
            xp.multiply(gradient, scale, out=gradient)
            if weights is not None:
                xp.multiply(gradient, weights[:, None], out=gradient)
        totals[0] += xp.sum(values, dtype=np.float64) * (scale * rows)
        totals[1] += rows
        if loss.counts_matches and len(totals) > 2:
            totals[2] += xp.sum(loss.matches(self, y_true, y_pred), dtype=np.float64)

    def metric(
        self, metric: Any, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        rows, classes = y_pred.shape
        loss = getattr(metric, "loss", None)
        if getattr(loss, "functor", None) is not None:  # a loss as a metric
            self.loss(loss, y_true, y_pred, weights, 1.0 / max(rows, 1), None, state)
            if weights is not None:
                state[1] += self.xp.sum(weights, dtype=np.float64) - rows
            return
        if metric.functor is None:
            metric.accumulate(self, y_true, y_pred, weights, state)
            return
        self._rows(
            "metric_rows", (type_name(y_pred.dtype), metric.functor), rows,
            y_pred, None if metric.sparse else y_true, y_true if metric.sparse else None, weights,
            self._parameters(metric), rows, classes,
            self.scratch((rows,), y_pred.dtype, "metric values"), self._arrivals(), state,
        )

    def update(self, optimizer: Any, arena: Any, control: Control) -> None:
        if optimizer.functor is None:
            # Arrays of one element, not numbers: a recorded step must read them anew.
            rate, updates = control.rates[LEARNING_RATE], control.counters[UPDATES]
            for run in arena.runs:
                optimizer.update(
                    self, run.values, run.gradients, run.slots,
                    rate * run.multiplier, updates, run.decay,
                )
            return
        slots = [arena.slots[name] for name in optimizer.slot_names]
        self._each(
            "update", (type_name(arena.values.dtype), optimizer.functor),
            max((run.stop - run.start for run in arena.runs), default=0),
            arena.values, arena.gradients, *slots, *(None,) * (3 - len(slots)),
            arena.run_table, len(arena.runs), self._parameters(optimizer),
            control.counters, control.rates,
        )

    def clip_gradients(self, arena: Any, by: str, limit: float) -> None:
        choices = (type_name(arena.gradients.dtype),)
        if by == "value":
            for run in arena.runs:
                size = run.gradients.size
                self._each("clip_values", choices, size, run.gradients, limit, size)
            return
        together = by == "global_norm"
        starts, stops = self._pieces(arena, together)
        n = len(starts)
        if n == 0:
            return
        sums = self.scratch((n,), np.float64, "square sums")
        grid, block = (min(n, self._kernels.blocks),), (NORM_BLOCK,)
        self._launch("square_sums", choices, grid, block, arena.gradients, starts, stops, n, sums)
        self._launch(
            "limit_norms", choices, grid, block,
            arena.gradients, starts, stops, n, sums, together, limit,
        )

    def _pieces(self, arena: Any, together: bool) -> tuple[Array, Array]:
        """Where the pieces of the gradient begin and end whose norms are wanted.

        These are the parameters; for one norm of them all, pieces that keep all
        blocks busy.
        """
        if together:
            pieces = [
                (at, min(at + NORM_CHUNK, run.stop))
                for run in arena.runs
                for at in range(run.start, run.stop, NORM_CHUNK)
            ]
        else:
            pieces = [
                (int(segment["offset"]), int(segment["offset"] + segment["size"]))
                for segment in arena.segments
                if segment["trainable"]
            ]
        starts, stops = np.array(pieces, np.int64).reshape(-1, 2).T
        return self._constant("starts", starts), self._constant("stops", stops)

    def advance(self, control: Control, rows: int, totals: Array) -> None:
        self._launch("advance", (), (1,), (1,), control.counters, rows, totals)


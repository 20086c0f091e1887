"""The contract on a card: what each operation asks for, parts of ``kernels/`` and products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .base import Array
from .composition import BLOCK
from .contract import dropout_scale
from .control import LEARNING_RATE, UPDATES, Control
from .kernel_source import type_name
from .launching import Launching
from .order import Order
from .tasks import PartTask, Product

COLUMN_TILE = 32  # as in reductions.cu
NORM_CHUNK = 1 << 14  # elements that one block sums the squares of

EPILOGUES = {"Linear": "bias", "Relu": "relu"}  # of a product, by the functor that it stands for

_MASK64 = (1 << 64) - 1


class CupyBackend(Launching):
    """The operations of the contract on a card; see `Launching` for its arguments."""

    # -- products and element-wise passes

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
        if out.size:
            self._ask(Product(a, b, out, transpose_a, transpose_b, accumulate, precision))

    def bias_activation(self, x: Array, bias: Array | None, activation: Any, out: Array) -> None:
        keep_input = activation.saves == "input" and bias is not None
        if activation.functor is None:
            if bias is not None:
                target = x if keep_input else out
                self.xp.add(x, bias, out=target)
                x = target
            activation.forward(self, x, out)
            return
        kind = EPILOGUES.get(activation.functor)
        if kind and bias is not None and x is out and self._in_passing(kind, out, bias):
            return
        choices = (type_name(out.dtype), activation.functor)
        features = x.shape[-1] if x.ndim else 1
        rows, parameters = x.size // features, self._parameters(activation)
        rowwise = activation.rowwise
        self._part(
            "row_activation" if rowwise else "bias_activation", choices, x.size,
            x, bias, parameters, rows if rowwise else x.size, features, keep_input, out, rows=rows,
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
        features = saved.shape[-1] if saved.ndim else 1
        rows, parameters = saved.size // features, self._parameters(activation)
        rowwise = activation.rowwise
        self._part(
            "row_activation_gradient" if rowwise else "activation_gradient", choices, saved.size,
            saved, dy, parameters, *((rows, features) if rowwise else (saved.size,)), accumulate,
            out, rows=rows,
        )

    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        rows, features = x.shape
        if not accumulate and self._in_passing("bias_gradient", x, out):
            return
        self._part(
            "column_sums", (type_name(out.dtype),), -(-features // COLUMN_TILE) * BLOCK,
            x, rows, features, accumulate, out,
        )

    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        choices = (type_name(x.dtype), type_name(out.dtype))
        self._part(
            "affine", choices, out.size, x, scale, offset, out.size, accumulate, out,
            rows=_rows(out),
        )

    def dropout(
        self, x: Array, rate: float, seed: int, stream: int, control: Control, out: Array,
        mask: Array,
    ) -> None:
        self._part(
            "dropout", (type_name(out.dtype),), -(-out.size // 8),  # a thread takes eight elements
            x, 1.0 - rate, dropout_scale(rate), seed & _MASK64, stream & _MASK64,
            control.counters, out.size, out, mask, rows=_rows(out),
        )

    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        self._part(
            "dropout_gradient", (type_name(out.dtype),), out.size,
            dy, mask, dropout_scale(rate), out.size, accumulate, out, rows=_rows(out),
        )

    # -- the two ends of a step

    def gather(
        self, source: Array, order: Order, control: Control, out: Array,
        scale: float = 1.0, offset: float = 0.0,
    ) -> None:
        batch = len(out)
        self._part(
            "gather", (type_name(source.dtype), type_name(out.dtype)), out.size,
            source, order.rows, math.prod(out.shape[1:]), (order.seed or 0) & _MASK64,
            order.seed is not None, control.counters, batch, scale, offset, out, rows=batch,
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
        if rows == 0:
            return
        choices = (type_name(y_pred.dtype),)
        matches = self.scratch((rows,), np.bool_, "loss matches")
        self._ask(
            PartTask(
                "loss_rows", (*choices, loss.functor), y_pred.size,
                [y_pred, None if loss.sparse else y_true, y_true if loss.sparse else None, weights,
                 self._parameters(loss), scale, rows, classes, counts, gradient, values, matches],
                rows,
            ),
            PartTask(
                "loss_totals", choices, BLOCK, [values, matches, scale, rows, counts, totals]
            ),
        )  # fmt: skip

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
            hits = self.scratch((rows,), np.bool_, "loss matches")
            loss.matches(self, y_true, y_pred, hits)
            totals[2] += xp.sum(hits, dtype=np.float64)

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
        if rows == 0:
            return
        choices = (type_name(y_pred.dtype),)
        values = self.scratch((rows,), y_pred.dtype, "metric values")
        self._ask(
            PartTask(
                "metric_rows", (*choices, metric.functor), y_pred.size,
                [y_pred, None if metric.sparse else y_true, y_true if metric.sparse else None,
                 self._parameters(metric), rows, classes, values],
                rows,
            ),
            PartTask("metric_totals", choices, BLOCK, [values, weights, rows, state]),
        )  # fmt: skip

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
        self._part(
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
                self._part("clip_values", choices, size, run.gradients, limit, size)
            return
        together = by == "global_norm"
        starts, stops = self._pieces(arena, together)
        n = len(starts)
        sums = self.scratch((n,), np.float64, "square sums")
        pieces = (starts, stops, n, sums)
        self._part("square_sums", choices, n * BLOCK, arena.gradients, *pieces)
        self._part("limit_norms", choices, n * BLOCK, arena.gradients, *pieces, together, limit)

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
        self._part("advance", (), 1, control.counters, rows, totals)


def _rows(x: Array) -> int:
    return len(x) if x.ndim else 1


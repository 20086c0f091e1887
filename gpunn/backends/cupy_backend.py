"""The contract on a card: what each operation asks for, parts of ``kernels/`` and products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .base import Array
from .composition import BLOCK, WARP
from .contract import dropout_scale
from .control import LEARNING_RATE, PARAMETERS, UPDATES, Control
from .cupy_images import CupyImages
from .cupy_normalization import CupyNormalization
from .cupy_penalties import CupyPenalties
from .kernel_source import type_name
from .order import Order
from .tasks import PartTask, Product

COLUMN_TILE = 32  # as in reductions.cu
FEW_ROWS = 1024  # that the threads of a block sum up without help
MANY_COLUMNS = 1 << 12  # keep the blocks of a card busy
NORM_CHUNK = 1 << 14  # elements that one block sums the squares of

EPILOGUES = {"Linear": "bias", "Relu": "relu"}  # of a product, by the functor that it stands for

_MASK64 = (1 << 64) - 1


class CupyBackend(CupyImages, CupyNormalization, CupyPenalties):
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

    def prelu(self, x: Array, slopes: Array, out: Array) -> None:
        self._part(
            "prelu", (type_name(x.dtype),), x.size, x, slopes, x.size, x.shape[-1], out,
            rows=len(x),
        )

    def prelu_gradient(
        self, x: Array, slopes: Array, dy: Array, terms: Array, dx: Array | None,
        accumulate: bool = False,
    ) -> None:
        self._part(
            "prelu_gradient", (type_name(x.dtype),), x.size,
            x, slopes, dy, x.size, x.shape[-1], accumulate, terms, dx, rows=len(x),
        )

    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        rows, features = x.shape
        if not accumulate and self._in_passing("bias_gradient", x, out):
            return
        groups = min(rows // FEW_ROWS, -(-MANY_COLUMNS // features))
        if groups > 1:
            # Neighbouring rows as one wide row: their columns keep more blocks busy.
            even = rows // groups * groups
            sums = self.scratch((groups, features), out.dtype, "column sums")
            self._column_sums(x[:even].reshape(-1, groups * features), sums.reshape(-1), False)
            self._column_sums(sums, out, accumulate)
            if even < rows:
                self._column_sums(x[even:], out, True)
            return
        self._column_sums(x, out, accumulate)

    def _column_sums(self, x: Array, out: Array, accumulate: bool) -> None:
        rows, features = x.shape
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

    def combine(
        self, combination: str, a: Array, b: Array, out: Array, accumulate: bool = False
    ) -> None:
        self._part(
            "combine", (type_name(out.dtype), combination), out.size,
            a, b, out.size, accumulate, out, rows=_rows(out),
        )  # fmt: skip

    def copy_columns(
        self, x: Array, start: int, out: Array, at: int, width: int, accumulate: bool = False
    ) -> None:
        rows = len(out)
        self._part(
            "copy_columns", (type_name(out.dtype),), rows * width,
            x, x.shape[1], start, rows, width, at, out.shape[1], accumulate, out, rows=rows,
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
        if metric.functor is None:
            metric.accumulate(self, y_true, y_pred, weights, state)
            return
        if rows == 0:
            return
        choices = (type_name(y_pred.dtype),)
        formula = (*choices, metric.functor)
        labels, targets = (y_true, None) if y_true.ndim == 1 else (None, y_true)
        parameters = self._parameters(metric)
        if metric.adds == "columns":
            self._part(
                "target_sums", choices, classes * WARP,
                y_pred, targets, weights, rows, classes, state,
            )
            return
        if metric.adds == "bins":
            width = metric.width(classes)
            bins = self.scratch((rows, width), np.int32, "bins")
            self._ask(
                PartTask(
                    "bin_rows", formula, y_pred.size,
                    [y_pred, targets, labels, parameters, rows, classes, width, bins], rows,
                ),
                PartTask(
                    "bin_totals", choices, state.size * WARP,
                    [bins, weights, rows, width, state.size, state],
                ),
            )
            return
        values = self.scratch((rows,), y_pred.dtype, "metric values")
        given = [y_pred, targets, labels]
        if metric.adds == "losses":
            matches = self.scratch((rows,), np.bool_, "loss matches")
            rest = [None, parameters, 1.0, rows, classes, False, None, values, matches]
            task = PartTask("loss_rows", formula, y_pred.size, [*given, *rest], rows)
        else:
            rest = [parameters, rows, classes, values]
            task = PartTask("metric_rows", formula, y_pred.size, [*given, *rest], rows)
        self._ask(task, PartTask("metric_totals", choices, BLOCK, [values, weights, rows, state]))

    def update(self, optimizer: Any, arena: Any, control: Control) -> None:
        slots = [arena.slots[name] for name in optimizer.slot_names]
        if optimizer.functor is None:
            self._slow_update(optimizer, arena, control, [arena.values, *slots])
            return
        self._part(
            "update", (type_name(arena.values.dtype), optimizer.functor), _longest(arena),
            arena.values, arena.gradients, *slots, *(None,) * (3 - len(slots)),
            arena.run_table, len(arena.runs), self._update_parameters(optimizer, control),
            optimizer.steps_per_update, control.counters, control.rates,
        )

    def _slow_update(
        self, optimizer: Any, arena: Any, control: Control, changed: list[Array]
    ) -> None:
        # Arrays of one element, not numbers: a recorded step must read them anew.
        xp, every = self.xp, optimizer.steps_per_update
        rate, steps = control.rates[LEARNING_RATE], control.counters[UPDATES]
        before = [
            self.scratch(array.shape, array.dtype, f"{number} before the update")
            for number, array in enumerate(changed) if every > 1
        ]
        for kept, array in zip(before, changed, strict=False):
            xp.copyto(kept, array)
        for run in arena.runs:
            optimizer.update(
                self, run.values, run.gradients, run.slots,
                rate * run.multiplier, steps // every, run.decay,
            )
        for kept, array in zip(before, changed, strict=False):  # if it is not due, take it back
            xp.copyto(array, kept, where=(steps + 1) % every != 0)

    def step_by_norms(self, optimizer: Any, arena: Any, control: Control) -> None:
        choices, direction = (type_name(arena.values.dtype),), arena.slots["direction"]
        starts, stops, *groups, multipliers = self._pieces(arena, together=False)
        n = len(starts)
        sums = [self.scratch((n,), np.float64, f"{of} squares") for of in ("weight", "direction")]
        for array, squares in zip((arena.values, direction), sums, strict=True):
            self._part("square_sums", choices, n * BLOCK, array, starts, stops, n, squares)
        self._part(
            "step_by_norms", choices, n * BLOCK, arena.values, direction, starts, stops, *groups,
            n, *sums, multipliers, optimizer.steps_per_update, control.counters, control.rates,
        )

    def accumulate_gradients(self, optimizer: Any, arena: Any, control: Control) -> None:
        self._part(
            "accumulate_gradients", (type_name(arena.values.dtype),), _longest(arena),
            arena.gradients, arena.slots["gradient_accumulator"], arena.run_table,
            len(arena.runs), optimizer.steps_per_update, control.counters,
        )

    def average_weights(self, optimizer: Any, arena: Any, control: Control) -> None:
        self._part(
            "average_weights", (type_name(arena.values.dtype),), _longest(arena),
            arena.values, arena.slots["average"], arena.run_table, len(arena.runs),
            optimizer.ema_momentum, optimizer.ema_overwrite_frequency or 0,
            optimizer.steps_per_update, control.counters,
        )

    def _update_parameters(self, optimizer: Any, control: Control) -> Array:
        """The optimizer's numbers: constants, or where a schedule changes one of them."""
        if any(place >= PARAMETERS for place in optimizer.schedules):
            return control.rates[PARAMETERS:]
        return self._parameters(optimizer)

    def clip_gradients(self, arena: Any, by: str, limit: float) -> None:
        choices = (type_name(arena.gradients.dtype),)
        if by == "value":
            for run in arena.runs:
                size = run.gradients.size
                self._part("clip_values", choices, size, run.gradients, limit, size)
            return
        starts, stops, *groups, _ = self._pieces(arena, by == "global_norm")
        n = len(starts)
        sums = self.scratch((n,), np.float64, "square sums")
        g = arena.gradients
        self._part("square_sums", choices, n * BLOCK, g, starts, stops, n, sums)
        self._part("limit_norms", choices, n * BLOCK, g, starts, stops, *groups, n, sums, limit)

    def _pieces(self, arena: Any, together: bool) -> tuple[Array, ...]:
        """The flat arrays in pieces that keep all blocks busy, where norms are wanted.

        Five numbers each: where it begins and ends, the first and the last (not included) of
        the pieces whose norm it belongs to, and the multiplier of the learning rate. These
        pieces are those of its parameter, or all of them.
        """
        rows: list[tuple[float, ...]] = []
        for segment in arena.segments[arena.segments["trainable"]]:
            start, stop = int(segment["offset"]), int(segment["offset"] + segment["size"])
            ats, first = range(start, stop, NORM_CHUNK), len(rows)
            rows += [
                (at, min(at + NORM_CHUNK, stop), first, first + len(ats), segment["multiplier"])
                for at in ats
            ]
        if together:
            rows = [(start, stop, 0, len(rows), m) for start, stop, _, _, m in rows]
        names = ("starts", "stops", "firsts", "lasts", "multipliers")
        columns = np.array(rows, np.float64).reshape(-1, 5).T
        return tuple(
            self._constant(name, column.astype(np.float64 if name == names[-1] else np.int64))
            for name, column in zip(names, columns, strict=True)
        )

    def advance(self, control: Control, rows: int, totals: Array) -> None:
        self._part("advance", (), 1, control.counters, rows, totals)


def _longest(arena: Any) -> int:
    return max((run.stop - run.start for run in arena.runs), default=0)


def _rows(x: Array) -> int:
    return len(x) if x.ndim else 1


"""The contract on a card: what each operation asks for, parts of ``kernels/`` and products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.backends.contract import Given, dropout_scale
from gpunn.backends.contract.backend import Array, Program, Step
from gpunn.backends.contract.control import LEARNING_RATE, PARAMETERS, UPDATES, Control

from .images import CupyImages
from .launch.codegen import BLOCK, WARP
from .launch.parts import type_name
from .launch.programs import CupyProgram
from .launch.tasks import PartTask
from .normalization import CupyNormalization
from .penalties import CupyPenalties

COLUMN_TILE = 32  # as in reductions.cu
FEW_ROWS = 1024  # that the threads of a block sum up without help
MANY_COLUMNS = 1 << 12  # keep the blocks of a card busy
NORM_CHUNK = 1 << 14  # elements that one block sums the squares of

EPILOGUES = {"Linear": "bias", "Relu": "relu"}  # of a product, by the functor that it stands for

_MASK64 = (1 << 64) - 1


class CupyBackend(CupyImages, CupyNormalization, CupyPenalties):
    """The operations of the contract on a card; see `CupyBase` for its arguments."""

    def _program(self, step: Step, traceable: bool) -> Program:
        return CupyProgram(self, step, traceable)

    # -- products and element-wise passes

    def _matmul(self, given: Given) -> None:
        if given.out.size:
            self._product(
                given.a, given.b, given.out, given.transpose_a, given.transpose_b,
                given.accumulate, given.precision,
            )  # fmt: skip

    def _bias_activation(self, given: Given) -> None:
        x, bias, activation, out = given.x, given.bias, given.activation, given.out
        keep_input = activation.saves == "input" and bias is not None
        if activation.functor is None:
            if bias is not None:
                target = x if keep_input else out
                self.xp.add(x, bias, out=target)
                x = target
            activation.forward(self, x, out)
            return
        kind = EPILOGUES.get(activation.functor)
        same = kind and bias is not None and self.overlap(x, out) == "same"
        if kind and same and self._as_epilogue(kind, out, bias):
            return
        choices, rowwise = (type_name(out.dtype), activation.functor), activation.rowwise
        rows, parameters = x.size // max(given.features, 1), self._parameters(activation)
        self._part(
            "row_activation" if rowwise else "bias_activation", choices, x.size,
            x, bias, parameters, rows if rowwise else x.size, given.features, keep_input, out,
            rows=rows,
        )  # fmt: skip

    def _activation_gradient(self, given: Given) -> None:
        activation, saved, dy, out = given.activation, given.saved, given.dy, given.out
        accumulate = given.accumulate
        if activation.functor is None:
            term = self.scratch(out.shape, out.dtype, "term") if accumulate else out
            activation.gradient(self, saved, dy, term)
            if accumulate:
                self.xp.add(out, term, out=out)
            return
        choices = (type_name(out.dtype), activation.functor)
        features, rowwise = given.features, activation.rowwise
        rows, parameters = saved.size // max(features, 1), self._parameters(activation)
        self._part(
            "row_activation_gradient" if rowwise else "activation_gradient", choices, saved.size,
            saved, dy, parameters, *((rows, features) if rowwise else (saved.size,)), accumulate,
            out, rows=rows,
        )  # fmt: skip

    def _prelu(self, given: Given) -> None:
        x = given.x
        self._part(
            "prelu", (type_name(x.dtype),), x.size, x, given.slopes, x.size, given.features,
            given.out, rows=_rows(x),
        )  # fmt: skip

    def _prelu_gradient(self, given: Given) -> None:
        x = given.x
        self._part(
            "prelu_gradient", (type_name(x.dtype),), x.size, x, given.slopes, given.dy, x.size,
            given.features, given.accumulate_dx, given.terms, given.dx, rows=_rows(x),
        )  # fmt: skip

    def _column_sums(self, given: Given) -> None:
        x, out, rows, features = given.x, given.out, given.rows, given.features
        if not given.accumulate and self._as_epilogue("bias_gradient", x, out):
            return
        groups = min(rows // FEW_ROWS, -(-MANY_COLUMNS // max(features, 1)))
        if groups > 1:
            # Neighbouring rows as one wide row: their columns keep more blocks busy.
            even = rows // groups * groups
            sums = self.scratch((groups, features), out.dtype, "column sums")
            self._sums_of_columns(x[:even].reshape(-1, groups * features), sums.reshape(-1), False)
            self._sums_of_columns(sums, out, given.accumulate)
            if even < rows:
                self._sums_of_columns(x[even:], out, True)
            return
        self._sums_of_columns(x, out, given.accumulate)

    def _sums_of_columns(self, x: Array, out: Array, accumulate: bool) -> None:
        rows, features = x.shape
        self._part(
            "column_sums", (type_name(out.dtype),), -(-features // COLUMN_TILE) * BLOCK,
            x, rows, features, accumulate, out,
        )  # fmt: skip

    def _affine(self, given: Given) -> None:
        x, out = given.x, given.out
        self._part(
            "affine", (type_name(x.dtype), type_name(out.dtype)), out.size,
            x, given.scale, given.offset, out.size, given.accumulate, out, rows=_rows(out),
        )  # fmt: skip

    def _combine(self, given: Given) -> None:
        out = given.out
        self._part(
            "combine", (type_name(out.dtype), given.combination), out.size,
            given.a, given.b, out.size, given.accumulate, out, rows=_rows(out),
        )  # fmt: skip

    def _copy_columns(self, given: Given) -> None:
        rows, width = given.rows, given.width
        self._part(
            "copy_columns", (type_name(given.out.dtype),), rows * width, given.x,
            given.x_columns, given.start, rows, width, given.at, given.out_columns,
            given.accumulate, given.out, rows=rows,
        )  # fmt: skip

    def _dropout(self, given: Given) -> None:
        rate, out = given.rate, given.out
        self._part(
            "dropout", (type_name(out.dtype),), -(-out.size // 8),  # a thread takes eight elements
            given.x, 1.0 - rate, dropout_scale(rate), given.seed & _MASK64,
            given.stream & _MASK64, given.control.counters, out.size, out, given.mask,
            rows=_rows(out),
        )  # fmt: skip

    def _dropout_gradient(self, given: Given) -> None:
        scale, out = dropout_scale(given.rate), given.out
        self._part(
            "dropout_gradient", (type_name(out.dtype),), out.size,
            given.dy, given.mask, scale, out.size, given.accumulate, out, rows=_rows(out),
        )  # fmt: skip

    # -- the two ends of a step

    def _gather(self, given: Given) -> None:
        source, out, order, batch = given.source, given.out, given.order, given.batch
        self._part(
            "gather", (type_name(source.dtype), type_name(out.dtype)), out.size,
            source, order.rows, math.prod(given.row), (order.seed or 0) & _MASK64,
            order.seed is not None, given.control.counters, batch, given.scale, given.offset,
            out, rows=batch,
        )  # fmt: skip

    def _loss(self, given: Given) -> None:
        loss, y_true, y_pred, rows = given.loss, given.y_true, given.y_pred, given.rows
        counts = loss.counts_matches and given.sums > 2
        values = self.scratch((rows,), y_pred.dtype, "loss values")
        if loss.functor is None:
            self._loss_by_arrays(given, values)
            return
        if rows == 0:
            return
        choices = (type_name(y_pred.dtype),)
        matches = self.scratch((rows,), np.bool_, "loss matches")
        self._ask(
            PartTask(
                "loss_rows", (*choices, loss.functor), y_pred.size,
                [y_pred, None if loss.sparse else y_true, y_true if loss.sparse else None,
                 given.weights, self._parameters(loss), given.scale, rows, given.classes, counts,
                 given.gradient, values, matches],
                rows,
            ),
            PartTask(
                "loss_totals", choices, BLOCK,
                [values, matches, given.scale, rows, counts, given.totals],
            ),
        )  # fmt: skip

    def _loss_by_arrays(self, given: Given, values: Array) -> None:
        xp, loss, rows, scale = self.xp, given.loss, given.rows, given.scale
        weights, gradient, totals = given.weights, given.gradient, given.totals
        loss.forward_backward(self, given.y_true, given.y_pred, values, gradient)
        if weights is not None:
            xp.multiply(values, weights, out=values)
        if gradient is not None:
            xp.multiply(gradient, scale, out=gradient)
            if weights is not None:
                xp.multiply(gradient, weights[:, None], out=gradient)
        totals[0] += xp.sum(values, dtype=np.float64) * (scale * rows)
        totals[1] += rows
        if loss.counts_matches and given.sums > 2:
            hits = self.scratch((rows,), np.bool_, "loss matches")
            loss.matches(self, given.y_true, given.y_pred, hits)
            totals[2] += xp.sum(hits, dtype=np.float64)

    def _metric(self, given: Given) -> None:
        metric, y_true, y_pred = given.metric, given.y_true, given.y_pred
        weights, state, rows, classes = given.weights, given.state, given.rows, given.classes
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
        arrays = [y_pred, targets, labels]
        if metric.adds == "losses":
            matches = self.scratch((rows,), np.bool_, "loss matches")
            rest = [None, parameters, 1.0, rows, classes, False, None, values, matches]
            task = PartTask("loss_rows", formula, y_pred.size, [*arrays, *rest], rows)
        else:
            rest = [parameters, rows, classes, values]
            task = PartTask("metric_rows", formula, y_pred.size, [*arrays, *rest], rows)
        self._ask(task, PartTask("metric_totals", choices, BLOCK, [values, weights, rows, state]))

    def _update(self, given: Given) -> None:
        optimizer, arena, control = given.optimizer, given.arena, given.control
        slots = [arena.slots[name] for name in optimizer.slot_names]
        if optimizer.functor is None:
            self._update_by_arrays(optimizer, arena, control, [arena.values, *slots])
            return
        self._part(
            "update", (type_name(given.dtype), optimizer.functor), _longest(arena),
            arena.values, arena.gradients, *slots, *(None,) * (3 - len(slots)),
            arena.group_table, len(arena.groups), self._update_parameters(optimizer, control),
            optimizer.steps_per_update, control.counters, control.rates,
        )  # fmt: skip

    def _update_by_arrays(
        self, optimizer: Any, arena: Any, control: Control, changed: list[Array]
    ) -> None:
        # Arrays of one element, not numbers: a captured step must read them anew.
        xp, every = self.xp, optimizer.steps_per_update
        rate, steps = control.rates[LEARNING_RATE], control.counters[UPDATES]
        before = [
            self.scratch(array.shape, array.dtype, f"{number} before the update")
            for number, array in enumerate(changed) if every > 1
        ]
        for kept, array in zip(before, changed, strict=False):
            xp.copyto(kept, array)
        for group in arena.groups:
            optimizer.update(
                self, group.values, group.gradients, group.slots,
                rate * group.multiplier, steps // every, group.decay,
            )
        for kept, array in zip(before, changed, strict=False):  # if it is not due, take it back
            xp.copyto(array, kept, where=(steps + 1) % every != 0)

    def _step_by_norms(self, given: Given) -> None:
        optimizer, arena, control = given.optimizer, given.arena, given.control
        choices, direction = (type_name(given.dtype),), arena.slots["direction"]
        starts, stops, *groups, multipliers = self._pieces(arena, together=False)
        n = len(starts)
        sums = [self.scratch((n,), np.float64, f"{of} squares") for of in ("weight", "direction")]
        for array, squares in zip((arena.values, direction), sums, strict=True):
            self._part("square_sums", choices, n * BLOCK, array, starts, stops, n, squares)
        self._part(
            "step_by_norms", choices, n * BLOCK, arena.values, direction, starts, stops, *groups,
            n, *sums, multipliers, optimizer.steps_per_update, control.counters, control.rates,
        )

    def _accumulate_gradients(self, given: Given) -> None:
        arena = given.arena
        self._part(
            "accumulate_gradients", (type_name(given.dtype),), _longest(arena),
            arena.gradients, arena.slots["gradient_accumulator"], arena.group_table,
            len(arena.groups), given.optimizer.steps_per_update, given.control.counters,
        )

    def _average_weights(self, given: Given) -> None:
        optimizer, arena = given.optimizer, given.arena
        self._part(
            "average_weights", (type_name(given.dtype),), _longest(arena),
            arena.values, arena.slots["average"], arena.group_table, len(arena.groups),
            optimizer.ema_momentum, optimizer.ema_overwrite_frequency or 0,
            optimizer.steps_per_update, given.control.counters,
        )

    def _update_parameters(self, optimizer: Any, control: Control) -> Array:
        """The optimizer's numbers: constants, or where a schedule changes one of them."""
        if any(place >= PARAMETERS for place in optimizer.schedules):
            return control.rates[PARAMETERS:]
        return self._parameters(optimizer)

    def _clip_gradients(self, given: Given) -> None:
        arena, limit = given.arena, given.limit
        choices = (type_name(given.dtype),)
        if given.by == "value":
            for group in arena.groups:
                size = group.gradients.size
                self._part("clip_values", choices, size, group.gradients, limit, size)
            return
        starts, stops, *groups, _ = self._pieces(arena, given.by == "global_norm")
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

    def _advance(self, given: Given) -> None:
        self._part("advance", (), 1, given.control.counters, given.rows, given.totals)


def _longest(arena: Any) -> int:
    return max((group.stop - group.start for group in arena.groups), default=0)


def _rows(x: Array) -> int:
    return len(x) if x.ndim else 1


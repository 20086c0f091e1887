"""The CuPy backend: each operation as parts of ``kernels/`` and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall, dropout_scale
from gpunn.backends.contract.backend import Array, Program, Step
from gpunn.backends.contract.control import LEARNING_RATE, PARAMETERS, UPDATES, Control
from gpunn.backends.contract.formulas import OptimizerProtocol
from gpunn.backends.shared.pieces import cut

from .gather_scatter import CupyGatherScatter
from .launch.codegen import BLOCK
from .launch.programs import CupyProgram
from .launch.protocols import EPILOGUES
from .launch.task_backend import DRAWN_AT_ONCE
from .launch.tasks import PartTask, SumOverRanks
from .losses import CupyLosses
from .normalization import CupyNormalization
from .pooled import CupyPooled
from .sums import COLUMN_TILE

NORM_CHUNK = 1 << 14  # elements whose squares one block sums


class CupyBackend(CupyPooled, CupyLosses, CupyNormalization, CupyGatherScatter):
    """The operations of the contract on a GPU; see `TaskBackend` for its arguments."""

    finds_first_nan = False

    def _program(
        self, step: Step, traceable: bool, modes: dict[str, str], unread: Sequence[Array]
    ) -> Program:
        return CupyProgram(self, step, traceable, modes, unread)

    # -- products and element-wise passes

    def _matmul(self, call: OpCall) -> None:
        if call.out.size:
            self._product(
                call.a, call.b, call.out, call.transpose_a, call.transpose_b,
                call.accumulate, call.precision,
            )

    def _batched_matmul(self, call: OpCall) -> None:
        if call.out.size:
            self._product(call.a, call.b, call.out, call.transpose_a, call.transpose_b)

    def _attention(self, call: OpCall) -> None:
        self.operations["attention"].by_arrays(self, call)

    def _attention_gradient(self, call: OpCall) -> None:
        self.operations["attention_gradient"].by_arrays(self, call)

    def _bias_activation(self, call: OpCall) -> None:
        x, bias, activation, out = call.x, call.bias, call.activation, call.out
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
        rows = x.size // max(call.features, 1)
        self._part(
            "row_activation" if activation.rowwise else "bias_activation", call, x.size,
            sliced=rows, functor=activation.functor, parameters=self._parameters(activation),
            rows=rows, n=x.size, keep_input=keep_input,
        )

    def _activation_gradient(self, call: OpCall) -> None:
        activation, saved, dy, out = call.activation, call.saved, call.dy, call.out
        accumulate = call.accumulate
        if activation.functor is None:
            term = self.scratch(out.shape, out.dtype, "term") if accumulate else out
            activation.backward(self, saved, dy, term)
            if accumulate:
                self.xp.add(out, term, out=out)
            return
        rows = saved.size // max(call.features, 1)
        self._part(
            "row_activation_gradient" if activation.rowwise else "activation_gradient", call,
            saved.size, sliced=rows, functor=activation.functor,
            parameters=self._parameters(activation), rows=rows, n=saved.size,
        )

    def _affine(self, call: OpCall) -> None:
        self._each("affine", call, call.out)

    def _dropout(self, call: OpCall) -> None:
        keep, scale = 1.0 - call.rate, dropout_scale(call.rate)
        self._each("dropout", call, call.out, by=DRAWN_AT_ONCE, keep=keep, scale=scale)

    def _dropout_gradient(self, call: OpCall) -> None:
        self._each("dropout_gradient", call, call.out, scale=dropout_scale(call.rate))

    # -- the two ends of a step

    def _gather(self, call: OpCall) -> None:
        order, batch = call.order, call.batch
        self._part(
            "gather", call, call.out.size, sliced=batch, rows=batch, total=order.rows,
            width=math.prod(call.row), seed=order.seed or 0, shuffled=order.seed is not None,
        )

    def _metric(self, call: OpCall) -> None:
        metric, y_true, y_pred = call.metric, call.y_true, call.y_pred
        weights, state, rows, classes = call.weights, call.state, call.rows, call.classes
        if metric.functor is None:
            metric.accumulate(self, y_true, y_pred, weights, state)
            return
        if rows == 0:
            return
        labels, targets = (y_true, None) if y_true.ndim == 1 else (None, y_true)
        arrays = {"predictions": y_pred, "targets": targets, "labels": labels}
        formula: dict[str, Any] = {
            "sliced": rows, "functor": metric.functor, "parameters": self._parameters(metric)
        }
        if metric.accumulates == "columns":
            threads = -(-classes // COLUMN_TILE) * BLOCK
            self._part("target_sums", call, threads, columns=classes, **arrays)
            return
        if metric.accumulates == "bins":
            width = metric.width(classes)
            counted = {"width": width, "bins": self.scratch((rows, width), np.int32, "bins")}
            self._ask(
                self._task("bin_rows", call, y_pred.size, **arrays, **formula, **counted),
                *self._bin_totals(counted["bins"], weights, state),
            )
            return
        values = self.scratch((rows,), y_pred.dtype, "metric values")
        if metric.accumulates == "losses":
            task = self._task(
                "loss_rows", call, y_pred.size, **arrays, **formula, weights=None, scale=1.0,
                count_matches=False, gradient=None, row_losses=values,
                row_matches=self.scratch((rows,), np.bool_, "loss matches"),
            )
        else:
            task = self._task(
                "metric_rows", call, y_pred.size, **arrays, **formula, row_values=values
            )
        self._ask(task, self._task("metric_totals", call, BLOCK, row_values=values))

    def add_to_bins(self, bins: Array, amounts: Array, state: Array) -> None:
        if bins.size:
            numbers = self.scratch((bins.size, 1), np.int32, "bins")
            inside = self.scratch(numbers.shape, np.int64, "bins within 32 bits")
            self.xp.clip(bins.reshape(-1, 1), -1, state.size, out=inside)
            self.xp.copyto(numbers, inside, casting="same_kind")
            self._ask(*self._bin_totals(numbers, amounts, state))

    def _bin_totals(self, bins: Array, weights: Array | None, state: Array) -> list[PartTask]:
        """Return tasks that add each row's weight to the indices of ``state`` in ``bins``."""
        (rows, width), n, size = bins.shape, bins.size, state.size
        values = {"bins": bins, "n": n, "size": size, "state": state}
        if weights is None:
            return [PartTask("bin_counts", n, values)]
        values |= {
            "weights": weights, "rows": rows, "width": width,
            "unit": 2.0 ** (62 - n.bit_length()),
            "scale": self.scratch((1,), np.float64, "scale of weights"),
            "whole": self.scratch(
                (2, size), np.uint64, "whole sums", lambda array: array.fill(0)
            ),
        }
        return [
            PartTask("weight_scale", BLOCK, values), PartTask("bin_sums", n, values),
            PartTask("take_bin_sums", size, values),
        ]

    def _update(self, call: OpCall) -> None:
        optimizer, storage, control = call.optimizer, call.storage, call.control
        if optimizer._of_tensors:
            optimizer._update_by_tensors(self, storage, control)
            return
        slots = [storage.slots[name] for name in optimizer.slot_names]
        if optimizer.functor is None:
            self._update_by_arrays(optimizer, storage, control, [storage.values, *slots])
            return
        named = dict(zip_longest(("slot_0", "slot_1", "slot_2"), slots))
        parameters = self._update_parameters(optimizer, control)
        self._flat_part("update", call, functor=optimizer.functor, parameters=parameters, **named)

    def _flat_part(self, name: str, call: OpCall, **values: Any) -> None:
        """Launch a part that goes over the flat arrays, group by group."""
        storage = call.storage
        longest = max((group.stop - group.start for group in storage.groups), default=0)
        self._part(
            name, call, longest, weights=storage.values, gradients=storage.gradients,
            group_table=storage.group_table, groups=len(storage.groups),
            every=call.optimizer.steps_per_update, **values,
        )

    def _update_by_arrays(
        self, optimizer: OptimizerProtocol, storage: Any, control: Control, changed: list[Array]
    ) -> None:
        # Arrays of one element, not numbers: a captured step must read them each time.
        xp, every = self.xp, optimizer.steps_per_update
        rate, steps = control.rates[LEARNING_RATE], control.counters[UPDATES]
        before = [
            self.scratch(array.shape, array.dtype, f"{number} before the update")
            for number, array in enumerate(changed) if every > 1
        ]
        for kept, array in zip(before, changed, strict=False):
            xp.copyto(kept, array)
        for group in storage.groups:
            optimizer.update(
                self, group.values, group.gradients, group.slots,
                rate * group.multiplier, steps // every, group.decay,
            )
        for kept, array in zip(before, changed, strict=False):  # undo an update that is not due
            xp.copyto(array, kept, where=(steps + 1) % every != 0)

    def _step_by_norms(self, call: OpCall) -> None:
        storage, direction = call.storage, call.storage.slots["direction"]
        pieces = self._pieces(storage, together=False)
        n = len(pieces["starts"])
        sums = {
            name: self.scratch((n,), np.float64, name) for name in ("weight_sums", "direction_sums")
        }
        for array, squares in zip((storage.values, direction), sums.values(), strict=True):
            self._square_sums(call, array, pieces, squares)
        self._part(
            "step_by_norms", call, n * BLOCK, weights=storage.values, directions=direction,
            pieces=n, every=call.optimizer.steps_per_update, **pieces, **sums,
        )

    def _square_sums(self, call: OpCall, x: Array, pieces: dict[str, Array], sums: Array) -> None:
        n = len(sums)
        self._part("square_sums", call, n * BLOCK, x=x, segments=n, sums=sums, **pieces)

    def _sum_over_ranks(self, call: OpCall) -> None:
        self._ask(SumOverRanks(call.array, self._stream.sum_over(call.ranks)))

    def _accumulate_gradients(self, call: OpCall) -> None:
        accumulated = call.storage.slots["gradient_accumulator"]
        self._flat_part("accumulate_gradients", call, accumulated=accumulated)

    def _average_weights(self, call: OpCall) -> None:
        optimizer = call.optimizer
        self._flat_part(
            "average_weights", call, averages=call.storage.slots["average"],
            momentum=optimizer.ema_momentum, overwrite=optimizer.ema_overwrite_frequency or 0,
        )

    def _update_parameters(self, optimizer: OptimizerProtocol, control: Control) -> Array:
        """Return the optimizer's parameters: constants, or rates if a schedule changes one."""
        if any(place >= PARAMETERS for place in optimizer.schedules):
            return control.rates[PARAMETERS:]
        return self._parameters(optimizer)

    def _clip_gradients(self, call: OpCall) -> None:
        storage = call.storage
        if call.by == "value":
            for group in storage.groups:
                size = group.gradients.size
                self._part("clip_values", call, size, gradients=group.gradients, n=size)
            return
        pieces = self._pieces(storage, call.by == "global_norm")
        n = len(pieces["starts"])
        sums = self.scratch((n,), np.float64, "square sums")
        self._square_sums(call, storage.gradients, pieces, sums)
        self._part(
            "limit_norms", call, n * BLOCK, gradients=storage.gradients, pieces=n, sums=sums,
            **pieces,
        )

    def _pieces(self, storage: Any, together: bool) -> dict[str, Array]:
        """Split the flat arrays into pieces that keep all blocks busy, to compute norms.

        Returns five arrays with one value for each piece: its start and stop, the first and the
        last (exclusive) of the pieces of its norm, and the multiplier of the
        learning rate. A norm covers the pieces of a parameter, or all if ``together``.
        """
        segments = storage.segments[storage.segments["trainable"]]
        pieces, owners = cut(segments, NORM_CHUNK)
        if together:
            pieces[:, 2:] = 0, len(pieces)
        columns = dict(zip(("starts", "stops", "firsts", "lasts"), pieces.T, strict=True))
        columns["multipliers"] = segments["multiplier"][owners]
        return {name: self._constant(name, column) for name, column in columns.items()}

    def _advance(self, call: OpCall) -> None:
        self._part("advance", call, 1)

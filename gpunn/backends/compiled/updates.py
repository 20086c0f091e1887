"""The end of a step, compiled: gradient clipping, the update, penalties, rates."""

from __future__ import annotations

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.control import PARAMETERS
from gpunn.backends.numpy.updates import UPDATE_PIECE
from gpunn.backends.shared.pieces import cut, cut_penalized

from .operations import Arguments, CompiledOperations, by_formula, compiled, name_of

FLOATS = np.dtype(np.float64)


class CompiledUpdates(CompiledOperations):
    """The operations of optimizers; a part of `CompiledBackend`."""

    @compiled(by_formula("optimizer"))
    def _update(self, call: OpCall) -> Arguments:
        optimizer, storage, control = call.optimizer, call.storage, call.control
        scheduled = any(place >= PARAMETERS for place in optimizer.schedules)
        slots = [storage.slots[name] for name in optimizer.slot_names]
        return (
            storage.values, storage.gradients, *slots, *(None,) * (3 - len(slots)),
            storage.group_table, len(storage.groups),
            control.rates[PARAMETERS:] if scheduled else self._parameters(optimizer),
            optimizer.steps_per_update, control.counters, control.rates,
        )

    @compiled()
    def _step_by_norms(self, call: OpCall) -> Arguments:
        optimizer, storage, control = call.optimizer, call.storage, call.control
        rows = storage.segments[storage.segments["trainable"]]
        pieces, owners = cut(rows, UPDATE_PIECE)
        n = len(pieces)
        sums = [self.scratch((n,), FLOATS, f"{of} squares") for of in ("weight", "direction")]
        return (
            storage.values, storage.slots["direction"], self._constant("pieces", pieces), n, *sums,
            self._constant("multipliers", rows["multiplier"][owners]),
            optimizer.steps_per_update, control.counters, control.rates,
        )

    @compiled()
    def _accumulate_gradients(self, call: OpCall) -> Arguments:
        storage = call.storage
        return (
            storage.gradients, storage.slots["gradient_accumulator"], storage.group_table,
            len(storage.groups), call.optimizer.steps_per_update, call.control.counters,
        )

    @compiled()
    def _average_weights(self, call: OpCall) -> Arguments:
        optimizer, storage = call.optimizer, call.storage
        return (
            storage.values, storage.slots["average"], storage.group_table, len(storage.groups),
            optimizer.ema_momentum, optimizer.ema_overwrite_frequency or 0,
            optimizer.steps_per_update, call.control.counters,
        )

    def _clip_gradients(self, call: OpCall) -> None:
        storage, limit, dtype = call.storage, call.limit, name_of(call.dtype)
        if call.by == "value":
            operation = self._compiled("clip_values", dtype)
            self._do(operation, storage.gradients, storage.group_table, len(storage.groups), limit)
            return
        pieces, _ = cut(storage.segments[storage.segments["trainable"]], UPDATE_PIECE)
        n = len(pieces)
        if call.by == "global_norm":
            pieces[:, 2:] = 0, n
        self._do(
            self._compiled("clip_norms", dtype), storage.gradients,
            self._constant("pieces", pieces),
            n, self.scratch((n,), FLOATS, "squares"), limit,
        )

    def _regularize(self, call: OpCall) -> None:
        storage, rows, gradients, totals = call.storage, call.rows, call.gradients, call.totals
        pieces, factors = cut_penalized(storage.segments, UPDATE_PIECE)
        if len(pieces):
            self._do(
                self._compiled("penalties", name_of(call.dtype), "BothPenalties", "SquarePenalty"),
                storage.values, storage.gradients if gradients else None,
                self._constant("pieces", pieces), self._constant("factors", factors), len(pieces),
                self.scratch((len(pieces),), FLOATS, "penalties"), rows, totals,
            )
        others = [p for p in storage.penalized if p.regularizer.coefficients is None]
        if others:
            self._do(self._penalties, others, rows, gradients, totals)

    @compiled(by_formula("constraint"), name=lambda call: "constrain_norms")
    def _constrain(self, call: OpCall) -> Arguments:
        constraint, w = call.constraint, call.w
        return w, *constraint.lines(w.shape), self._parameters(constraint)

    @compiled(lambda call: (call.schedule.functor,))
    def _schedule(self, call: OpCall) -> Arguments:
        control = call.control
        parameters = self._parameters(call.schedule)
        return parameters, control.counters, control.rates, call.place

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
        optimizer, arena, control = call.optimizer, call.arena, call.control
        scheduled = any(place >= PARAMETERS for place in optimizer.schedules)
        slots = [arena.slots[name] for name in optimizer.slot_names]
        return (
            arena.values, arena.gradients, *slots, *(None,) * (3 - len(slots)),
            arena.group_table, len(arena.groups),
            control.rates[PARAMETERS:] if scheduled else self._parameters(optimizer),
            optimizer.steps_per_update, control.counters, control.rates,
        )

    @compiled()
    def _step_by_norms(self, call: OpCall) -> Arguments:
        optimizer, arena, control = call.optimizer, call.arena, call.control
        rows = arena.segments[arena.segments["trainable"]]
        pieces, owners = cut(rows, UPDATE_PIECE)
        n = len(pieces)
        sums = [self.scratch((n,), FLOATS, f"{of} squares") for of in ("weight", "direction")]
        return (
            arena.values, arena.slots["direction"], self._constant("pieces", pieces), n, *sums,
            self._constant("multipliers", rows["multiplier"][owners]),
            optimizer.steps_per_update, control.counters, control.rates,
        )

    @compiled()
    def _accumulate_gradients(self, call: OpCall) -> Arguments:
        arena = call.arena
        return (
            arena.gradients, arena.slots["gradient_accumulator"], arena.group_table,
            len(arena.groups), call.optimizer.steps_per_update, call.control.counters,
        )

    @compiled()
    def _average_weights(self, call: OpCall) -> Arguments:
        optimizer, arena = call.optimizer, call.arena
        return (
            arena.values, arena.slots["average"], arena.group_table, len(arena.groups),
            optimizer.ema_momentum, optimizer.ema_overwrite_frequency or 0,
            optimizer.steps_per_update, call.control.counters,
        )

    def _clip_gradients(self, call: OpCall) -> None:
        arena, limit, dtype = call.arena, call.limit, name_of(call.dtype)
        if call.by == "value":
            operation = self._compiled("clip_values", dtype)
            self._do(operation, arena.gradients, arena.group_table, len(arena.groups), limit)
            return
        pieces, _ = cut(arena.segments[arena.segments["trainable"]], UPDATE_PIECE)
        n = len(pieces)
        if call.by == "global_norm":
            pieces[:, 2:] = 0, n
        self._do(
            self._compiled("clip_norms", dtype), arena.gradients, self._constant("pieces", pieces),
            n, self.scratch((n,), FLOATS, "squares"), limit,
        )

    def _regularize(self, call: OpCall) -> None:
        arena, rows, gradients, totals = call.arena, call.rows, call.gradients, call.totals
        pieces, factors = cut_penalized(arena.segments, UPDATE_PIECE)
        if len(pieces):
            self._do(
                self._compiled("penalties", name_of(call.dtype), "BothPenalties", "SquarePenalty"),
                arena.values, arena.gradients if gradients else None,
                self._constant("pieces", pieces), self._constant("factors", factors), len(pieces),
                self.scratch((len(pieces),), FLOATS, "penalties"), rows, totals,
            )
        others = [p for p in arena.penalized if p.regularizer.coefficients is None]
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

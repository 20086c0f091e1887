"""Penalties on weights, constraints and schedules on a GPU."""

from __future__ import annotations

from gpunn.backends.contract import OpCall
from gpunn.backends.shared.pieces import cut_penalized

from .launch.codegen import BLOCK
from .launch.task_backend import TaskBackend

CHUNK = 1 << 14  # weights whose penalty one block sums
LINE_TILE = 32  # as in constraints.cu


class CupyPenalties(TaskBackend):
    """Penalties, constraints and schedules of a step; a part of `CupyBackend`."""

    def _regularize(self, call: OpCall) -> None:
        storage, rows, gradients, totals = call.storage, call.rows, call.gradients, call.totals
        pieces, factors = cut_penalized(storage.segments, CHUNK)
        n = len(pieces)
        if n:
            sums = self.scratch((n,), storage.values.dtype, "penalties")
            self._ask(
                self._task(
                    "penalties", call, n * BLOCK, weights=storage.values, segments=n, sums=sums,
                    starts=self._constant("starts", pieces[:, 0]),
                    stops=self._constant("stops", pieces[:, 1]),
                    factors=self._constant("factors", factors),
                    gradients=storage.gradients if gradients else None,
                ),
                self._task("penalty_totals", call, BLOCK, sums=sums, segments=n),
            )
        for parameter in storage.penalized:
            if parameter.regularizer.coefficients is None:
                gradient = parameter.gradient if gradients else None
                totals = self.xp.asarray(totals)  # tracing fails here, whatever the penalty calls
                totals[0] += rows * parameter.regularizer.penalty(self, parameter.value, gradient)

    def _constrain(self, call: OpCall) -> None:
        constraint, w = call.constraint, call.w
        if constraint.functor != "NormLimits":
            constraint.apply(self, w)
            return
        outer, n, inner = constraint.lines(w.shape)
        tiles = -(-outer * inner // LINE_TILE)
        self._part(
            "constrain_norms", call, tiles * BLOCK, weights=w, outer=outer, n=n, inner=inner,
            parameters=self._parameters(constraint),
        )

    def _schedule(self, call: OpCall) -> None:
        schedule, place = call.schedule, call.place
        self._part(
            "schedule", call, 1, functor=schedule.functor, parameters=self._parameters(schedule),
            rate=call.control.rates[place : place + 1],
        )

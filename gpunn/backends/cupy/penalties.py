"""Penalties on weights, constraints and schedules on a card."""

from __future__ import annotations

import numpy as np

from gpunn.backends.contract import Given

from .launch.base import CupyBase
from .launch.codegen import BLOCK
from .launch.parts import type_name
from .launch.tasks import PartTask

CHUNK = 1 << 14  # weights whose penalty one block sums up
LINE_TILE = 32  # as in constraints.cu


class CupyPenalties(CupyBase):
    """What a step does to weights and rates beside its update; a part of `CupyBackend`."""

    def _regularize(self, given: Given) -> None:
        arena, rows, gradients, totals = given.arena, given.rows, given.gradients, given.totals
        plain = [row for row in arena.segments if row["trainable"] and (row["l1"] or row["l2"])]
        if plain:
            pieces = [
                (at, min(at + CHUNK, stop), float(row["l1"]), float(row["l2"]))
                for row in plain
                for stop in [int(row["offset"] + row["size"])]
                for at in range(int(row["offset"]), stop, CHUNK)
            ]
            starts, stops = np.array([piece[:2] for piece in pieces], np.int64).T
            factors = np.array([piece[2:] for piece in pieces], np.float64)
            n, choices = len(pieces), (type_name(arena.values.dtype),)
            sums = self.scratch((n,), arena.values.dtype, "penalties")
            self._ask(
                PartTask(
                    "penalties", choices, n * BLOCK,
                    [arena.values, self._constant("starts", starts),
                     self._constant("stops", stops), self._constant("factors", factors), n,
                     arena.gradients if gradients else None, sums],
                ),
                PartTask("penalty_totals", choices, BLOCK, [sums, n, rows, totals]),
            )  # fmt: skip
        for parameter in arena.penalized:
            if parameter.regularizer.coefficients is None:
                gradient = parameter.gradient if gradients else None
                totals = self.xp.asarray(totals)  # a trace notices it, whatever the penalty calls
                totals[0] += rows * parameter.regularizer.penalty(self, parameter.value, gradient)

    def _constrain(self, given: Given) -> None:
        constraint, w, choices = given.constraint, given.w, (type_name(given.dtype),)
        if constraint.functor is None:
            constraint.apply(self, w)
        elif constraint.functor == "constrain_norms":
            outer, n, inner = constraint.lines(w.shape)
            tiles = -(-outer * inner // LINE_TILE)
            self._part(
                constraint.functor, choices, tiles * BLOCK,
                w, outer, n, inner, *constraint.parameters,
            )
        else:
            self._part(constraint.functor, choices, w.size, w, w.size)

    def _schedule(self, given: Given) -> None:
        control, place = given.control, given.place
        self._part(
            "schedule", (given.schedule.functor,), 1,
            self._parameters(given.schedule), control.counters, given.every,
            control.rates[place : place + 1],
        )

"""Penalties on weights, constraints and schedules on a card."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array
from .composition import BLOCK
from .control import Control
from .kernel_source import type_name
from .launching import Launching
from .tasks import PartTask

CHUNK = 1 << 14  # weights whose penalty one block sums up
LINE_TILE = 32  # as in constraints.cu


class CupyPenalties(Launching):
    """What a step does to weights and rates beside its update; a part of `CupyBackend`."""

    def regularize(self, arena: Any, rows: int, gradients: bool, totals: Array) -> None:
        given = [row for row in arena.segments if row["trainable"] and (row["l1"] or row["l2"])]
        if given:
            pieces = [
                (at, min(at + CHUNK, stop), float(row["l1"]), float(row["l2"]))
                for row in given
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
                totals = self.xp.asarray(totals)  # said to `Unlistable`, whatever it calls
                totals[0] += rows * parameter.regularizer.penalty(self, parameter.value, gradient)

    def constrain(self, constraint: Any, w: Array) -> None:
        choices = (type_name(w.dtype),)
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

    def schedule(self, schedule: Any, control: Control, place: int, every: int = 1) -> None:
        self._part(
            "schedule", (schedule.functor,), 1,
            self._parameters(schedule), control.counters, every,
            control.rates[place : place + 1],
        )

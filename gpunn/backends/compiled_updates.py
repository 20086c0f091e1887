"""The end of a step, compiled: limits on gradients, the update, penalties, rates."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array
from .compiled_operations import Compiled, type_of
from .control import PARAMETERS, Control
from .numpy_updates import UPDATE_PIECE

INTS, FLOATS = np.dtype(np.int64), np.dtype(np.float64)


class CompiledUpdates(Compiled):
    """What an optimizer asks for; a part of `CompiledBackend`."""

    def update(self, optimizer: Any, arena: Any, control: Control) -> None:
        operation = self._compiled("update", type_of(arena.values), optimizer.functor)
        if operation is None:
            super().update(optimizer, arena, control)
            return
        scheduled = any(place >= PARAMETERS for place in optimizer.schedules)
        slots = [arena.slots[name] for name in optimizer.slot_names]
        self._do(
            operation, arena.values, arena.gradients, *slots, *(None,) * (3 - len(slots)),
            arena.run_table, len(arena.runs),
            control.rates[PARAMETERS:] if scheduled else self._parameters(optimizer),
            optimizer.steps_per_update, control.counters, control.rates,
        )  # fmt: skip

    def step_by_norms(self, optimizer: Any, arena: Any, control: Control) -> None:
        rows = arena.segments[arena.segments["trainable"]]
        pieces, owners = _pieces(rows)
        n = len(pieces)
        sums = [self.scratch((n,), FLOATS, f"{of} squares") for of in ("weight", "direction")]
        self._do(
            self._compiled("step_by_norms", type_of(arena.values)),
            arena.values, arena.slots["direction"], self._constant("pieces", pieces), n, *sums,
            self._constant("multipliers", rows["multiplier"][owners]),
            optimizer.steps_per_update, control.counters, control.rates,
        )  # fmt: skip

    def accumulate_gradients(self, optimizer: Any, arena: Any, control: Control) -> None:
        self._do(
            self._compiled("accumulate_gradients", type_of(arena.values)),
            arena.gradients, arena.slots["gradient_accumulator"], arena.run_table,
            len(arena.runs), optimizer.steps_per_update, control.counters,
        )  # fmt: skip

    def average_weights(self, optimizer: Any, arena: Any, control: Control) -> None:
        self._do(
            self._compiled("average_weights", type_of(arena.values)),
            arena.values, arena.slots["average"], arena.run_table, len(arena.runs),
            optimizer.ema_momentum, optimizer.ema_overwrite_frequency or 0,
            optimizer.steps_per_update, control.counters,
        )  # fmt: skip

    def clip_gradients(self, arena: Any, by: str, limit: float) -> None:
        dtype = type_of(arena.gradients)
        if by == "value":
            operation = self._compiled("clip_values", dtype)
            self._do(operation, arena.gradients, arena.run_table, len(arena.runs), limit)
            return
        pieces, _ = _pieces(arena.segments[arena.segments["trainable"]])
        n = len(pieces)
        if by == "global_norm":
            pieces[:, 2:] = 0, n
        self._do(
            self._compiled("clip_norms", dtype), arena.gradients, self._constant("pieces", pieces),
            n, self.scratch((n,), FLOATS, "squares"), limit,
        )  # fmt: skip

    def regularize(self, arena: Any, rows: int, gradients: bool, totals: Array) -> None:
        segments = arena.segments
        has_penalty = (segments["l1"] != 0) | (segments["l2"] != 0)
        segments = segments[segments["trainable"] & has_penalty]
        if len(segments):
            pieces, owners = _pieces(segments)
            factors = np.stack([segments["l1"], segments["l2"]], axis=1)[owners]
            self._do(
                self._compiled("penalties", type_of(arena.values)),
                arena.values, arena.gradients if gradients else None,
                self._constant("pieces", pieces), self._constant("factors", factors), len(pieces),
                self.scratch((len(pieces),), FLOATS, "penalties"), rows, totals,
            )  # fmt: skip
        others = [p for p in arena.penalized if p.regularizer.coefficients is None]
        if others:
            self._do(self._regularize, others, rows, gradients, totals)

    def constrain(self, constraint: Any, w: Array) -> None:
        operation = self._compiled(constraint.functor, type_of(w))
        if operation is None or not w.flags.c_contiguous:
            super().constrain(constraint, w)
        elif constraint.functor == "constrain_norms":
            self._do(operation, w, *constraint.lines(w.shape), *constraint.parameters)
        else:
            self._do(operation, w, w.size)

    def schedule(self, schedule: Any, control: Control, place: int, every: int = 1) -> None:
        operation = self._compiled("schedule", schedule.functor)
        if operation is None:
            super().schedule(schedule, control, place, every)
            return
        parameters = self._parameters(schedule)
        self._do(operation, parameters, control.counters, every, control.rates, place)


def _pieces(segments: Array) -> tuple[Array, Array]:
    """Segments in pieces of which a thread takes one at a time, where sums are wanted.

    A piece (start, stop, first, last) has the numbers of the first and the last (not included)
    of those of its segment; with them come the numbers of their segments.
    """
    rows: list[tuple[int, ...]] = []
    owners: list[int] = []
    for number, segment in enumerate(segments):
        start, stop = int(segment["offset"]), int(segment["offset"] + segment["size"])
        ats, first = range(start, stop, UPDATE_PIECE), len(rows)
        rows += [(at, min(at + UPDATE_PIECE, stop), first, first + len(ats)) for at in ats]
        owners += [number] * len(ats)
    return np.array(rows, INTS).reshape(-1, 4), np.array(owners, INTS)

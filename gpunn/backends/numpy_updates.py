"""The end of a step on NumPy: limits on the gradients, the update, the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np

from .base import Backend
from .control import LEARNING_RATE, UPDATES, Control
from .threads import SIZE_WORTH_THREADS, Workers

# Weights that a thread updates at a time: what it reads stays in its cache from pass to pass.
UPDATE_PIECE = 1 << 16


class NumpyUpdates(Backend):
    """What an optimizer asks for; a part of `NumpyBackend`."""

    _do: Callable[..., None]
    _workers: Workers

    def update(self, optimizer: Any, arena: Any, control: Control) -> None:
        update = self._update if optimizer.steps_per_update == 1 else self._update_if_due
        self._do(update, optimizer, arena, control)

    def _update(self, optimizer: Any, arena: Any, control: Control) -> None:
        learning_rate = float(control.rates[LEARNING_RATE])
        updates = int(control.counters[UPDATES])
        for run in arena.runs:
            rate, w, g = learning_rate * run.multiplier, run.values, run.gradients
            if w.size < SIZE_WORTH_THREADS:
                optimizer.update(self, w, g, run.slots, rate, updates, run.decay)
                continue

            def part(at: slice, run: Any = run, rate: float = rate) -> None:
                for start in range(at.start, at.stop, UPDATE_PIECE):
                    piece = slice(start, min(start + UPDATE_PIECE, at.stop))
                    slots = {name: slot[piece] for name, slot in run.slots.items()}
                    w, g = run.values[piece], run.gradients[piece]
                    optimizer.update(self, w, g, slots, rate, updates, run.decay)

            self._workers.share(w.size, part)

    def _update_if_due(self, optimizer: Any, arena: Any, control: Control) -> None:
        if self._updates(optimizer, control)[1]:
            counted = copy(control)  # with updates in place of steps
            counted.counters = control.counters // optimizer.steps_per_update
            self._update(optimizer, arena, counted)

    @staticmethod
    def _updates(optimizer: Any, control: Control) -> tuple[int, bool]:
        """How many updates there were so far, and whether this step brings one."""
        every = optimizer.steps_per_update
        updates, steps = divmod(int(control.counters[UPDATES]), every)
        return updates, steps + 1 == every

    def step_by_norms(self, optimizer: Any, arena: Any, control: Control) -> None:
        self._do(self._step_by_norms, optimizer, arena, control)

    def _step_by_norms(self, optimizer: Any, arena: Any, control: Control) -> None:
        if not self._updates(optimizer, control)[1]:
            return
        learning_rate = float(control.rates[LEARNING_RATE])
        for segment in arena.segments[arena.segments["trainable"]]:
            at = slice(segment["offset"], segment["offset"] + segment["size"])
            w, direction = arena.values[at], arena.slots["direction"][at]
            norms = math.sqrt(np.dot(w, w)), math.sqrt(np.dot(direction, direction))
            ratio = norms[0] / norms[1] if min(norms) > 0 else 1.0
            rate = learning_rate * float(segment["multiplier"])
            step = self.scratch(w.shape, w.dtype, "step")
            np.multiply(direction, ratio * rate, out=step)
            np.subtract(w, step, out=w)

    def accumulate_gradients(self, optimizer: Any, arena: Any, control: Control) -> None:
        self._do(self._accumulate, optimizer, arena, control)

    def _accumulate(self, optimizer: Any, arena: Any, control: Control) -> None:
        due = self._updates(optimizer, control)[1]
        for run in arena.runs:
            g, sums = run.gradients, run.slots["gradient_accumulator"]
            np.add(g, sums, out=g if due else sums)
            if due:
                np.divide(g, optimizer.steps_per_update, out=g)
                sums.fill(0)

    def average_weights(self, optimizer: Any, arena: Any, control: Control) -> None:
        self._do(self._average, optimizer, arena, control)

    def _average(self, optimizer: Any, arena: Any, control: Control) -> None:
        updates = self._updates(optimizer, control)[0]
        keep = optimizer.ema_momentum if updates else 0.0
        every = optimizer.ema_overwrite_frequency
        for run in arena.runs:
            w, average = run.values, run.slots["average"]
            change = self.scratch(w.shape, w.dtype, "change")
            np.subtract(w, average, out=change)
            np.multiply(change, 1.0 - keep, out=change)
            np.add(average, change, out=average)
            if every and (updates + 1) % every == 0:
                np.copyto(w, average)

    def clip_gradients(self, arena: Any, by: str, limit: float) -> None:
        self._do(super().clip_gradients, arena, by, limit)

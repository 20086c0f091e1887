"""The end of a step on NumPy: penalties, gradient clipping, the update, what follows from it."""

from __future__ import annotations

import math
from copy import copy
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.control import LEARNING_RATE, UPDATES, Control
from gpunn.backends.host.program import TracingBackend
from gpunn.backends.host.trace import without_blas
from gpunn.backends.shared.threads import SIZE_WORTH_THREADS, workers

# Weights that are updated at a time: they stay in the cache from pass to pass, and work
# arrays have this size.
UPDATE_PIECE = 1 << 16


class NumpyUpdates(TracingBackend):
    """Penalties, and the operations of optimizers; a part of `NumpyBackend`."""

    def _regularize(self, call: OpCall) -> None:
        self._do(self._penalties, call.storage.penalized, call.rows, call.gradients, call.totals)

    def _penalties(self, parameters: list[Any], rows: int, gradients: bool, totals: Array) -> None:
        for parameter in parameters:
            w, gradient = parameter.array, parameter.gradient if gradients else None
            if parameter.regularizer.coefficients is None:
                penalty = parameter.regularizer.penalty(self, w, gradient)
            else:
                penalty = self._penalize(w, gradient, *parameter.coefficients)
            totals[0] += rows * float(penalty)

    # Written by hand: a dot product is one pass, while summing the terms of `L2` takes three.
    def _penalize(self, w: Array, gradient: Array | None, l1: float, l2: float) -> float:
        term = self.scratch(w.shape, w.dtype, "term")
        penalty = 0.0
        if l1:
            np.abs(w, out=term)
            penalty += l1 * float(term.sum())
            if gradient is not None:
                np.sign(w, out=term)
                np.multiply(term, l1, out=term)
                np.add(gradient, term, out=gradient)
        if l2:
            flat = w.reshape(-1)
            penalty += l2 * float(np.dot(flat, flat))
            if gradient is not None:
                np.multiply(w, 2.0 * l2, out=term)
                np.add(gradient, term, out=gradient)
        return penalty

    def _constrain(self, call: OpCall) -> None:
        self.apply_formula(call.constraint, call.constraint.apply, call.w)

    def _schedule(self, call: OpCall) -> None:
        control = call.control
        arrays = control.counters, control.rates
        self._do(_write_rate, call.schedule, *arrays, call.place)

    def _update(self, call: OpCall) -> None:
        optimizer, storage, control = call.optimizer, call.storage, call.control
        if optimizer._of_tensors:
            optimizer._update_by_tensors(self, storage, control)
            return
        update = self._update_groups if optimizer.steps_per_update == 1 else self._update_if_due
        if optimizer.functor is None:  # a custom one, which may use BLAS in any way
            self._do(lambda: update(optimizer, storage, control))
        else:
            self._do(update, optimizer, storage, control)

    @without_blas
    def _sum_over_ranks(self, call: OpCall) -> None:
        self._do(call.ranks.sum, call.array)

    def _update_groups(self, optimizer: Any, storage: Any, control: Control) -> None:
        learning_rate = float(control.rates[LEARNING_RATE])
        updates = int(control.counters[UPDATES])
        for group in storage.groups:
            rate, w, g = learning_rate * group.multiplier, group.values, group.gradients
            if w.size <= 2 * UPDATE_PIECE:  # a Python loop over pieces would take longer
                optimizer.update(self, w, g, group.slots, rate, updates, group.decay)
                continue

            def piece(number: int, group: Any = group, rate: float = rate) -> None:
                at = slice(number * UPDATE_PIECE, (number + 1) * UPDATE_PIECE)
                slots = {name: slot[at] for name, slot in group.slots.items()}
                w, g = group.values[at], group.gradients[at]
                optimizer.update(self, w, g, slots, rate, updates, group.decay)

            pieces = -(-w.size // UPDATE_PIECE)
            if w.size < SIZE_WORTH_THREADS:
                for number in range(pieces):
                    piece(number)
            else:
                workers.parallel_for(pieces, piece)

    @without_blas
    def _update_if_due(self, optimizer: Any, storage: Any, control: Control) -> None:
        if _updates(optimizer, control)[1]:
            counted = copy(control)  # with updates instead of steps
            counted.counters = control.counters // optimizer.steps_per_update
            self._update_groups(optimizer, storage, counted)

    def _step_by_norms(self, call: OpCall) -> None:
        self._do(self._step_by_norms_if_due, call.optimizer, call.storage, call.control)

    def _step_by_norms_if_due(self, optimizer: Any, storage: Any, control: Control) -> None:
        if not _updates(optimizer, control)[1]:
            return
        learning_rate = float(control.rates[LEARNING_RATE])
        for segment in storage.segments[storage.segments["trainable"]]:
            at = slice(segment["offset"], segment["offset"] + segment["size"])
            w, direction = storage.values[at], storage.slots["direction"][at]
            norms = math.sqrt(np.dot(w, w)), math.sqrt(np.dot(direction, direction))
            ratio = norms[0] / norms[1] if norms[0] > 0 and norms[1] > 0 else 1.0
            rate = learning_rate * float(segment["multiplier"])
            step = self.scratch(w.shape, w.dtype, "step")
            np.multiply(direction, ratio * rate, out=step)
            np.subtract(w, step, out=w)

    def _accumulate_gradients(self, call: OpCall) -> None:
        self._do(_accumulate, call.optimizer, call.storage, call.control)

    def _average_weights(self, call: OpCall) -> None:
        self._do(self._average, call.optimizer, call.storage, call.control)

    @without_blas
    def _average(self, optimizer: Any, storage: Any, control: Control) -> None:
        updates = _updates(optimizer, control)[0]
        keep = optimizer.ema_momentum if updates else 0.0
        every = optimizer.ema_overwrite_frequency
        for group in storage.groups:
            w, average = group.values, group.slots["average"]
            change = self.scratch(w.shape, w.dtype, "change")
            np.subtract(w, average, out=change)
            np.multiply(change, 1.0 - keep, out=change)
            np.add(average, change, out=average)
            if every and (updates + 1) % every == 0:
                np.copyto(w, average)

    def _clip_gradients(self, call: OpCall) -> None:
        self._do(self._clip, call.storage, call.by, call.limit)

    @without_blas
    def _clip(self, storage: Any, by: str, limit: float) -> None:
        if by == "value":
            for group in storage.groups:
                np.clip(group.gradients, -limit, limit, out=group.gradients)
            return
        together = [[group.gradients for group in storage.groups]]
        for group in [[p.gradient] for p in storage.trained] if by == "norm" else together:
            squares = 0.0
            for g in group:
                square = self.scratch(g.shape, np.float64, "square")  # finite for any float32
                np.copyto(square, g)  # converting inside the ufunc would need a buffer
                np.square(square, out=square)
                squares = squares + np.sum(square)
            factor = limit / np.maximum(np.sqrt(squares), limit)
            for g in group:
                np.multiply(g, factor.astype(g.dtype), out=g)


@without_blas
def _write_rate(schedule: Any, counters: Array, rates: Array, place: int) -> None:
    rates[place] = schedule(int(counters[UPDATES]))


def _updates(optimizer: Any, control: Control) -> tuple[int, bool]:
    """Return the number of updates so far, and whether this step performs one."""
    every = optimizer.steps_per_update
    updates, steps = divmod(int(control.counters[UPDATES]), every)
    return updates, steps + 1 == every


@without_blas
def _accumulate(optimizer: Any, storage: Any, control: Control) -> None:
    due = _updates(optimizer, control)[1]
    for group in storage.groups:
        g, sums = group.gradients, group.slots["gradient_accumulator"]
        np.add(g, sums, out=g if due else sums)
        if due:
            np.divide(g, optimizer.steps_per_update, out=g)
            sums.fill(0)

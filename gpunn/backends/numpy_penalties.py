"""Penalties on weights, constraints and schedules on NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import Array, Backend
from .control import UPDATES, Control


class NumpyPenalties(Backend):
    """What a step does to weights and rates beside its update; a part of `NumpyBackend`."""

    _do: Callable[..., None]
    _formula: Callable[..., None]

    def regularize(self, arena: Any, rows: int, gradients: bool, totals: Array) -> None:
        self._do(self._regularize, arena.penalized, rows, gradients, totals)

    def _regularize(self, parameters: list[Any], rows: int, gradients: bool, totals: Array) -> None:
        for parameter in parameters:
            w, gradient = parameter.value, parameter.gradient if gradients else None
            if parameter.regularizer.coefficients is None:
                penalty = parameter.regularizer.penalty(self, w, gradient)
            else:
                penalty = self._penalize(w, gradient, *parameter.coefficients)
            totals[0] += rows * float(penalty)

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

    def constrain(self, constraint: Any, w: Array) -> None:
        self._formula(constraint, constraint.apply, w)

    def schedule(self, schedule: Any, control: Control, place: int, every: int = 1) -> None:
        self._do(self._write_rate, schedule, control.counters, control.rates, place, every)

    @staticmethod
    def _write_rate(
        schedule: Any, counters: Array, rates: Array, place: int, every: int
    ) -> None:
        rates[place] = schedule(int(counters[UPDATES]) // every)

"""Penalties on weights, constraints and schedules on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.control import UPDATES
from gpunn.backends.host.program import TracingBackend
from gpunn.backends.host.trace import without_blas


class NumpyPenalties(TracingBackend):
    """Penalties, constraints and schedules of a step; a part of `NumpyBackend`."""

    def _regularize(self, call: OpCall) -> None:
        self._do(self._penalties, call.storage.penalized, call.rows, call.gradients, call.totals)

    def _penalties(self, parameters: list[Any], rows: int, gradients: bool, totals: Array) -> None:
        for parameter in parameters:
            w, gradient = parameter.value, parameter.gradient if gradients else None
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


@without_blas
def _write_rate(schedule: Any, counters: Array, rates: Array, place: int) -> None:
    rates[place] = schedule(int(counters[UPDATES]))

"""The control block: every number that changes from one step to the next.

It lives on the device, and the step itself advances it, since a captured graph
cannot take new arguments. The host writes it only between runs (a new pass over
the data, a new learning rate) and reads it when it saves or resumes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .device import Device

# Positions in `Control.counters` (int64) ...
UPDATES = 0  # steps of the optimizer so far; several make one update, if it accumulates
BATCHES = 1  # training batches so far: the counter of the random streams
PASS = 2  # passes over the data started before this one: keys the shuffled order
POSITION = 3  # row of this pass at which the next batch begins
BAD_BATCH = 4  # the first batch whose loss was not finite, or -1
COUNTERS = 8
NAMES = ("updates", "batches", "pass", "position", "bad_batch")
# ... and in `Control.rates` (float64).
LEARNING_RATE = 0
PARAMETERS = 1  # from here on an optimizer's parameters, if a schedule changes one of them
RATES = 16


class Control:
    """Counters (int64) and rates (float64) on the device of ``backend``."""

    def __init__(self, backend: Device) -> None:
        self.backend = backend
        self.counters: Any = backend.zeros((COUNTERS,), np.int64)
        self.rates: Any = backend.zeros((RATES,), np.float64)
        self.shift = 0  # row of the pass minus its row in the array that the gather reads
        self.set(BAD_BATCH, -1)

    def set(self, position: int, value: int) -> None:
        """Write one counter from the host, or raise a ValueError for a number that is not a
        possible count."""
        _check(position, value)
        if position == POSITION:
            self.shift = 0
        self._write(position, value)

    def begin_pass(self, number: int) -> None:
        """Continue with the first row of the pass of this number, of which no batch is bad yet."""
        self.shift = 0
        self._write(PASS, number, 0, -1)  # the position and the bad batch come next

    def _write(self, position: int, *values: int) -> None:
        self.backend.write(self.counters[position : position + len(values)], values)

    def place(self, row: int, place: int) -> None:
        """Continue with this row of the pass, at row ``place`` of the array that the gather reads.

        >>> from gpunn.backends import get_backend
        >>> control = Control(get_backend("numpy"))
        >>> control.place(row=640, place=64)
        >>> int(control.counters[POSITION]), int(control.get()[POSITION])
        (64, 640)
        """
        self.set(POSITION, place)
        self.shift = row - place

    def get(self) -> np.ndarray:
        """Return all counters on the host, with the position as a row of the pass.

        Waits for the device.
        """
        counters = self.backend.read(self.counters)
        counters[POSITION] += self.shift
        return counters

    def restore(self, counters: np.ndarray) -> None:
        """Restore the counters that `get` returned, or raise a ValueError for impossible counts."""
        for position, value in enumerate(counters[: len(NAMES)].tolist()):
            _check(position, value)
        self.shift = 0
        self.backend.write(self.counters, counters)

    def set_learning_rate(self, value: float) -> None:
        self.set_rate(LEARNING_RATE, value)

    def set_rate(self, place: int, value: float) -> None:
        """Write one of the rates from the host."""
        self.backend.write(self.rates[place : place + 1], np.array([value]))


def _check(position: int, value: int) -> None:
    least = -1 if position == BAD_BATCH else 0
    if not least <= value < 2**63:
        raise ValueError(f"{NAMES[position]} must be at least {least}; got {value}.")

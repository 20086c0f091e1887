"""What a step changes before its end, kept as it was: a check may end the step in between."""

from __future__ import annotations

import numpy as np

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import BATCHES, Control
from gpunn.core.arena import Arena


class Undo:
    """State that the forward pass changes (moving averages, what a `call` assigns to), as it was
    when the step began.

    Args:
        arena: of the state.
        control: counts the steps that have ended.
        backend: of the steps.
    """

    def __init__(self, arena: Arena, control: Control, backend: Backend) -> None:
        self._state, self._batches = arena.state, control.counters[BATCHES : BATCHES + 1]
        self._backend = backend
        self._kept = backend.empty(arena.state.shape, arena.dtype)
        self._step = backend.zeros((1,), np.float64)  # the number of the step that began last
        backend.write(self._step, np.array([-1.0]))

    def keep(self) -> None:
        """At the beginning of a step: operations of it."""
        self._backend.affine(self._state, 1.0, 0.0, self._kept)
        self._backend.affine(self._batches, 1.0, 0.0, self._step)

    def take_back(self) -> None:
        """After an error: what a step has changed that has begun and not ended."""
        read = self._backend.read
        if read(self._step)[0] == read(self._batches)[0]:
            self._backend.write(self._state, read(self._kept))

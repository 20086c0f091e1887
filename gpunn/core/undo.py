"""A backup of the state that a step changes before its end, since a check may abort the step."""

from __future__ import annotations

import numpy as np

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import BATCHES, Control
from gpunn.core.storage import ParameterStorage


class Undo:
    """Backup of the state that the forward pass changes, from the beginning of the step.

    Such state is moving averages, and variables that a `call` assigns to. ``control`` counts the
    finished steps.
    """

    def __init__(self, storage: ParameterStorage, control: Control, backend: Backend) -> None:
        self._state, self._batches = storage.state, control.counters[BATCHES : BATCHES + 1]
        self._backend = backend
        self._kept = backend.empty(storage.state.shape, storage.dtype)
        self._step = backend.zeros((1,), np.float64)  # the number of the step that began last
        backend.write(self._step, np.array([-1.0]))

    def keep(self) -> None:
        """Back up the state at the beginning of a step, with operations of the step."""
        self._backend.affine(self._state, 1.0, 0.0, self._kept)
        self._backend.affine(self._batches, 1.0, 0.0, self._step)

    def take_back(self) -> None:
        """Restore the state after an error in an unfinished step."""
        read = self._backend.read
        if read(self._step)[0] == read(self._batches)[0]:
            self._backend.write(self._state, read(self._kept))

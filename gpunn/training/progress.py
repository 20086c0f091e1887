"""How far the training of a model has come, by the steps of `fit` or of its class."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.control import BATCHES, PASS, POSITION, Control
from gpunn.common.random import draw_seed, times_seeded

SHARED = [BATCHES, PASS, POSITION]  # an optimizer counts its updates by itself


class Progress:
    """The state of a model's training that all its steps use.

    `Training` makes one in each `compile`, and hands it to the trainer.

    Args:
        seed: By default a new one is drawn.

    Attributes:
        seed: Key of the order of rows and of random numbers.
        seeded: What `times_seeded` returned when the seed was set.
        passes: Passes over the data begun so far.
        pass_began: Batches before the current pass, for streamed batches.
        control: The counters of the steps that trained last, if any.
        draws: The random numbers of steps that the model's class defines, once they are used.
        keeps_outputs: Whether steps write the outputs of all layers, also those that nothing reads.
    """

    keeps_outputs = False

    def __init__(self, seed: int | None = None) -> None:
        self.seed, self.seeded = draw_seed() if seed is None else seed, times_seeded()
        self.draws: Any = None
        self.restart()

    def restart(self) -> None:
        """Count from the start, with the same seed and random numbers."""
        self.passes = self.pass_began = 0
        self.control: Control | None = None

    @property
    def batches(self) -> int:
        """Training batches so far."""
        return 0 if self.control is None else int(self.control.get()[BATCHES])

    def counters_of(self, control: Control) -> np.ndarray:
        """Return the counters of steps that continue, whichever steps trained last."""
        counters = control.get()
        if self.control is not None and self.control is not control:
            counters[SHARED] = self.control.get()[SHARED]
        return counters

    def continue_with(self, control: Control) -> None:
        """Let the steps that count in ``control`` continue."""
        if self.control is not None and self.control is not control:
            control.restore(self.counters_of(control))
        self.control = control

    def __getstate__(self) -> dict[str, Any]:
        """Whether a new seed is due is known, not how often seeds were set elsewhere."""
        counters = None if self.control is None else self.control.get()
        return {**vars(self), "control": counters, "seeded": self.seeded == times_seeded()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        counters, control = state["control"], None
        if counters is not None:
            control = Control(get_backend("numpy"))
            control.restore(counters)
        vars(self).update(state, control=control, seeded=times_seeded() if state["seeded"] else -1)

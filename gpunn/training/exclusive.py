"""A guard that lets only one call at a time train a model."""

from __future__ import annotations

import sys
import threading
from typing import Any

from gpunn.common.holds import Hold


class ExclusiveTraining:
    """A ``with`` block for a call that trains a model, and holds its ``exclusive`` as long; see
    `Training.exclusively`."""

    def __init__(self, training: Any, method: str) -> None:
        self._training, self._method = training, method
        self._hold: Hold | None = None

    def __enter__(self) -> None:
        """Reserve the model for this call; raise an error if another call trains it."""
        self._hold = self._training.exclusive.take(sys._getframe(1))
        if self._hold is None:
            raise RuntimeError(in_training(self._training, self._method))

    def __exit__(self, *error: object) -> None:
        assert self._hold is not None
        self._hold.release()


def in_training(training: Any, method: str) -> str:
    """Return an error message that explains why ``method`` cannot run now."""
    holder = training.exclusive.holder
    here = holder is not None and holder.thread == threading.get_ident()
    return (
        f"{method}: the model {training.name!r} is being trained just now, "
        f"{'by the call that runs this one' if here else 'by another thread'}. "
        + (
            "A callback cannot train or compile its own model; do that after fit has returned."
            if here
            else "Wait until that has ended, or train a copy: from_config(get_config())."
        )
    )

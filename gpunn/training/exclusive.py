"""A guard that lets only one call at a time train a model."""

from __future__ import annotations

import sys
import threading

from gpunn.common.holds import Exclusive, Hold


class ExclusiveTraining:
    """A ``with`` block for a call that trains a model; see `Training.exclusively`.

    Args:
        name: Name of the model.
        exclusive: What the call holds as long as it trains.
        method: Name of the call.
    """

    def __init__(self, name: str, exclusive: Exclusive, method: str) -> None:
        self._name, self._exclusive, self._method = name, exclusive, method
        self._hold: Hold | None = None

    def __enter__(self) -> None:
        """Reserve the model for this call; raise an error if another call trains it."""
        self._hold = self._exclusive.take(sys._getframe(1))
        if self._hold is None:
            raise RuntimeError(in_training(self._name, self._exclusive, self._method))

    def __exit__(self, *error: object) -> None:
        assert self._hold is not None
        self._hold.release()


def in_training(name: str, exclusive: Exclusive, method: str) -> str:
    """Return an error message that explains why ``method`` cannot run now."""
    holder = exclusive.holder
    here = holder is not None and holder.thread == threading.get_ident()
    return (
        f"{method}: the model {name!r} is being trained just now, "
        f"{'by the call that runs this one' if here else 'by another thread'}. "
        + (
            "A callback cannot train or compile its own model; do that after fit has returned."
            if here
            else "Wait until that has ended, or train a copy: from_config(get_config())."
        )
    )

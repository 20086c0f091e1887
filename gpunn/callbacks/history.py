"""What `fit` returns: the figures of each epoch."""

from __future__ import annotations

from typing import Any

from .callback import Callback, Logs


class History(Callback):
    """Keeps the logs of every epoch. `fit` adds one by itself and returns it.

    Attributes:
        epoch: the epochs that were trained, counted from 0.
        history: for each name a list with one value an epoch.

    >>> record = History()
    >>> record.on_train_begin()
    >>> record.on_epoch_end(0, {"loss": 0.25})
    >>> record.history
    {'loss': [0.25]}
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def get_state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "history": self.history}

    def set_state(self, state: dict[str, Any]) -> None:
        self.epoch = list(state["epoch"])
        self.history = {name: list(values) for name, values in state["history"].items()}

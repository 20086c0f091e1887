"""What `fit` returns: the figures of each epoch."""

from __future__ import annotations

from typing import Any

from gpunn.common.stored import ByName, Integer, Several

from .callback import Callback, Logs, state


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

    epoch: list[int] = state(Several(Integer()), list)
    history: dict[str, list[Any]] = state(ByName(Several()), dict)

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

"""A learning rate that a function sets at the start of each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.common.stored import Integer, Kept

from .callback import Callback, Logs


class LearningRateScheduler(Callback):
    """Sets ``optimizer.learning_rate = schedule(epoch, learning_rate)`` before each epoch.

    Args:
        schedule: function of the epoch (from 0) and the present rate that returns the new one,
            or of the epoch alone; `gpunn.optimizers.schedules` are such.
        verbose: 1 prints the rate.

    Raises:
        ValueError: if ``schedule`` returns something that is not a float.

    >>> from types import SimpleNamespace
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2)
    >>> halve.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5)))
    >>> halve.on_epoch_begin(0)
    >>> halve.model.optimizer.learning_rate
    0.25
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.schedule = schedule
        self._takes_rate = _takes_two(schedule)
        self.verbose = verbose
        self._set_for: int | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._set_for = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if epoch == self._set_for:  # resumed in the middle of this epoch
            return
        optimizer = self.model.optimizer
        present = (float(optimizer.learning_rate),) if self._takes_rate else ()
        rate = self.schedule(epoch, *present)
        if not isinstance(rate, (float, np.floating)):
            raise ValueError(f"schedule must return a float; got {rate!r} for epoch {epoch}.")
        optimizer.learning_rate = rate = float(rate)
        self._set_for = epoch
        if self.verbose > 0:
            print(f"Epoch {epoch + 1}: learning rate {rate:.6g}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if isinstance(logs, dict):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)

    def keeps(self) -> dict[str, Kept]:
        return {
            "_set_for": Integer(or_none=True),
        }


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether it can be called with two arguments; one that does not say can."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True

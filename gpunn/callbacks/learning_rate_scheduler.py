"""A learning rate that a function sets at the start of each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.common.fields import field
from gpunn.common.signatures import signature
from gpunn.common.stored import Integer

from .callback import Callback, Logs, state


class LearningRateScheduler(Callback):
    """Sets ``optimizer.learning_rate = schedule(epoch, learning_rate)`` before each epoch.

    Args:
        schedule: function of the epoch (from 0) and the current rate that returns the new one,
            or of the epoch alone, such as those in `gpunn.optimizers.schedules`.
        verbose: 1 prints the rate.

    Raises:
        ValueError: if ``schedule`` returns something that is not a float.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import LearningRateScheduler
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2)
    >>> halve.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5)))
    >>> halve.on_epoch_begin(0)
    >>> halve.model.optimizer.learning_rate
    0.25
    """

    schedule: Callable[..., float] = field()
    verbose: int = field(default=0)
    _set_for: int | None = state(Integer(or_none=True))

    def __post_init__(self) -> None:
        self._takes_rate = _takes_two(self.schedule)

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reset()

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
            self._print(f"Epoch {epoch + 1}: learning rate {rate:.6g}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if isinstance(logs, dict):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether the function accepts two arguments; assumed if its signature is unknown."""
    try:
        signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True

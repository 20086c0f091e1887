"""Change the learning rate between epochs: by a function, or when a figure no longer improves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.common.arguments import check_count, check_not_negative, check_number, requirement
from gpunn.common.fields import field
from gpunn.common.signatures import signature
from gpunn.common.stored import Integer, Number

from .callback import Callback, Logs, state
from .monitor import _MonitorCallback, check_min_delta, check_mode

_check_factor = requirement(
    "at least 0 and below 1", lambda value: 0 <= check_number("factor", value) < 1
)


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


class ReduceLROnPlateau(_MonitorCallback):
    """Multiplies the learning rate by ``factor`` after ``patience`` epochs without improvement.

    Args:
        monitor, patience, mode, min_delta: as for `EarlyStopping`.
        factor: below 1.
        verbose: 1 prints the new rate.
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: lower bound of the rate.

    Raises:
        TypeError: when training begins, if a schedule computes the learning rate.
        ValueError: likewise for a figure whose direction is unknown.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import ReduceLROnPlateau
    >>> reduce = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1)
    >>> optimizer = SimpleNamespace(learning_rate=0.5, fixed_learning_rate=0.5)
    >>> reduce.set_model(SimpleNamespace(optimizer=optimizer))
    >>> reduce.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     reduce.on_epoch_end(epoch, {"loss": loss})
    >>> optimizer.learning_rate
    0.25
    """

    monitor: str = field(default="val_loss")
    factor: float = field(default=0.1, check=_check_factor)
    patience: int = field(default=10, check=check_count)
    verbose: int = field(default=0)
    mode: str = field(default="auto", check=check_mode)
    min_delta: float = field(default=1e-4, check=check_min_delta)
    cooldown: int = field(default=0, check=check_count)
    min_lr: float = field(default=0.0, check=check_not_negative)
    best: float | None = state(Number(or_none=True))
    wait: int = state(Integer(), 0)
    cooldown_counter: int = state(lambda self: Integer(0, self.cooldown), 0)

    def on_train_begin(self, logs: Logs = None) -> None:
        if self.model.optimizer.fixed_learning_rate is None:
            raise TypeError(
                "ReduceLROnPlateau: this optimizer was created with a LearningRateSchedule, "
                "which computes the rate for each update. Use one or the other."
            )
        self._direction()  # raises now if it is unknown
        self._reset()

    def in_cooldown(self) -> bool:
        """Whether the last reduction was less than ``cooldown`` epochs ago."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        if isinstance(logs, dict):
            logs["learning_rate"] = rate
        value = self._value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self._reduce(epoch, max(rate * self.factor, self.min_lr))

    def _reduce(self, epoch: int, rate: float) -> None:
        self.model.optimizer.learning_rate = rate
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose > 0:
            self._print(
                f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate:.6g}."
            )


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether the function accepts two arguments; assumed if its signature is unknown."""
    try:
        signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True

"""Stop when a figure no longer improves."""

from __future__ import annotations

import numpy as np

from gpunn.common.arguments import check_count
from gpunn.common.fields import field
from gpunn.common.stored import Arrays, Integer, Number

from .callback import Logs, state
from .monitor import _MonitorCallback, check_min_delta, check_mode


class EarlyStopping(_MonitorCallback):
    """Stops after ``patience`` epochs in which ``monitor`` did not improve.

    Args:
        monitor: name of the watched figure.
        min_delta: a smaller change does not count as an improvement.
        patience: epochs without improvement to wait for.
        verbose: 1 prints what is done.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (by the name).
        baseline: a value that must be beaten as well.
        restore_best_weights: leave the model with the weights of its best epoch. They
            are restored whenever training ends, whether it was stopped here or not.
        start_from_epoch: number of epochs to wait first.

    Raises:
        ValueError: when training begins, for a figure whose direction is unknown.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import EarlyStopping
    >>> stop = EarlyStopping(monitor="loss")
    >>> stop.set_model(SimpleNamespace(stop_training=False))
    >>> stop.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     stop.on_epoch_end(epoch, {"loss": loss})
    >>> stop.model.stop_training, stop.stopped_epoch
    (True, 2)
    """

    monitor: str = field(default="val_loss")
    min_delta: float = field(default=0, check=check_min_delta)
    patience: int = field(default=0, check=check_count)
    verbose: int = field(default=0)
    mode: str = field(default="auto", check=check_mode)
    baseline: float | None = field(default=None)
    restore_best_weights: bool = field(default=False)
    start_from_epoch: int = field(default=0, check=check_count)
    wait: int = state(Integer(), 0)
    stopped_epoch: int = state(Integer(), 0)
    best: float | None = state(Number(or_none=True))
    best_epoch: int = state(Integer(), 0)
    best_weights: list[np.ndarray] | None = state(
        lambda self: Arrays(lambda: self.model.get_weights(), or_none=True)
    )

    def on_train_begin(self, logs: Logs = None) -> None:
        self._direction()  # raises now if it is unknown
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        improved = self._is_improvement(value, self.best) and value == value  # NaN is never best
        if improved:
            self.best = value
            self.best_epoch = epoch
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights = self.model.get_weights()
        if improved:
            if self.baseline is None or self._is_improvement(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            epoch = self.stopped_epoch + 1
            self._print(f"Epoch {epoch}: {self.monitor} no longer improves, stopped.")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                self._print(f"Weights restored from the best epoch, {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

"""Stop when a figure no longer improves."""

from __future__ import annotations

import numpy as np

from gpunn.common.arguments import check_integer
from gpunn.common.stored import Arrays, Integer, Kept, Number

from .callback import Logs
from .monitor import _MonitorCallback


class EarlyStopping(_MonitorCallback):
    """Stops after ``patience`` epochs in which ``monitor`` did not improve.

    Args:
        monitor: name of the watched figure.
        min_delta: a smaller change counts as none.
        patience: epochs without improvement to wait for.
        verbose: 1 prints what is done.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (by the name).
        baseline: a value that has to be beaten as well.
        restore_best_weights: leave the model with the weights of its best epoch. They
            are restored whenever training ends, whether it was stopped here or not.
        start_from_epoch: epochs to let pass first.

    Raises:
        ValueError: when training begins, for a figure whose direction is not known.

    >>> from types import SimpleNamespace
    >>> stop = EarlyStopping(monitor="loss")
    >>> stop.set_model(SimpleNamespace(stop_training=False))
    >>> stop.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     stop.on_epoch_end(epoch, {"loss": loss})
    >>> stop.model.stop_training, stop.stopped_epoch
    (True, 2)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = check_integer("patience", patience, 0)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = check_integer("start_from_epoch", start_from_epoch, 0)
        self._reset()

    def on_train_begin(self, logs: Logs = None) -> None:
        self._direction()  # raises now if it is not known
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        improved = self._is_improvement(value, self.best) and value == value  # NaN is no best
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
            print(f"Epoch {self.stopped_epoch + 1}: {self.monitor} no longer improves, stopped.")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print(f"Weights restored from the best epoch, {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def keeps(self) -> dict[str, Kept]:
        return {
            "wait": Integer(),
            "stopped_epoch": Integer(),
            "best": Number(or_none=True),
            "best_epoch": Integer(),
            "best_weights": Arrays(lambda: self.model.get_weights(), or_none=True),
        }

"""Early stopping of an estimator's training."""

from __future__ import annotations

import math
from typing import Any

from gpunn.callbacks import Callback


class Patience(Callback):
    """Stops training when a loss has not improved by ``tol`` for more than ``patience`` consecutive
    epochs: the rule of scikit-learn's MLPClassifier.

    Args:
        monitor: ``"loss"`` or ``"val_loss"``.
        tol: minimum improvement.
        patience: number of epochs without improvement.
        restores: whether to restore the weights of the best epoch at the end.
    """

    _abstract = True  # not registered by name
    only_watches = True

    def __init__(self, monitor: str, tol: float, patience: float, restores: bool) -> None:
        self.monitor, self.tol, self.patience, self.restores = monitor, tol, patience, restores
        self.best, self.waited = math.inf, 0
        self.weights: list[Any] | None = None

    def _epochs_ahead(self) -> float:
        return 0 if self.restores else self.patience + 1 - self.waited

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = logs.get(self.monitor)
        if value is None:  # an epoch without validation
            return
        self.waited = self.waited + 1 if value > self.best - self.tol else 0
        if value < self.best:
            self.best = value
            if self.restores:
                self.weights = self.model.get_weights()
        if self.waited > self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        if self.weights is not None:
            self.model.set_weights(self.weights)

"""Training on custom data, shared by tables and pictures: settings, early stopping, metrics."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpunn.callbacks import Callback, EarlyStopping
from gpunn.callbacks.callback import Logs
from gpunn.callbacks.progress_bar import epoch_line
from gpunn.common import registry
from gpunn.common.numeric.moments import mean, size
from gpunn.layers import Dropout
from gpunn.models import Model

# (row limit, batch size): the first entry with fewer rows than its limit.
BATCHES = ((1_000, 16), (10_000, 32), (50_000, 128), (np.inf, 256))
SECONDS = 2.0  # between two progress lines


@dataclass
class Settings:
    """Settings of a training; the data decide the value of those that are None."""

    hidden: list[int] | None = None
    dropout: float | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int = 500
    seed: int = 0

    def check(self) -> None:
        """Raise a ValueError for settings that no layer or optimizer accepts, before any work."""
        Dropout(self.dropout or 0.0)
        self.made_optimizer()

    def made_optimizer(self) -> Any:
        chosen = registry.lookup("optimizer", self.optimizer)
        return chosen() if self.learning_rate is None else chosen(self.learning_rate)


@dataclass
class RowSet:
    """Rows that a network takes, with their targets."""

    x: np.ndarray
    y: np.ndarray


class Training(NamedTuple):
    """How a training went.

    Attributes:
        best: the best epoch, counted from 1, whose weights are kept.
        epochs: the number of epochs.
        interrupted: whether Ctrl-C ended it.
    """

    best: int
    epochs: int
    interrupted: bool


def compile_for(model: Model, classes: int, settings: Settings) -> None:
    """Compile for a number of classes, or for regression (0)."""
    model.compile(
        settings.made_optimizer(),
        "sparse_categorical_crossentropy" if classes else "mse",
        metrics=["accuracy"] if classes else ["mae", "r2_score"],
    )


def fit_best(
    model: Model,
    train: RowSet,
    validation: RowSet,
    classes: int,
    settings: Settings,
    callbacks: Sequence[Callback] = (),
) -> Training:
    """Train with early stopping on the validation loss, and keep the best weights.

    ``callbacks`` are further callbacks.

    Raises:
        KeyboardInterrupt: if Ctrl-C came in the first epoch; later, the best weights are kept.
    """
    compile_for(model, classes, settings)
    patience = max(10, min(30, 30_000 // len(train.y) + 10))
    stopping = EarlyStopping(monitor="val_loss", patience=patience, restore_best_weights=True)
    interrupted = False
    try:
        model.fit(
            train.x,
            train.y,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            validation_data=(validation.x, validation.y),
            verbose=0,
            callbacks=[stopping, _Lines(), *callbacks],
        )
    except KeyboardInterrupt:
        if stopping.best_weights is None:
            raise
        model.set_weights(stopping.best_weights)
        interrupted = True
    assert model.history is not None
    epochs = model.history.epoch[-1] + 1 if model.history.epoch else stopping.best_epoch + 1
    return Training(stopping.best_epoch + 1, epochs, interrupted)


class _Lines(Callback):
    """Prints the line of an epoch every `SECONDS`, as `fit` does, behind the model's name."""

    def on_train_begin(self, logs: Logs = None) -> None:
        self.last = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if time.monotonic() - self.last >= SECONDS and logs:
            self.last = time.monotonic()
            head = f"{self.model.name}: Epoch {epoch + 1}/{(self.params or {}).get('epochs')}"
            print(epoch_line(head, logs, out=sys.stdout), flush=True)


def shares(y: np.ndarray, classes: int, rows: int) -> np.ndarray:
    """Return the simplest prediction for each of some rows: the classes' shares in training."""
    return np.tile(np.bincount(y, minlength=classes) / len(y), (rows, 1))


def figures(predicted: np.ndarray, y: np.ndarray, classes: int) -> dict[str, float]:
    """Compute the metrics of predictions.

    >>> figures(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0]), 2)
    {'accuracy': 0.5, 'log loss': 0.5697171415941824}
    >>> figures(np.array([1.0, 3.0]), np.array([1.0, 2.0]), 0)
    {'MAE': 0.5, 'RMSE': 0.7071067811865476, 'R2': -1.0}
    """
    if classes:
        likely = np.clip(predicted[np.arange(len(y)), y].astype(np.float64), 1e-7, None)
        right = predicted.argmax(axis=1) == y
        return {"accuracy": float(right.mean()), "log loss": float(-np.log(likely).mean())}
    wrong = np.subtract(predicted.reshape(-1), y, dtype=np.float64)
    spread = y - mean(y)
    unit = float(size([*wrong, *spread]).item())  # in which no square overflows
    squares, total = (float(((values / unit) ** 2).sum()) for values in (wrong, spread))
    worst = -np.inf if spread.any() else np.nan
    return {
        "MAE": float(mean(np.abs(wrong))),
        "RMSE": unit * (squares / len(y)) ** 0.5,
        "R2": 1 - squares / total if total else float(worst),
    }

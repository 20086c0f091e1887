"""A network for a table, and what it is compared with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.callbacks import Callback, EarlyStopping
from gpunn.callbacks.callback import Logs
from gpunn.common import registry
from gpunn.layers import Dense, Dropout, Input, Rescaling
from gpunn.models import Model, Sequential

RIDGE = 1.0  # penalty on the weights of the linear model for numbers
# Units of a hidden layer and rows of a batch, by the least number of rows that is too many.
SIZES = ((1_000, 32, 16), (10_000, 64, 32), (50_000, 128, 128), (np.inf, 256, 256))
SECONDS = 2.0  # between two lines about the training


@dataclass
class Settings:
    """How a network is trained; None and empty for what the data decide."""

    hidden: list[int] | None = None
    dropout: float | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int = 500
    seed: int = 0

    def for_data(self, rows: int) -> Settings:
        """The settings with what was not said: widths, dropout and batches by the number of rows.

        >>> small, large = Settings().for_data(100), Settings(hidden=[8]).for_data(100_000)
        >>> small.hidden, small.batch_size, large.hidden, large.batch_size
        ([32, 32], 16, [8], 256)
        """
        width, batch = next(sizes for most, *sizes in SIZES if rows < most)
        return Settings(
            [width, width] if self.hidden is None else self.hidden,
            0.1 if self.dropout is None else self.dropout,
            self.optimizer,
            self.learning_rate,
            self.batch_size or batch,
            self.epochs,
            self.seed,
        )


@dataclass
class Part:
    """Rows that a network takes, with their targets."""

    x: np.ndarray
    y: np.ndarray


def train(
    parts: dict[str, Part], classes: int, settings: Settings, name: str
) -> tuple[Model, int, int]:
    """The network that was best on the validation part; its epoch, and how many there were.

    For numbers (``classes`` 0) it learns the target scaled to mean 0 and deviation 1, and a last
    layer undoes that.
    """
    first, check = parts["train"], parts["validation"]
    net = Sequential(name=f"{name}_network")
    net.add(Input((first.x.shape[1],)))
    assert settings.hidden is not None
    for units in settings.hidden:
        net.add(Dense(units, activation="relu"))
        if settings.dropout:
            net.add(Dropout(settings.dropout))
    net.add(Dense(classes, activation="softmax") if classes else Dense(1))
    net.compile(_optimizer(settings), _loss(classes))
    mean, deviation = (0.0, 1.0) if classes else (float(first.y.mean()), float(first.y.std()))
    targets = [p.y if classes else ((p.y - mean) / deviation)[:, None] for p in (first, check)]
    stopping = EarlyStopping(
        monitor="val_loss", patience=max(10, min(30, 30_000 // len(first.y) + 10)),
        restore_best_weights=True,
    )  # fmt: skip
    history = net.fit(
        first.x, targets[0], batch_size=settings.batch_size, epochs=settings.epochs,
        validation_data=(check.x, targets[1]), verbose=0, callbacks=[stopping, _Lines()],
    ).history["val_loss"]  # fmt: skip
    inputs = Input((first.x.shape[1],))
    outputs = net(inputs) if classes else Rescaling([deviation], [mean])(net(inputs))
    model = Model(inputs, outputs, name=name)
    metrics = ["accuracy"] if classes else ["mae", "r2_score"]
    model.compile(_optimizer(settings), _loss(classes), metrics=metrics)
    return model, int(np.argmin(history)) + 1, len(history)


def _optimizer(settings: Settings) -> Any:
    chosen = registry.lookup("optimizer", settings.optimizer)
    return chosen() if settings.learning_rate is None else chosen(settings.learning_rate)


def _loss(classes: int) -> str:
    return "sparse_categorical_crossentropy" if classes else "mse"


class _Lines(Callback):
    """A line now and then, so that somebody who waits sees how it goes."""

    def on_train_begin(self, logs: Logs = None) -> None:
        self.last = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if time.monotonic() - self.last >= SECONDS and logs:
            self.last = time.monotonic()
            shown = f"loss {logs['loss']:.4f}, on the validation rows {logs['val_loss']:.4f}"
            print(f"Epoch {epoch + 1}: {shown}", flush=True)


# -- what it is compared with


def simple_predictions(parts: dict[str, Part], classes: int, seed: int) -> dict[str, np.ndarray]:
    """What a constant and a linear model predict for the test part, by name.

    The constant is the share of each class, or the mean. The linear model is a logistic
    regression, stopped early like the network; or ridge regression with a penalty of 1, which has
    a formula: w = (X'X + I)^-1 X'y of centred columns.
    """
    first, test = parts["train"], parts["test"]
    if classes:
        shares = np.bincount(first.y, minlength=classes) / len(first.y)
        linear = Settings([], 0.0, "adam", 0.01, seed=seed).for_data(len(first.y))
        model, *_ = train(parts, classes, linear, "linear")
        return {
            "majority class": np.tile(shares, (len(test.y), 1)),
            "linear model": model.predict(test.x, verbose=0),
        }
    mean, x = first.y.mean(), first.x.astype(np.float64)
    middle = x.mean(axis=0)
    x -= middle
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (first.y - mean))
    return {
        "mean": np.full(len(test.y), mean),
        "linear model": (test.x - middle) @ weights + mean,
    }


def figures(predicted: np.ndarray, y: np.ndarray, classes: int) -> dict[str, float]:
    """How good predictions are.

    >>> figures(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0]), 2)
    {'accuracy': 0.5, 'log loss': 0.5697171415941824}
    >>> figures(np.array([1.0, 3.0]), np.array([1.0, 2.0]), 0)
    {'MAE': 0.5, 'RMSE': 0.7071067811865476, 'R2': -1.0}
    """
    if classes:
        likely = np.clip(predicted[np.arange(len(y)), y].astype(np.float64), 1e-7, None)
        right = predicted.argmax(axis=1) == y
        return {"accuracy": float(right.mean()), "log loss": float(-np.log(likely).mean())}
    wrong = predicted.reshape(-1).astype(np.float64) - y
    spread = float(((y - y.mean()) ** 2).sum())
    return {
        "MAE": float(np.abs(wrong).mean()),
        "RMSE": float(np.sqrt((wrong**2).mean())),
        "R2": 1 - float((wrong**2).sum()) / spread if spread else float("nan"),
    }

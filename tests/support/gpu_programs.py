"""Training runs for each way that a GPU runs a program; one hash sums up the results of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np

import gpunn
from gpunn import layers
from gpunn.backends.contract.backend import Backend


class _OwnLoss(gpunn.losses.Loss):
    """A loss without a kernel, made of the device's array functions, which are captured too."""

    def forward(self, backend: Backend, y_true: Any, y_pred: Any, values: Any) -> None:
        backend.xp.mean(backend.xp.square(y_pred - y_true), axis=-1, out=values)

    def backward(self, backend: Backend, y_true: Any, y_pred: Any, gradient: Any) -> None:
        backend.xp.subtract(y_pred, y_true, out=gradient)
        backend.xp.multiply(gradient, 2 / y_pred.shape[-1], out=gradient)


class _OwnAdam(gpunn.optimizers.Adam):
    functor = None


SPARSE, SGD = "sparse_categorical_crossentropy", gpunn.optimizers.SGD
# (units, activation) of the hidden layers, dropout after each, optimizer, loss, batch size, and
# number of rows: more steps than a graph holds, with a smaller last batch
PROGRAMS: dict[str, Callable[[], tuple[list[tuple[int, str]], float, Any, Any, int, int]]] = {
    "784-16-16-10, SGD": lambda: (
        [(16, "relu"), (16, "relu")], 0.0, "sgd", SPARSE, 10, 376
    ),
    "784-128-dropout-10, Adam": lambda: ([(128, "relu")], 0.2, "adam", SPARSE, 32, 1130),
    "784-1024-1024-10, momentum, clipped": lambda: (
        [(1024, "relu"), (1024, "tanh")],
        0.0, SGD(0.01, momentum=0.9, global_clipnorm=0.5), SPARSE, 16, 600,
    ),
    "784-64-10, formulas without kernels": lambda: (
        [(64, "sigmoid")], 0.1, _OwnAdam(), _OwnLoss(), 8, 280
    ),
}  # fmt: skip


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (rows, 28, 28), np.uint8), random.integers(0, 10, rows)


def trained(backend: str, program: str, watched: bool = False) -> str:
    """Return a hash of the results of two epochs of training: weights, history and outputs."""
    gpunn.utils.set_random_seed(5)
    sizes, dropout, optimizer, loss, batch, rows = PROGRAMS[program]()
    hidden: list[Any] = []
    for units, activation in sizes:
        if backend == "emulated":  # which is slow
            units = max(8, units // 32)
        hidden.append(layers.Dense(units, activation=activation))
        if dropout:
            hidden.append(layers.Dropout(dropout))
    x, y = data(rows)
    targets = y if loss is SPARSE else gpunn.utils.to_categorical(y, 10)
    model = gpunn.Sequential(
        [
            layers.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            *hidden,
            layers.Dense(10, activation="softmax"),
        ],
        backend=backend,
    )
    model.compile(optimizer, loss, metrics=["accuracy"])
    before = model.get_weights()
    history = model.fit(
        x, targets, batch_size=batch, epochs=2, verbose=0, validation_data=(x[:33], targets[:33]),
        callbacks=[_Watch()] if watched else None,
    ).history  # fmt: skip
    arrays = [*model.get_weights(), model.predict(x[:101], batch_size=40, verbose=0)]
    assert all(np.isfinite(a).all() for a in arrays)
    assert not any(np.array_equal(a, b) for a, b in zip(before, arrays, strict=False))
    bits = b"".join([*(a.tobytes() for a in arrays), repr(sorted(history.items())).encode()])
    return hashlib.sha256(bits).hexdigest()


class _Watch(gpunn.callbacks.Callback):
    """A callback that reads every batch's logs, which makes every launch one step long."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        assert np.isfinite(logs["loss"])

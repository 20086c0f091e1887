"""Programs that differ between ranks, or models whose parts mix rows: ``refusals.py FILE``.

Each case must end in an error on every rank. FILE gets each rank's messages, by case.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
import emulated  # noqa: F401  makes GPUNN_BACKEND=emulated known

import gpunn
from gpunn import Input, Sequential, layers, ops
from gpunn.callbacks import Callback
from gpunn.distribution import initialize, rank

CASES: dict[str, Callable[[], Any]] = {}
X = np.random.default_rng(0).normal(size=(20, 4))
Y = X.sum(1, keepdims=True)


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    CASES[function.__name__] = function
    return function


def fit(*hidden: Any, x: Any = X, y: Any = Y, **options: Any) -> Any:
    model = Sequential([Input((4,)), *hidden, layers.Dense(1)])
    compiled = {"optimizer": "sgd", "loss": "mse"}
    compiled |= {name: options.pop(name) for name in (*compiled, "metrics") if name in options}
    model.compile(**compiled)
    return model.fit(x, y, **{"verbose": 0, "batch_size": 8, "epochs": 2, **options})


@case
def other_batch_size() -> Any:
    return fit(batch_size=8 + rank())


@case
def lazy_adam() -> Any:
    chain, lazy = [layers.Embedding(900, 3), layers.Flatten()], gpunn.optimizers.Adam(lazy=True)
    return fit(*chain, x=np.abs(X) // 1, optimizer=lazy)


@case
def other_epochs() -> Any:
    return fit(epochs=2 + rank())


class OtherNames(Sequential):
    def train_step(self, data: Any) -> Any:
        return {**super().train_step(data), f"of rank {rank()}": 1.0}


@case
def own_steps_that_return_other_names() -> Any:
    model = OtherNames([Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model.fit(X, Y, verbose=0)


@case
def other_data() -> Any:
    return fit(x=X + (0.001 if rank() == 1 else 0))


@case
def other_shape() -> Any:
    return fit(x=X[: 20 - rank()], y=Y[: 20 - rank()])


@case
def other_validation_data() -> Any:
    return fit(validation_data=(X, Y + rank()))


@case
def other_layers() -> Any:
    return fit(layers.Dense(3 + rank()))


@case
def other_activation() -> Any:
    return fit(layers.Dense(3, activation="relu" if rank() else "tanh"))


@case
def other_learning_rate() -> Any:
    return fit(optimizer=gpunn.optimizers.SGD(0.1 / (1 + rank())))


@case
def other_loss() -> Any:
    return fit(loss="mse" if rank() else "mae")


class _OfBatches(Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


@case
def callback_on_one_rank() -> Any:
    return fit(callbacks=[_OfBatches()] if rank() == 1 else [])


class _Meddler(Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if rank() == 1 and epoch == 1:
            kernel = self.model.layers[-1].kernel
            kernel.assign(kernel.numpy() + 1)


@case
def weights_changed_on_one_rank() -> Any:
    return fit(callbacks=[_Meddler()])


@case
def other_batches() -> Any:
    def batches() -> Iterator[Any]:
        for start in range(0, 20, 5):
            stop = start + 5 - (start == 10 and rank() == 1)
            yield X[start:stop], Y[start:stop]

    return fit(x=batches(), y=None, batch_size=None, epochs=1)


@case
def fewer_batches() -> Any:
    def batches() -> Iterator[Any]:
        for start in range(0, 20 - 5 * rank(), 5):
            yield X[start : start + 5], Y[start : start + 5]

    return fit(x=batches(), y=None, batch_size=None, epochs=1)


class _Centred(layers.Layer):
    def call(self, x: Any) -> Any:
        return x - ops.mean(x, 0)


@case
def layer_that_mixes_rows() -> Any:
    return fit(_Centred(name="centred"))


class _Spread(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(ops.max(x) - ops.min(x))
        return x


@case
def added_loss_that_mixes_rows() -> Any:
    return fit(_Spread(name="spread"))


@case
def loss_that_mixes_rows() -> Any:
    def centred(y_true: Any, y_pred: Any) -> Any:
        return ops.square(y_pred - ops.mean(y_pred) - y_true)

    return fit(loss=centred)


@case
def metric_that_does_not_add_up() -> Any:
    def largest(y_true: Any, y_pred: Any) -> Any:
        return ops.max(ops.abs(y_true - y_pred))

    return fit(metrics=[largest])


@case
def declared_as_independent() -> Any:
    class Declared(_Centred):
        rows_are_independent = True

    return fit(Declared())


@case
def more_random_numbers_for_two_rows() -> Any:
    class Shaken(layers.Layer):
        def call(self, x: Any) -> Any:
            for _ in range(2 if len(x) == 2 else 1):
                x = x + gpunn.random.normal(ops.shape(x))
            return x

    return fit(Shaken(name="shaken"), x=X[:16], y=Y[:16])


def _fit_model_that_mixes_rows(independent: bool) -> Any:
    class Centring(gpunn.Model):
        rows_are_independent = independent

        def __init__(self) -> None:
            super().__init__(name="centring")
            self.last = layers.Dense(1)

        def call(self, inputs: Any, training: bool | None = None) -> Any:
            return self.last(inputs - ops.mean(inputs, 0))

    model = Centring()
    model.compile("sgd", "mse")
    return model.fit(X, Y, verbose=0)


@case
def model_that_mixes_rows() -> Any:
    return _fit_model_that_mixes_rows(independent=False)


@case
def model_declared_as_independent() -> Any:
    return _fit_model_that_mixes_rows(independent=True)


def run(file: str) -> None:
    gpunn.config.set_floatx("float64")
    gpunn.utils.set_random_seed(1)
    messages = {}
    for name, function in CASES.items():
        try:
            function()
        except Exception as error:
            messages[name] = f"{type(error).__name__}: {error}"
        else:
            messages[name] = ""
    Path(f"{file}-{rank()}.json").write_text(json.dumps(messages))


if __name__ == "__main__":
    initialize(timeout=60)
    run(*sys.argv[1:])

"""Test that callbacks monitoring a figure do what Keras's do, on random figures and settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunn

SERIES = 400


class Model:
    """A model whose weights are the epoch number."""

    def __init__(self) -> None:
        self.stop_training = False
        self.epoch = -1
        self.saved: list[int] = []
        self.optimizer = SimpleNamespace(learning_rate=0.1, fixed_learning_rate=0.1)
        self.metrics: list[Any] = []

    def get_weights(self) -> list[np.ndarray]:
        return [np.array([self.epoch])]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.epoch = int(weights[0][0])

    def save_weights(self, path: Any, **options: Any) -> None:
        self.saved.append(self.epoch)


def eighths(random: np.random.Generator, size: Any = None) -> Any:
    """Random multiples of 1/8: their differences are exact, and ties occur."""
    return np.round(random.normal(size=size) * 8) / 8


def figures(random: np.random.Generator) -> list[float]:
    """The figures of a few epochs."""
    return eighths(random, random.integers(2, 12)).tolist()


def watched(module: Any, name: str, given: dict[str, Any], values: list[float]) -> list[Any]:
    """Return the rate and the number of saves in each epoch, and the final weights."""
    model: Any = Model()
    callback = getattr(module.callbacks, name)(monitor="figure", **given)
    callback.set_model(model)
    callback.set_params({"epochs": len(values)})
    callback.on_train_begin()
    seen = []
    for epoch, value in enumerate(values):
        model.epoch = epoch
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"figure": value})
        seen += [float(model.optimizer.learning_rate), len(model.saved)]
        if model.stop_training:
            break
    callback.on_train_end()
    return [*seen, model.epoch]


def stopping(random: np.random.Generator) -> dict[str, Any]:
    return {
        "min_delta": float(random.choice([0, 0.125, 0.5])),
        "patience": int(random.integers(0, 4)),
        "baseline": None if random.random() < 0.4 else float(eighths(random)),
        "restore_best_weights": bool(random.random() < 0.7),
        "start_from_epoch": int(random.choice([0, 0, 1, 3])),
    }


def reducing(random: np.random.Generator) -> dict[str, Any]:
    return {
        "min_delta": float(random.choice([0, 0.125, 0.5])), "patience": int(random.integers(0, 4)),
        "cooldown": int(random.integers(0, 3)), "factor": float(random.choice([0.1, 0.5])),
        "min_lr": float(random.choice([0, 0.01, 0.03])),
    }  # fmt: skip


def saving(random: np.random.Generator) -> dict[str, Any]:
    threshold = None if random.random() < 0.5 else float(eighths(random))
    return {
        "filepath": "f.weights.h5", "save_weights_only": True, "save_best_only": True,
        "initial_value_threshold": threshold,
    }  # fmt: skip


KINDS = {
    "EarlyStopping": stopping, "ReduceLROnPlateau": reducing, "ModelCheckpoint": saving,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("name", KINDS)
def test_they_do_what_those_of_keras_do(keras: Any, name: str, mode: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(SERIES):
        given, values = {**KINDS[name](random), "mode": mode}, figures(random)
        expected = watched(keras, name, given, values)
        assert watched(gpunn, name, given, values) == pytest.approx(expected), (given, values)

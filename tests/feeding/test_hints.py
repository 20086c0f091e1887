"""What errors of a first hour say: what to change, which the test does and then trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

X = np.random.default_rng(0).normal(size=(12, 4, 3)).astype("float32")
CLASSES = np.arange(12) % 3
SPARSE = "sparse_categorical_crossentropy"


def train(chain: list[Any], loss: str, y: Any, **options: Any) -> None:
    model = gpunn.Sequential([gpunn.Input((4, 3)), *chain])
    model.compile("sgd", loss)
    model.fit(X, y, **{"verbose": 0, **options})


def dense(units: int, activation: str = "linear") -> list[Any]:
    return [layers.Flatten(), layers.Dense(units, activation)]


CASES: dict[str, tuple[Callable[[], None], Callable[[], None], str]] = {
    "a Flatten that is not there": (
        lambda: train([layers.Dense(3, "softmax")], SPARSE, CLASSES),
        lambda: train(dense(3, "softmax"), SPARSE, CLASSES),
        r"axes \(4,\) between rows and classes: put a layers\.Flatten\(\)",
    ),
    "squares of class numbers": (
        lambda: train(dense(3, "softmax"), "mse", CLASSES),
        lambda: train(dense(3, "softmax"), SPARSE, CLASSES),
        "For class indices use sparse_categorical_crossentropy after a softmax",
    ),
    "one number for several units": (
        lambda: train(dense(3), "mae", CLASSES * 0.5),
        lambda: train(dense(1), "mae", CLASSES * 0.5),
        "for one number per row, end the model in one unit",
    ),
    "class numbers for one-hot rows": (
        lambda: train(dense(3, "softmax"), "categorical_crossentropy", CLASSES),
        lambda: train(
            dense(3, "softmax"), "categorical_crossentropy", gpunn.utils.to_categorical(CLASSES)
        ),
        r"sparse_categorical_crossentropy, or pass gpunn\.utils\.to_categorical\(y\)",
    ),
    "names of classes": (
        lambda: train(dense(3, "softmax"), SPARSE, np.array(["a", "b", "c"])[CLASSES]),
        lambda: train(
            dense(3, "softmax"), SPARSE,
            np.unique(np.array(["a", "b", "c"])[CLASSES], return_inverse=True)[1],
        ),
        r"classes, y = numpy\.unique\(y, return_inverse=True\)",
    ),
    "names of classes as objects": (
        lambda: train(dense(3, "softmax"), SPARSE, np.array(["a", "b", "c"], object)[CLASSES]),
        lambda: None, r"numpy\.unique\(y, return_inverse=True\)",
    ),
    "the last step of a recurrent layer": (
        lambda: train([layers.LSTM(2), layers.LSTM(3, activation="softmax")], SPARSE, CLASSES),
        lambda: train(
            [layers.LSTM(2, return_sequences=True), layers.LSTM(3, activation="softmax")], SPARSE,
            CLASSES,
        ),
        "A recurrent layer before it needs return_sequences=True",
    ),
    "an argument of fit": (
        lambda: train(dense(1), "mse", CLASSES, epoch=2),
        lambda: train(dense(1), "mse", CLASSES, epochs=2), "Did you mean 'epochs'",
    ),
    "an argument of compile": (
        lambda: gpunn.Sequential(dense(1)).compile("sgd", "mse", metric=["mae"]),
        lambda: gpunn.Sequential(dense(1)).compile("sgd", "mse", metrics=["mae"]),
        "Did you mean 'metrics'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_error_says_what_to_change(name: str) -> None:
    wrong, right, hint = CASES[name]
    with pytest.raises((TypeError, ValueError), match=hint):
        wrong()
    right()

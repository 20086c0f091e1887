"""What errors and warnings of a first hour say: what to change, which the test does, and trains."""

from __future__ import annotations

import warnings
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
    "a Flatten before one-hot rows": (
        lambda: train(
            [layers.Dense(3, "softmax")], "categorical_crossentropy",
            gpunn.utils.to_categorical(CLASSES),
        ),
        lambda: train(
            dense(3, "softmax"), "categorical_crossentropy", gpunn.utils.to_categorical(CLASSES)
        ),
        r"axes \(4,\) between rows and classes: put a layers\.Flatten\(\)",
    ),
    "a Flatten before one number per row": (
        lambda: train([layers.Dense(1)], "mse", CLASSES * 0.5),
        lambda: train(dense(1), "mse", CLASSES * 0.5),
        r"axes \(4,\) between rows and outputs: put a layers\.Flatten\(\)",
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


# -- data that a model is hardly meant for, of which fit warns once

RANDOM = np.random.default_rng(1)
PICTURES = RANDOM.integers(0, 256, (20, 28, 28)).astype("uint8")
NUMBERS = RANDOM.normal(size=20)
ENDS = (layers.Flatten, lambda: layers.Dense(3, "softmax"))


def warned(
    chain: list[Any], loss: str, x: Any, y: Any, metrics: Any = None, weight: Any = None
) -> list[str]:
    """Return the warnings of two fits."""
    model = gpunn.Sequential([gpunn.Input(np.shape(x)[1:]), *chain])
    return warned_of(model, loss, x, y, metrics, weight)


def warned_of(
    model: Any, loss: str, x: Any, y: Any, metrics: Any = None, weight: Any = None
) -> list[str]:
    model.compile("sgd", loss, metrics=metrics)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):
            model.fit(x, y, sample_weight=weight, verbose=0)
    assert all(one.filename == __file__ for one in found)
    return [str(one.message) for one in found]


def classes_of(x: Any, *first: Any) -> list[str]:
    return warned([*first, *(make() for make in ENDS)], SPARSE, x, np.arange(20) % 3)


@pytest.mark.parametrize(
    "x",
    [
        PICTURES,
        PICTURES[..., None],
        PICTURES[:, None],
        PICTURES.astype("float32"),
        PICTURES.reshape(20, 784).astype("int64"),
    ],
    ids=lambda x: f"{x.dtype}{x.shape}",
)
def test_pixels_that_no_layer_scales(x: Any) -> None:
    (said,) = classes_of(x)
    assert "Rescaling(1 / 255)" in said
    assert classes_of(x / 255) == classes_of(x, layers.Rescaling(1 / 255)) == []
    assert classes_of(x, layers.BatchNormalization()) == []


def test_numbers_that_are_no_pixels() -> None:
    large, few = PICTURES.astype("int32") * 9, PICTURES.reshape(20, 784)[:, :9]
    assert classes_of(large) == classes_of(few) == classes_of(PICTURES // 4) == []
    assert classes_of(PICTURES + NUMBERS[:, None, None]) == []
    tokens = [layers.Embedding(256, 2)]
    assert classes_of(PICTURES.reshape(20, 784), *tokens) == []


@pytest.mark.parametrize(
    "first",
    [layers.LSTM(2), layers.Conv1D(2, 3), layers.Dense(2), layers.MultiHeadAttention(1, 2)],
    ids=lambda layer: type(layer).__name__,
)
def test_whole_numbers_of_series_are_no_pixels(first: Any) -> None:
    series = gpunn.Input((28, 28))
    two = [series] * (2 if type(first).__name__ == "MultiHeadAttention" else 1)
    outputs = ENDS[1]()(layers.Flatten()(first(*two)))
    assert warned_of(gpunn.Model(series, outputs), SPARSE, PICTURES, np.arange(20) % 3) == []


class Own(gpunn.Model):
    """A model of a class, which scales where no layer of a graph is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = [layers.Rescaling(1 / 255), *(make() for make in ENDS)]

    def call(self, x: Any, training: bool | None = None) -> Any:
        for layer in self.chain:
            x = layer(x)
        return x


@pytest.mark.parametrize(
    "scale",
    [
        lambda x: x / 255,
        lambda x: (x - 127.5) * (1 / 127.5),
        lambda x: layers.Reshape((784,))(x) / 255,
        lambda x: gpunn.ops.divide(gpunn.ops.cast(x, "float32"), 255.0),
        None,
    ],
)
def test_models_that_scale_by_operations(scale: Any) -> None:
    pixels = gpunn.Input((28, 28))
    model = Own()
    if scale is not None:
        model = gpunn.Model(pixels, ENDS[1]()(layers.Flatten()(scale(pixels))))
    assert warned_of(model, SPARSE, PICTURES, np.arange(20) % 3) == []


def test_pixels_that_layers_only_move() -> None:
    moves = layers.RandomFlip(), layers.ZeroPadding2D(1), layers.Dropout(0.1)
    (said,) = classes_of(PICTURES[..., None], *moves, layers.Conv2D(2, 3))
    assert "Rescaling(1 / 255)" in said


@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_targets_below_the_last_activation(activation: str) -> None:
    x = NUMBERS[:, None]
    (said,) = warned([layers.Dense(1, activation)], "mse", x, NUMBERS)
    assert activation in said and f"{NUMBERS.min():.4g}" in said
    assert warned([layers.Dense(1, activation)], "mse", x, abs(NUMBERS)) == []
    assert warned([layers.Dense(1)], "mse", x, NUMBERS) == []
    assert warned([layers.Dense(1), layers.ReLU()], "mse", x, NUMBERS) != []
    rounded = np.append(abs(NUMBERS[1:]), -1e-9)
    assert warned([layers.Dense(1, activation)], "mse", x, rounded) == []
    known = (NUMBERS >= 0).astype("float32")  # the others are missing
    assert warned([layers.Dense(1, activation)], "mse", x, NUMBERS, weight=known) == []
    assert warned([layers.Dense(1, activation)], "mse", x, NUMBERS, weight=1 - known) != []


def test_accuracy_of_numbers() -> None:
    x, line = NUMBERS[:, None], [layers.Dense(1)]
    (said,) = warned(line, "mae", x, NUMBERS, ["accuracy"])
    assert "'accuracy'" in said and "'mae'" in said
    assert warned(line, "mse", x, NUMBERS, ["mae"]) == []
    assert warned([layers.Dense(1)], "mse", x, NUMBERS > 0, ["accuracy"]) == []
    teacher = RANDOM.dirichlet([1, 1, 1], 20)
    assert warned([layers.Dense(3, "softmax")], "mse", x, teacher, ["accuracy"]) == []
    soft = np.where(NUMBERS > 0, 0.9, 0.1)
    assert warned([layers.Dense(1)], "mse", x, soft, ["accuracy"]) == []


def test_batches_are_looked_at_too(backend: str) -> None:
    model = gpunn.Sequential([gpunn.Input((1,)), layers.Dense(1, "relu")], backend=backend)
    model.compile("sgd", "mse", metrics=["accuracy"])
    x = NUMBERS[:, None]
    with pytest.warns(UserWarning) as found:
        model.fit([(x, NUMBERS)], verbose=0)
    assert len(found) == 2

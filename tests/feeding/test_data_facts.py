"""What `fit` records about its data: the range, and pictures in the form of MNIST's digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gpunn
from gpunn import layers
from gpunn.common import registry
from gpunn.datasets import fashion_mnist

SPARSE = "sparse_categorical_crossentropy"


class Own(gpunn.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.chain = [layers.Flatten(), layers.Dense(10, "softmax")]

    def call(self, x: Any, training: bool | None = None) -> Any:
        for layer in self.chain:
            x = layer(x)
        return x


def sequential(shape: Any = (28, 28)) -> Any:
    start = [] if shape is None else [gpunn.Input(shape)]
    return gpunn.Sequential([*start, layers.Flatten(), layers.Dense(10, "softmax")])


def functional() -> Any:
    x = gpunn.Input((28, 28))
    inside = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    return gpunn.Model(x, layers.Dense(10, "softmax")(inside))


def compiled(model: Any, loss: str = SPARSE) -> Any:
    model.compile("sgd", loss)
    return model


@pytest.fixture
def digits(mnist: Any) -> tuple[np.ndarray, np.ndarray]:
    (x, y), _ = mnist
    return x[:400], y[:400]


def scale(model: Any) -> Any:
    return model.trained_on.get("prepared"), model.trained_on.get("scale")


@pytest.mark.parametrize("make", [sequential, lambda: sequential(None), functional, Own])
@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (1 / 255, 0), (-1 / 255, 1)])
def test_a_model_remembers_how_mnist_was_prepared(
    make: Callable[[], Any], factor: float, offset: float, digits: Any, tmp_path: Any
) -> None:
    x, y = digits
    model = compiled(make())
    model.fit(x * factor + offset, y, verbose=0)
    assert scale(model) == ("mnist", pytest.approx([factor, offset]))
    with registry.restored():
        gpunn.saving.register_serializable()(Own)
        model.save(tmp_path / "m.gpunn")
        assert gpunn.saving.load_model(tmp_path / "m.gpunn").trained_on == model.trained_on


class Numbered(gpunn.utils.PyDataset):
    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> Any:
        rows = slice(100 * at, 100 * at + 100)
        return self.x[rows], self.y[rows]


FORMS: dict[str, Callable[[Any, Any], tuple[Any, ...]]] = {
    "lists": lambda x, y: (x[:50].tolist(), y[:50].tolist()),
    "flat frame": lambda x, y: (pd.DataFrame(x.reshape(-1, 784)), pd.Series(y)),
    "generator": lambda x, y: (((x[i : i + 50], y[i : i + 50]) for i in range(0, 400, 50)),),
    "numbered batches": lambda x, y: (Numbered(x, y),),
    "dictionary": lambda x, y: ({"x": x}, y),
    "memory order": lambda x, y: (np.asfortranarray(x), y),
}


@pytest.mark.parametrize("form", FORMS)
def test_in_every_form_of_the_data(form: str, digits: Any, every_backend: str) -> None:
    x = gpunn.Input((784,) if form == "flat frame" else (28, 28), name="x")
    model = gpunn.Model(x, layers.Dense(10, "softmax")(layers.Flatten()(x)), backend=every_backend)
    compiled(model).fit(*FORMS[form](*digits), verbose=0)
    assert model.trained_on == {"range": [0.0, 255.0], "prepared": "mnist", "scale": [1.0, 0.0]}


def other_data() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "noise": random.integers(0, 256, (200, 28, 28)).astype(np.uint8),
        "Fashion-MNIST": fashion_mnist.load_data()[0][0][:200],
        "batches": iter([(random.uniform(size=(50, 28, 28)), np.arange(50) % 10)]),
    }


@pytest.mark.parametrize("name", ["noise", "Fashion-MNIST", "batches"])
def test_a_second_fit_on_other_data_ends_the_claim(name: str, digits: Any) -> None:
    x, y = digits
    model = compiled(sequential())
    model.fit(x, y, validation_split=0.5, verbose=0)
    model.trained_on = {**model.trained_on, "classes": [*"abcdefghij"]}
    assert {*model.trained_on} == {
        "range", "prepared", "scale", "unsure_below", "validated_on", "classes",
    }  # fmt: skip
    data = other_data()[name]
    model.fit(data, None if name == "batches" else np.arange(200) % 10, verbose=0)
    assert {*model.trained_on} == {"range", "classes"}
    low, high = model.trained_on["range"]
    assert high <= 1 if name == "batches" else (low, high) == (0, 255)


def test_what_a_folder_of_pictures_recorded_is_kept() -> None:
    model = compiled(sequential())
    model.trained_on = {"prepared": "scaled", "unsure_below": 0.5}
    noise = other_data()["noise"]
    model.fit(noise, np.arange(200) % 10, verbose=0)
    assert model.trained_on == {"range": [0.0, 255.0], "prepared": "scaled"}


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("way", ["tail", "shuffled", "data"])
def test_half_of_the_mistakes_on_held_out_rows_are_unsure(
    way: str, one_hot: bool, mnist: Any, every_backend: str
) -> None:
    (x, y), _ = mnist
    x, y = (x[:1500] / 255).astype(np.float32), y[:1500]
    targets = np.eye(10, dtype=np.float32)[y] if one_hot else y
    gpunn.utils.set_random_seed(0)
    chain = [gpunn.Input((28, 28)), layers.Flatten(), layers.Dense(10, "softmax")]
    model = gpunn.Sequential(chain, backend=every_backend)
    compiled(model, "categorical_crossentropy" if one_hot else SPARSE)
    if way == "data":
        model.fit(x[:900], targets[:900], validation_data=(x[900:], targets[900:]), verbose=0)
    else:
        model.fit(x, targets, validation_split=0.4, validation_strategy=way, verbose=0)
    below = model.trained_on["unsure_below"]
    assert model.trained_on["validated_on"] == 600
    if way != "shuffled":
        outputs = model.predict(x[900:], verbose=0)
        wrong = outputs.argmax(axis=1) != y[900:]
        assert wrong.sum() > 50
        assert below == pytest.approx(np.median(outputs[wrong].max(axis=1)))
    assert 0.1 < below < 1


@pytest.mark.parametrize("last", [layers.Dense(10), layers.Dense(1, "sigmoid")])
def test_without_class_probabilities_nothing_is_unsure(last: Any, digits: Any) -> None:
    x, y = digits
    model = gpunn.Sequential([gpunn.Input((28, 28)), layers.Flatten(), last])
    model.compile("sgd", "mse")
    target = np.eye(10)[y] if last.units == 10 else y % 2
    model.fit(x / 255, target, validation_split=0.1, verbose=0)
    assert {*model.trained_on} == {"range", "prepared", "scale"}


def test_predictions_for_held_out_rows_change_no_later_step(digits: Any) -> None:
    x, y = digits
    weights = []
    for held_out in (None, (x[:50], y[:50])):
        gpunn.utils.set_random_seed(0)
        chain = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, "softmax")]
        model = compiled(gpunn.Sequential([gpunn.Input((28, 28)), layers.Rescaling(0.004), *chain]))
        for _ in range(2):
            model.fit(x, y, validation_data=held_out, verbose=0)
        assert ("unsure_below" in model.trained_on) == (held_out is not None)
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]).tobytes())
    assert weights[0] == weights[1]

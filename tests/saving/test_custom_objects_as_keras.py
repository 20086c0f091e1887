"""Test that models of classes and functions that are not registered are saved, and loaded with
``custom_objects`` or in a `custom_object_scope`, as in Keras."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
Y = X[:, :1]


class Scaled(layers.Layer):
    def __init__(self, scale: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def call(self, x: Any) -> Any:
        return x * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


class Slow(gpunn.optimizers.SGD):
    pass


class Far(gpunn.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_true - y_pred), -1)


def bent(x: Any) -> Any:
    return ops.tanh(x) * 2


def off(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), -1)


KNOWN: dict[str, Any] = {"Scaled": Scaled, "Slow": Slow, "Far": Far, "bent": bent, "off": off}


def trained() -> Any:
    model = gpunn.Sequential(
        [layers.Input((3,)), Scaled(3.0), layers.Dense(4, activation=bent), layers.Dense(1)]
    )
    model.compile(Slow(0.1, momentum=0.9), Far(), metrics=[off])
    model.fit(X, Y, verbose=0)
    return model


def by_argument(path: Path) -> Any:
    return gpunn.saving.load_model(path, custom_objects=KNOWN)


def in_scope(path: Path) -> Any:
    with gpunn.saving.custom_object_scope(KNOWN):
        return gpunn.models.load_model(path)


def globally(path: Path) -> Any:
    gpunn.utils.get_custom_objects().update(KNOWN)
    try:
        return gpunn.models.load_model(path)
    finally:
        gpunn.utils.get_custom_objects().clear()


@pytest.mark.parametrize("load", [by_argument, in_scope, globally])
def test_what_is_not_registered_is_loaded_by_name(
    tmp_path: Path, load: Callable[[Path], Any]
) -> None:
    model = trained()
    model.save(tmp_path / "m.gpunn")
    again = load(tmp_path / "m.gpunn")
    assert type(again.optimizer) is Slow and type(again.loss) is Far
    for each in (model, again):
        each.fit(X, Y, verbose=0)
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match=r"custom_objects=\{'Scaled': Scaled\}"):
        gpunn.saving.load_model(tmp_path / "m.gpunn")


def test_a_scope_is_of_its_thread_and_ends() -> None:
    config = {"class_name": "Scaled", "config": {"scale": 4.0}}
    found: list[str] = []

    def look() -> None:
        try:
            layers.deserialize(config)
        except ValueError as error:
            found.append(str(error))

    with gpunn.utils.CustomObjectScope({"Scaled": Scaled}), gpunn.saving.custom_object_scope({}):
        assert layers.deserialize(config).get_config()["scale"] == 4.0
        other = threading.Thread(target=look)
        other.start()
        other.join()
    look()
    assert len(found) == 2 and all("Unknown layer: 'Scaled'" in text for text in found)


def test_a_file_tells_its_parts_apart(tmp_path: Path) -> None:
    def power(n: int) -> Callable[[Any], Any]:
        def raised(x: Any) -> Any:
            return x**n

        return raised

    dense = [layers.Dense(3, activation=power(n)) for n in (2, 3)]
    model = gpunn.Sequential([layers.Input((3,)), *dense])
    with pytest.raises(ValueError, match=r"Two parts that are not registered .* 'raised'"):
        model.save(tmp_path / "m.gpunn")
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(1, activation=lambda x: x * 2)])
    with pytest.raises(ValueError, match="is a function, which no file can hold"):
        model.save(tmp_path / "m.gpunn")
    assert not list(tmp_path.iterdir())


def test_a_class_named_like_a_built_in_one_stays_apart(tmp_path: Path) -> None:
    class Dense(layers.Layer):
        def call(self, x: Any) -> Any:
            return -x

    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(2), Dense()])
    model.save(tmp_path / "m.gpunn")
    with pytest.raises(ValueError, match="Unknown layer: 'Custom>Dense'"):
        gpunn.saving.load_model(tmp_path / "m.gpunn")
    again = gpunn.saving.load_model(tmp_path / "m.gpunn", custom_objects={"Custom>Dense": Dense})
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_keras_reads_them_by_the_same_names(keras: Any, tmp_path: Path) -> None:
    class Times(keras.layers.Layer):
        def __init__(self, scale: float = 2.0, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale

        def call(self, x: Any) -> Any:
            return x * self.scale

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "scale": self.scale}

    model = gpunn.Sequential([layers.Input((3,)), Scaled(3.0), layers.Dense(1)])
    model.compile(Slow(0.1), Far())
    model.save(tmp_path / "m.keras")
    again = gpunn.saving.load_model(tmp_path / "m.keras", custom_objects=KNOWN)
    assert type(again.optimizer) is Slow and type(again.loss) is Far
    expected = model.predict(X, verbose=0)
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
    known = {"Scaled": Times}
    theirs = keras.models.load_model(tmp_path / "m.keras", custom_objects=known, compile=False)
    np.testing.assert_allclose(theirs.predict(X, verbose=0), expected, rtol=1e-5)

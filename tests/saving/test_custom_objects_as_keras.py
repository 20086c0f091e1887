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
from gpunn.common import registry

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


def plain(k: Any) -> tuple[Any, Any, Any]:
    """Return a class that is no part of the library, and two layers that hold an object of it."""

    @k.saving.register_keras_serializable("plain")
    class Factor:
        def __init__(self, by: float = 1.0, then: Any = None) -> None:
            self.by, self.then = by, then

        def get_config(self) -> dict[str, Any]:
            return {"by": self.by, "then": k.saving.serialize_keras_object(self.then)}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            then = config["then"] and k.saving.deserialize_keras_object(config["then"])
            return cls(config["by"], then)

    @k.saving.register_keras_serializable("plain")
    class Times(k.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, factor: Any, **options: Any) -> None:
            super().__init__(**options)
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor.by * self.factor.then.by

        def get_config(self) -> dict[str, Any]:
            factor = k.saving.serialize_keras_object(self.factor)
            return {**super().get_config(), "factor": factor}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            factor = k.saving.deserialize_keras_object(config.pop("factor"))
            return cls(factor, **config)

    @k.saving.register_keras_serializable("plain")
    class Alone(k.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, factor: Any, **options: Any) -> None:
            super().__init__(**options)
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor.by

    return Factor, Times, Alone


def test_objects_of_other_classes_are_described_as_kerass(keras: Any) -> None:
    found = []
    with registry.restored():
        for k in (gpunn, keras):
            cls, *_ = plain(k)
            described = k.saving.serialize_keras_object([cls(2.0), {"a": cls(3.0, cls(4.0))}])
            again = k.saving.deserialize_keras_object(described)
            assert type(again[0]) is cls and again[1]["a"].then.by == 4.0
            assert k.saving.get_registered_name(cls) == "plain>Factor"
            assert k.saving.get_registered_object("plain>Factor") is cls
            assert k.saving.get_registered_object("plain>Other") is None
            found.append([described[0]["registered_name"], described[0]["config"]])
    assert found[0] == found[1]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", ["model.gpunn", "model.keras"])
def test_layers_hold_objects_of_other_classes(number: int, name: str, tmp_path: Path) -> None:
    with registry.restored():
        cls, *kinds = plain(gpunn)
        layer = kinds[number - 1](cls(2.0, cls(0.5)))
        model = gpunn.Sequential([gpunn.Input((3,)), layer])
        model.save(tmp_path / name)
        for again in (
            gpunn.saving.load_model(tmp_path / name),
            gpunn.models.clone_model(model),
            gpunn.models.model_from_json(model.to_json()),
        ):
            assert type(again.layers[0].factor) is cls and again.layers[0].factor.then.by == 0.5
            np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_keras_loads_a_layer_that_holds_one(keras: Any, tmp_path: Path) -> None:
    with registry.restored():
        cls, kind, _ = plain(gpunn)
        gpunn.Sequential([gpunn.Input((3,)), kind(cls(2.0, cls(0.5)))]).save(tmp_path / "a.keras")
        plain(keras)
        again = keras.saving.load_model(tmp_path / "a.keras")
        assert again.layers[0].factor.then.by == 0.5


def test_an_object_that_is_not_registered(keras: Any) -> None:
    class Plain:
        def __init__(self, by: float) -> None:
            self.by = by

        def get_config(self) -> dict[str, Any]:
            return {"by": self.by}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return cls(**config)

    for k in (gpunn, keras):
        described = k.saving.serialize_keras_object(Plain(5.0))
        again = k.saving.deserialize_keras_object(described, custom_objects={"Plain": Plain})
        assert again.by == 5.0
    with pytest.raises(ValueError, match="'Plain' is not one of gpunn: pass it in custom_objects"):
        gpunn.saving.deserialize_keras_object(described)
    with pytest.raises(TypeError, match="or a class with a get_config method"):
        gpunn.saving.register_keras_serializable()(type("Bare", (), {}))

"""Layers and models that save arrays and files by methods of their own, as in Keras's guide."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def parts(k: Any) -> tuple[Any, Any]:
    """A layer, and a model that holds two of it, written for Keras."""

    class Counted(k.layers.Layer):  # type: ignore[misc]
        def __init__(self, units: int, **common: Any) -> None:
            super().__init__(**common)
            self.units, self.dense = units, k.layers.Dense(units)
            self.seen, self.words = np.zeros(2), ["a"]

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
            self.dense.build(shape)

        def call(self, x: Any) -> Any:
            return self.dense(x) * self.scale

        def save_own_variables(self, store: Any) -> None:
            super().save_own_variables(store)
            store["seen"] = self.seen

        def load_own_variables(self, store: Any) -> None:
            self.seen = np.array(store["seen"])
            super().load_own_variables({"0": store["0"]})

        def save_assets(self, inner_path: str) -> None:
            os.makedirs(os.path.join(inner_path, "more"), exist_ok=True)
            with open(os.path.join(inner_path, "vocabulary.txt"), "w", encoding="utf-8") as file:
                file.write("\n".join(self.words))
            with open(os.path.join(inner_path, "more", "empty"), "wb"):
                pass

        def load_assets(self, inner_path: str) -> None:
            with open(os.path.join(inner_path, "vocabulary.txt"), encoding="utf-8") as file:
                self.words = file.read().split("\n")

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    class Two(k.Model):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.first, self.second = Counted(4), Counted(2)

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    return Counted, Two


def learnt(k: Any, kind: str) -> tuple[Any, dict[str, Any]]:
    """Return a model whose parts have learnt what is in no weight, and its classes by name."""
    counted, two = parts(k)
    if kind == "graph":
        model = k.Sequential([k.Input((3,)), counted(4, name="one"), counted(2, name="other")])
    else:
        model = two()
        model(X)
    for number, layer in enumerate(model.layers):
        layer.seen, layer.words = np.array([number, 7.0]), ["b", f"ü{number}"]
    model.set_weights([w + 1 for w in model.get_weights()])
    return model, {"Counted": counted, "Two": two}


def assert_learnt(model: Any, wanted: Any) -> None:
    for number, layer in enumerate(model.layers):
        np.testing.assert_array_equal(layer.seen, [number, 7.0])
        assert layer.words == ["b", f"ü{number}"]
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted, rtol=1e-5)


def load(k: Any, path: Any, classes: Any) -> Any:
    return k.saving.load_model(path, custom_objects=classes)


@pytest.mark.parametrize("kind", ["graph", "class"])
def test_files_of_keras_hold_it_both_ways(keras: Any, kind: str, tmp_path: Path) -> None:
    for writes, reads in [(gpunn, gpunn), (gpunn, keras), (keras, gpunn)]:
        model, classes = learnt(writes, kind)
        model.save(tmp_path / "model.keras")
        if writes is not reads:
            classes = learnt(reads, kind)[1]
        assert_learnt(load(reads, tmp_path / "model.keras", classes), model.predict(X, verbose=0))


@pytest.mark.parametrize("kind", ["graph", "class"])
def test_files_of_gpunn_hold_it(kind: str, tmp_path: Path) -> None:
    model, classes = learnt(gpunn, kind)
    wanted = model.predict(X, verbose=0)
    model.save(tmp_path / "model.gpunn")
    assert_learnt(load(gpunn, tmp_path / "model.gpunn", classes), wanted)
    assert_learnt(copy.deepcopy(model), wanted)
    for name in ("model.gpunn", "weights.gpunn"):
        if "weights" in name:
            model.save_weights(tmp_path / name)
        other, _ = learnt(gpunn, kind)
        for layer in other.layers:
            layer.seen, layer.words = np.zeros(2), ["b", "ü0" if layer is other.layers[0] else "ü1"]
        other.load_weights(tmp_path / name)
        assert_learnt(other, wanted)


def test_a_checkpoint_holds_it(tmp_path: Path) -> None:
    model, _ = learnt(gpunn, "graph")
    model.compile("sgd", "mse")
    gpunn.saving.save_checkpoint(tmp_path / "run.gpunn", model, [], epoch=1)
    wanted = model.predict(X, verbose=0)
    for layer in model.layers:
        layer.seen, layer.words = np.zeros(2), []
    gpunn.saving.load_checkpoint(tmp_path / "run.gpunn", model, [])
    assert_learnt(model, wanted)


def test_what_cannot_be_saved_or_loaded_is_named(tmp_path: Path) -> None:
    class Texts(gpunn.layers.Layer):
        def save_own_variables(self, store: Any) -> None:
            store["words"] = ["a", "b"]

        def call(self, x: Any) -> Any:
            return x

    model = gpunn.Sequential([gpunn.Input((3,)), Texts()])
    with pytest.raises(ValueError, match=r"store\['words'\] must be an array of numbers"):
        model.save(tmp_path / "model.gpunn")
    assert not list(tmp_path.iterdir())
    layer = gpunn.layers.Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"has 2 weights of its own, but the store lacks .* 1"):
        layer.load_own_variables({"0": np.ones((3, 2))})
    with pytest.raises(ValueError, match="shape"):
        layer.load_own_variables({"0": np.ones((2, 2)), "1": np.ones(2)})
    assert not np.all(layer.get_weights()[0] == 1)


BYTES = np.frombuffer(b"b", np.uint8)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((), [1], "must hold 'variables' and 'assets'"),
        (("assets",), None, "must hold 'variables' and 'assets'"),
        (("variables",), 3, "variables' must hold arrays by their names"),
        (("variables", "seen"), "x", "variables/seen' must be an array of numbers"),
        (("variables", "seen"), np.array([np.nan, 1]), "variables/seen' holds NaN or infinity"),
        (("variables", "seen"), None, r"load_own_variables asks for 'seen', .* it has \['0'\]"),
        (("variables", "0"), np.ones(7), "shape"),
        (("assets", "words.txt"), np.ones(3), "assets/words.txt' must be an array of bytes"),
        (("assets", "../words.txt"), BYTES, "is not inside its folder"),
    ],
)
def test_a_damaged_state_is_named_and_changes_no_weight(
    place: Any, value: Any, message: str, tmp_path: Path
) -> None:
    model, classes = learnt(gpunn, "graph")
    model.save(tmp_path / "model.gpunn")
    document = gpunn.saving.files.read(tmp_path / "model.gpunn")
    at, *inner = "layers/counted", *place
    entry = document["own_state"]
    for name in [at, *inner][:-1]:
        entry = entry[name]
    entry[[at, *inner][-1]] = value
    if value is None:
        del entry[inner[-1]]
    gpunn.saving.files.write(tmp_path / "model.gpunn", document)
    with pytest.raises(ValueError, match=message):
        load(gpunn, tmp_path / "model.gpunn", classes)
    before = [w * 3 for w in model.get_weights()]
    model.set_weights(before)
    with pytest.raises(ValueError, match=message):
        model.load_weights(tmp_path / "model.gpunn")
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_archive_that_a_method_refuses_changes_no_weight(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    model, _ = learnt(gpunn, "graph")
    model.save_weights(tmp_path / "model.weights.h5")

    def refuse(store: Any) -> None:
        raise KeyError("more")

    before = [w * 3 for w in model.get_weights()]
    model.set_weights(before)
    type(model.layers[1]).load_own_variables = lambda self, store: refuse(store)
    with pytest.raises(ValueError, match=r"load_own_variables asks for 'more'"):
        model.load_weights(tmp_path / "model.weights.h5")
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_state_of_other_parts_is_told(tmp_path: Path) -> None:
    model, classes = learnt(gpunn, "graph")
    model.save(tmp_path / "model.gpunn")
    document = gpunn.saving.files.read(tmp_path / "model.gpunn")
    own = document["own_state"]
    own["layers/elsewhere"] = own.pop("layers/counted")
    gpunn.saving.files.write(tmp_path / "model.gpunn", document)
    with pytest.warns(UserWarning, match=r"stays as it is: .*layers/counted.*layers/elsewhere"):
        load(gpunn, tmp_path / "model.gpunn", classes)


# -- models that are not built


def not_built(k: Any, kind: str) -> tuple[Any, dict[str, Any]]:
    class Line(k.Model):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.dense = k.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Line() if kind == "class" else k.Sequential([k.layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    return model, {"Line": Line}


@pytest.mark.filterwarnings("ignore:Skipping variable loading")  # Keras, of Adam's count of steps
@pytest.mark.parametrize("kind", ["class", "chain"])
def test_a_compiled_model_that_is_not_built_stays_so(
    keras: Any, kind: str, tmp_path: Path
) -> None:
    for writes, reads, name in [
        (gpunn, gpunn, "m.gpunn"), (gpunn, gpunn, "m.keras"), (gpunn, keras, "m.keras"),
        (keras, gpunn, "m.keras"),
    ]:  # fmt: skip
        model, classes = not_built(writes, kind)
        with pytest.warns(UserWarning, match="not yet been built|without weights"):
            model.save(tmp_path / name)
        if writes is not reads:
            classes = not_built(reads, kind)[1]
        again = load(reads, tmp_path / name, classes)
        assert not again.built and type(again.optimizer).__name__ == "Adam"
        again.fit(X, X[:, :2], verbose=0)


@pytest.mark.parametrize("name", ["model.gpunn", "model.keras"])
def test_a_model_whose_layers_only_its_own_steps_call(name: str, tmp_path: Path) -> None:
    if name.endswith(".keras"):
        pytest.importorskip("h5py")

    class Steps(gpunn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = gpunn.layers.Dense(2)

        def train_step(self, data: Any) -> Any:
            x, y = data
            with gpunn.GradientTape() as tape:
                loss = gpunn.ops.mean((self.dense(x) - y) ** 2)
            gradients = tape.gradient(loss, self.dense.trainable_variables)
            self.optimizer.apply(gradients, self.dense.trainable_variables)
            return {"loss": loss}

    model = Steps()
    model.compile("adam")
    model.fit(X, X[:, :2], verbose=0)
    model.save(tmp_path / name)
    again = load(gpunn, tmp_path / name, {"Steps": Steps})
    for one, other in zip(model.dense.get_weights(), again.dense.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    again.fit(X, X[:, :2], verbose=0)
    if name.endswith(".gpunn"):
        for shape in (5, "x", [None, "x"], [None, -1]):
            document = gpunn.saving.files.read(tmp_path / name)
            document["layer_shapes"] = dict.fromkeys(document["layer_shapes"], shape)
            gpunn.saving.files.write(tmp_path / "other.gpunn", document)
            with pytest.raises(ValueError, match="layer_shapes/dense' is no input shape"):
                load(gpunn, tmp_path / "other.gpunn", {"Steps": Steps})


def of_functions(k: Any) -> tuple[Any, Any]:
    """A model whose activation, loss and metric are functions."""

    def bent(x: Any) -> Any:
        return k.ops.tanh(x) * 2

    def off(y_true: Any, y_pred: Any) -> Any:
        return k.ops.mean(k.ops.square(y_true - y_pred), -1)

    model = k.Sequential([k.Input((3,)), k.layers.Dense(2, activation=bent)])
    model.compile("sgd", off, metrics=[off])
    return model, {"bent": bent, "off": off}


def test_functions_in_files_of_keras(keras: Any, tmp_path: Path) -> None:
    path, y = tmp_path / "m.keras", X[:, :2]
    for writes, reads in [(gpunn, gpunn), (gpunn, keras), (keras, gpunn)]:
        model = of_functions(writes)[0]
        model.save(path)
        again = load(reads, path, of_functions(reads)[1])
        for one, other in zip(
            model.evaluate(X, y, verbose=0), again.evaluate(X, y, verbose=0), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-5)


def of_compile(k: Any) -> Any:
    """A model class that describes its compilation by itself, as in Keras's guide."""

    class Own(k.Model):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.dense = k.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def compile(self, first: Any, scale: float) -> None:
            super().compile(first, "mse")
            self.first, self.scale = self.optimizer, scale

        def get_compile_config(self) -> dict[str, Any]:
            kept = k.saving.serialize_keras_object(self.first)
            return {"first": kept, "scale": self.scale}

        def compile_from_config(self, config: Any) -> None:
            first = k.saving.deserialize_keras_object(config["first"])
            self.compile(first, config["scale"])

    return Own


@pytest.mark.filterwarnings("ignore:Skipping variable loading")  # Keras, of SGD's count of steps
@pytest.mark.parametrize("name", ["m.gpunn", "m.keras"])
def test_a_model_that_describes_its_compilation(keras: Any, name: str, tmp_path: Path) -> None:
    sides = [(gpunn, gpunn), (gpunn, keras), (keras, gpunn)]
    for writes, reads in sides if name == "m.keras" else sides[:1]:
        model = of_compile(writes)()
        model.compile(writes.optimizers.SGD(0.25), 3.0)
        model.fit(X, X[:, :2], verbose=0)
        model.save(tmp_path / name)
        again = load(reads, tmp_path / name, {"Own": of_compile(reads)})
        assert float(again.optimizer.learning_rate) == 0.25 and again.scale == 3.0
        losses = [m.fit(X, X[:, :2], epochs=2, verbose=0, shuffle=False).history["loss"]
                  for m in (model, again)]  # fmt: skip
        np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("name", ["m.gpunn", "m.keras"])
def test_what_json_cannot_hold_is_named_by_its_place(name: str, tmp_path: Path) -> None:
    if name.endswith(".keras"):
        pytest.importorskip("h5py")

    class Held(gpunn.layers.Layer):
        def __init__(self, held: Any, **common: Any) -> None:
            super().__init__(**common)
            self.held = held

        def call(self, x: Any) -> Any:
            return x

    model = gpunn.Sequential([gpunn.Input((3,)), Held({"a": [1, object()]})])
    with pytest.raises(ValueError, match=r"'config/layers/1/config/held/a/1' is .*get_config"):
        model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())

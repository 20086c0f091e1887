"""Attributes of a user's layer or model may have any name that gpunn does not document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops

# Names of attributes that gpunn's own layers and models once had.
NAMES = (
    "abstract", "arena", "by_operator", "folds_into_input", "formula", "given_input_shape",
    "graph", "has_call", "in_training", "kind", "may_add_losses", "moves_values", "on_host",
    "own_steps", "plan", "rate_factor", "reads_integers", "reshapes", "run", "traceable", "trainer",
)  # fmt: skip
VALUES = [False, True, None, "image", 2.0, (3,), {"a": 1}]


class Plain(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((input_shape[-1], 2), "ones", name="kernel")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.kernel)


@gpunn.saving.register_serializable(package="own_attributes")
class Named(Plain):
    """`Plain` with attributes of all these names."""

    def __init__(self, value: int, **options: Any) -> None:
        super().__init__(**options)
        self.value = value
        for name in NAMES:
            setattr(self, name, VALUES[value])


@gpunn.saving.register_serializable(package="own_attributes")
class Net(gpunn.Model):
    def __init__(self, value: int | None, **options: Any) -> None:
        super().__init__(**options)
        self.value = value
        self.first = layers.Dense(3, activation="tanh", kernel_initializer="ones")
        self.last = Plain() if value is None else Named(value)
        for name in NAMES if value is not None else ():
            setattr(self, name, VALUES[value])  # type: ignore[index]

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.last(self.first(x))


class Stepping(Net):
    def train_step(self, data: Any) -> dict[str, Any]:
        return super().train_step(data)


X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
Y = X[:, :2] ** 2


def trained(model: Any) -> Any:
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("value", range(len(VALUES)), ids=map(str, VALUES))
@pytest.mark.parametrize("of", [Net, Stepping])
def test_they_do_not_change_how_it_is_trained(value: int, of: Any, backend: str) -> None:
    named, plain = trained(of(value, backend=backend)), trained(of(None, backend=backend))
    assert named.history.history["loss"][-1] < named.history.history["loss"][0]
    for found, wanted in zip(named.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(named.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-5)
    assert named.evaluate(X, Y, verbose=0) == pytest.approx(plain.evaluate(X, Y, verbose=0))
    assert all(getattr(named.last, name) == VALUES[value] for name in NAMES)


def test_a_graph_and_a_file_take_such_a_layer(tmp_path: Path) -> None:
    chain = gpunn.Sequential([layers.Input((3,)), layers.Dense(3), Named(3, name="mine")])
    trained(chain).save(tmp_path / "chain.gpunn", announce=False)
    again = gpunn.saving.load_model(tmp_path / "chain.gpunn")
    np.testing.assert_array_equal(again.predict(X, verbose=0), chain.predict(X, verbose=0))
    assert again.get_layer("mine").kind == "image"


def test_a_class_may_define_methods_of_these_names() -> None:
    methods = {name: lambda self, name=name: name for name in NAMES}
    own = type("Own", (Plain,), {"__module__": "mine", **methods})
    net = gpunn.Sequential([layers.Input((3,)), own()])
    assert trained(net).history.history["loss"][-1] < net.history.history["loss"][0]


def test_a_weight_may_be_called_parameter() -> None:
    class Line(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.parameter: Any = self.add_weight((input_shape[-1], 2), "ones")
            self.shift = self.add_weight((2,), "zeros")
            self.scale = gpunn.Variable(np.ones(2, np.float32))

        def call(self, x: Any) -> Any:
            return (ops.matmul(x, self.parameter) + self.shift) * self.scale

    net = gpunn.Sequential([layers.Input((3,)), Line()])
    assert trained(net).history.history["loss"][-1] < net.history.history["loss"][0]
    assert [w.shape for w in net.get_weights()] == [(3, 2), (2,), (2,)]


@gpunn.saving.register_serializable(package="own_attributes")
class Looped(gpunn.Model):
    """A list holds itself, a layer and a metric; another one is deep."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parts: list[Any] = [layers.Dense(2), gpunn.metrics.Mean(name="seen")]
        self.parts.append({"again": self.parts})
        self.deep: Any = layers.Dense(3)
        for _ in range(30):
            self.deep = [self.deep]
        self.named = self.parts[2]

    def call(self, x: Any) -> Any:  # type: ignore[override]
        self.parts[1].update_state(x)
        return self.parts[0](x)


@pytest.mark.parametrize("suffix", [".gpunn", ".keras", ".weights.h5"])
def test_lists_that_hold_themselves_are_trained_and_saved(suffix: str, tmp_path: Path) -> None:
    model, x = Looped(), np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    model.compile("sgd", "mse")
    assert sorted(model.fit(x, x[:, :2], verbose=0).history) == ["loss", "seen"]
    assert [w.path.split("/")[-1] for w in model.trainable_weights] == ["kernel", "bias"]
    path = tmp_path / f"model{suffix}"
    if suffix == ".weights.h5":
        model.save_weights(path)
        loaded = Looped()
        loaded(x)
        loaded.load_weights(path)
    else:
        model.save(path)
        loaded = gpunn.models.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))

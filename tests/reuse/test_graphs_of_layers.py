"""Layers of the same settings share the graph of their formula: no model sees another's."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from properties.allocated import growth

import gpunn
from gpunn import activations, layers

X = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 24)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    gpunn.config.run_eagerly(False)


def network(backend: str, seed: int, hidden: Any) -> Any:
    gpunn.utils.set_random_seed(seed)  # before layers are created, as each draws its seed then
    chain = [layers.Input((6,)), *hidden(), layers.Dense(3, "softmax")]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def normalized() -> list[Any]:
    return [layers.Dense(6, "tanh"), layers.BatchNormalization(), layers.Dropout(0.3, seed=4)]


def trained(model: Any, epochs: int = 2) -> list[np.ndarray]:
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_models_that_take_turns_train_as_alone(backend: str) -> None:
    alone = [trained(network(backend, seed, normalized), 4) for seed in (1, 2)]
    models = [network(backend, seed, normalized) for seed in (1, 2)]
    for _ in range(4):
        for model in models:
            trained(model, 1)
    for model, expected in zip(models, alone, strict=True):
        assert_same(model.get_weights(), expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: layers.Dense(6, activations.LeakyRelu(0.1)),
         lambda: layers.Dense(6, activations.LeakyRelu(0.4))),
        (lambda: layers.Dense(6, "relu"), lambda: layers.Dense(6, "relu", use_bias=False)),
        (lambda: layers.Dense(6, connections=np.eye(6)), lambda: layers.Dense(6)),
        (lambda: layers.Dense(6, connections=np.eye(6)),
         lambda: layers.Dense(6, connections=np.tri(6))),
        (lambda: layers.Dense(6), lambda: layers.Dense(6, trainable=False)),
        (lambda: layers.BatchNormalization(epsilon=1e-3),
         lambda: layers.BatchNormalization(epsilon=1.0)),
        (lambda: layers.BatchNormalization(momentum=0.5),
         lambda: layers.BatchNormalization(momentum=0.9)),
        (lambda: layers.Dropout(0.2, seed=1), lambda: layers.Dropout(0.2, seed=2)),
        (lambda: layers.Dropout(0.2, seed=1), lambda: layers.Dropout(0.6, seed=1)),
        (lambda: layers.Rescaling(2.0), lambda: layers.Rescaling([2.0, 1.0] * 3)),
        (lambda: layers.Dense(6, "gelu"), lambda: layers.Dense(6, lambda x: x * x)),
    ],
    ids=["slope", "bias", "connections", "others", "frozen", "epsilon", "momentum", "seed", "rate",
         "scale", "function"],
)  # fmt: skip
def test_a_setting_that_differs_is_another_graph(one: Any, other: Any, backend: str) -> None:
    """Each trains as where Python runs each step."""
    found = {}
    for eagerly in (False, True):
        gpunn.config.run_eagerly(eagerly)
        for make in (one, other):
            model = network(backend, 3, lambda make=make: [layers.Dense(6), make()])
            found[eagerly, make] = trained(model)
    for make in (one, other):
        for a, b in zip(found[False, make], found[True, make], strict=True):
            np.testing.assert_allclose(a, b, 1e-4, 1e-6)
    pairs = zip(found[False, one], found[False, other], strict=False)
    assert any(a.shape != b.shape or (a != b).any() for a, b in pairs)


def test_an_activation_that_reads_a_number_outside_is_followed(backend: str) -> None:
    factor = {"value": 1.0}
    models = []

    def scaled() -> list[Any]:
        return [layers.Dense(6, lambda x: factor["value"] * x)]

    for value in (1.0, 3.0):
        factor["value"] = value
        models.append(network(backend, 5, scaled))
        trained(models[-1])
    first, last = (model.get_weights() for model in models)
    assert any((a != b).any() for a, b in zip(first, last, strict=True))
    factor["value"] = 3.0
    again = network(backend, 5, scaled)
    assert_same(trained(again), last)


def test_a_model_is_freed_with_its_weights(backend: str) -> None:
    model = network(backend, 1, lambda: [layers.Dense(23, "elu"), layers.Dense(6)])  # no other has
    trained(model)
    weight = weakref.ref(model.layers[0].kernel)
    del model
    gc.collect()
    assert weight() is None


def test_eight_threads_train_as_one(backend: str) -> None:
    expected = {seed: trained(network(backend, seed, normalized)) for seed in range(4)}
    models = [network(backend, seed % 4, normalized) for seed in range(8)]
    threads = [threading.Thread(target=trained, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, model in enumerate(models):
        assert_same(model.get_weights(), expected[seed % 4])


class OfItsClass(layers.UnitNormalization):
    epsilon = 1.0


def test_what_a_class_of_a_users_holds_is_followed(backend: str, monkeypatch: Any) -> None:
    x = np.float32([[3.0, 4.0]])
    for epsilon in (1.0, 75.0):
        monkeypatch.setattr(OfItsClass, "epsilon", epsilon)
        found = gpunn.Sequential([OfItsClass()], backend=backend).predict(x, verbose=0)
        np.testing.assert_allclose(found, x / np.sqrt(25.0 + epsilon), rtol=1e-6)


def test_weights_that_change_their_places_are_followed(backend: str) -> None:
    x, found = np.float32([[1.0, 5.0]]), []
    for swapped in (False, True):
        layer = layers.LayerNormalization()
        layer(x)
        layer.gamma.assign([2.0, 2.0])
        if swapped:
            layer.gamma, layer.beta = layer.beta, layer.gamma
        found.append(gpunn.Sequential([layers.Input((2,)), layer], backend=backend).predict(
            x, verbose=0))  # fmt: skip
    np.testing.assert_allclose(found[0], [[-2.0, 2.0]], rtol=1e-3)
    np.testing.assert_allclose(found[1], [[2.0, 2.0]], rtol=1e-3)


class Tied(layers.Dense):
    """A Dense with the kernel of another one."""

    def __init__(self, source: Any) -> None:
        super().__init__(5)
        self.source = source

    def build(self, input_shape: Any) -> None:
        self.kernel = self.source.kernel
        self.bias = self.add_weight((self.units,), "zeros", name="bias")


class TiedByAFunction(Tied):
    def build(self, input_shape: Any) -> None:
        self.kernel = self.source().kernel
        self.bias = self.add_weight((self.units,), "zeros", name="bias")


class TiedInACall(Tied):
    def call(self, x: Any) -> Any:
        return super().call(x)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("kind", [Tied, TiedInACall])
def test_a_kernel_that_two_layers_have_gets_both_gradients(
    backend: str, kind: Any, eagerly: bool
) -> None:
    gpunn.config.run_eagerly(eagerly)
    x, y = np.random.default_rng(2).normal(size=(2, 8, 5)).astype(np.float32)
    source = layers.Dense(5)
    source(x)
    w, b = source.kernel.numpy().copy(), source.bias.numpy()
    chain = [layers.Input((5,)), source, kind(source)]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile(gpunn.optimizers.SGD(1.0), "mse")
    model.fit(x, y, verbose=0)
    h = x @ w + b
    d = 2 * (h @ w - y) / y.size
    np.testing.assert_allclose(w - source.kernel.numpy(), x.T @ (d @ w.T) + h.T @ d, atol=1e-5)


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_kernel_of_a_layer_elsewhere_is_refused_without_a_call(
    backend: str, eagerly: bool
) -> None:
    gpunn.config.run_eagerly(eagerly)
    source = layers.Dense(5)
    source(np.zeros((1, 5), np.float32))
    chain = [layers.Input((5,)), source, TiedByAFunction(lambda: source)]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"weight '.*kernel' of another layer.*call"):
        model.fit(np.zeros((4, 5)), np.zeros((4, 5)), verbose=0)


def test_weights_that_no_formula_reads_leave_nothing() -> None:
    def one() -> None:
        layer = layers.Dense(5)
        layer(X)
        layer.bias = None
        model = gpunn.Sequential([layers.Input((6,)), layer], backend="numpy")
        model.compile("sgd", "mse")
        model.fit(X, X[:, :5], batch_size=7, verbose=0)

    one()
    assert growth(one, 40, warm=20) < 40 * 1_500

"""Layers of the same settings share the graph of their formula: no model sees another's."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

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

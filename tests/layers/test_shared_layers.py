"""Test a layer shared by two models, and an optimizer passed to two models."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import layers

X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((12, 2)).astype(np.float32)


def network(first: layers.Layer) -> gpunn.Sequential:
    start = gpunn.initializers.GlorotUniform(seed=7)
    model = gpunn.Sequential(
        [layers.Input((3,)), first, layers.Dense(2, kernel_initializer=start)], backend="numpy"
    )
    model.compile(gpunn.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def first_layer() -> layers.Dense:
    return layers.Dense(3, kernel_initializer=gpunn.initializers.GlorotUniform(seed=3))


def test_a_layer_in_two_models_trains_as_if_it_stood_in_one() -> None:
    shared = first_layer()
    trained, alone = network(shared), network(first_layer())
    features = gpunn.Sequential([layers.Input((3,)), shared], backend="numpy")
    for _ in range(3):
        losses = [model.train_on_batch(X, Y) for model in (trained, alone)]
        assert losses[0] == losses[1]
        kernel, bias = shared.get_weights()
        np.testing.assert_allclose(features.predict(X), X @ kernel + bias, rtol=1e-6)
    for ours, theirs in zip(trained.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert trained.optimizer.iterations == 3


def test_an_optimizer_trains_one_model() -> None:
    model = network(first_layer())
    other = gpunn.Sequential([layers.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="already trains the model"):
        other.compile(model.optimizer, "mse")
    model.compile(model.optimizer, "mse")  # its own model may be compiled again

"""Test random tensors inside a `call`: the sampling of a variational autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
from comparisons.custom_layers import register
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.testing import check_gradients


@register
class Sampling(layers.Layer):
    """As in Keras's example."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seed_generator = gpunn.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        mean, log_variance = inputs
        noise = gpunn.random.normal(shape=ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


@register
class Noise(layers.Layer):
    """Its input, and random numbers beside it."""

    def __init__(self, kind: str = "normal", seed: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.kind, self.seed = kind, seed

    def call(self, x: Any) -> Any:
        return x * 0 + getattr(gpunn.random, self.kind)(ops.shape(x), 2.0, 3.0, seed=self.seed)


def test_gradients_go_through_mean_and_variance(backend: str) -> None:
    check_gradients(Sampling(), [(4, 3), (4, 3)], backend=backend)


def autoencoder() -> Any:
    gpunn.utils.set_random_seed(5)
    inputs = gpunn.Input((4,))
    z = Sampling()([layers.Dense(2)(inputs), layers.Dense(2)(inputs)])
    model = gpunn.Model(inputs, layers.Dense(4)(z))
    model.compile("adam", "mse")
    return model


def test_a_saved_run_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    model = autoencoder()
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    first = model.fit(x, x, epochs=4, verbose=0).history["loss"]
    assert autoencoder().fit(x, x, epochs=4, verbose=0).history["loss"] == first
    other = autoencoder()
    other.fit(x, x, epochs=2, verbose=0)
    other.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert again.fit(x, x, epochs=2, verbose=0).history["loss"] == first[2:]


def test_predictions_draw(backend: str) -> None:
    x = np.zeros((200, 100), np.float32)
    for kind, mean, deviation in [("normal", 2.0, 3.0), ("uniform", 2.5, 12**-0.5)]:
        model = gpunn.Sequential([layers.Input((100,)), Noise(kind)], backend=backend)
        one, two = model.predict(x, verbose=0), model.predict(x, verbose=0)
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.05
        assert_allclose([one.mean(), one.std()], [mean, deviation], rtol=0.05)
        if kind == "uniform":
            assert one.min() >= 2.0
            assert one.max() <= 3.0
            shares = np.histogram(one, bins=10, range=(2.0, 3.0))[0] / one.size
            assert_allclose(shares, 0.1, atol=0.01)


def test_a_whole_number_as_seed_gives_the_same_each_time() -> None:
    x = np.zeros((5, 4), np.float32)
    layer = Noise(seed=3)
    assert np.array_equal(layer(x), layer(x))
    for kind in (gpunn.random.normal, gpunn.random.uniform):
        assert np.array_equal(kind((3,), seed=1), kind((3,), seed=1))
        assert not np.array_equal(kind((3,), seed=1), kind((3,), seed=2))
        assert not np.array_equal(kind((3,)), kind((3,)))
        generator = gpunn.random.SeedGenerator(1)
        assert not np.array_equal(kind((3,), seed=generator), kind((3,), seed=generator))

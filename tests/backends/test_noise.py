"""Normal noise: its values, its distribution, and the layers that use it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.contract.control import BATCHES, Control

BACKENDS = ["numpy", "compiled", "emulated"]


def drawn(
    shape: tuple[int, ...], backend: str = "numpy", dtype: str = "float32", stddev: float = 1.0,
    seed: int = 11, stream: int = 2, batch: int = 0,
) -> np.ndarray:  # fmt: skip
    """Return the noise alone, added to zeros."""
    device = get_backend(backend)
    control = Control(device)
    control.set(BATCHES, batch)
    x, out = device.zeros(shape, dtype), device.empty(shape, dtype)
    device.normal_noise(x, stddev, seed, stream, control, out)
    return device.read(out)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 100])
def test_the_numbers_are_those_of_box_and_muller(size: int, backend: str) -> None:
    """Compare with NumPy's Philox, with the counter words (0, 0, batch, stream)."""
    philox = np.random.Philox(key=5, counter=[0, 0, 9, 4])
    uniform = np.random.Generator(philox).random(size + size % 2, dtype=np.float32)
    u, v = uniform.astype(np.float64).reshape(-1, 2).T
    radius = np.sqrt(-2 * np.log1p(-u))
    expected = radius[:, None] * np.stack([np.cos(2 * np.pi * v), np.sin(2 * np.pi * v)], axis=1)
    for dtype, tolerance in (("float64", 1e-14), ("float32", 2e-6)):
        found = drawn((size,), backend, dtype, 3.0, seed=5, stream=4, batch=9)
        np.testing.assert_allclose(found, 3 * expected.reshape(-1)[:size], atol=3 * tolerance)


def test_the_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    x = drawn((200_000,)).astype(np.float64)
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    assert abs(x.std() - 1) < 4 / np.sqrt(2 * x.size)
    assert stats.kstest(x, "norm").pvalue > 0.01
    assert abs(stats.skew(x)) < 4 * np.sqrt(6 / x.size)
    assert abs(stats.kurtosis(x)) < 4 * np.sqrt(24 / x.size)
    # One pair gives two values, one block eight: neighbours must be independent.
    for apart in (1, 2, 7, 8):
        assert abs(np.corrcoef(x[:-apart], x[apart:])[0, 1]) < 4 / np.sqrt(x.size)
        assert abs(np.corrcoef(x[:-apart] ** 2, x[apart:] ** 2)[0, 1]) < 4 / np.sqrt(x.size)


def test_other_seeds_streams_and_batches_give_other_numbers() -> None:
    found = [
        drawn((1000,)), drawn((1000,), seed=12), drawn((1000,), stream=3), drawn((1000,), batch=1),
    ]  # fmt: skip
    for i, a in enumerate(found):
        for b in found[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.15
    np.testing.assert_array_equal(drawn((1000,)), found[0])
    np.testing.assert_array_equal(drawn((10, 100)).reshape(-1), found[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_layers_in_a_step(backend: str) -> None:
    """Noise is added, its gradient is 1; a factor multiplies, and its gradient is the factor."""
    x = np.random.default_rng(0).standard_normal((6, 5))
    for layer, adds in ((layers.GaussianNoise(0.5), True), (layers.GaussianDropout(0.3), False)):
        gpunn.utils.set_random_seed(1)
        chain = [layers.Input((5,)), layers.Dense(5, use_bias=False), layer]
        model = gpunn.Sequential(chain, dtype="float64", backend=backend)
        model.compile(gpunn.optimizers.SGD(0.0), "half_squared_error")
        target = np.zeros((6, 5))
        model.train_on_batch(x, target)
        first = model.backend.read(model._trainer.last_batch.workspace.y)
        hidden = x @ model.get_weights()[0]
        noise = first - hidden if adds else first / hidden
        expected = first if adds else first * noise
        (gradient,) = model.gradients().values()
        np.testing.assert_allclose(gradient, x.T @ expected / 6, rtol=1e-9)
        model.train_on_batch(x, target)
        second = model.backend.read(model._trainer.last_batch.workspace.y)
        assert not np.allclose(first, second)
        np.testing.assert_allclose(model.predict(x, verbose=0), hidden, rtol=1e-12)
        np.testing.assert_allclose(model.evaluate(x, hidden, verbose=0), 0.0, atol=1e-20)


def test_a_factor_has_the_deviation_of_dropout() -> None:
    x = np.ones((500, 400))
    for rate in (0.1, 0.5, 0.8):
        dropped = layers.Dropout(rate, seed=3)(x, training=True)
        factors = layers.GaussianDropout(rate, seed=3)(x, training=True)
        assert factors.mean() == pytest.approx(1.0, abs=0.01)
        assert factors.std() == pytest.approx(float(dropped.std()), rel=0.02)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [layers.GaussianNoise, layers.GaussianDropout])
def test_a_seed_gives_the_same_bits_again(make: Any, backend: str) -> None:
    results = []
    for _ in range(2):
        gpunn.utils.set_random_seed(8)
        chain = [layers.Input((4,)), layers.Dense(6), make(0.4), layers.Dense(2)]
        model = gpunn.Sequential(chain, backend=backend)
        model.compile("adam", "mse")
        random = np.random.default_rng(1)
        x, y = random.standard_normal((23, 4)), random.standard_normal((23, 2))
        model.fit(x, y, batch_size=5, epochs=3, verbose=0)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_called_by_itself() -> None:
    x = np.zeros((3, 4))
    layer = layers.GaussianNoise(1.0, seed=4)
    first, second = layer(x, training=True), layer(x, training=True)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(layers.GaussianNoise(1.0, seed=4)(x, training=True), first)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layers.GaussianNoise(0.0)(x, training=True), x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.GaussianNoise(-0.1), "stddev must be at least 0; got -0.1"),
        (lambda: layers.GaussianDropout(1.0), "rate must be from 0 up to but not including 1"),
        (lambda: layers.GaussianDropout(-0.1), "rate must be from 0"),
        (lambda: layers.GaussianNoise(0.1, seed=-1), "seed must be None or an integer"),
    ],
)
def test_arguments_that_are_wrong(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

"""Random tensors: their distributions eagerly and in a model's steps, their seeds, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import gpunn
from gpunn import layers, ops, random

LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], np.float32))


def drawn(draw: Callable[[], Any], backend: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the draws of two predictions of a layer, or of two calls without a backend."""
    gpunn.utils.set_random_seed(5)
    if backend == "eager":
        return draw().numpy(), draw().numpy()

    class Drawing(layers.Layer):
        def call(self, x: Any) -> Any:
            values = ops.cast(draw(), "float32")
            return ops.zeros((x.shape[0], values.size)) + ops.reshape(values, (1, -1))

    model = gpunn.Sequential([layers.Input((1,)), Drawing()], backend=backend)
    shape = draw().shape
    one, two = (model.predict(np.zeros((2, 1)), verbose=0)[0].reshape(shape) for _ in range(2))
    return one, two


@pytest.fixture(params=["eager", "numpy", "compiled", "emulated"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def test_whole_numbers_are_as_likely(backend: str) -> None:
    one, two = drawn(lambda: random.randint((6000,), -2, 4), backend)
    assert not np.array_equal(one, two)
    values, counts = np.unique(one, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3]
    assert_allclose(counts / 1000, 1, atol=6 / math.sqrt(1000))


def test_large_whole_numbers_have_all_digits() -> None:
    found = random.randint((4000,), -(2**31), 2**31, seed=1).numpy().astype(np.float64)
    assert_allclose([found.min() / 2**31, found.max() / 2**31], [-1, 1], atol=0.01)
    assert set(np.unique(found % 16)) == set(range(16))


def test_classes_are_as_likely_as_their_logits_say(backend: str) -> None:
    one, two = drawn(lambda: random.categorical(LOGITS, 4000), backend)
    assert one.shape == (2, 4000) and not np.array_equal(one, two)
    shares = [[(row == k).mean() for k in range(3)] for row in one]
    assert_allclose(shares, np.exp(LOGITS), atol=0.04)
    assert abs(np.corrcoef(one)[0, 1]) < 0.08  # each row has its own draws


def test_truncated_normal_numbers(backend: str) -> None:
    one, two = drawn(lambda: random.truncated_normal((8000,), 1.0, 3.0), backend)
    assert not np.array_equal(one, two)
    assert one.min() >= 1 - 2 * 3 and one.max() <= 1 + 2 * 3
    reference = torch.empty(200000)
    torch.manual_seed(0)
    torch.nn.init.trunc_normal_(reference, 1.0, 3.0, 1 - 2 * 3, 1 + 2 * 3)
    assert_allclose([one.mean(), one.std()], [reference.mean(), reference.std()], atol=0.1)
    edges = np.linspace(-5, 7, 9)
    shares = (np.histogram(a, edges)[0] / a.size for a in (one, reference.numpy()))
    assert_allclose(*shares, atol=0.02)


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 3.0), (0.5, 0.5), (0.02, 0.05), (30.0, 1.0)])
def test_beta(backend: str, alpha: float, beta: float) -> None:
    one, two = drawn(lambda: random.beta((2000,), alpha, beta), backend)
    assert not np.array_equal(one, two)
    edges = np.array([1e-30, 1e-6, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    shares = (one[:, None] <= edges).mean(0)
    assert_allclose(shares, stats.beta(alpha, beta).cdf(edges), atol=4 / math.sqrt(2000) / 2)


def test_binomial(backend: str) -> None:
    counts, shares = np.array([0, 1, 7, 300, 7, 5]), np.array([0.5, 0.3, 0.9, 0.02, 0.0, 1.0])
    one, two = drawn(lambda: random.binomial((2000, 6), counts, shares), backend)
    assert not np.array_equal(one, two)
    assert_array_equal(one[:, [0, 4, 5]], np.tile([0.0, 0.0, 5.0], (2000, 1)))
    for k in (1, 2, 3):
        places = np.arange(20)
        expected = stats.binom(counts[k], shares[k]).pmf(places)
        found = (one[:, k, None] == places).mean(0)
        assert_allclose(found, expected, atol=4 / math.sqrt(2000) / 2)
    many = random.binomial((500,), 100_000, 0.25, seed=1).numpy()
    assert many.mean() == pytest.approx(25_000, abs=4 * math.sqrt(18_750 / 500))
    assert many.std() == pytest.approx(math.sqrt(18_750), rel=0.15)


def test_dropout(backend: str) -> None:
    x = np.full((50, 40), 2.0, np.float32)
    one, two = drawn(lambda: random.dropout(x, 0.25), backend)
    assert not np.array_equal(one, two)
    assert_allclose(np.unique(one), [0.0, 2 / 0.75], rtol=1e-6)
    assert (one == 0).mean() == pytest.approx(0.25, abs=0.04)
    rows, _ = drawn(lambda: random.dropout(x, 0.5, noise_shape=(None, 1)), backend)
    assert_array_equal(rows, np.repeat(rows[:, :1], 40, axis=1))
    assert 5 < (rows[:, 0] == 0).sum() < 45


def test_shuffle(backend: str) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 12)
    one, two = drawn(lambda: random.shuffle(x, axis=1), backend)
    assert not np.array_equal(one, two)
    assert_array_equal(np.sort(one, axis=1), x)
    assert_array_equal(one[1] - one[0], np.full(12, 12.0))  # rows stay together
    assert sorted(random.shuffle(x)[:, 0].tolist()) == [0.0, 12.0]


DRAWS: dict[str, Callable[[Any], Any]] = {
    "randint": lambda seed: random.randint((9,), 0, 1000, seed=seed),
    "categorical": lambda seed: random.categorical(np.zeros((1, 1000)), 9, seed=seed),
    "truncated_normal": lambda seed: random.truncated_normal((9,), seed=seed),
    "dropout": lambda seed: random.dropout(np.ones(99), 0.5, seed=seed),
    "beta": lambda seed: random.beta((9,), 1.0, 2.0, seed=seed),
    "binomial": lambda seed: random.binomial((99,), 9, 0.5, seed=seed),
    "shuffle": lambda seed: random.shuffle(np.arange(99), seed=seed),
}


@pytest.mark.parametrize("name", DRAWS)
def test_seeds(name: str) -> None:
    draw = DRAWS[name]
    assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert not np.array_equal(draw(None), draw(None))
    generator = random.SeedGenerator(1)
    assert not np.array_equal(draw(generator), draw(generator))
    gpunn.utils.set_random_seed(3)
    first = draw(None)
    gpunn.utils.set_random_seed(3)
    assert_array_equal(draw(None), first)


def test_gradients_go_through_what_is_kept() -> None:
    x = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    kept = random.dropout(np.ones(200), 0.5, seed=2)
    assert_allclose(gpunn.grad(lambda x: ops.sum(random.dropout(x, 0.5, seed=2)))(x), kept)
    order = random.shuffle(np.arange(200), seed=2).numpy()
    weights = np.arange(200.0)
    gradient = gpunn.grad(lambda x: ops.sum(random.shuffle(x, seed=2) * weights))(x)
    assert_allclose(gradient.numpy()[order], weights)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="minval must be below maxval"):
        random.randint((2,), 3, 3)
    with pytest.raises(ValueError, match="dtype must be an integer dtype"):
        random.randint((2,), 0, 3, dtype="float32")
    with pytest.raises(ValueError, match=r"\(batch, classes\); got \(3,\)"):
        random.categorical([0.0, 1.0, 2.0], 1)
    with pytest.raises(ValueError, match="rate must be from 0 to 1"):
        random.dropout([1.0], 1.5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_generator_of_seeds_has_the_methods_of_keras(keras: Any) -> None:
    for module in (gpunn, keras):
        seed = module.random.SeedGenerator(7, name="of_noise")
        assert seed.get_config() == {"seed": 7, "name": "of_noise"}
        again = module.random.SeedGenerator.from_config(seed.get_config())
        first, second = (np.asarray(seed.next()) for _ in range(2))
        assert first.shape == (2,) and not (first == second).all()
        assert (np.asarray(again.next()) == first).all()
        states = [np.asarray(one.state) for one in (seed, again)]
        states += [np.asarray(again.next(ordered=False)), np.asarray(again.state)]
        assert_array_equal(states, [(7, 2), (7, 1), (7, 1), (43096, 10774)])
        assert again.state.path.endswith("/seed_generator_state")

    class Drawing(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + ops.sum(seed.next())

    seed = random.SeedGenerator(7)
    with pytest.raises(TypeError, match="Pass the generator itself"):
        Drawing()(gpunn.Input((2,)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_generator_begins_again_at_a_state_that_is_assigned(keras: Any) -> None:
    for module in (gpunn, keras):
        seed = module.random.SeedGenerator(7)
        draws = [np.asarray(module.random.normal((3,), seed=seed)) for _ in range(3)]
        state = np.asarray(seed.state)
        assert_array_equal(state, (7, 3))
        seed.state.assign([7, 1])
        for draw in draws[1:]:
            assert_array_equal(module.random.normal((3,), seed=seed), draw)
        module.random.SeedGenerator(8).state.assign(seed.state)
        assert_array_equal(seed.state, state)
        assert_array_equal(module.random.normal((3,), seed=7), draws[0])  # as in Keras
    with pytest.raises(ValueError, match=r"must be below 2\*\*31; got 4294967296"):
        _ = random.SeedGenerator(2**32).state


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_generator_counts_draws_of_calls_only_in_keras(keras: Any) -> None:
    for module, state in ((gpunn, (7, 0)), (keras, (7, 2))):
        seed = module.random.SeedGenerator(7)

        class Noise(module.layers.Layer):  # type: ignore[misc, name-defined]
            def __init__(self, inner: Any = seed, draw: Any = module.random.normal) -> None:
                super().__init__()
                self.inner, self.draw = inner, draw

            def call(self, x: Any) -> Any:
                return x + self.draw((4,), seed=self.inner)

        model = module.Sequential([module.Input((4,)), Noise()])
        before = np.asarray(seed.state)[1]
        model.predict(np.ones((4, 4), np.float32), batch_size=2, verbose=0)
        assert tuple(np.asarray(seed.state) - (0, before)) == state

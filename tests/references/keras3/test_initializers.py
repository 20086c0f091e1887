"""What Keras 3 asserts in its unit tests of initial values: shapes, spreads, limits, seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

RANDOM = [
    "RandomNormal", "TruncatedNormal", "RandomUniform", "VarianceScaling", "GlorotNormal",
    "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform",
]  # fmt: skip


def values(initializer: Any, *shape: int) -> np.ndarray:
    return np.asarray(initializer(shape))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Zeros", {}, 0.0),
        ("Ones", {}, 1.0),
        ("Constant", {}, 0.0),
        ("Constant", {"value": 6.0}, 6.0),
        ("Constant", {"value": np.arange(9.0).reshape(3, 3)}, np.arange(9.0).reshape(3, 3)),
    ],
)
def test_constants(name: str, arguments: dict[str, Any], expected: Any) -> None:
    initializer = getattr(gpunn.initializers, name)(**arguments)
    result = np.asarray(initializer(shape=(3, 3)))
    assert result.shape == (3, 3)
    assert result.dtype == "float32"
    assert_allclose(result, np.broadcast_to(expected, (3, 3)))


def test_small_draws() -> None:
    shape = (25, 20)
    normal = values(gpunn.initializers.RandomNormal(mean=0.0, stddev=1.0, seed=1234), *shape)
    assert normal.shape == shape
    assert normal.std() == pytest.approx(1.0, abs=0.1)
    uniform = values(gpunn.initializers.RandomUniform(minval=-1.0, maxval=1.0, seed=1234), 5, 5)
    assert uniform.min() >= -1.0
    assert uniform.max() < 1.0
    for mode, fan in [("fan_in", 25), ("fan_out", 20)]:
        scaled = gpunn.initializers.VarianceScaling(scale=2.0, seed=1234, mode=mode)
        assert values(scaled, *shape).std() == pytest.approx(np.sqrt(2.0 / fan), abs=0.03)
    deep = gpunn.initializers.VarianceScaling(scale=2.0, seed=1234, mode="fan_in")
    assert values(deep, 32, 4, 16).std() == pytest.approx(np.sqrt(2 / 128), abs=0.01)


# The standard deviation of a normal distribution truncated at two standard deviations.
CUT = 0.87962566103423978
SHAPE = (300, 200)
FAN_IN, FAN_OUT, FAN_MEAN = 300, 200, 250


@pytest.mark.parametrize(
    ("name", "arguments", "deviation", "limit"),
    [
        ("RandomNormal", {}, 0.05, np.inf),
        ("RandomNormal", {"stddev": 2.0}, 2.0, np.inf),
        ("TruncatedNormal", {}, 0.05 * CUT, 0.1),
        ("TruncatedNormal", {"stddev": 2.0}, 2.0 * CUT, 4.0),
        ("RandomUniform", {}, 0.05 / 3**0.5, 0.05),
        ("RandomUniform", {"minval": -3.0, "maxval": 3.0}, 3**0.5, 3.0),
        ("VarianceScaling", {}, FAN_IN**-0.5, 2 / CUT * FAN_IN**-0.5),
        ("VarianceScaling", {"mode": "fan_out"}, FAN_OUT**-0.5, 2 / CUT * FAN_OUT**-0.5),
        ("VarianceScaling", {"mode": "fan_avg", "distribution": "normal"}, FAN_MEAN**-0.5,
         2 / CUT * FAN_MEAN**-0.5),
        ("VarianceScaling", {"distribution": "untruncated_normal"}, FAN_IN**-0.5, np.inf),
        ("VarianceScaling", {"scale": 2.0, "distribution": "uniform"}, (2 / FAN_IN) ** 0.5,
         (6 / FAN_IN) ** 0.5),
        ("GlorotNormal", {}, FAN_MEAN**-0.5, 2 / CUT * FAN_MEAN**-0.5),
        ("GlorotUniform", {}, FAN_MEAN**-0.5, (3 / FAN_MEAN) ** 0.5),
        ("HeNormal", {}, (2 / FAN_IN) ** 0.5, 2 / CUT * (2 / FAN_IN) ** 0.5),
        ("HeUniform", {}, (2 / FAN_IN) ** 0.5, (6 / FAN_IN) ** 0.5),
        ("LecunNormal", {}, FAN_IN**-0.5, 2 / CUT * FAN_IN**-0.5),
        ("LecunUniform", {}, FAN_IN**-0.5, (3 / FAN_IN) ** 0.5),
    ],
)  # fmt: skip
def test_spread_and_limit(
    name: str, arguments: dict[str, Any], deviation: float, limit: float
) -> None:
    result = values(getattr(gpunn.initializers, name)(**arguments, seed=1337), *SHAPE)
    assert result.shape == SHAPE
    assert result.dtype == "float32"
    assert result.std() == pytest.approx(deviation, rel=0.015)
    assert abs(result.mean()) < 4 * deviation / result.size**0.5
    assert np.abs(result).max() <= limit * (1 + 1e-6)
    if np.isfinite(limit):
        assert np.abs(result).max() > 0.98 * limit


def test_mean_is_added() -> None:
    result = values(gpunn.initializers.RandomNormal(mean=5.0, stddev=0.1, seed=1), *SHAPE)
    assert result.mean() == pytest.approx(5.0, abs=0.01)
    result = values(gpunn.initializers.TruncatedNormal(mean=5.0, stddev=0.1, seed=1), *SHAPE)
    assert result.mean() == pytest.approx(5.0, abs=0.01)
    assert result.min() >= 4.8 - 1e-6


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"),
    [((400,), 400, 400), ((30, 40), 30, 40), ((3, 5, 40, 50), 600, 750)],
)
def test_fans(shape: tuple[int, ...], fan_in: int, fan_out: int) -> None:
    for mode, fan in [("fan_in", fan_in), ("fan_out", fan_out)]:
        scaling = gpunn.initializers.VarianceScaling(mode=mode, distribution="uniform", seed=2)
        largest = np.abs(values(scaling, *shape)).max()
        assert (3 / fan) ** 0.5 * 0.98 < largest <= (3 / fan) ** 0.5 * (1 + 1e-6)


@pytest.mark.parametrize("name", RANDOM)
def test_seeds(name: str) -> None:
    cls = getattr(gpunn.initializers, name)
    seeded = cls(seed=1337)
    first = values(seeded, 25, 20)
    assert_allclose(values(seeded, 25, 20), first, err_msg="a seed fixes every call")
    assert_allclose(values(cls.from_config(seeded.get_config()), 25, 20), first)
    assert not np.allclose(values(cls(seed=1338), 25, 20), first)

    unseeded = cls()
    assert unseeded.get_config()["seed"] is None
    one, other = values(unseeded, 25, 20), values(cls.from_config(unseeded.get_config()), 25, 20)
    assert not np.allclose(one, other)


def test_the_global_seed_fixes_the_unseeded() -> None:
    def draw() -> np.ndarray:
        return values(gpunn.initializers.GlorotUniform(), 4, 3)

    gpunn.utils.set_random_seed(42)
    first, second = draw(), draw()
    assert not np.allclose(first, second)
    gpunn.utils.set_random_seed(42)
    assert_allclose(draw(), first)
    assert_allclose(draw(), second)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("scale", -1.0), ("mode", "invalid_mode"), ("distribution", "invalid_dist")],
)
def test_variance_scaling_refuses(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=argument):
        gpunn.initializers.VarianceScaling(**{argument: value}, seed=1234)


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("RandomNormal", {"mean": 0.0, "stddev": 0.05, "seed": None}),
        ("TruncatedNormal", {"mean": 0.0, "stddev": 0.05, "seed": None}),
        ("RandomUniform", {"minval": -0.05, "maxval": 0.05, "seed": None}),
        ("VarianceScaling", {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal",
                             "seed": None}),
        ("Constant", {"value": 0.0}),
        ("GlorotUniform", {"seed": None}),
        ("HeNormal", {"seed": None}),
    ],
)  # fmt: skip
def test_defaults_and_their_order(name: str, defaults: dict[str, Any]) -> None:
    cls = getattr(gpunn.initializers, name)
    config = cls().get_config()
    assert {key: config[key] for key in defaults} == defaults
    given = {**defaults, **({"seed": 7} if "seed" in defaults else {})}
    config = cls(*given.values()).get_config()
    assert {key: config[key] for key in given} == given


def test_get() -> None:
    initializers = gpunn.initializers
    assert isinstance(initializers.get("glorot_normal"), initializers.GlorotNormal)
    assert isinstance(initializers.get("HeUniform"), initializers.HeUniform)
    assert isinstance(initializers.get("zeros"), initializers.Zeros)
    with pytest.raises(ValueError, match="typo"):
        initializers.get("typo")


def test_get_with_an_array() -> None:
    array = np.random.default_rng(0).random((5, 5)).astype("float32")
    initializer = gpunn.initializers.get(array)
    assert_allclose(np.asarray(initializer(shape=(5, 5))), array)
    with pytest.raises(ValueError, match="shape"):
        initializer(shape=(10, 10))


def test_orthogonal() -> None:
    initializer = gpunn.initializers.Orthogonal(gain=2.0, seed=1234)
    assert (initializer.gain, initializer.seed) == (2.0, 1234)
    w = np.asarray(initializer(shape=(5, 5)))
    assert_allclose(w.T @ w, 4.0 * np.eye(5), atol=1e-5)
    assert isinstance(gpunn.initializers.get("OrthogonalInitializer"), type(initializer))


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (3, 3, 2, 5), (2, 1, 2, 9)])
def test_orthogonal_of_any_shape(shape: tuple[int, ...]) -> None:
    w = gpunn.initializers.Orthogonal(seed=1)(shape, "float64").reshape(-1, shape[-1])
    small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    assert_allclose(small, np.eye(len(small)), atol=1e-12)


def test_orthogonal_prefers_no_direction() -> None:
    # The diagonal of R is made positive: otherwise entry (0, 0) always has the same sign.
    signs = [gpunn.initializers.Orthogonal(seed=seed)((3, 3))[0, 0] > 0 for seed in range(200)]
    assert 60 < sum(signs) < 140


def test_identity() -> None:
    initializer = gpunn.initializers.Identity(gain=2)
    assert_allclose(np.asarray(initializer(shape=(3, 3))), 2 * np.eye(3))
    assert isinstance(gpunn.initializers.get("IdentityInitializer"), type(initializer))
    for cls, shape in (("Identity", (3,)), ("Orthogonal", (3,))):
        with pytest.raises(ValueError, match="shape"):
            getattr(gpunn.initializers, cls)()(shape)


@pytest.mark.parametrize(
    ("initializer", "deviation"),
    [
        (gpunn.initializers.RandomNormal(stddev=1.0, seed=1), 1.0),
        (gpunn.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", seed=1), 18**-0.5),
        (gpunn.initializers.LecunNormal(seed=1), 18**-0.5),
        (gpunn.initializers.HeNormal(seed=1), (2 / 18) ** 0.5),
        (gpunn.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=1), 54**-0.5),
        (gpunn.initializers.GlorotUniform(seed=1), (2 / (18 + 9 * 500)) ** 0.5),
    ],
)
def test_deviations_of_a_convolutions_kernel(initializer: Any, deviation: float) -> None:
    w = initializer((3, 3, 2, 500), "float64")  # fan-in 18, fan-out 4500
    assert_allclose(w.std(), deviation, rtol=0.03)

"""Optimizer steps that Keras 3 asserts in its unit tests, applied to plain arrays in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

RAMP = np.arange(0.1, 1.1, 0.1, dtype="float32")
FAINT = np.full(10, 0.01, dtype="float32")


def array(*values: Any) -> np.ndarray:
    return np.array(values, dtype="float32")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("SGD", [0.5, -1.0, -0.5, 3.0]), ("Adam", [0.5, 1.5, 2.5, 3.5])],
)
def test_single_step(name: str, expected: list[float]) -> None:
    optimizer = getattr(gpunn.optimizers, name)(learning_rate=0.5)
    w = array(1.0, 2.0, 3.0, 4.0)
    optimizer.apply([array(1.0, 6.0, 7.0, 2.0)], [w])
    assert_allclose(w, expected, rtol=1e-4)
    assert int(optimizer.iterations) == 1
    assert float(optimizer.learning_rate) == 0.5


def test_iterations_count_steps() -> None:
    optimizer, w = gpunn.optimizers.Adam(learning_rate=1.0), array([1.0, 2.0], [3.0, 4.0])
    assert int(optimizer.iterations) == 0
    for count in (1, 2):
        optimizer.apply([np.ones_like(w)], [w])
        assert int(optimizer.iterations) == count


def sgd_rows() -> list[np.ndarray]:
    """Plain steps at rate .01: .9999 at first, then .01 of the ramp less each time."""
    return [0.9999 - 0.01 * step * RAMP for step in range(5)]


GOLDEN = {
    # Nesterov's look-ahead does nothing where there is no momentum.
    "SGD": ({"nesterov": True}, sgd_rows(), 1e-6),
    "Adam": ({"amsgrad": True}, [[value] * 10 for value in (0.999, 0.9982, 0.9974, 0.9965, 0.9955)],
             2e-4),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_rows(name: str) -> None:
    arguments, rows, tolerance = GOLDEN[name]
    optimizer, w = getattr(gpunn.optimizers, name)(**arguments), np.ones(10, dtype="float32")
    optimizer.apply([FAINT], [w])
    for row in rows:
        assert_allclose(w, row, rtol=0, atol=tolerance)
        optimizer.apply([RAMP], [w])


@pytest.mark.parametrize(
    ("nesterov", "path"), [(False, [-1.0, -2.9, -5.61]), (True, [-1.9, -4.61, -8.049])]
)
def test_momentum(nesterov: bool, path: list[float]) -> None:
    # By hand with a gradient of 1: v is -1, -1.9, -2.71; w gains v, or .9 v - 1 with Nesterov.
    optimizer = gpunn.optimizers.SGD(learning_rate=1.0, momentum=0.9, nesterov=nesterov)
    w = array(0.0)
    for value in path:
        optimizer.apply([array(1.0)], [w])
        assert_allclose(w, [value], rtol=1e-6)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_adds_epsilon_to_the_uncorrected_root(amsgrad: bool) -> None:
    # After gradients 1 and 0: m = .09, v = .000999; amsgrad keeps v = .001 of the first step.
    optimizer = gpunn.optimizers.Adam(learning_rate=1.0, epsilon=1e-2, amsgrad=amsgrad)
    w = array(0.0)
    optimizer.apply([array(1.0)], [w])
    first = -(0.001**0.5) / (0.001**0.5 + 1e-2)
    assert_allclose(w, [first], rtol=1e-4)
    optimizer.apply([array(0.0)], [w])
    rate = (1 - 0.999**2) ** 0.5 / (1 - 0.9**2)
    v = 0.001 if amsgrad else 0.000999
    assert_allclose(w, [first - rate * 0.09 / (v**0.5 + 1e-2)], rtol=1e-4)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_weight_decay_takes_a_part_of_the_weight(name: str) -> None:
    optimizer = getattr(gpunn.optimizers, name)(learning_rate=1.0, weight_decay=0.004)
    w = array(2.0)
    for _ in range(3):
        optimizer.apply([array(0.0)], [w])
    assert_allclose(w, [1.9760959], rtol=1e-6)


@pytest.mark.parametrize(("name", "moved"), [("SGD", 0.25), ("Adam", 0.5)])
def test_weight_decay_leaves_the_gradient_alone(name: str, moved: float) -> None:
    optimizer = getattr(gpunn.optimizers, name)(learning_rate=0.5, weight_decay=0.1)
    w = array(2.0)
    optimizer.apply([array(0.5)], [w])
    assert_allclose(w, [2.0 - 0.5 * 0.1 * 2.0 - moved], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "gradients", "expected"),
    [
        ({"clipnorm": 1.0}, [[100.0, 100.0]], [[0.5**0.5, 0.5**0.5]]),
        ({"clipvalue": 1.0}, [[100.0, 100.0]], [[1.0, 1.0]]),
        ({"clipvalue": 1.0}, [[-100.0, 0.5]], [[-1.0, 0.5]]),
        ({"global_clipnorm": 1.0}, [[50.0, 100.0]], [[5**-0.5, 2 * 5**-0.5]]),
        # Each array by itself, or all together: (3, 4) has norm 5, with (0, 12) norm 13.
        ({"clipnorm": 1.0}, [[3.0, 4.0], [0.0, 12.0]], [[0.6, 0.8], [0.0, 1.0]]),
        ({"global_clipnorm": 6.5}, [[3.0, 4.0], [0.0, 12.0]], [[1.5, 2.0], [0.0, 6.0]]),
        ({"clipnorm": 20.0}, [[3.0, 4.0]], [[3.0, 4.0]]),
        ({"global_clipnorm": 20.0}, [[3.0, 4.0]], [[3.0, 4.0]]),
        ({"clipnorm": 1.0}, [[0.0, 0.0]], [[0.0, 0.0]]),
        ({"global_clipnorm": 1.0}, [[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.6, 0.8]]),
    ],
)
def test_clipping(
    arguments: dict[str, float], gradients: list[list[float]], expected: list[list[float]]
) -> None:
    optimizer = gpunn.optimizers.SGD(learning_rate=1.0, **arguments)
    w = [np.zeros(2, dtype="float32") for _ in gradients]
    optimizer.apply([array(*gradient) for gradient in gradients], w)
    assert_allclose(np.negative(w), expected, rtol=1e-6)
    config = optimizer.get_config()
    assert {key: config[key] for key in arguments} == arguments


def test_adam_clips_before_it_averages() -> None:
    # 100 clipped to 1 counts as much as the 1 that follows; unclipped, it would rule.
    optimizer = gpunn.optimizers.Adam(learning_rate=1.0, clipvalue=1.0)
    w = array(0.0)
    for _ in range(2):
        optimizer.apply([array(100.0)], [w])
        optimizer.apply([array(1.0)], [w])
    assert_allclose(w, [-4.0], rtol=1e-4)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("other", ["clipvalue", "global_clipnorm"])
def test_two_ways_of_clipping_are_refused(name: str, other: str) -> None:
    with pytest.raises(ValueError, match="clipnorm"):
        getattr(gpunn.optimizers, name)(learning_rate=1.0, clipnorm=0.1, **{other: 0.1})


@pytest.mark.parametrize("momentum", [-1.0, 2.0])
def test_momentum_out_of_range_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum"):
        gpunn.optimizers.SGD(momentum=momentum)


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("SGD", {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
        ("Adam", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7,
                  "amsgrad": False}),
    ],
)  # fmt: skip
def test_defaults_and_their_order(name: str, defaults: dict[str, Any]) -> None:
    cls = getattr(gpunn.optimizers, name)
    common = {"weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None}
    config = cls().get_config()
    assert {key: config[key] for key in common} == common
    assert {key: config[key] for key in defaults} == pytest.approx(defaults, rel=1e-6)
    given = {key: value / 2 if isinstance(value, float) else True
             for key, value in defaults.items()}  # fmt: skip
    config = cls(*given.values(), 0.004).get_config()
    assert {key: config[key] for key in given} == pytest.approx(given, rel=1e-6)
    assert config["weight_decay"] == 0.004
    assert cls.from_config(config).get_config() == config


def test_get() -> None:
    assert isinstance(gpunn.optimizers.get("sgd"), gpunn.optimizers.SGD)
    assert isinstance(gpunn.optimizers.get("adam"), gpunn.optimizers.Adam)
    with pytest.raises(ValueError, match="typo"):
        gpunn.optimizers.get("typo")


def test_names() -> None:
    assert gpunn.optimizers.Adam().name.startswith("adam")
    assert gpunn.optimizers.SGD().name.startswith("sgd")
    assert gpunn.optimizers.Adam(name="mine").name == "mine"

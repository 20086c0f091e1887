"""Values of learning-rate schedules that Keras 3 asserts in its unit tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn.optimizers import schedules

# Schedule, and its values after these numbers of steps.
FIGURES: list[tuple[Any, dict[float, float]]] = [
    (schedules.ExponentialDecay(0.05, 10, 0.96), {5: 0.05 * 0.96**0.5}),
    (
        schedules.ExponentialDecay(0.1, 3, 0.96, staircase=True),
        {1: 0.1, 2: 0.1, 100: 0.1 * 0.96**33},
    ),
    (
        schedules.PiecewiseConstantDecay([100, 110, 120], [1.0, 0.1, 0.01, 0.001]),
        {-999: 1.0, 100: 1.0, 105: 0.1, 110: 0.1, 120: 0.01, 999: 0.001},
    ),
    (
        schedules.PiecewiseConstantDecay([1, 2, 3], [0.4, 0.5, 0.6, 0.7]),
        {0: 0.4, 1: 0.4, 2: 0.5, 3: 0.6, 4: 0.7},
    ),
    (schedules.PolynomialDecay(0.05, 10, 0.0), {5: 0.025}),
    (schedules.PolynomialDecay(0.05, 10, 0.001), {5: 0.0255, 10: 0.001, 15: 0.001}),
    (schedules.PolynomialDecay(0.05, 10, 0.001, cycle=True), {15: 0.049 * 0.25 + 0.001}),
    (schedules.PolynomialDecay(0.05, 10, 0.0, power=0.5), {5: 0.05 * 0.5**0.5}),
    (
        schedules.PolynomialDecay(0.05, 10, 0.001, power=0.5),
        {5: 0.049 * 0.5**0.5 + 0.001, 10: 0.001, 15: 0.001},
    ),
    (schedules.PolynomialDecay(0.05, 10, 0.001, power=0.5, cycle=True), {15: 0.049 * 0.5 + 0.001}),
    (schedules.PolynomialDecay(0.001, 10, cycle=True), {0: 0.001}),
    (schedules.InverseTimeDecay(0.1, 10, 0.96), {i: 0.1 / (1 + i / 10 * 0.96) for i in range(11)}),
    (
        schedules.InverseTimeDecay(0.1, 10, 0.96, staircase=True),
        {i: 0.1 / (1 + 0.96 * (i // 10)) for i in range(11)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "values"), FIGURES, ids=repr)
def test_values(schedule: Any, values: dict[float, float]) -> None:
    for step, value in values.items():
        assert_allclose(schedule(step), value, rtol=1e-6)


def half_cosine(step: float, steps: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_cosine_decay(alpha: float) -> None:
    for step in range(0, 1500, 250):
        expected = (1 - alpha) * half_cosine(step, 1000) + alpha
        assert_allclose(schedules.CosineDecay(1.0, 1000, alpha)(step), expected, atol=1e-12)


@pytest.mark.parametrize(("warmup_steps", "decay_steps"), [(1500, 10), (2000, 1000)])
def test_cosine_decay_with_warmup(warmup_steps: int, decay_steps: int) -> None:
    schedule = schedules.CosineDecay(
        0.0, decay_steps, warmup_target=10.0, warmup_steps=warmup_steps
    )
    for step in range(0, warmup_steps + decay_steps, 250):
        fall = 10.0 * half_cosine(step - warmup_steps, decay_steps)
        expected = 10.0 * step / warmup_steps if step <= warmup_steps else fall
        assert_allclose(schedule(step), expected, atol=1e-12)


@pytest.mark.parametrize("arguments", [{}, {"alpha": 0.1}, {"m_mul": 0.9}, {"t_mul": 1.0}], ids=str)
def test_cosine_decay_restarts(arguments: dict[str, float]) -> None:
    given = {"t_mul": 2.0, "m_mul": 1.0, "alpha": 0.0, **arguments}
    schedule = schedules.CosineDecayRestarts(1.0, 1000, **arguments)
    for step in range(0, 1500, 250):
        again = step >= 1000
        left, steps = (step - 1000, 1000 * given["t_mul"]) if again else (step, 1000)
        top = given["m_mul"] ** again * half_cosine(left, steps)
        assert_allclose(schedule(step), (1 - given["alpha"]) * top + given["alpha"], atol=1e-12)


def test_the_losses_of_a_fit() -> None:
    model = gpunn.Sequential(
        [gpunn.layers.Dense(2, kernel_initializer="ones", bias_initializer="ones")]
    )
    rate = schedules.ExponentialDecay(0.05, decay_steps=1, decay_rate=0.9)
    optimizer = gpunn.optimizers.Adam(learning_rate=rate)
    assert optimizer.iterations == 0
    model.compile(optimizer=optimizer, loss="mse")
    x = np.arange(32).reshape((16, 2))
    history = model.fit(x, x, epochs=3, batch_size=4, shuffle=False, verbose=0)
    assert optimizer.iterations == 12
    expected = [230.79457092285156, 128.30319213867188, 79.33648681640625]
    assert_allclose(history.history["loss"], expected, rtol=5e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ExponentialDecay", {"initial_learning_rate": 0.05, "decay_steps": 10,
                              "decay_rate": 0.96, "staircase": True, "name": "my_ed"}),
        ("PiecewiseConstantDecay", {"boundaries": [10, 20], "values": [1, 2, 3],
                                    "name": "my_pcd"}),
        ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100,
                             "end_learning_rate": 0.005, "power": 1.0, "cycle": False,
                             "name": "my_ld"}),
        ("InverseTimeDecay", {"initial_learning_rate": 0.05, "decay_steps": 10,
                              "decay_rate": 0.96, "staircase": True, "name": "my_itd"}),
        ("CosineDecay", {"initial_learning_rate": 0.05, "decay_steps": 10, "alpha": 0.1,
                         "name": "my_cd", "warmup_target": 0.2, "warmup_steps": 2}),
        ("CosineDecayRestarts", {"initial_learning_rate": 0.05, "first_decay_steps": 10,
                                 "t_mul": 3.0, "m_mul": 4.0, "alpha": 0.1, "name": "my_cdr"}),
    ],
)  # fmt: skip
def test_configurations(name: str, arguments: dict[str, Any]) -> None:
    cls = getattr(schedules, name)
    assert cls(**arguments).get_config() == arguments
    assert cls(*arguments.values()).get_config() == arguments  # in the order of the arguments
    again = schedules.deserialize(schedules.serialize(cls(**arguments)))
    assert again.get_config() == arguments

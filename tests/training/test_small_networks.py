"""Test networks small enough to work out on paper, against the resulting figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import activations, layers

BACKENDS = ["numpy", "compiled", "emulated"]
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def network(*sizes: int, activation: Any = "sigmoid", **options: Any) -> gpunn.Sequential:
    """Fully connected: 3-4-1 is ``network(3, 4, 1)``."""
    backend = options.pop("backend", "numpy")
    return gpunn.Sequential(
        [
            layers.Input((sizes[0],)),
            *(layers.Dense(units, activation, **options) for units in sizes[1:]),
        ],
        dtype="float64",
        backend=backend,
    )


def unit(weights: list[float], activation: Any, backend: str, **options: Any) -> gpunn.Sequential:
    """One neuron with these weights; the bias is the last one, if there is a bias."""
    inputs = len(weights) - options.get("use_bias", True)
    model = network(inputs, 1, activation=activation, backend=backend, **options)
    kernel = np.array(weights[:inputs]).reshape(-1, 1)
    model.set_weights([kernel, np.array(weights[inputs:])][: 1 + options.get("use_bias", True)])
    return model


@every_backend
def test_the_threshold_unit(backend: str) -> None:
    """Inputs (0, 1, 1), all weights 1, threshold 0: the sum is 2 and the unit gives 1."""
    x = [[0, 1, 1]]
    assert unit([1, 1, 1], "step", backend, use_bias=False).predict(x) == 1
    assert unit([1, 1, 1], "linear", backend, use_bias=False).predict(x) == 2
    # With weights 2, 3 and 4 the sum is 7, and the unit still gives 1 ...
    assert unit([2, 3, 4], "linear", backend, use_bias=False).predict(x) == 7
    assert unit([2, 3, 4], "step", backend, use_bias=False).predict(x) == 1
    # ... until the threshold is above 7; exactly at 7 it depends on the argument.
    for threshold, at, expected in ((7, True, 1), (7, False, 0), (7.5, True, 0)):
        step = activations.Step(threshold=threshold, high_at_threshold=at)
        assert unit([2, 3, 4], step, backend, use_bias=False).predict(x) == expected


@every_backend
def test_logic_by_threshold_units(backend: str) -> None:
    """McCulloch and Pitts: AND, OR and NOT need one unit; XOR needs another layer."""
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    for weights, expected in (
        ([1, 1, -2], [0, 0, 0, 1]),
        ([1, 1, -1], [0, 1, 1, 1]),
        ([-1, 0, 0], [1, 1, 0, 0]),
    ):
        answers = unit(weights, "step", backend).predict(corners)[:, 0]
        np.testing.assert_array_equal(answers, expected)
    model = network(2, 2, 1, activation="step", backend=backend)
    either, both = [1, 1], [1, 1]
    model.set_weights([np.array([either, both]).T, [-1, -2], [[1], [-1]], [-1]])
    np.testing.assert_array_equal(model.predict(corners)[:, 0], [0, 1, 1, 0])


@every_backend
def test_the_sigmoid_unit_crosses_one_half_at_five(backend: str) -> None:
    """sigma(3 (x - 5)): weight 3, bias -15. The weight sets the slope; both set the position."""
    model = unit([3, -15], "sigmoid", backend)
    below, at, above = model.predict([[5 - 1e-9], [5], [5 + 1e-9]])[:, 0]
    assert below < 0.5 == at < above
    x = np.linspace(0, 10, 101).reshape(-1, 1)
    shaped = activations.Sigmoid(slope=3, shift=15)
    np.testing.assert_allclose(model.predict(x), shaped(x), rtol=0, atol=1e-15)
    steps = activations.step(x - 5)
    differences = [
        np.abs(unit([w, -5 * w], "sigmoid", backend).predict(x) - steps)[x != 5].max()
        for w in (3, 30, 300)
    ]
    assert differences[0] > differences[1] > differences[2] and differences[2] < 1e-12


@every_backend
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_a_bias_is_a_weight_of_an_input_fixed_at_one(activation: str, backend: str) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(12, 3)), random.normal(size=(12, 2))
    kernel, bias = random.normal(size=(3, 2)), random.normal(size=2)
    with_bias = network(3, 2, activation=activation, backend=backend)
    with_bias.set_weights([kernel, bias])
    without = network(4, 2, activation=activation, backend=backend, use_bias=False)
    without.set_weights([np.vstack([kernel, bias])])
    extended = np.hstack([x, np.ones((12, 1))])
    np.testing.assert_allclose(with_bias.predict(x), without.predict(extended), atol=1e-14)
    for model, inputs in ((with_bias, x), (without, extended)):  # and it learns as one
        model.compile(gpunn.optimizers.SGD(0.5), "mse")
        model.fit(inputs, y, batch_size=12, epochs=20, verbose=0)
    learned = np.vstack(with_bias.get_weights())
    np.testing.assert_allclose(learned, without.get_weights()[0], atol=1e-12)
    assert np.abs(learned - np.vstack([kernel, bias])).max() > 0.01


@pytest.mark.parametrize(
    ("sizes", "use_bias", "parameters"),
    [
        ((3, 4, 1), True, 21),
        ((4, 3, 4, 5, 2), True, 68),
        ((2, 2, 3, 2), True, 23),
        ((3, 4, 2), True, 26),
        ((3, 4, 2), False, 20),
    ],
    ids=str,
)
def test_numbers_of_parameters(
    sizes: tuple[int, ...], use_bias: bool, parameters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network(*sizes, use_bias=use_bias)
    assert model.count_params() == parameters
    assert sum(w.size for w in model.get_weights()) == parameters
    model.summary()
    assert f"Total params: {parameters} " in capsys.readouterr().out


def sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@every_backend
def test_the_whole_formula_of_a_network(backend: str) -> None:
    """2-2-3-2: each neuron is an expression inside those that read it."""
    model = network(2, 2, 3, 2, backend=backend)
    random = np.random.default_rng(15)
    model.set_weights([3 * random.normal(size=w.shape) for w in model.get_weights()])
    # w[l][j][k]: from neuron k of layer l - 1 to neuron j of layer l; b[l][j]: its bias.
    given = [w.tolist() for w in model.get_weights()]
    w = {2: np.transpose(given[0]), 3: np.transpose(given[2]), 4: np.transpose(given[4])}
    b = {2: given[1], 3: given[3], 4: given[5]}

    def formula(x1: float, x2: float) -> list[float]:
        return [
            sigma(
                w[4][i][0] * sigma(
                    w[3][0][0] * sigma(w[2][0][0] * x1 + w[2][0][1] * x2 + b[2][0])
                    + w[3][0][1] * sigma(w[2][1][0] * x1 + w[2][1][1] * x2 + b[2][1])
                    + b[3][0]
                )
                + w[4][i][1] * sigma(
                    w[3][1][0] * sigma(w[2][0][0] * x1 + w[2][0][1] * x2 + b[2][0])
                    + w[3][1][1] * sigma(w[2][1][0] * x1 + w[2][1][1] * x2 + b[2][1])
                    + b[3][1]
                )
                + w[4][i][2] * sigma(
                    w[3][2][0] * sigma(w[2][0][0] * x1 + w[2][0][1] * x2 + b[2][0])
                    + w[3][2][1] * sigma(w[2][1][0] * x1 + w[2][1][1] * x2 + b[2][1])
                    + b[3][2]
                )
                + b[4][i]
            )
            for i in (0, 1)
        ]  # fmt: skip

    points = random.normal(size=(20, 2)) * 3
    expected = [formula(*point) for point in points.tolist()]
    np.testing.assert_allclose(model.predict(points), expected, rtol=0, atol=1e-15)
    assert np.ptp(expected, axis=0).min() > 0.3  # the outputs vary

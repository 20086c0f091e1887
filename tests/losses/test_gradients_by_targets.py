"""Gradients of losses by their targets, where a network, weight or variable computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import registered
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, losses, ops

pytestmark = pytest.mark.usefixtures("doubles")
LOSSES: list[Any] = [
    *(loss for case in registered.cases("loss")
      if not (loss := registered.make("loss", *case)).sparse),
    *(losses.BinaryCrossentropy(label_smoothing=s).on_logits() for s in (0.0, 0.2)),
]  # fmt: skip
each = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name} {loss.functor}")
random = np.random.default_rng(0)
T, Y = random.uniform(0.2, 0.9, (2, 4, 3))


def differences(function: Callable[[np.ndarray], Any], x: np.ndarray) -> np.ndarray:
    """Finite differences of a number, or of an array of numbers, by each entry of x."""
    found = []
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        found.append((np.array(function(x + step)) - np.array(function(x - step))) / 2e-6)
    return np.array(found)


@each
def test_they_are_finite_differences(loss: Any) -> None:
    given = -Y if loss.name == "perceptron_criterion" else Y  # else all are right
    t = gpunn.Variable(T)
    with gpunn.GradientTape() as tape:
        value = loss(t, given)
    found = tape.gradient(value, t).numpy()
    assert_allclose(found.ravel(), differences(lambda t: loss(t, given), T), rtol=1e-6, atol=1e-8)
    assert np.abs(found).max() > 0.01


@each
def test_so_are_those_of_gradients(loss: Any) -> None:
    """The gradient for t of the squared gradient for y: as an unrolled step would differentiate
    it."""
    if loss.name == "euclidean_distance":
        return  # its derivative is that of a constant length, 1
    random = np.random.default_rng(1)
    factors = random.uniform(0.5, 1.5, Y.shape)

    def slopes(t: Any) -> Any:
        y = gpunn.Variable(Y)
        with gpunn.GradientTape() as inner:
            value = loss(t, y)
        return ops.sum(inner.gradient(value, y) * factors)

    t = gpunn.Variable(T)
    with gpunn.GradientTape() as tape:
        total = slopes(t)
    found = tape.gradient(total, t, unconnected_gradients="zero").numpy()
    wanted = differences(lambda t: float(slopes(t)), T)
    assert_allclose(found.ravel(), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("by", ["y_true", "y_pred"])
def test_both_arguments_may_be_the_same_network(by: str) -> None:
    """In a step of `fit` too: the targets' part is not left out."""

    class Halves(gpunn.Model):
        def __init__(self) -> None:
            super().__init__(dtype="float64")
            self.net = layers.Dense(2, kernel_initializer="ones", use_bias=False)

        def call(self, x: Any, training: bool | None = None) -> Any:
            one, other = self.net(x[:, :2]), ops.stop_gradient(self.net(x[:, 2:]))
            pair = (one, other) if by == "y_true" else (other, one)
            self.add_loss(losses.MeanSquaredError()(*pair))
            return one

    model = Halves()
    x = random.standard_normal((6, 4))
    model.compile(gpunn.optimizers.SGD(0.1))
    model.fit(x, batch_size=6, epochs=1, verbose=0)
    ones = np.ones((2, 2))
    slope = x[:, :2].T @ (2 * (x[:, :2] @ ones - x[:, 2:] @ ones)) / 12
    assert_allclose(model.get_weights()[0], ones - 0.1 * slope, rtol=1e-12)


def test_a_distance_of_zero_has_a_gradient_of_zero() -> None:
    t = gpunn.Variable(T)
    with gpunn.GradientTape() as tape:
        value = losses.EuclideanDistance()(t, T)
    assert not np.any(tape.gradient(value, t).numpy())


def test_a_loss_on_arrays_has_none() -> None:
    class Squared(losses.Loss):
        def forward(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
            values[...] = ((y_pred - y_true) ** 2).sum(axis=-1)

        def backward(self, backend: Any, y_true: Any, y_pred: Any, gradient: Any) -> None:
            gradient[...] = 2 * (y_pred - y_true)

    t, y = gpunn.Variable(T), gpunn.Variable(Y)
    with gpunn.GradientTape(persistent=True) as tape:
        value = Squared()(t, y)
    assert_allclose(tape.gradient(value, y).numpy(), (Y - T) / 2, rtol=1e-12)
    with pytest.raises(ValueError, match=r"by y_true is not known.*stop_gradient"):
        tape.gradient(value, t)

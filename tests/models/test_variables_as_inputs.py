"""Variables and weights where an input is expected: as tensors, so that they have gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import activations, layers, losses, ops, regularizers

pytestmark = pytest.mark.usefixtures("doubles")
X = np.random.default_rng(0).uniform(0.2, 0.9, (4, 3))


class Scaled(layers.Layer):
    def call(self, x: Any, factor: Any = 1.0) -> Any:
        return ops.square(x) * factor


class Inside(gpunn.Model):
    def __init__(self) -> None:
        super().__init__(dtype="float64")
        self.dense = layers.Dense(2, "tanh")

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.dense(x) * 2.0


def chain() -> Any:
    return gpunn.Sequential([layers.Input((3,)), layers.Dense(2, "tanh")], dtype="float64")


def graph() -> Any:
    given = layers.Input((3,)), layers.Input((3,))
    return gpunn.Model([*given], layers.Dense(2)(layers.Add()([*given])), dtype="float64")


# What is created for a test, and how it is applied.
USES: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any]]] = {
    "a layer": (lambda: layers.Dense(3, "tanh", dtype="float64"), lambda f, x: f(x)),
    "a model": (chain, lambda f, x: f(x)),
    "a model of several inputs": (graph, lambda f, x: f([x, X])),
    "a subclass of Model": (Inside, lambda f, x: f(x)),
    "a custom layer": (lambda: Scaled(dtype="float64"), lambda f, x: f(x)),
    "its other argument": (lambda: Scaled(dtype="float64"), lambda f, x: f(X, factor=x)),
    "a list": (lambda: layers.Multiply(dtype="float64"), lambda f, x: f([x, X])),
    "stateless_call": (chain, lambda f, x: f.stateless_call(f.trainable_variables, [], x)[0]),
    "an activation": (lambda: activations.softplus, lambda f, x: f(x)),
    "an activation of rows": (lambda: activations.softmax, lambda f, x: f(x) ** 2),
    "a function as an activation": (lambda: activations.get(ops.exp), lambda f, x: f(x)),
    "predictions": (losses.MeanSquaredError, lambda f, x: f(X**2, x)),
    "targets": (losses.KLDivergence, lambda f, x: f(x, X**2)),
    "a function of a loss": (lambda: losses.binary_crossentropy, lambda f, x: f(X**2, x)),
    "a custom loss": (lambda: losses.get(quartic), lambda f, x: f(X**2, x)),
    "a penalty": (lambda: regularizers.L1L2(0.1, 0.2), lambda f, x: f(x)),
    "a penalty on angles": (lambda: regularizers.OrthogonalRegularizer(0.1), lambda f, x: f(x)),
    "a function as a penalty": (lambda: regularizers.get(cubes), lambda f, x: f(x)),
}
each = pytest.mark.parametrize(("make", "apply"), USES.values(), ids=USES)


def quartic(t: Any, y: Any) -> Any:
    return ops.mean((y - t) ** 4, axis=-1)


def cubes(x: Any) -> Any:
    return ops.sum(x**3)


def value_and_slope(part: Any, apply: Any) -> tuple[np.ndarray, np.ndarray]:
    """For X as a watched tensor."""
    x = ops.convert_to_tensor(X)
    with gpunn.GradientTape() as tape:
        tape.watch(x)
        y = apply(part, x)
    slope = tape.gradient(y, x).numpy()
    assert np.abs(slope).min() > 1e-5
    return np.asarray(y), slope


@each
@pytest.mark.parametrize("kind", ["variable", "weight"])
def test_a_tape_gives_the_gradient_of_a_tensor(kind: str, make: Any, apply: Any) -> None:
    part, v = make(), gpunn.Variable(X)
    if kind == "weight":
        v = layers.Layer(dtype="float64").add_weight(X.shape, lambda shape, dtype=None: X)
    apply(part, X)  # which builds it
    with gpunn.GradientTape() as tape:
        y = apply(part, v)
    value, slope = value_and_slope(part, apply)
    assert_allclose(np.asarray(y), value, rtol=1e-12)
    assert_allclose(tape.gradient(y, v).numpy(), slope, rtol=1e-12)


@each
@pytest.mark.parametrize("eager", [False, True])
def test_a_step_of_fit_trains_it(eager: bool, make: Any, apply: Any) -> None:
    class Held(gpunn.Model):
        def __init__(self) -> None:
            super().__init__(dtype="float64")
            self.part = make()
            self.free = self.add_weight(X.shape, lambda shape, dtype=None: X)

        def call(self, x: Any, training: bool | None = None) -> Any:
            self.add_loss(ops.sum(apply(self.part, self.free)))
            return x

    model = Held()
    model.compile(gpunn.optimizers.SGD(0.1), run_eagerly=eager)
    apply(model.part, X)
    _, slope = value_and_slope(model.part, apply)
    model.fit(np.zeros((4, 1)), batch_size=4, epochs=1, verbose=0)
    assert_allclose(model.free.numpy(), X - 0.1 * slope, rtol=1e-12)


def test_a_further_argument_of_a_call_can_be_assigned_to() -> None:
    class Counting(layers.Layer):
        def call(self, x: Any, count: Any) -> Any:
            count.assign_add(1.0)
            return x * count

    count = gpunn.Variable(0.0)
    with gpunn.GradientTape() as tape:
        tape.watch(x := ops.convert_to_tensor(X))
        y = Counting(dtype="float64")(x, count)
    assert float(count) == 1.0
    assert_allclose(tape.gradient(y, x).numpy(), np.ones_like(X))


def test_without_a_tape_the_values_are_read() -> None:
    v = gpunn.Variable(X)
    value = losses.MeanSquaredError()(X**2, v)
    assert float(value) == np.mean((X**2 - X) ** 2)
    assert_allclose(activations.tanh(v), np.tanh(X), rtol=1e-12)

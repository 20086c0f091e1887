"""Custom subclasses that change a built-in formula: their own computation is used."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpunn
from gpunn import activations, layers, losses, optimizers


class Doubled(optimizers.SGD):
    """Steps twice as long as usual."""

    def update(self, backend: Any, w: Any, g: Any, slots: Any, rate: Any, *rest: Any) -> None:
        super().update(backend, w, g, slots, 2 * rate, *rest)


class Halved(activations.Sigmoid):
    """Half a sigmoid."""

    def forward(self, backend: Any, x: Any, out: Any) -> None:
        super().forward(backend, x, out)
        backend.xp.multiply(out, 0.5, out=out)


class Tripled(losses.MeanSquaredError):
    """Three times the squared error, with a gradient three times as large."""

    def forward_backward(self, backend: Any, y_true: Any, y_pred: Any, values: Any, g: Any) -> None:
        super().forward_backward(backend, y_true, y_pred, values, g)
        backend.xp.multiply(values, 3.0, out=values)
        if g is not None:
            backend.xp.multiply(g, 3.0, out=g)


class Renamed(optimizers.SGD):
    """A subclass with an additional setting, which computes as before."""

    def __init__(self, learning_rate: float = 0.5) -> None:
        super().__init__(learning_rate)


X = np.array([[0.5, -1.0], [2.0, 0.25], [-0.5, 1.5]], np.float32)
Y = np.array([[1.0], [0.0], [0.5]], np.float32)


def trained(backend: str, optimizer: Any = None, loss: Any = "mse", activation: Any = None) -> Any:
    """A layer of one unit after two full-batch steps, and its losses."""
    gpunn.utils.set_random_seed(4)
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1, activation)], backend=backend)
    model.compile(optimizer or optimizers.SGD(0.1), loss)
    history = model.fit(X, Y, batch_size=3, epochs=2, verbose=0).history
    return model.get_weights()[0], history["loss"]


def test_an_optimizer_that_replaces_the_update_is_obeyed(backend: str) -> None:
    twice, _ = trained(backend, Doubled(0.1))
    np.testing.assert_allclose(twice, trained(backend, optimizers.SGD(0.2))[0], rtol=1e-6)


def test_an_activation_that_replaces_the_forward_pass_is_obeyed(backend: str) -> None:
    gpunn.utils.set_random_seed(4)
    dense = layers.Dense(1, Halved())
    model = gpunn.Sequential([layers.Input((2,)), dense], backend=backend)
    z = X @ np.asarray(model.get_weights()[0])
    expected = 0.5 / (1 + np.exp(-z))
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-6)


def test_a_loss_that_replaces_its_formula_is_obeyed(backend: str) -> None:
    weights, history = trained(backend, loss=Tripled())
    same, plain = trained(backend, optimizers.SGD(0.3))
    np.testing.assert_allclose(weights, same, rtol=1e-4)
    np.testing.assert_allclose(history, 3 * np.array(plain), rtol=1e-5)


def test_only_what_computes_otherwise_leaves_the_kernels() -> None:
    assert Renamed().functor == "SGD" == optimizers.SGD().functor
    assert [made.functor for made in (Doubled, Halved, Tripled)] == [None] * 3

    class Named(Doubled):
        functor = "SGD"

        def update(self, *args: Any) -> None: ...

    assert Named.functor == "SGD"

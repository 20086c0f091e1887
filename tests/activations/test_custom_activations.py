"""Test custom activations written with operations, and the formulas that built-in ones state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered
import torch

import gpunn
from gpunn import activations, layers, ops
from gpunn.backends import get_backend
from gpunn.testing import check_gradients

X = np.random.default_rng(0).standard_normal((24, 3)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((24, 2)).astype(np.float32)
STATED = [
    case for case in registered.cases("activation")
    if registered.make("activation", *case).states_call
]  # fmt: skip


class Swish(activations.Activation):
    """x sigmoid(b x)."""

    def __init__(self, b: float = 1.0) -> None:
        self.b = b

    def call(self, x: Any) -> Any:
        return x * ops.sigmoid(self.b * x)


class OfItsOutput(activations.Activation):
    """tanh, with the derivative that reads the output."""

    def call(self, x: Any) -> Any:
        return ops.tanh(x)

    def gradient(self, y: Any, dy: Any) -> Any:
        return dy * (1.0 - y * y)


class Flat(OfItsOutput):
    """An activation that states that its derivative is 0."""

    def gradient(self, y: Any, dy: Any) -> Any:
        return 0.0 * dy


def trained(backend: str, activation: Any) -> list[np.ndarray]:
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(5, activation), layers.Dense(2)], backend=backend
    )
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=7, epochs=3, verbose=0)
    return [*model.get_weights(), model.predict(X, verbose=0)]


@pytest.mark.parametrize(
    ("own", "built_in"), [(Swish(), "silu"), (OfItsOutput(), "tanh")], ids=["derived", "stated"]
)
def test_one_that_states_what_it_computes_trains_as_the_built_in_one(
    own: Any, built_in: str, backend: str
) -> None:
    for found, expected in zip(trained(backend, own), trained(backend, built_in), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_a_gradient_that_is_stated_is_the_one_that_is_used(backend: str) -> None:
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(5, Flat()), layers.Dense(2)], backend=backend
    )
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert (before[2] != after[2]).all()


@pytest.mark.parametrize("own", [Swish(1.5), OfItsOutput()])
def test_the_derivative_is_that_of_the_function(own: Any, backend: str) -> None:
    check_gradients(own, (6, 4), backend=backend)


def test_an_attribute_that_is_set_later_is_followed() -> None:
    own = Swish(1.0)
    x = np.array([[1.0, -2.0]], np.float32)
    own(x)
    own.b = 3.0
    np.testing.assert_allclose(own(x), x / (1 + np.exp(-3 * x)), rtol=1e-6)
    built_in = activations.LeakyRelu(0.5)
    assert built_in([-1.0]).tolist() == [-0.5]
    built_in.negative_slope = 2.0
    assert built_in([-1.0]).tolist() == [-2.0]


class Twice(activations.Gelu):
    """What a subclass states replaces the kernels' computation and derivative."""

    def call(self, x: Any) -> Any:
        return 2.0 * super().call(x)


class Halving:
    def call(self, x: Any) -> Any:
        return 0.5 * super().call(x)  # type: ignore[misc]


class HalfRelu(Halving, activations.Relu):
    pass


class Inherited(Twice):
    pass


@pytest.mark.parametrize(
    ("own", "built_in", "factor"),
    [(Twice(), "gelu", 2.0), (HalfRelu(), "relu", 0.5), (Inherited(), "gelu", 2.0)],
)
def test_a_subclass_that_states_another_function_has_its_derivative(
    own: Any, built_in: str, factor: float, backend: str
) -> None:
    device, other = get_backend(backend), activations.get(built_in)
    x, dy = (device.upload(a) for a in (X, X[::-1].copy()))
    y, dx, expected = (device.empty(X.shape, "float32") for _ in range(3))
    device.bias_activation(x, None, own, y)
    np.testing.assert_allclose(device.read(y), factor * other(X), rtol=1e-5, atol=1e-7)
    saved = x if own.saves == "input" else y
    device.activation_gradient(own, saved, dy, dx)
    saved = device.upload(other(X)) if other.saves == "output" else x
    device.activation_gradient(other, saved, dy, expected)
    wanted = factor * device.read(expected)
    np.testing.assert_allclose(device.read(dx), wanted, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_meant_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Old.gradient must take two tensors.*backward\("):

        class Old(activations.Activation):
            def gradient(self, backend: Any, saved: Any, dy: Any, out: Any) -> None:  # type: ignore[override]
                pass

    with pytest.raises(TypeError, match=r"Wrong has saves = .output.: it must define gradient"):

        class Wrong(activations.Activation):
            saves = "output"

            def call(self, x: Any) -> Any:
                return x * x

    class Empty(activations.Activation):
        pass

    with pytest.raises(TypeError, match=r"Empty must define call\(x\)"):
        Empty()([1.0])


@pytest.mark.parametrize(("name", "arguments"), STATED)
def test_the_stated_gradient_is_that_of_automatic_differentiation(
    name: str, arguments: Any
) -> None:
    """Compare `gradient`, which may be handwritten, with the derivative derived from `call`."""
    activation = registered.make("activation", name, arguments)
    x = ops.convert_to_tensor(np.linspace(-4.3, 4.1, 85) + 1e-3, "float64")
    dy = ops.convert_to_tensor(np.linspace(1.0, 2.0, 85), "float64")

    def stated(x: Any) -> Any:
        saved = x if activation.saves == "input" else activation.call(x)
        return activation.gradient(saved, dy)

    def derived(x: Any) -> Any:
        return gpunn.grad(lambda x: ops.sum(dy * activation.call(x)))(x)

    np.testing.assert_allclose(
        np.asarray(stated(x)), np.asarray(derived(x)), rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize(("name", "arguments"), STATED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_get_what_the_operations_give(name: str, arguments: Any, dtype: str) -> None:
    """Compare calls of array functions, in place or not, with the operations themselves."""
    activation = registered.make("activation", name, arguments)
    device = get_backend("numpy")
    ends = [-np.inf, -1e30, -1e4, -30.0, -3.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, 30.0, 1e30, np.inf]
    x = np.array([[*ends, np.nan, *np.linspace(-5, 5, 33)]], dtype)
    dy = np.linspace(-1, 2, x.size).astype(dtype).reshape(x.shape)
    with np.errstate(all="ignore"):
        y = np.asarray(activation.call(ops.convert_to_tensor(x, dtype)))
        saved = x if activation.saves == "input" else y
        expected = activation.gradient(*(ops.convert_to_tensor(a, dtype) for a in (saved, dy)))
        for forward in (True, False):
            given = (x,) if forward else (saved, dy)
            wanted = y if forward else np.asarray(expected)
            for in_place in (False, True):
                arrays = [a.copy() for a in given]
                out = arrays[-1] if in_place else np.empty_like(x)
                if forward:
                    activation.forward(device, *arrays, out)
                else:
                    activation.backward(device, *arrays, out)
                np.testing.assert_allclose(out, wanted, rtol=1e-5 if dtype == "float32" else 1e-13)
                for before, after in zip(given, arrays, strict=True):
                    if after is not out:
                        np.testing.assert_array_equal(before, after)


def test_second_derivatives() -> None:
    """The second derivative of one computed by kernels follows from its stated formula."""

    def slopes(x: Any) -> Any:
        return ops.sum(gpunn.grad(lambda x: ops.sum(activations.tanh(x)))(x))

    x = np.array([-1.5, 0.25, 2.0])
    t = np.tanh(x)
    found = gpunn.grad(slopes)(ops.convert_to_tensor(x, "float64"))
    np.testing.assert_allclose(np.asarray(found), -2 * t * (1 - t * t), rtol=1e-6)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)])
@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_of_rows_along_any_axis(name: str, axis: Any, backend: str) -> None:
    """Compare the value and both derivatives with PyTorch's."""
    x, weights = np.random.default_rng(5).standard_normal((2, 3, 4, 5))
    activation = getattr(activations, name)(axis=axis)

    def torchs(x: torch.Tensor) -> torch.Tensor:
        function = getattr(torch, "softmax" if name == "Softmax" else "log_softmax")
        if axis == (1, 2):
            return function(x.reshape(3, -1), -1).reshape(x.shape)
        return function(x, axis)

    given = torch.tensor(x, requires_grad=True)
    expected = torchs(given)
    total = (expected * torch.tensor(weights)).sum()
    (slope,) = torch.autograd.grad(total, given, create_graph=True)
    (curvature,) = torch.autograd.grad((slope**2).sum(), given)

    def weighted(x: Any) -> Any:
        return ops.sum(activation(x) * weights)

    model = gpunn.Sequential(
        [layers.Input((4, 5)), layers.Activation(activation)], dtype="float64", backend=backend
    )
    np.testing.assert_allclose(model.predict(x, verbose=0), expected.detach(), rtol=1e-12)
    found = ops.convert_to_tensor(x, "float64")
    np.testing.assert_allclose(gpunn.grad(weighted)(found), slope.detach(), atol=1e-12)
    squares = gpunn.grad(lambda x: ops.sum(ops.square(gpunn.grad(weighted)(x))))
    np.testing.assert_allclose(squares(found), curvature, atol=1e-11)

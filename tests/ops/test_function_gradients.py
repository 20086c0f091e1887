"""Gradients of functions beside PyTorch's: eager, inside a call, by weights, of gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.backends import choice_put_back

RANDOM = np.random.default_rng(4)
X = RANDOM.standard_normal((5, 3)).astype(np.float32)
Y = RANDOM.standard_normal((5, 2)).astype(np.float32)


@pytest.fixture(params=["numpy", "compiled", "emulated"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with choice_put_back():
        gpunn.use_backend(request.param)
        gpunn.utils.set_random_seed(11)
        yield request.param


def ours(x: Any, w: Any) -> Any:
    return ops.sum(ops.tanh(x @ w["kernel"] + w["bias"]) ** 2) + ops.mean(x) * 3


def theirs(x: Any, kernel: Any, bias: Any) -> Any:
    return (torch.tanh(x @ kernel + bias) ** 2).sum() + x.mean() * 3


def by_torch(function: Any, *arrays: Any) -> tuple[float, list[np.ndarray]]:
    given = [torch.tensor(np.asarray(a), requires_grad=True) for a in arrays]
    y = function(*given)
    return y.item(), [g.numpy() for g in torch.autograd.grad(y, given)]


def network(backend: str, *activations: str) -> tuple[Any, Any]:
    """Return a model, and the same in PyTorch with the weights as tensors."""
    functions = {"tanh": torch.tanh, "relu": torch.relu, "linear": lambda x: x}
    model = gpunn.Sequential(
        [layers.Input((3,)), *(layers.Dense(4, a) for a in activations), layers.Dense(2)],
        backend=backend,
    )

    def same(x: Any, *weights: Any) -> Any:
        for k, name in enumerate((*activations, "linear")):
            x = functions[name](x @ weights[2 * k] + weights[2 * k + 1])
        return x

    return model, same


def test_by_arguments_of_any_form(backend: str) -> None:
    kernel, bias = RANDOM.standard_normal((3, 2)).astype("f"), np.array([0.5, -1.0], "f")
    weights = {"kernel": kernel, "bias": ops.convert_to_tensor(bias)}
    expected, (dx, dkernel, dbias) = by_torch(theirs, X, kernel, bias)
    value, (found, parts) = gpunn.value_and_grad(ours, argnums=(0, 1))(X, weights)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert_allclose(found, dx, 1e-4, 1e-6)
    assert_allclose(parts["kernel"], dkernel, 1e-4, 1e-6)
    assert_allclose(parts["bias"], dbias, 1e-4, 1e-6)
    assert_allclose(gpunn.grad(ours)(X.tolist(), w=weights), dx, 1e-4, 1e-6)
    assert_allclose(gpunn.grad(ours, -1)(X, weights)["bias"], dbias, 1e-4, 1e-6)


def test_of_arguments_that_do_not_matter_it_is_zero(backend: str) -> None:
    one, two = gpunn.grad(lambda a, b: a * 2.0, argnums=(0, 1))(3, [1.0, 2.0])
    assert (one.item(), two.tolist()) == (2.0, [0.0, 0.0])


def test_double_precision_is_kept(backend: str) -> None:
    found = gpunn.grad(lambda x: ops.sum(x**3))(ops.convert_to_tensor([1 / 3], "float64"))
    assert found.dtype == "float64" and found.item() == pytest.approx(1 / 3, rel=1e-15)


def test_gradients_of_gradients(backend: str) -> None:
    def squared_slope(x: Any) -> Any:
        return ops.sum(gpunn.grad(lambda z: ops.sum(ops.sin(z) * z))(x) ** 2)

    def slope_by_torch(x: Any) -> Any:
        return (torch.autograd.grad((torch.sin(x) * x).sum(), x, create_graph=True)[0] ** 2).sum()

    expected, (gradient,) = by_torch(slope_by_torch, X)
    value, found = gpunn.value_and_grad(squared_slope)(X)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert_allclose(found, gradient, 1e-4, 1e-5)


def test_what_a_function_closes_over_is_constant(backend: str) -> None:
    # The inner gradient is by y alone: 2 x y at y = x, so the whole is 2 x^3.
    found = gpunn.grad(lambda x: x * gpunn.grad(lambda y: x * y**2)(x))(3.0)
    assert found.item() == 6 * 3**2


def test_by_the_input_of_a_model(backend: str) -> None:
    model, same = network(backend, "tanh", "relu")
    weights = [torch.tensor(w) for w in model.get_weights()]
    expected, (gradient,) = by_torch(lambda x: same(x, *weights)[:, 1].sum(), X)
    before = model.get_weights()
    value, found = gpunn.value_and_grad(lambda x: ops.sum(model(x)[:, 1]))(X)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert_allclose(found, gradient, 1e-4, 1e-6)
    for one, other in zip(model.get_weights(), before, strict=True):
        assert_allclose(one, other)


def test_by_the_pixels_of_an_image(backend: str) -> None:
    model = gpunn.Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(),
         layers.Flatten(), layers.Dropout(0.5), layers.Dense(4, activation="softmax")],
        backend=backend,
    )  # fmt: skip
    kernel, bias, dense, offset = map(torch.tensor, model.get_weights())
    images = RANDOM.standard_normal((2, 6, 6, 1)).astype(np.float32)

    def same(x: Any) -> Any:
        x = torch.relu(torch.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias))
        x = torch.max_pool2d(x, 2).permute(0, 2, 3, 1).reshape(2, -1)
        return torch.log_softmax(x @ dense + offset, 1)[:, 3].sum()

    expected, (gradient,) = by_torch(same, images)
    value, found = gpunn.value_and_grad(lambda x: ops.sum(ops.log(model(x)[:, 3])))(images)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    assert_allclose(found, gradient, 1e-3, 1e-5)
    drops = gpunn.grad(lambda x: ops.sum(model(x, training=True)[:, 3]))
    assert not np.array_equal(drops(images), drops(images))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_computes_in_its_own_precision(backend: str, dtype: str) -> None:
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(2)], dtype=dtype, backend=backend)
    found = gpunn.grad(lambda x: ops.sum(model(x) ** 2))(X)
    kernel, bias = model.get_weights()
    assert found.dtype == "float32" and kernel.dtype == dtype
    assert_allclose(found, 2 * (X @ kernel + bias) @ kernel.T, 1e-4, 1e-5)


def test_a_custom_training_loop(backend: str) -> None:
    model, same = network(backend, "tanh")
    reference = [torch.tensor(w, requires_grad=True) for w in model.get_weights()]
    optimizer = torch.optim.SGD(reference, lr=0.1)
    step = gpunn.value_and_grad(lambda weights, x, y: ops.mean((model(x) - y) ** 2))
    for _ in range(3):
        optimizer.zero_grad()
        loss = ((same(torch.tensor(X), *reference) - torch.tensor(Y)) ** 2).mean()
        loss.backward()
        optimizer.step()
        value, gradients = step(model.trainable_weights, X, Y)
        assert value.item() == pytest.approx(loss.item(), rel=1e-5)
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
            weight.assign(weight - 0.1 * gradient)
    for one, other in zip(model.get_weights(), reference, strict=True):
        assert_allclose(one, other.detach(), 1e-4, 1e-6)


def test_weights_that_several_layers_read(backend: str) -> None:
    class Tied(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layers.Dense(3, use_bias=False)

        def call(self, x: Any) -> Any:
            return ops.tanh(self.inner(self.inner(x))) @ ops.transpose(self.inner.kernel)

    tied = Tied()
    tied(X)
    expected, (gradient,) = by_torch(
        lambda k: (torch.tanh(torch.tensor(X) @ k @ k) @ k.T).sum(), tied.inner.kernel.numpy()
    )
    # The function itself contains the array: inside it, layers are differentiated too.
    value, (found,) = gpunn.value_and_grad(lambda weights: ops.sum(tied(X)))(tied.weights)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    assert_allclose(found, gradient, 1e-4, 1e-5)


def test_inside_a_call_it_is_trained_through(backend: str) -> None:
    """A loss on the derivative of a function of weights, as in physics-informed networks."""

    class Sloped(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight((3, 4), name="w")

        def call(self, x: Any) -> Any:
            slope = gpunn.grad(lambda z: ops.sum(ops.tanh(z @ self.w) ** 2))(x)
            self.add_loss(ops.mean(slope**2))
            return slope

    model = gpunn.Sequential([layers.Input((3,)), Sloped()], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.5))
    (w,) = model.get_weights()

    def penalty(w: Any) -> Any:
        x = torch.tensor(X, requires_grad=True)
        y = (torch.tanh(x @ w) ** 2).sum()
        return (torch.autograd.grad(y, x, create_graph=True)[0] ** 2).mean()

    expected, (gradient,) = by_torch(penalty, w)
    assert model.fit(X, batch_size=5, verbose=0).history["loss"][0] == pytest.approx(expected, 1e-4)
    assert_allclose(model.get_weights()[0], w - 0.5 * gradient, 1e-3, 1e-5)


def test_inside_a_call_a_layer_is_trained_as_without_it(backend: str) -> None:
    """A gradient outside the loss changes nothing, although it uses the same layer."""

    class Watching(layers.Layer):
        def __init__(self, watches: bool) -> None:
            super().__init__()
            self.watches, self.inner = watches, layers.Dense(2, "tanh")

        def call(self, x: Any) -> Any:
            y = self.inner(x)
            if not self.watches:
                return y
            value, slope = gpunn.value_and_grad(lambda z: ops.sum(self.inner(z)))(x)
            return y + ops.stop_gradient(ops.mean(slope, axis=1, keepdims=True)) * 0 + value * 0

    found = []
    for watches in (False, True):
        model = gpunn.Sequential([layers.Input((3,)), layers.Dense(3), Watching(watches)])
        model.compile(gpunn.optimizers.SGD(0.5), "mse")
        random = np.random.default_rng(0)
        model.set_weights([random.standard_normal(w.shape) for w in model.get_weights()])
        model.fit(X, Y, epochs=3, batch_size=5, verbose=0)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        assert_allclose(one, other, 1e-5, 1e-6)


def test_variables_and_random_numbers(backend: str) -> None:
    variable = gpunn.Variable([1.0, 2.0])

    def counted(v: Any, x: Any) -> Any:
        y = ops.sum(variable * x)
        variable.assign_add([1.0, 1.0])
        return y

    assert gpunn.grad(counted)(variable, [3.0, 4.0]).tolist() == [3.0, 4.0]
    assert variable.tolist() == [2.0, 3.0]

    def noisy(x: Any) -> Any:
        return ops.sum(x * gpunn.random.normal((1000,)))

    gpunn.utils.set_random_seed(3)
    one, two = (gpunn.grad(noisy)(np.ones(1000)) for _ in range(2))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.15 and one.std().item() == pytest.approx(1, abs=0.1)
    gpunn.utils.set_random_seed(3)
    assert gpunn.grad(noisy)(np.ones(1000)).tolist() == one.tolist()


def test_what_there_is_no_gradient_of() -> None:
    with pytest.raises(TypeError, match=r"ops\.sum or ops\.mean.*shape \(2,\)"):
        gpunn.grad(lambda x: x * 2)([1.0, 2.0])
    with pytest.raises(TypeError, match="one number"):
        gpunn.grad(lambda x: None)(1.0)
    with pytest.raises(TypeError, match="by floats; got a tensor of int32"):
        gpunn.grad(ops.sum)(np.arange(3))
    with pytest.raises(TypeError, match="argnums names the argument 1; there are 1"):
        gpunn.grad(ops.sum, argnums=1)([1.0])


def test_the_gradient_by_the_weights_of_a_frozen_layer_is_that_of_another() -> None:
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(2, "tanh"), layers.Dense(1)])
    found = []
    for trainable in (True, False):
        model.layers[0].trainable = trainable
        found.append(gpunn.grad(lambda weights: ops.sum(model(X)))(model.weights))
    for one, other in zip(*found, strict=True):
        assert np.abs(one.numpy()).max() > 0
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("inside", [True, False])
def test_powers_are_differentiated_by_exponents_inside_and_after_a_tape(inside: bool) -> None:
    start = np.array([0.5, 1.0, 2.5])
    for ours, theirs in (
        (lambda v: 2.0**v, lambda v: 2.0**v),
        (lambda v: v**v, lambda v: v**v),
        (lambda v: ops.power([3.0, 0.0, 1.0], v), lambda v: torch.tensor([3.0, 0.0, 1.0]) ** v),
    ):
        v = gpunn.Variable(start, dtype="float64")
        with gpunn.GradientTape() as tape:
            y = ops.sum(ours(v))
            found = tape.gradient(y, v) if inside else None
        found = found if inside else tape.gradient(y, v)
        wanted = torch.tensor(start, requires_grad=True)
        theirs(wanted).sum().backward()
        assert_allclose(found.numpy(), wanted.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["binary_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_float64_targets_leave_the_gradients_of_float32_outputs(
    name: str, from_logits: bool
) -> None:
    random = np.random.default_rng(3)
    t, start = random.dirichlet(np.ones(3), 4), random.uniform(0.1, 0.9, (4, 3)).astype(np.float32)
    v = gpunn.Variable(start)
    with gpunn.GradientTape() as tape:
        cost = getattr(ops, name)(ops.convert_to_tensor(t, "float64"), ops.relu(v), from_logits)
        y = ops.sum(cost)
    found = tape.gradient(y, v)
    x = torch.tensor(start.astype(np.float64), requires_grad=True)
    target = torch.tensor(t)
    if name == "binary_crossentropy":
        p = torch.sigmoid(x) if from_logits else x
        loss = -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).sum()
    else:
        p = torch.softmax(x, 1) if from_logits else x / x.sum(1, keepdim=True)
        loss = -(target * torch.log(p)).sum()
    loss.backward()
    assert found.dtype == "float32"
    assert_allclose(found.numpy(), x.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_gradients_by_the_same_tensor_do_not_mix(backend: str) -> None:
    def total(x: Any) -> Any:
        y = x * 2.0
        first = gpunn.grad(lambda u: ops.sum(u * u))(y)  # 2 u, which is not a function of u below
        return ops.sum(gpunn.grad(lambda u: ops.sum(u * first))(y))

    value, gradient = gpunn.value_and_grad(total)(X)
    assert_allclose(value.item(), np.sum(4.0 * X), rtol=1e-4)
    assert_allclose(gradient.numpy(), np.full(X.shape, 4.0), rtol=1e-6)

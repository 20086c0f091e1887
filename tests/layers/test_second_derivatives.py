"""Gradients of gradients through built-in layers, losses and activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered
import torch
from small_models import Cubed
from targets import predictions_for, targets_for

import gpunn
from gpunn import layers, losses, ops

pytestmark = pytest.mark.usefixtures("doubles")
LAYERS = [  # but for those of integers, and of what is encoded on the host
    (name, arguments)
    for name, arguments in registered.cases(
        "layer",
        "InputLayer",
        "CategoryEncoding",
        "Embedding",
        "HashedCrossing",
        "ReversibleEmbedding",
        *registered.CELLS,
    )
    if not registered.make("layer", name, arguments)._on_host
    and (name != "Discretization" or "output_mode" in arguments)
]


def curvature_is_the_change_of_the_slope(function: Any, x: np.ndarray) -> None:
    """Compare the gradient of |slope|^2 with differences of it; the slope alone is the kernels'."""

    def squared_slope(x: Any) -> Any:
        return ops.sum(ops.square(gpunn.grad(function)(x)))

    found = np.asarray(gpunn.grad(squared_slope)(x))
    direction, step = np.random.default_rng(0).standard_normal(x.shape), 1e-6
    around = [
        float(np.sum(np.square(np.asarray(gpunn.grad(function)(x + sign * step * direction)))))
        for sign in (1, -1)
    ]
    expected = (around[0] - around[1]) / (2 * step)
    assert np.sum(found * direction) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("name", "arguments"), LAYERS, ids=registered.label)
def test_layers(name: str, arguments: dict[str, Any]) -> None:
    gpunn.utils.set_random_seed(1)  # with this seed, no relu's input is near 0
    layer = registered.alone(registered.make("layer", name, arguments))
    shape = (3, 4, 4, 6) if registered.takes_images(layer) else (5, 6)
    if registered.takes_images(layer):
        shape = registered.images_for(layer, shape)
    elif registered.takes_steps(layer):
        shape = (3, 4, 2)
    shape = registered.fitting(layer, shape)
    x = np.random.default_rng(2).standard_normal(shape)
    if layer.takes_list:
        other = np.random.default_rng(3).standard_normal(shape)
        function = lambda x: ops.sum(layer([x * x, ops.convert_to_tensor(other)]) ** 3)  # noqa: E731
    else:
        function = lambda x: ops.sum(layer(x) ** 3)  # noqa: E731
    layer([x, x] if layer.takes_list else x)
    curvature_is_the_change_of_the_slope(function, x)


@pytest.mark.parametrize(("name", "arguments"), registered.cases("loss"), ids=registered.label)
def test_losses(name: str, arguments: dict[str, Any]) -> None:
    loss = registered.make("loss", name, arguments)
    random = np.random.default_rng(4)
    y_pred = predictions_for(loss, (5, 4), random)
    y_true = targets_for(loss, y_pred, random)
    curvature_is_the_change_of_the_slope(lambda y: loss(y_true, y) ** 2, y_pred)


def test_ignored_classes() -> None:
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    logits = np.random.default_rng(5).standard_normal((4, 3))
    curvature_is_the_change_of_the_slope(lambda y: loss([0, 2, 1, 2], y) ** 2, logits)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softmax", "gelu", "elu", "softplus"])
def test_activations_are_those_of_pytorch(name: str) -> None:
    """The cotangent depends on the output: each path counts once."""
    x = np.random.default_rng(6).standard_normal((3, 5))
    given = torch.tensor(x, requires_grad=True)
    function = getattr(torch.nn.functional, name)
    y = function(given, -1) if name == "softmax" else function(given)
    (slope,) = torch.autograd.grad((y**3).sum(), given, create_graph=True)
    (expected,) = torch.autograd.grad((slope**2).sum(), given)
    activation = gpunn.activations.get(name)
    slopes = gpunn.grad(lambda x: ops.sum(activation(x) ** 3))
    found = gpunn.grad(lambda x: ops.sum(ops.square(slopes(x))))(x)
    np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=1e-9, atol=1e-12)


class Critic(gpunn.Model):
    """The critic of a WGAN with gradient penalty (Gulrajani et al., 2017)."""

    def __init__(self, net: Any, **options: Any) -> None:
        super().__init__(**options)
        self.net = net

    def call(self, x: Any, training: bool | None = None) -> Any:
        slopes = gpunn.grad(lambda x: ops.sum(self.net(x, training=training)))(x)
        lengths = ops.sqrt(ops.sum(ops.square(slopes), axis=tuple(range(1, slopes.ndim))))
        self.add_loss(10 * ops.mean(ops.square(lengths - 1)))
        return self.net(x, training=training)


def test_a_gradient_penalty_trains_as_in_pytorch(every_backend: str) -> None:
    gpunn.utils.set_random_seed(7)
    net = gpunn.Sequential(
        [
            layers.Input((6, 6, 2)), layers.Conv2D(3, 3, strides=2, activation="tanh"),
            layers.LayerNormalization(), layers.Flatten(), layers.Dense(5, "silu"), layers.Dense(1),
        ]
    )  # fmt: skip
    model = Critic(net, dtype="float64", backend=every_backend)
    random = np.random.default_rng(8)
    x, y = random.standard_normal((7, 6, 6, 2)), random.standard_normal((7, 1))
    model(x)
    kernel, bias, gamma, beta, *dense = [torch.tensor(w) for w in model.get_weights()]
    parameters = [p.requires_grad_() for p in (kernel, bias, gamma, beta, *dense)]

    def torchs(x: torch.Tensor) -> torch.Tensor:
        z = torch.nn.functional.conv2d(
            x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias, stride=2
        ).tanh().permute(0, 2, 3, 1)  # fmt: skip
        z = torch.nn.functional.layer_norm(z, (3,), gamma, beta, 1e-3).flatten(1)
        return torch.nn.functional.silu(z @ dense[0] + dense[1]) @ dense[2] + dense[3]

    optimizer = torch.optim.SGD(parameters, lr=0.02)
    given = torch.tensor(x, requires_grad=True)
    for _ in range(4):
        (slopes,) = torch.autograd.grad(torchs(given).sum(), given, create_graph=True)
        penalty = 10 * ((slopes.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
        loss = ((torchs(given) - torch.tensor(y)) ** 2).mean() + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.compile(gpunn.optimizers.SGD(0.02), "mse")
    model.fit(x, y, batch_size=7, epochs=4, shuffle=False, verbose=0)
    for found, expected in zip(model.get_weights(), parameters, strict=True):
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_layers_that_train_otherwise_than_they_predict(every_backend: str) -> None:
    """Batch statistics are differentiated twice, and moving averages updated; what dropout keeps is
    the same in the values and in the slopes."""
    seen: list[Any] = []

    class Sloped(gpunn.Model):
        def __init__(self, layer: Any, **options: Any) -> None:
            super().__init__(**options)
            self.layer = layer

        def call(self, x: Any, training: bool | None = None) -> Any:
            total = lambda x: ops.sum(self.layer(x, training=training) * x)  # noqa: E731
            return ops.concatenate([gpunn.grad(total)(x), x], axis=1)

    x = np.random.default_rng(9).uniform(1, 2, (8, 3))
    for layer in (layers.Dropout(0.5), layers.BatchNormalization(momentum=0.5)):
        model = Sloped(layer, dtype="float64", backend=every_backend)
        model.compile(gpunn.optimizers.SGD(0.0), "mse")
        model.fit(x, np.zeros((8, 6)), batch_size=8, verbose=0)
        seen.append(model.evaluate(x, np.zeros((8, 6)), verbose=0))
    moving = model.layer.moving_mean.numpy()
    np.testing.assert_allclose(moving, 0.5 * x.mean(axis=0), rtol=1e-12)
    variance = model.layer.moving_variance.numpy()
    np.testing.assert_allclose(variance, 0.5 + 0.5 * x.var(axis=0), rtol=1e-12)


def test_a_layer_that_derives_from_a_built_in_one_has_its_derivatives() -> None:
    class Wide(layers.Dense):
        def build(self, input_shape: Any) -> None:
            self.units = 2 * input_shape[-1]
            super().build(input_shape)

    layer = Wide(1, "tanh")
    layer(np.ones((1, 3)))
    x = np.random.default_rng(10).standard_normal((4, 3))
    curvature_is_the_change_of_the_slope(lambda x: ops.sum(layer(x) ** 3), x)


def test_a_layer_with_passes_of_ones_own_has_only_first_derivatives() -> None:
    layer = Cubed()
    slopes = gpunn.grad(lambda x: ops.sum(layer(x)))
    assert slopes(np.array([[2.0]])).tolist() == [[12.0]]
    with pytest.raises(ValueError, match=r"cubed.*second derivative is not known"):
        gpunn.grad(lambda x: ops.sum(slopes(x)))(np.array([[2.0]]))

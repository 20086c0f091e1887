"""Layers and models as functions of their weights, and gradients of weights of any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")
random = np.random.default_rng(0)
X, Y = random.standard_normal((9, 3)), random.standard_normal((9, 1))


def network(backend: str = "numpy", *inside: Any) -> Any:
    gpunn.utils.set_random_seed(0)
    chain = [layers.Input((3,)), layers.Dense(4, "tanh"), *inside, layers.Dense(1)]
    model = gpunn.Sequential(chain, dtype="float64", backend=backend)
    model(X)
    return model


def torchs(model: Any) -> tuple[list[torch.Tensor], Any]:
    weights = [torch.tensor(w.numpy(), requires_grad=True) for w in model.trainable_weights]

    def loss(weights: Any, x: np.ndarray = X, y: np.ndarray = Y) -> torch.Tensor:
        a, b, c, d = weights
        return ((torch.tanh(torch.tensor(x) @ a + b) @ c + d - torch.tensor(y)) ** 2).mean()

    return weights, loss


@pytest.mark.parametrize("explicit", [False, True])
def test_products_with_the_hessian_are_those_of_pytorch(backend: str, explicit: bool) -> None:
    model = network(backend)
    vectors = [random.standard_normal(w.shape) for w in model.trainable_weights]

    def loss(weights: Any) -> Any:
        y = model.stateless_call(weights, [], X)[0] if explicit else model(X)
        return ops.mean(ops.square(y - Y))

    def along(weights: Any) -> Any:
        slopes = gpunn.grad(loss)(weights)
        return sum(ops.sum(g * v) for g, v in zip(slopes, vectors, strict=True))

    found = gpunn.grad(along)(model.trainable_weights)
    weights, torch_loss = torchs(model)
    slopes = torch.autograd.grad(torch_loss(weights), weights, create_graph=True)
    pairs = zip(slopes, vectors, strict=True)
    expected = torch.autograd.grad(sum((g * torch.tensor(v)).sum() for g, v in pairs), weights)
    for one, other in zip(found, expected, strict=True):
        assert_allclose(np.asarray(one), other.numpy(), rtol=1e-10, atol=1e-13)


class Fast(gpunn.Model):
    """Model-agnostic meta-learning (Finn et al., 2017): the loss after one step on other rows."""

    def __init__(self, net: Any, **options: Any) -> None:
        super().__init__(**options)
        self.net = net

    def call(self, x: Any, training: bool | None = None) -> Any:
        def loss(weights: Any, x: Any, y: Any) -> Any:
            return ops.mean(ops.square(self.net.stateless_call(weights, [], x)[0] - y))

        weights = self.net.trainable_variables
        support, query = x[:5], x[5:]
        slopes = gpunn.grad(loss)(weights, support[:, :3], support[:, 3:])
        fast = [w - 0.1 * g for w, g in zip(weights, slopes, strict=True)]
        self.add_loss(loss(fast, query[:, :3], query[:, 3:]))
        return self.net(x[:, :3])


def test_learning_to_learn_is_that_of_pytorch(every_backend: str) -> None:
    model = Fast(network(every_backend), dtype="float64", backend=every_backend)
    rows = np.concatenate([X, Y], axis=1)
    model(rows)
    weights, loss = torchs(model)
    optimizer = torch.optim.SGD(weights, lr=0.05)
    for _ in range(3):
        slopes = torch.autograd.grad(loss(weights, X[:5], Y[:5]), weights, create_graph=True)
        fast = [w - 0.1 * g for w, g in zip(weights, slopes, strict=True)]
        optimizer.zero_grad()
        loss(fast, X[5:], Y[5:]).backward()
        optimizer.step()
    model.compile(gpunn.optimizers.SGD(0.05))
    model.fit(rows, batch_size=9, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), weights, strict=True):
        assert_allclose(one, other.detach().numpy(), rtol=1e-10, atol=1e-13)


def test_nothing_is_changed(backend: str) -> None:
    model = network(backend, layers.BatchNormalization(momentum=0.5), layers.Dropout(0.5))
    before = model.get_weights()
    given = [1 + 0 * w.numpy() for w in model.trainable_variables]
    moving = [w.numpy() for w in model.non_trainable_variables]
    y, after = model.stateless_call(given, moving, X, training=True)
    for one, other in zip(model.get_weights(), before, strict=True):
        assert_array_equal(one, other)
    hidden = np.tanh(X.sum(axis=1, keepdims=True) + 1).repeat(4, axis=1)
    assert_allclose(after[0].numpy(), 0.5 * hidden.mean(axis=0), rtol=1e-12)
    assert_allclose(after[1].numpy(), 0.5 + 0.5 * hidden.var(axis=0), rtol=1e-12)
    assert y.shape == (9, 1)
    twin = network(backend, layers.BatchNormalization(momentum=0.5), layers.Dropout(0.5))
    twin.set_weights([*given[:4], *(a.numpy() for a in after), *given[4:]])
    found, _ = model.stateless_call(given, after, X)
    assert_allclose(found.numpy(), twin.predict(X, verbose=0), rtol=1e-12)


def test_losses_and_integers() -> None:
    class Adding(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.sum(x) * 2.0)
            return x

    inner = layers.Dense(2, kernel_regularizer=gpunn.regularizers.L2(0.5), use_bias=False)
    model = gpunn.Sequential([layers.Input((2,)), Adding(), inner])
    kernel = [[1.0, 2.0], [3.0, 4.0]]
    y, after, found = model.stateless_call([kernel], [], [[1, 2]], return_losses=True)
    assert y.tolist() == [[7.0, 10.0]] and after == []
    assert [float(loss) for loss in found] == [6.0, 15.0]


def test_what_does_not_fit() -> None:
    model = network()
    weights = model.trainable_variables
    with pytest.raises(ValueError, match=r"trainable_variables has 4 entries; got 3"):
        model.stateless_call(weights[:3], [], X)
    with pytest.raises(ValueError, match=r"kernel has the shape \(3, 4\); got \(4,\)"):
        model.stateless_call([weights[1], *weights[1:]], [], X)
    with pytest.raises(ValueError, match="built"):
        layers.Dense(2).stateless_call([], [], X)

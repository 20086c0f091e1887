"""Recurrence, trained inputs and second order by `GradientTape`, beside PyTorch's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from comparisons.beside_pytorch import TINY, as_torch, assert_same, network
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")


# -- recurrence, by a loop of Python


class TanhCell:
    """Variables, and a function of them."""

    def __init__(self, inputs: int, units: int) -> None:
        random = np.random.default_rng(4)
        shapes = ((inputs, units), (units, units), (units,))
        self.variables = [gpunn.Variable(random.uniform(-0.6, 0.6, s)) for s in shapes]

    def __call__(self, x: Any, state: Any) -> Any:
        kernel, recurrent, bias = self.variables
        return ops.tanh(x @ kernel + state @ recurrent + bias)


class GatedCell(layers.Layer):
    """A GRU's cell as a layer with weights of its own, of the gates r, z and n side by side."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__(dtype="float64")
        self.units = units
        gpunn.utils.set_random_seed(4)
        options = {"initializer": gpunn.initializers.RandomUniform(-0.6, 0.6)}
        self.kernel = self.add_weight(shape=(inputs, 3 * units), **options)
        self.recurrent = self.add_weight(shape=(units, 3 * units), **options)
        self.bias = self.add_weight(shape=(2, 3 * units), **options)

    def call(self, x: Any, state: Any) -> Any:
        outside = ops.split(x @ self.kernel + self.bias[0], 3, axis=-1)
        inside = ops.split(state @ self.recurrent + self.bias[1], 3, axis=-1)
        reset, keep = (ops.sigmoid(outside[k] + inside[k]) for k in (0, 1))
        return keep * state + (1 - keep) * ops.tanh(outside[2] + reset * inside[2])


@pytest.mark.parametrize("gated", [False, True])
def test_a_loop_over_time_is_pytorchs_recurrent_layer(gated: bool, every_backend: str) -> None:
    """The state goes on from batch to batch, without its gradient; gradients are clipped."""
    gpunn.use_backend(every_backend)
    cell = GatedCell(3, 4) if gated else TanhCell(3, 4)
    random = np.random.default_rng(5)
    x, y = random.standard_normal((4, 6, 5, 3)), random.standard_normal((4, 5, 2))
    readout = network(layers.Dense(2), shape=(4,))
    state = ops.zeros((5, 4))
    cell(x[0, 0], state)
    weights = [*cell.variables, *readout.trainable_variables]
    layer = (torch.nn.GRU if gated else torch.nn.RNN)(3, 4).double()
    kernel, recurrent, bias = (np.array(w) for w in cell.variables)
    with torch.no_grad():
        layer.weight_ih_l0[:] = torch.tensor(kernel.T)
        layer.weight_hh_l0[:] = torch.tensor(recurrent.T)
        layer.bias_ih_l0[:] = torch.tensor(bias[0] if gated else bias)
        layer.bias_hh_l0[:] = torch.tensor(bias[1] if gated else 0 * bias)
    if not gated:
        layer.bias_hh_l0.requires_grad = False
    last = as_torch(readout.trainable_variables)
    torchs = [*(w for w in layer.parameters() if w.requires_grad), *last]
    optimizer = gpunn.optimizers.SGD(0.5, momentum=0.5, global_clipnorm=0.4)
    other = torch.optim.SGD(torchs, lr=0.5, momentum=0.5)
    held, norms = torch.zeros(1, 5, 4, dtype=torch.float64), []

    for given, wanted in zip(x, y, strict=True):
        with gpunn.GradientTape() as tape:
            for now in given:  # (5, 3) each
                state = cell(now, state)
            loss = ops.mean(ops.square(readout(state, training=True) - wanted))
        optimizer.apply(tape.gradient(loss, weights), weights)

        outputs, held = layer(torch.tensor(given), held.detach())
        expected = (outputs[-1] @ last[0] + last[1] - torch.tensor(wanted)).square().mean()
        other.zero_grad()
        expected.backward()
        norms.append(float(sum(w.grad.square().sum() for w in torchs) ** 0.5))
        for w in torchs:
            w.grad *= min(1.0, 0.4 / norms[-1])
        other.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
        assert_same([state], [held[0]])
    assert max(norms) > 0.4
    assert_same([w.numpy().T for w in weights[:2]], [layer.weight_ih_l0, layer.weight_hh_l0])
    biases = [layer.bias_ih_l0, layer.bias_hh_l0]
    assert_same([weights[2]], [torch.stack(biases) if gated else biases[0]])
    assert_same(weights[3:], last)


# -- inputs that are trained


def image_network() -> tuple[Any, Any]:
    """A small convolutional network, and the same function in PyTorch of x (n, 8, 8, 1)."""
    model = network(
        layers.Conv2D(4, 3, activation="tanh"), layers.AveragePooling2D(), layers.Flatten(),
        layers.Dense(3), shape=(8, 8, 1),
    )  # fmt: skip
    kernel, bias, matrix, shift = (torch.tensor(w) for w in model.get_weights())

    def torchs(x: torch.Tensor) -> torch.Tensor:
        hidden = functional.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias)
        hidden = functional.avg_pool2d(torch.tanh(hidden), 2).permute(0, 2, 3, 1)
        return hidden.flatten(1) @ matrix + shift

    return model, torchs


def test_an_input_that_excites_a_unit_is_that_of_pytorch(every_backend: str) -> None:
    """Activation maximization: an optimizer's variable is the image, the network stays."""
    gpunn.use_backend(every_backend)
    model, function = image_network()
    before = model.get_weights()
    start = np.random.default_rng(6).uniform(-0.1, 0.1, (1, 8, 8, 1))
    image, other = gpunn.Variable(start), torch.tensor(start, requires_grad=True)
    optimizer = gpunn.optimizers.Adam(0.05, epsilon=TINY)
    torchs = torch.optim.Adam([other], lr=0.05, eps=TINY)
    values = []
    for _ in range(6):
        with gpunn.GradientTape() as tape:
            rough = ops.mean(ops.square(image[:, 1:] - image[:, :-1]))
            loss = 0.1 * rough - ops.sum(model(image, training=False)[:, 1])
        optimizer.apply([tape.gradient(loss, image)], [image])
        expected = 0.1 * (other[:, 1:] - other[:, :-1]).square().mean() - function(other)[0, 1]
        torchs.zero_grad()
        expected.backward()
        torchs.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
        values.append(float(loss))
    assert values == sorted(values, reverse=True)
    assert_same([image], [other])
    for one, same in zip(model.get_weights(), before, strict=True):
        assert_array_equal(one, same)


def test_adversarial_examples_are_those_of_pytorch() -> None:
    """Projected steps along the sign of the gradient (Madry et al., 2018)."""
    model, function = image_network()
    random = np.random.default_rng(7)
    start, labels = random.uniform(size=(5, 8, 8, 1)), random.integers(0, 3, 5)
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    x, z = ops.convert_to_tensor(start), torch.tensor(start)
    losses = []
    for _ in range(4):
        with gpunn.GradientTape() as tape:
            tape.watch(x)
            value = loss(labels, model(x))
        x = ops.clip(x + 0.04 * ops.sign(tape.gradient(value, x)), start - 0.1, start + 0.1)
        x = ops.clip(x, 0.0, 1.0)
        z.requires_grad = True
        expected = functional.cross_entropy(function(z), torch.tensor(labels))
        (slope,) = torch.autograd.grad(expected, z)
        moved = (z + 0.04 * slope.sign()).detach()
        z = torch.clamp(moved, torch.tensor(start - 0.1), torch.tensor(start + 0.1)).clamp(0, 1)
        losses.append(float(value))
        assert losses[-1] == pytest.approx(expected.item(), rel=1e-10)
        assert_same([x], [z])
    assert losses == sorted(losses)


# -- second order


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("way", ["products", "output_gradients"])
def test_newtons_steps_by_conjugate_gradients_are_those_of_pytorch(
    way: str, every_backend: str
) -> None:
    """(H + 0.5) d = -g is solved by products with H; in PyTorch by the whole matrix H."""
    gpunn.use_backend(every_backend)
    random = np.random.default_rng(8)
    x, y = random.standard_normal((12, 2)), random.standard_normal((12, 1))
    model = network(layers.Dense(3, "tanh"), layers.Dense(1), shape=(2,))
    weights = model.trainable_variables
    shapes = [tuple(w.shape) for w in weights]
    ends = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]

    def parts(flat: np.ndarray) -> list[np.ndarray]:
        pairs = zip(np.split(flat, ends), shapes, strict=True)
        return [part.reshape(shape) for part, shape in pairs]

    def joined(each: Any) -> np.ndarray:
        return np.concatenate([np.asarray(g).ravel() for g in each])

    def slopes_of_loss() -> tuple[Any, Any]:
        with gpunn.GradientTape() as inner:
            loss = ops.mean(ops.square(model(x, training=True) - y))
        return loss, inner.gradient(loss, weights)

    def products_with_hessian() -> tuple[float, np.ndarray, Any]:
        with gpunn.GradientTape(persistent=True) as outer:
            loss, slopes = slopes_of_loss()

        def by_vectors(flat: np.ndarray) -> np.ndarray:
            if way == "output_gradients":
                return joined(outer.gradient(slopes, weights, output_gradients=parts(flat)))
            with gpunn.GradientTape() as tape:
                _, found = slopes_of_loss()
                along = sum(ops.sum(g * v) for g, v in zip(found, parts(flat), strict=True))
            return joined(tape.gradient(along, weights))

        return float(loss), joined(slopes), by_vectors

    def torchs(flat: torch.Tensor) -> torch.Tensor:
        a, b, c, d = (
            part.reshape(shape)
            for part, shape in zip(torch.tensor_split(flat, ends.tolist()), shapes, strict=True)
        )
        return ((torch.tanh(torch.tensor(x) @ a + b) @ c + d - torch.tensor(y)) ** 2).mean()

    point = torch.tensor(joined(weights))
    for _ in range(3):
        loss, slope, product = products_with_hessian()
        found, left = np.zeros_like(slope), -slope
        along = left
        for _ in range(20):
            if np.linalg.norm(left) < 1e-13:
                break
            image = product(along) + 0.5 * along
            size = left @ left / (along @ image)
            found = found + size * along
            former, left = left, left - size * image
            along = left + (left @ left) / (former @ former) * along
        for w, step in zip(weights, parts(found), strict=True):
            w.assign_add(step)
        matrix = torch.autograd.functional.hessian(torchs, point)
        torch_slope = torch.autograd.functional.jacobian(torchs, point)
        assert loss == pytest.approx(torchs(point).item(), rel=1e-10)
        eye = torch.eye(len(point), dtype=torch.float64)
        point = point - torch.linalg.solve(matrix + 0.5 * eye, torch_slope)
        assert_allclose(joined(weights), point.numpy(), rtol=1e-10, atol=1e-11)

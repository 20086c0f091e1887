"""Test batch and layer normalization: statistics, moving averages, freezing, saving, PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import emulated
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.backends.numpy import normalization as numpy_normalization
from gpunn.testing import check_gradients

if sys.version_info[:2] == (3, 11):
    import torch

    torch.set_num_threads(1)

with_torch = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the PyTorch compared with is for Python 3.11"
)
BACKENDS = ["numpy", "compiled", "emulated"]
RANDOM = np.random.default_rng(5)


def network(*middle: Any, backend: Any = "numpy", dtype: str = "float32") -> gpunn.Sequential:
    gpunn.utils.set_random_seed(9)
    chain = [layers.Input((4,)), layers.Dense(6, activation="tanh"), *middle, layers.Dense(2)]
    model = gpunn.Sequential(chain, dtype=dtype, backend=backend)
    model.compile(gpunn.optimizers.SGD(0.02, momentum=0.9), "mse")
    return model


def data(rows: int = 23) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return 2 + random.standard_normal((rows, 4)), random.standard_normal((rows, 2))


# -- compared with PyTorch


@with_torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((6, 5), -1), ((1, 5), 1), ((4, 3, 5), 1), ((4, 3, 5), -1), ((3, 4, 2, 5), 3),
     ((3, 4, 2, 5), 1), ((3, 4, 2, 5), -2), ((300, 7), -1), ((2, 3, 40, 20), 1)],
    ids=str,
)  # fmt: skip
def test_batch_normalization_is_that_of_pytorch(
    shape: tuple[int, ...], axis: int, backend: str
) -> None:
    """Outputs, gradients and moving averages of three steps, then inference.

    PyTorch's momentum is the weight of the new value, and its moving variance is the unbiased
    one, divided by n - 1."""
    features = shape[axis]
    n = int(np.prod(shape)) // features
    before = layers.Activation("tanh")  # so that there is an input gradient to compare
    ours = layers.BatchNormalization(axis, momentum=0.75, epsilon=1e-2)
    first = layers.Dense(shape[-1])
    model = gpunn.Sequential(
        [layers.Input(shape[1:]), first, before, ours], dtype="float64", backend=backend
    )
    model.compile(gpunn.optimizers.SGD(0.3), "half_squared_error")
    first.kernel.assign(np.eye(shape[-1]))
    ours.gamma.assign(RANDOM.uniform(0.5, 2, features))
    kind = torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d
    theirs = kind(features, eps=1e-2, momentum=0.25, dtype=torch.float64)
    kernel, offset = (torch.nn.Parameter(torch.tensor(w)) for w in first.get_weights())
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(ours.gamma.numpy()))
    weights = [kernel, offset, theirs.weight, theirs.bias]
    sgd = torch.optim.SGD(weights, 0.3)

    def run(x: np.ndarray) -> Any:
        y = torch.tanh(torch.tensor(x) @ kernel + offset).movedim(axis, 1)
        refused = n == 1 and theirs.training
        y = 0 * y + theirs.bias if refused else theirs(y)
        return y.movedim(1, axis)

    for _ in range(3):
        x, target = RANDOM.standard_normal((2, *shape))
        y = run(x)
        rows = y.numel() // shape[-1]
        loss = 0.5 * ((y - torch.tensor(target)) ** 2).sum() / rows
        sgd.zero_grad()
        loss.backward()
        mean, variance = ours.moving_mean.numpy(), ours.moving_variance.numpy()
        assert model.train_on_batch(x, target) == pytest.approx(loss.item(), rel=1e-10)
        sgd.step()
        for w, other in zip(model.trainable_weights, weights, strict=True):
            expected = np.zeros(w.shape) if other.grad is None else other.grad.numpy()
            found = model.gradients()[w.path]
            np.testing.assert_allclose(found, expected, atol=1e-10, rtol=1e-10)
            np.testing.assert_allclose(w.numpy(), other.detach().numpy(), atol=1e-10, rtol=1e-10)
        if n > 1:
            biased = (theirs.running_var.numpy() - 0.75 * variance) * (n - 1) / n + 0.75 * variance
            np.testing.assert_allclose(ours.moving_variance.numpy(), biased, rtol=1e-10)
            np.testing.assert_allclose(
                ours.moving_mean.numpy(), theirs.running_mean.numpy(), rtol=1e-10, atol=1e-12
            )
            theirs.running_var.copy_(torch.tensor(biased))
        else:
            assert (ours.moving_mean.numpy() != mean).all()
            theirs.running_mean.copy_(torch.tensor(ours.moving_mean.numpy()))
            theirs.running_var.copy_(torch.tensor(ours.moving_variance.numpy()))
    theirs.eval()
    x = RANDOM.standard_normal(shape)
    with torch.no_grad():
        np.testing.assert_allclose(
            model.predict(x, verbose=0), run(x).numpy(), rtol=1e-10, atol=1e-10
        )


@with_torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((6, 5), -1), ((1, 1), -1), ((4, 3, 5), (1, 2)), ((3, 4, 2, 5), [-1, -2, -3]),
     ((3, 4, 2, 5), -1), ((50, 400), -1)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", [layers.LayerNormalization, layers.RMSNormalization])
def test_layer_normalization_is_that_of_pytorch(
    kind: Any, shape: tuple[int, ...], axis: Any, backend: str
) -> None:
    layer = kind(axis, epsilon=1e-2)
    first = layers.Dense(shape[-1])
    model = gpunn.Sequential(
        [layers.Input(shape[1:]), first, layer], dtype="float64", backend=backend
    )
    model.compile(gpunn.optimizers.SGD(0.0), "half_squared_error")
    for p in layer.weights:
        p.assign(RANDOM.uniform(0.5, 2, p.shape))
    x, target = RANDOM.standard_normal((2, *shape))
    kernel, bias, gamma, *beta = (
        torch.tensor(p.numpy(), requires_grad=True) for p in model.trainable_weights
    )
    hidden, over = torch.tensor(x) @ kernel + bias, tuple(gamma.shape)
    if beta:
        y = torch.nn.functional.layer_norm(hidden, over, gamma, *beta, eps=1e-2)
    else:
        y = torch.nn.functional.rms_norm(hidden, over, gamma, eps=1e-2)
    loss = 0.5 * ((y - torch.tensor(target)) ** 2).sum(-1).mean()
    loss.backward()
    assert model.train_on_batch(x, target) == pytest.approx(loss.item(), rel=1e-10)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), y.detach().numpy(), rtol=1e-10, atol=1e-10
    )
    for found, w in zip(model.gradients().values(), [kernel, bias, gamma, *beta], strict=True):
        np.testing.assert_allclose(found, w.grad.numpy(), rtol=1e-10, atol=1e-10)


@with_torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 6), -1), ((3, 6, 5), 1), ((3, 5, 6), -1), ((2, 6, 3, 4), 1), ((2, 3, 4, 6), -1),
     ((2, 3, 6, 4), 2)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("groups", [1, 2, -1])
def test_group_normalization_is_that_of_pytorch(
    groups: int, shape: tuple[int, ...], axis: int, backend: str
) -> None:
    layer = layers.GroupNormalization(groups, axis, epsilon=1e-2)
    first = layers.Dense(shape[-1])
    model = gpunn.Sequential(
        [layers.Input(shape[1:]), first, layer], dtype="float64", backend=backend
    )
    model.compile(gpunn.optimizers.SGD(0.0), "half_squared_error")
    for p in layer.weights:
        p.assign(RANDOM.uniform(0.5, 2, p.shape))
    x, target = RANDOM.standard_normal((2, *shape))
    weights = [torch.tensor(p.numpy(), requires_grad=True) for p in model.trainable_weights]
    kernel, bias, gamma, beta = weights
    hidden = (torch.tensor(x) @ kernel + bias).movedim(axis, 1)
    count = 6 if groups == -1 else groups
    y = torch.group_norm(hidden, count, gamma, beta, 1e-2).movedim(1, axis)
    loss = 0.5 * ((y - torch.tensor(target)) ** 2).sum(-1).mean()
    loss.backward()
    assert model.train_on_batch(x, target) == pytest.approx(loss.item(), rel=1e-10)
    for found, w in zip(model.gradients().values(), weights, strict=True):
        np.testing.assert_allclose(found, w.grad.numpy(), rtol=1e-10, atol=1e-10)


# -- statistics


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_a_mean_far_larger_than_the_deviation(offset: float, axis: int, backend: str) -> None:
    """float32 resolves 1e3 to 6e-5: a deviation of 1 is computed to that accuracy, no worse."""
    x = RANDOM.normal(offset, 1.0, (400, 3, 5)).astype(np.float32)
    over = tuple({0, 1, 2} - {axis % 3})
    exact = x.astype(np.float64)
    expected = exact - exact.mean(over, keepdims=True)
    variance = exact.var(over, keepdims=True)
    layer = layers.BatchNormalization(axis, momentum=0.0, epsilon=0.0, input_shape=(3, 5))
    model = gpunn.Sequential([layer], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), "mse")
    model.train_on_batch(x, x)
    y = model.backend.read(model._trainer.last_batch.workspace.y)
    np.testing.assert_allclose(y, expected / np.sqrt(variance), atol=1e-7 * offset)
    np.testing.assert_allclose(layer.moving_mean.numpy(), exact.mean(over), rtol=1e-7)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance.reshape(-1), rtol=1e-5)
    rows = layers.LayerNormalization(epsilon=0.0)(x.reshape(80, -1))
    rowwise = exact.reshape(80, -1)
    rowwise = rowwise - rowwise.mean(1, keepdims=True)
    np.testing.assert_allclose(rows, rowwise / rowwise.std(1, keepdims=True), atol=1e-7 * offset)


@hypothesis.settings(max_examples=40, derandomize=True, database=None)
@hypothesis.given(
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=4).map(tuple),
    place=st.integers(0, 2),
    offset=st.sampled_from([0.0, -50.0]),
    piece=st.sampled_from([1, 20, 1 << 16]),
)
def test_any_shape(shape: tuple[int, ...], place: int, offset: float, piece: int) -> None:
    """Against NumPy's mean and var, in pieces of any size; the variance of a single row is 0."""
    axis = 1 + place % (len(shape) - 1)
    x = np.random.default_rng(len(shape)).normal(offset, 2.0, shape)
    over = tuple({*range(len(shape))} - {axis})
    mean, variance = x.mean(over, keepdims=True), x.var(over, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_normalization, "PIECE", piece)
        layer = layers.BatchNormalization(axis, momentum=0.5, dtype="float64")
        y = layer(x, training=True)
        rows = layers.LayerNormalization(dtype="float64")(x)
        check_gradients(layers.BatchNormalization(axis), x, directions=1)
        check_gradients(layers.LayerNormalization(), x, directions=1)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), atol=1e-9)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean.reshape(-1) / 2, atol=1e-12)
    np.testing.assert_allclose(
        layer.moving_variance.numpy(), (variance.reshape(-1) + 1) / 2, atol=1e-11
    )
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    np.testing.assert_allclose(rows, (x - mean) / np.sqrt(variance + 1e-3), atol=1e-9)


# -- moving averages and what updates them


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_training_steps_move_the_averages(backend: str) -> None:
    layer = layers.BatchNormalization(momentum=0.9)
    model = network(layer, backend=backend)
    x, y = data()
    moving = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.test_on_batch(x, y)
    layer(model.layers[0](x))
    for before, now in zip(moving, (layer.moving_mean, layer.moving_variance), strict=True):
        np.testing.assert_array_equal(now.numpy(), before)
    hidden = model.layers[0](x)
    model.train_on_batch(x, y)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * hidden.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * hidden.var(0), rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("affine", [True, False])
def test_frozen_and_thawed(affine: bool, backend: str) -> None:
    """When frozen, a layer normalizes with its moving averages in training too."""
    layer = layers.BatchNormalization(momentum=0.5, center=affine, scale=affine)
    model = network(layer, backend=backend)
    x, y = data()
    model.fit(x, y, epochs=2, verbose=0, batch_size=8)
    layer.trainable = False
    kept = layer.get_weights()
    loss = model.evaluate(x, y, verbose=0)
    assert model.train_on_batch(x, y) == pytest.approx(loss, rel=1e-5)
    model.fit(x, y, epochs=2, verbose=0, batch_size=8)
    for before, now in zip(kept, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)
    assert len(layer.trainable_weights) == 0 and len(layer.non_trainable_weights) == 2 + 2 * affine
    layer.trainable = True
    model.fit(x, y, epochs=2, verbose=0, batch_size=8)
    for before, now in zip(kept, layer.get_weights(), strict=True):
        assert (now != before).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frozen_layer_passes_on_the_gradient_of_its_inference(backend: str) -> None:
    frozen = layers.BatchNormalization(
        trainable=False, moving_mean_initializer="normal",
        moving_variance_initializer=gpunn.initializers.RandomUniform(0.5, 2.0),
    )  # fmt: skip
    check_gradients([layers.Dense(4, activation="tanh"), frozen], (5, 3), backend=backend)


def test_after_many_epochs_the_averages_are_the_statistics() -> None:
    """After many passes over one batch, evaluation gives the same as training."""
    layer = layers.BatchNormalization(momentum=0.8)
    model = network(layer, dtype="float64")
    model.optimizer.learning_rate = 0.0
    x, y = data()
    model.fit(x, y, batch_size=len(x), epochs=120, verbose=0)
    hidden = model.layers[0](x)
    np.testing.assert_allclose(layer.moving_mean.numpy(), hidden.mean(0), atol=1e-11)
    np.testing.assert_allclose(layer.moving_variance.numpy(), hidden.var(0), atol=1e-11)
    loss = model.evaluate(x, y, batch_size=5, verbose=0)
    assert loss == pytest.approx(model.train_on_batch(x, y), rel=1e-9)


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize("backend", BACKENDS)
def test_captured_steps_are_the_eager_ones(backend: str, batch: int) -> None:
    """With batches of one, and with a ragged last batch, whose moving averages count as much."""
    states = []
    for one_by_one in (True, False):
        layer = layers.BatchNormalization(momentum=0.9)
        model = network(layer, layers.LayerNormalization(), backend=backend)
        x, y = data()
        if one_by_one:
            for _ in range(2):
                for at in range(0, len(x), batch):
                    model.train_on_batch(x[at : at + batch], y[at : at + batch])
        else:
            model.fit(x, y, batch_size=batch, epochs=2, shuffle=False, verbose=0)
        states.append(model.get_weights())
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(layer.moving_variance.numpy()).all()


def test_applied_twice_its_averages_move_twice() -> None:
    shared = layers.BatchNormalization(momentum=0.5)
    check_gradients([layers.Dense(4), shared, layers.Activation("tanh"), shared], (5, 3))
    first = shared.moving_mean.numpy()
    assert (first != 0).all()


# -- saved, loaded, resumed


def test_saved_and_loaded(tmp_path: Path) -> None:
    middle = layers.BatchNormalization(momentum=0.5), layers.LayerNormalization()
    model = network(*middle, backend=None)
    x, y = data()
    model.fit(x, y, epochs=3, batch_size=8, verbose=0)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    for part in (model, again):
        part.fit(x, y, epochs=2, batch_size=8, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    names = [p.name for p in model.layers[1].weights]
    assert names == ["gamma", "beta", "moving_mean", "moving_variance"]


# -- arguments


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.BatchNormalization(renorm_clipping={"r": 1.0}), ValueError, "invalid keys"),
        (lambda: layers.BatchNormalization(renorm_clipping={"rmax": 1, "rmin": 2}), ValueError,
         "rmax should be"),
        (lambda: layers.BatchNormalization(renorm_clipping={"dmax": -1}), ValueError,
         "dmax should be non-negative"),
        (lambda: layers.BatchNormalization(momentum=1.5), ValueError, "momentum must be from 0"),
        (lambda: layers.BatchNormalization(epsilon=-1), ValueError, "epsilon must be at least 0"),
        (lambda: layers.BatchNormalization(axis=0)(np.ones((2, 3))), ValueError, "out of bounds"),
        (lambda: layers.BatchNormalization(axis=2)(np.ones((2, 3))), ValueError, "out of bounds"),
        (lambda: layers.BatchNormalization(axis=-2)(np.ones((2, 3))), ValueError, "out of bounds"),
        (lambda: layers.BatchNormalization(axis=1.5)(np.ones((2, 3))), TypeError, "an integer"),
        (lambda: layers.LayerNormalization(axis="last"), TypeError, "an integer or a list"),
        (lambda: layers.LayerNormalization(axis=1)(np.ones((2, 3, 4))), ValueError, "last axes"),
        (lambda: layers.LayerNormalization(axis=[])(np.ones((2, 3))), ValueError, "last axes"),
    ],
)
def test_arguments_that_are_wrong(make: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("backend", BACKENDS)
def test_penalties_and_constraints(backend: str) -> None:
    layer = layers.BatchNormalization(
        gamma_regularizer=gpunn.regularizers.L2(0.5), beta_constraint="non_neg"
    )
    model = network(layer, backend=backend)
    model.optimizer.learning_rate = 0.0
    x, y = data()
    layer.beta.assign([-1.0, 1.0, -2.0, 3.0, 0.0, 5.0])
    plain = network(layers.BatchNormalization(), backend=backend)
    plain.set_weights(model.get_weights())
    plain.optimizer.learning_rate = 0.0
    assert model.train_on_batch(x, y) == pytest.approx(
        plain.train_on_batch(x, y) + 0.5 * 6, rel=1e-5
    )
    assert layer.beta.numpy().tolist() == [0.0, 1.0, 0.0, 3.0, 0.0, 5.0]


def test_a_whole_step_in_one_launch() -> None:
    """The whole step is one persistent kernel, which runs for many steps."""
    found = []
    for backend in ("numpy", emulated.make_backend("persistent")):
        gpunn.utils.set_random_seed(4)
        middle = [layers.BatchNormalization(), layers.GaussianDropout(0.2), layers.Dense(5)]
        masked = layers.Dense(3, connections=np.tri(5, 3, 1))
        model = network(*middle, layers.LayerNormalization(), masked, backend=backend)
        x, y = data(64)
        model.fit(x, y, batch_size=16, epochs=3, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)

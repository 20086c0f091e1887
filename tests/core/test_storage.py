"""Parameters as segments of flat arrays: frozen layers, rates by layer, one update for all."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.core.storage import Parameter, ParameterStorage

X = np.random.default_rng(0).standard_normal((8, 5))
Y = np.random.default_rng(1).standard_normal((8, 3))
RATE = 0.125


@pytest.fixture(params=["numpy", "compiled", "emulated"])
def model(request: pytest.FixtureRequest) -> gpunn.Sequential:
    """Four Dense layers, the second with half the rate, in float64 so that sums are exact."""
    model = gpunn.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(4, "tanh"),
            layers.Dense(4, "tanh", learning_rate_multiplier=0.5),
            layers.Dense(4, "tanh"),
            layers.Dense(3),
        ],
        dtype="float64",
        backend=request.param,
    )
    model.compile(gpunn.optimizers.SGD(RATE), "mse")
    return model


def step(model: gpunn.Sequential) -> tuple[dict, dict, dict]:
    before = model.weights_dict()
    model.train_on_batch(X, Y)
    return before, model.weights_dict(), model.gradients()


def test_each_layer_has_its_rate(model: gpunn.Sequential) -> None:
    slow = model.layers[1].name
    before, after, gradients = step(model)
    for path, gradient in gradients.items():
        rate = RATE * (0.5 if path.startswith(f"{slow}/") else 1.0)
        np.testing.assert_allclose(after[path], before[path] - rate * gradient, rtol=1e-14)


def test_a_frozen_layer_stays_as_it_is_and_thaws(model: gpunn.Sequential) -> None:
    frozen = model.layers[2]
    frozen.trainable = False
    before, after, gradients = step(model)
    for path in before:
        kept = path.startswith(f"{frozen.name}/")
        assert np.array_equal(before[path], after[path]) == kept
        assert (path not in gradients) == kept
    frozen.trainable = True
    before, after, _ = step(model)
    assert not any(np.array_equal(before[path], after[path]) for path in before)


def test_nothing_trained_is_no_update(model: gpunn.Sequential) -> None:
    model.trainable = False
    before, after, gradients = step(model)
    assert not gradients
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_frozen_front_needs_no_gradient_of_its_input(model: gpunn.Sequential) -> None:
    for layer in model.layers[:2]:
        layer.trainable = False
    with model.backend.profile() as operations:
        step(model)
    products = [operation for operation in operations if operation.name == "matmul"]
    # Four forward, two kernel gradients, one input gradient: none for the frozen front.
    assert len(products) == 4 + 2 + 1


def test_neighbours_alike_are_one_run(model: gpunn.Sequential) -> None:
    storage = model._storage
    assert [group.multiplier for group in storage.groups] == [1.0, 0.5, 1.0]
    assert [g.start for g in storage.groups[1:]] == [g.stop for g in storage.groups[:-1]]
    assert storage.groups[-1].stop == storage.values.size
    model.layers[1].trainable = False
    step(model)
    assert [group.multiplier for group in storage.groups] == [1.0, 1.0]


def test_parameters_are_views_of_the_flat_arrays() -> None:
    parameters = [Parameter((3, 2), name="a"), Parameter((5,), name="b"), Parameter((2,), name="c")]
    state = Parameter((4,), name="mean", trained=False)
    storage = ParameterStorage(get_backend("numpy"), "float32", [*parameters, state])
    storage.values[...] = np.arange(storage.values.size)
    for parameter, row in zip(parameters, storage.segments, strict=True):
        flat = np.arange(row["offset"], row["offset"] + row["size"], dtype=np.float32)
        np.testing.assert_array_equal(parameter.value.ravel(), flat)
        assert np.shares_memory(parameter.gradient, storage.gradients)
    assert np.shares_memory(state.value, storage.state)
    assert state.gradient is None


def test_values_move_with_their_parameter() -> None:
    parameter = Parameter((2, 2), name="kernel")
    ParameterStorage(get_backend("numpy"), "float32", [parameter])
    parameter.assign([[1, 2], [3, 4]])
    ParameterStorage(get_backend("emulated"), "float64", [Parameter((3,), name="other"), parameter])
    np.testing.assert_array_equal(parameter.numpy(), [[1, 2], [3, 4]])
    assert parameter.dtype == "float64"

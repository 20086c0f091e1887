"""Test a layer shared by two models, and an optimizer passed to two models."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((12, 2)).astype(np.float32)


def network(first: layers.Layer) -> gpunn.Sequential:
    start = gpunn.initializers.GlorotUniform(seed=7)
    model = gpunn.Sequential(
        [layers.Input((3,)), first, layers.Dense(2, kernel_initializer=start)], backend="numpy"
    )
    model.compile(gpunn.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def first_layer() -> layers.Dense:
    return layers.Dense(3, kernel_initializer=gpunn.initializers.GlorotUniform(seed=3))


def test_a_layer_in_two_models_trains_as_if_it_stood_in_one() -> None:
    shared = first_layer()
    trained, alone = network(shared), network(first_layer())
    features = gpunn.Sequential([layers.Input((3,)), shared], backend="numpy")
    for _ in range(3):
        losses = [model.train_on_batch(X, Y) for model in (trained, alone)]
        assert losses[0] == losses[1]
        kernel, bias = shared.get_weights()
        np.testing.assert_allclose(features.predict(X), X @ kernel + bias, rtol=1e-6)
    for ours, theirs in zip(trained.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert trained.optimizer.iterations == 3


def test_an_optimizer_trains_one_model() -> None:
    model = network(first_layer())
    other = gpunn.Sequential([layers.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="already trains the model"):
        other.compile(model.optimizer, "mse")
    model.compile(model.optimizer, "mse")  # its own model may be compiled again


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["Dense", "LayerNormalization"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's, about arrays of NumPy 2
def test_a_layer_of_steps_and_of_their_largest(
    backend: Any, keras: Any, name: str, reverse: bool
) -> None:
    """One layer may be applied to inputs with different numbers of axes, in any order."""

    def new(module: Any) -> Any:
        shared = getattr(module.layers, name)(**({"units": 3} if name == "Dense" else {}))
        x = module.Input((4, 3))
        largest = module.layers.GlobalMaxPooling1D()(x)
        steps, rows = (x, largest) if not reverse else (largest, x)
        model = module.Model(x, [shared(steps), shared(rows)])
        model.compile("sgd", ["mse", "mse"])
        return model

    ours, theirs = new(gpunn), new(keras)
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=w.shape) ** 2 for w in theirs.get_weights()]
    for model in (ours, theirs):
        model.set_weights(weights)
    x = generator.normal(size=(5, 4, 3)).astype("float32")
    expected = theirs.predict(x, verbose=0)
    for a, b in zip(ours.predict(x, verbose=0), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    y = [np.zeros_like(b) for b in expected]
    for _ in range(2):
        # The whole loss alone: in Keras, outputs of one layer have one name, and so one loss.
        losses = [np.asarray(model.train_on_batch(x, y))[0] for model in (ours, theirs)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_layer_refuses_inputs_for_which_it_would_be_another() -> None:
    """`GroupNormalization` keeps the shape of a group of what it was built for."""
    for layer, other in ((layers.GroupNormalization(2), (4,)), (layers.Dense(2), (3,))):
        layer(gpunn.Input((4, 4)))
        with pytest.raises(ValueError, match="was built for inputs of shape"):
            layer(gpunn.Input(other))


SHAPES = [(4, 3), (4, 5, 3), (4, 2, 5, 3)]
OF_ANY_AXES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("Dense", {"units": 2}, SHAPES), ("BatchNormalization", {}, SHAPES),
    ("LayerNormalization", {}, SHAPES), ("RMSNormalization", {}, SHAPES),
    ("GroupNormalization", {"groups": 1}, SHAPES), ("PReLU", {}, SHAPES),
    ("PReLU", {"shared_axes": [1]}, SHAPES[1:]),
    ("Conv1D", {"filters": 2, "kernel_size": 2}, SHAPES),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": (None, 2)}, SHAPES[1:]),
    ("LSTM", {"units": 2}, SHAPES[1:]),
    ("MultiHeadAttention", {"num_heads": 1, "key_dim": 2}, SHAPES[1:]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "shapes"), OF_ANY_AXES, ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's, about arrays of NumPy 2
def test_other_numbers_of_axes_are_refused_as_by_keras(
    keras: Any, name: str, options: dict[str, Any], shapes: list[Any]
) -> None:
    def refuses(library: Any, first: Any, second: Any) -> bool | None:
        layer = getattr(library.layers, name)(**options)
        x, other = (np.ones(shape, "float32") for shape in (first, second))
        several = 2 if "Attention" in name else 1
        try:
            layer(*[x] * several)
        except ValueError:
            return None
        try:
            layer(*[other] * several)
        except ValueError:
            return True
        return False

    for first, second in itertools.permutations(shapes, 2):
        expected = refuses(keras, first, second)
        assert refuses(gpunn, first, second) == expected, (first, second)

"""Test that setting an argument later, as an attribute, equals passing it to the constructor."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers
from gpunn.common import registry

X = np.linspace(-2.0, 2.0, 12).reshape(3, 4).astype(np.float32)
TRUE, PROBABLE = np.eye(3), np.full((3, 3), 0.2) + 0.4 * np.eye(3)[::-1]
GIVES = {
    "activation": lambda part: part(X),
    "regularizer": lambda part: part(X),
    "constraint": lambda part: part(X),
    "schedule": lambda part: [part(step) for step in range(6)],
    "loss": lambda part: part(TRUE.argmax(1) if part.sparse else TRUE, PROBABLE),
}
CASES = [(kind, *case) for kind in GIVES for case in registered.cases(kind)]


@pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)
def test_of_what_is_registered(kind: str, name: str, arguments: Any) -> None:
    cls: Any = registry.entries(kind)[name]
    first = registered.examples(kind, name)[0]
    part, other = cls(**first), cls(**{**first, **arguments})
    GIVES[kind](part)
    try:
        for attribute, value in arguments.items():
            setattr(part, attribute, value)
    except ValueError:  # a value that does not fit the others raises an error
        return
    np.testing.assert_allclose(GIVES[kind](part), GIVES[kind](other), rtol=1e-6)
    assert part.get_config() == other.get_config()


@pytest.mark.parametrize(
    ("cls", "attribute", "value"),
    [
        (layers.ReLU, "max_value", 0.5), (layers.ReLU, "threshold", 0.5),
        (layers.LeakyReLU, "negative_slope", 0.75), (layers.ELU, "alpha", 0.5),
        (layers.Softmax, "axis", 0),
    ],
)  # fmt: skip
def test_of_layers_with_a_curve(cls: Any, attribute: str, value: Any) -> None:
    layer = cls()
    model = gpunn.Sequential([gpunn.Input((4,)), layer])
    model.predict(X, verbose=0)
    setattr(layer, attribute, value)
    wanted = cls(**{attribute: value})(X)
    np.testing.assert_allclose(layer(X), wanted, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted, rtol=1e-6)


# Keras's own, about arrays of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PICTURES = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)
STEPS = PICTURES[:, :, 0]


@pytest.mark.parametrize(
    ("kind", "arguments", "x", "attribute", "value"),
    [
        ("Dense", {"units": 3, "activation": "softmax"}, X, "activation", None),
        ("Dense", {"units": 3}, X, "activation", "tanh"),
        ("Dense", {"units": 3, "bias_initializer": "ones"}, X, "use_bias", False),
        ("Conv2D", {"filters": 2, "kernel_size": 3, "activation": "relu"}, PICTURES,
         "activation", None),
        ("LSTM", {"units": 2}, STEPS, "go_backwards", True),
        ("GRU", {"units": 2}, STEPS, "recurrent_activation", "tanh"),
        ("SimpleRNN", {"units": 2}, STEPS, "activation", None),
        ("BatchNormalization", {}, X, "epsilon", 0.5),
        ("Dropout", {"rate": 0.5}, X, "rate", 0.0),
    ],
)  # fmt: skip
def test_of_built_layers_beside_keras(
    kind: str, arguments: Any, x: Any, attribute: str, value: Any, keras: Any
) -> None:
    given = getattr(keras.layers, kind)(**arguments)
    given(x)
    layer = getattr(layers, kind)(**arguments)
    model = gpunn.Sequential([gpunn.Input(x.shape[1:]), layer])
    layer.set_weights(given.get_weights())
    model.predict(x, verbose=0)
    names = "activation" in attribute and value is not None
    kept = given.cell if kind in ("GRU", "SimpleRNN") else given  # Keras's layer only reads there
    setattr(kept, attribute, keras.activations.get(value) if names else value)
    setattr(layer, attribute, value)
    wanted = given(x, training=kind == "Dropout").detach().numpy()
    np.testing.assert_allclose(layer(x, training=kind == "Dropout"), wanted, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), given(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "attribute", "value", "shapes"),
    [
        (layers.Conv2D(2, 3), "strides", (2, 2), "from (None, 3, 3, 2) to (None, 2, 2, 2)"),
        (layers.MaxPooling2D(), "padding", "same", "from (None, 2, 2, 3) to (None, 3, 3, 3)"),
    ],
    ids=["convolution", "pooling"],
)
def test_what_changes_the_shape_is_refused_by_a_built_model(
    layer: Any, attribute: str, value: Any, shapes: str
) -> None:
    model = gpunn.Sequential([gpunn.Input((5, 5, 3)), layer, layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    setattr(layer, attribute, value)
    for run in (
        lambda: model.predict(PICTURES, verbose=0),
        lambda: model.fit(PICTURES, np.ones((2, 1)), verbose=0),
    ):
        with pytest.raises(ValueError, match=re.escape(shapes)):
            run()
    assert gpunn.models.clone_model(model).predict(PICTURES, verbose=0).shape == (2, 1)


def test_what_does_not_fit_a_layer_changes_nothing() -> None:
    dense = layers.Dense(2, "relu")
    with pytest.raises(ValueError, match="Unknown activation: 'rellu'"):
        dense.activation = "rellu"
    assert dense([[1.0, 2.0]]).numpy().min() >= 0.0


def test_what_does_not_fit_changes_nothing() -> None:
    activation = gpunn.activations.Relu(0.5)
    with pytest.raises(ValueError, match="negative_slope must be at least 0; got -1"):
        activation.negative_slope = -1
    assert activation.negative_slope == 0.5
    assert activation([-2.0]).tolist() == [-1.0]


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("SGD", "momentum", 0.9), ("SGD", "gradient_accumulation_steps", 2),
        ("Adam", "amsgrad", True), ("RMSprop", "momentum", 0.5), ("RMSprop", "centered", True),
        ("Muon", "use_ema", True),
    ],
)  # fmt: skip
def test_an_optimizer_takes_a_setting_with_slots_of_its_own_between_fits(
    name: str, setting: str, value: Any, backend: str
) -> None:
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    kind, chain = getattr(gpunn.optimizers, name), [gpunn.Input((3,)), layers.Dense(3)]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile(kind(0.01), "mse")

    def fit(one: Any) -> Any:
        one.fit(x, x, batch_size=4, shuffle=False, verbose=0)
        return one.get_weights()

    fit(model)
    setattr(model.optimizer, setting, value)
    other = copy.deepcopy(model)
    if name == "SGD":  # of which there are no slots yet: as if it began here
        other.compile(kind(0.01, **{setting: value}), "mse")
    for _ in range(2):
        for one, two in zip(fit(model), fit(other), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Attention(), layers.AdditiveAttention(), layers.MultiHeadAttention(2, 3),
        layers.GroupQueryAttention(3, 2, 1),
    ],
    ids=lambda layer: layer.name,
)
@gpunn.utils.seeded(7)
def test_attention_drops_with_the_rate_set_later(layer: Any) -> None:
    given = ([STEPS, STEPS],) if isinstance(layer, layers.Attention) else (STEPS, STEPS)
    plain = layer(*given, training=False).numpy()
    np.testing.assert_allclose(layer(*given, training=True), plain, rtol=1e-5, atol=1e-6)
    layer.dropout = 0.5
    np.testing.assert_allclose(layer(*given, training=False), plain, rtol=1e-5, atol=1e-6)
    several = [layer(*given, training=True).numpy() for _ in range(200)]
    assert all((one != plain).any() for one in several)
    np.testing.assert_allclose(np.mean(several, 0), plain, atol=0.4)  # those kept grow
    with pytest.raises(ValueError, match="dropout"):
        layer.dropout = 1.5


@pytest.mark.parametrize("cls", [layers.MultiHeadAttention, layers.GroupQueryAttention])
def test_scores_that_are_not_kept_cannot_be_dropped(cls: Any) -> None:
    sizes = (4, 4, 2)[: 2 if cls is layers.MultiHeadAttention else 3]
    layer = cls(*sizes, flash_attention=True)
    with pytest.raises(ValueError, match="keeps no scores to drop"):
        layer.dropout = 0.5
    assert cls.from_config(layer.get_config()).dropout == 0.0

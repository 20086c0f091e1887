"""Layer outputs that Keras 3 asserts in its unit tests, for layers called on plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

layers = gpunn.layers

KERNEL = np.array([[1.0, -2.0], [3.0, -4.0]])
BIAS = np.array([5.0, -6.0])
ROW = np.array([[-1.0, 2.0]])


@pytest.mark.parametrize(
    ("arguments", "weights", "expected"),
    [
        ({"activation": "relu"}, [KERNEL, BIAS], [[10.0, 0.0]]),
        ({}, [KERNEL, BIAS], [[10.0, -12.0]]),
        ({"use_bias": False}, [KERNEL], [[5.0, -6.0]]),
        ({"use_bias": False, "activation": None}, [KERNEL], [[5.0, -6.0]]),
        ({"use_bias": False, "activation": "relu"}, [KERNEL], [[5.0, 0.0]]),
    ],
)
def test_dense(arguments: dict[str, Any], weights: list[np.ndarray], expected: Any) -> None:
    layer = layers.Dense(units=2, **arguments)
    layer.build((1, 2))
    layer.set_weights(weights)
    assert_allclose(np.asarray(layer(ROW)), expected)
    assert (layer.bias is None) == (len(weights) == 1)
    for got, given in zip(layer.get_weights(), weights, strict=True):
        assert_allclose(got, given)


@pytest.mark.parametrize(
    ("shape", "arguments", "expected", "arrays"),
    [
        ((2, 3), {"units": 4, "activation": "relu", "kernel_initializer": "random_uniform",
                  "bias_initializer": "ones", "use_bias": False}, (2, 4), 1),
        ((2, 3, 4), {"units": 5, "activation": "sigmoid"}, (2, 3, 5), 2),
    ],
)  # fmt: skip
def test_dense_shapes(
    shape: tuple[int, ...], arguments: dict[str, Any], expected: tuple[int, ...], arrays: int
) -> None:
    layer = layers.Dense(**arguments)
    x = np.random.default_rng(0).random(shape).astype("float32")
    output = np.asarray(layer(x))
    assert output.shape == expected
    assert output.dtype == "float32"
    assert tuple(layer.compute_output_shape(shape)) == expected
    kernel, *bias = layer.get_weights()
    assert len(layer.trainable_weights) == 1 + len(bias) == arrays
    assert not layer.non_trainable_weights
    assert layer.count_params() == kernel.size + sum(b.size for b in bias)
    if arguments["activation"] == "sigmoid":
        assert_allclose(output, 1 / (1 + np.exp(-(x @ kernel + bias[0]))), rtol=1e-5)
        assert_allclose(bias[0], 0.0)


def test_dense_initializers() -> None:
    layer = layers.Dense(4, kernel_initializer="ones", bias_initializer="ones")
    assert_allclose(np.asarray(layer(np.ones((2, 3)))), np.full((2, 4), 4.0))


@pytest.mark.parametrize("units", [0, -3, 2.5, None, "64"])
def test_dense_refuses(units: Any) -> None:
    with pytest.raises(ValueError, match="units"):
        layers.Dense(units)


def test_dense_refuses_another_width() -> None:
    layer = layers.Dense(2, activation="relu")
    layer(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"(?i)shape|width|features|axis"):
        layer(np.ones((1, 3)))


def test_set_weights_refuses() -> None:
    layer = layers.Dense(2)
    layer.build((1, 2))
    with pytest.raises(ValueError, match="1"):
        layer.set_weights([KERNEL])
    with pytest.raises(ValueError, match="shape"):
        layer.set_weights([KERNEL, np.zeros(3)])


def test_activation() -> None:
    x = np.array([[-1.0, 0.0, 2.0], [3.0, -4.0, 0.5]], dtype="float32")
    for activation in ("relu", gpunn.activations.relu):
        layer = layers.Activation(activation)
        assert_allclose(np.asarray(layer(x)), np.maximum(x, 0))
        assert not layer.get_weights()


def test_dropout_keeps_the_mean() -> None:
    ones = np.ones((20, 500))
    layer = layers.Dropout(0.5, seed=1337)
    dropped = np.asarray(layer(ones, training=True))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)
    assert not np.array_equal(np.asarray(layer(ones, training=True)), dropped)
    assert_allclose(np.asarray(layer(ones)), ones)
    assert_allclose(np.asarray(layer(ones, training=False)), ones)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.9])
def test_dropout_rate(rate: float) -> None:
    dropped = np.asarray(layers.Dropout(rate, seed=3)(np.ones((200, 500)), training=True))
    assert (dropped == 0).mean() == pytest.approx(rate, abs=0.005)
    assert_allclose(dropped[dropped != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_of_nothing_and_of_all() -> None:
    ones = np.ones((4, 5))
    assert_allclose(np.asarray(layers.Dropout(0)(ones, training=True)), ones)
    assert_allclose(np.asarray(layers.Dropout(1.0)(ones, training=True)), 0.0)


@pytest.mark.parametrize("noise_shape", [(None, 1, None), (20, 1, 10), [20, 1, 10]])
def test_dropout_noise_shape(noise_shape: Any) -> None:
    layer = layers.Dropout(0.5, noise_shape=noise_shape)
    assert layer.noise_shape == tuple(noise_shape)
    dropped = np.asarray(layer(np.ones((20, 5, 10)), training=True))
    assert_allclose(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
    assert set(np.unique(dropped)) == {0.0, 2.0}


@pytest.mark.parametrize("noise_shape", ["Invalid", (20, 1.5, 10), (20, -1, 10), (20, 0, 10)])
def test_dropout_refuses_a_noise_shape(noise_shape: Any) -> None:
    with pytest.raises(ValueError, match="noise_shape"):
        layers.Dropout(0.5, noise_shape=noise_shape)


@pytest.mark.parametrize("rate", [-0.5, 1.5])
def test_dropout_refuses_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        layers.Dropout(rate)


@pytest.mark.parametrize("shape", [(10, 3, 5, 5), (10, 4), (10,)])
@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
def test_flatten(shape: tuple[int, ...], data_format: str | None) -> None:
    x = np.random.default_rng(0).random(shape).astype("float32")
    layer = layers.Flatten() if data_format is None else layers.Flatten(data_format=data_format)
    last = np.moveaxis(x, 1, -1) if data_format == "channels_first" and x.ndim > 1 else x
    assert_allclose(np.asarray(layer(x)), last.reshape(10, -1))
    width = int(np.prod(shape[1:]))
    assert tuple(layer.compute_output_shape((None, *shape[1:]))) == (None, width)


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(1 / 255, 0.5), (2, 0.5), (1.0, 2), (np.array(1 / 255), np.array(0.5)),
     ([1 / 255, 1.5 / 255, 2 / 255], 0.5)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "int16", "uint8"])
def test_rescaling(scale: Any, offset: Any, dtype: str) -> None:
    x = (np.random.default_rng(0).random((3, 10, 10, 3)) * 255).astype(dtype)
    output = np.asarray(layers.Rescaling(scale=scale, offset=offset)(x))
    assert output.dtype == "float32"
    assert_allclose(output, x * np.asarray(scale) + offset, rtol=1e-5)


def test_rescaling_adds_nothing_by_default() -> None:
    assert_allclose(np.asarray(layers.Rescaling(0.5)(np.array([[2, 4]]))), [[1.0, 2.0]])


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (2, 3), "batch_shape": (4, 2, 3)},
        {"batch_size": 4, "batch_shape": (4, 2, 3)},
        {},
    ],
)
def test_input_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="shape"):
        layers.Input(**arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"shape": (2, 3)}, (None, 2, 3)),
        ({"shape": (2, 3), "batch_size": 4}, (4, 2, 3)),
        ({"batch_shape": (4, 2, 3)}, (4, 2, 3)),
        ({"shape": (np.int64(32),)}, (None, 32)),
    ],
)
def test_input(arguments: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    model = gpunn.Sequential([layers.Input(**arguments), layers.Flatten()])
    assert tuple(model.input_shape) == expected
    assert tuple(model.output_shape) == (expected[0], np.prod(expected[1:]))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Dense", {"units": 3, "activation": "relu", "use_bias": False}),
        ("Activation", {"activation": "tanh"}),
        ("Dropout", {"rate": 0.3, "seed": 4}),
        ("Flatten", {"data_format": "channels_first"}),
        ("Rescaling", {"scale": 0.5, "offset": 0.25}),
    ],
)
def test_config_holds_the_arguments(name: str, arguments: dict[str, Any]) -> None:
    cls = getattr(layers, name)
    layer = cls(name="mine", **arguments)
    config = layer.get_config()
    assert config["name"] == "mine"
    # gpunn serializes activations in its own form; the round trip is tested below.
    plain = {key: value for key, value in arguments.items() if key != "activation"}
    assert {key: config[key] for key in plain} == plain
    again = cls.from_config(config)
    assert again.name == "mine"
    assert again.get_config() == config
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3)).astype("float32")
    layer(x)
    again(x)
    again.set_weights(layer.get_weights())
    assert_allclose(np.asarray(again(x)), np.asarray(layer(x)), rtol=1e-6)


def test_names_number_themselves() -> None:
    first, second = layers.Dense(2), layers.Dense(2)
    assert first.name.startswith("dense")
    assert first.name != second.name

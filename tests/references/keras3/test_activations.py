"""Activation values that Keras 3 asserts in its unit tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
STEPS = np.array([-10.0, -5.0, 0.0, 5.0, 10.0])
SHAPES = [(5,), (2, 5), (3, 3, 3), (1, 2, 5)]
# Near zero, on both sides, and large values, where a careless formula overflows.
RANGES = [(-1e-7, 1e-7), (0, 1), (-10, 10), (10, 100), (-100, -10), (1e4, 1e5), (-1e5, -1e4)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


@pytest.mark.parametrize("limits", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("linear", lambda x: x),
        ("sigmoid", np.vectorize(sigmoid)),
        ("tanh", np.tanh),
        ("relu", lambda x: np.maximum(0, x)),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.2 * x)),
        ("relu6", lambda x: np.clip(x, 0, 6)),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        ("selu", lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x))),
        ("celu", lambda x: np.maximum(x, 0) + np.expm1(np.minimum(x, 0))),
        ("exponential", lambda x: np.exp(x).astype("float32")),
        ("softplus", np.vectorize(softplus)),
        ("softsign", lambda x: x / (1 + np.abs(x))),
        ("silu", lambda x: x * np.vectorize(sigmoid)(x)),
        ("hard_sigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1)),
        ("hard_silu", lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("mish", lambda x: x * np.tanh(np.vectorize(softplus)(x))),
        ("gelu", np.vectorize(lambda x: x * math.erfc(-x / math.sqrt(2)) / 2)),
    ],
)
def test_elementwise(name, reference, shape, limits) -> None:
    x = np.random.default_rng(1).uniform(*limits, shape).astype("float32")
    result = np.asarray(getattr(gpunn.activations, name)(x))
    assert result.shape == shape
    with np.errstate(all="ignore"):
        assert_allclose(result, reference(x.astype("float64")), rtol=1e-5, atol=1e-25)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [0, 0, 0, 5, 10]),
        ({"negative_slope": 0.5}, [-5, -2.5, 0, 5, 10]),
        ({"max_value": 5.0}, [0, 0, 0, 5, 5]),
        ({"threshold": 5.0}, [0, 0, 0, 0, 10]),
        ({"threshold": 5.0, "max_value": 5.0}, [0, 0, 0, 0, 5]),
        (
            {"negative_slope": 0.5, "max_value": 5.0, "threshold": 5.0},
            [-7.5, -5.0, -2.5, 0.0, 5.0],
        ),
    ],
)
def test_relu_arguments(arguments: dict[str, float], expected: list[float]) -> None:
    assert_allclose(np.asarray(gpunn.activations.relu(STEPS, **arguments)), expected, rtol=1e-5)
    defaults = {"negative_slope": 0.0, "max_value": None, "threshold": 0.0}
    positional = ({**defaults, **arguments}).values()
    assert_allclose(np.asarray(gpunn.activations.relu(STEPS, *positional)), expected, rtol=1e-5)


def test_relu_up_to_six() -> None:
    x = np.append(STEPS, 12.0)
    assert_allclose(np.asarray(gpunn.activations.relu(x, max_value=6.0)), [0, 0, 0, 5, 6, 6])


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5,), -1),
        ((2, 5), -1),
        ((2, 5), 0),
        ((1, 2, 5), 1),
        ((2, 2, 3), -1),
        ((2, 3, 5), (1, 2)),
        ((2, 3, 4, 5), (2, 3)),
        ((2, 3, 4, 5, 6), (2, 3, 4)),
    ],
)
def test_softmax(shape: tuple[int, ...], axis: int | tuple[int, ...]) -> None:
    x = np.random.default_rng(2).random(shape) * 10
    result = np.asarray(gpunn.activations.softmax(x, axis=axis))
    axes = axis if isinstance(axis, tuple) else (axis,)
    last = tuple(range(-len(axes), 0))
    moved, expected = np.moveaxis(result, axes, last), np.moveaxis(x, axes, last)
    for place in np.ndindex(moved.shape[: -len(axes)]):
        assert_allclose(moved[place], softmax(expected[place]), rtol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 2, 4, 5)])
def test_log_softmax(shape: tuple[int, ...], axis: int | tuple[int, ...]) -> None:
    x = np.random.default_rng(2).random(shape) * 10
    result = gpunn.activations.log_softmax(x, axis=axis)
    assert_allclose(result, np.log(gpunn.activations.softmax(x, axis=axis)), rtol=1e-5)


def test_gelu_by_the_tanh_formula() -> None:
    x = np.random.default_rng(4).random((2, 5))
    inner = np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)
    expected = 0.5 * x * (1.0 + np.tanh(inner))
    assert_allclose(gpunn.activations.gelu(x, approximate=True), expected, rtol=1e-5)


def test_selu_and_elu_of_small_integers() -> None:
    x = np.array([[1.0, 2.0, -1.0, -2.0]], "float32")
    below = np.expm1([-1.0, -2.0])
    assert_allclose(gpunn.activations.elu(x)[0], [1, 2, *below], rtol=1e-6)
    expected = SELU_SCALE * np.array([1, 2, *(SELU_ALPHA * below)])
    assert_allclose(gpunn.activations.selu(x)[0], expected, rtol=1e-6)


def test_celu_with_alpha() -> None:
    x = np.random.default_rng(5).normal(size=(2, 5))
    expected = np.maximum(x, 0.0) + 0.5 * np.expm1(np.minimum(x, 0.0) / 0.5)
    assert_allclose(gpunn.activations.celu(x, alpha=0.5), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        (layers.ReLU(max_value=10), STEPS, [0, 0, 0, 5, 10]),
        (layers.ReLU(max_value=10, negative_slope=0.5), STEPS, [-5, -2.5, 0, 5, 10]),
        (layers.ReLU(max_value=8, threshold=5), [6, 7, 0, 5, 10], [6, 7, 0, 0, 8]),
        (layers.ReLU(), [-3, -1, 0, 1, 3], [0, 0, 0, 1, 3]),
        (layers.ReLU(max_value=None), [0, 100, 1000, 99999], [0, 100, 1000, 99999]),
        (layers.LeakyReLU(negative_slope=0.5), STEPS, [-5, -2.5, 0, 5, 10]),
        (layers.LeakyReLU(), [-10, 10], [-3, 10]),
        (layers.ELU(alpha=0.7), [-1, 2], [0.7 * math.expm1(-1), 2]),
        (layers.Softmax(), [1, 2, 1], [0.21194157, 0.5761169, 0.21194157]),
        (layers.Softmax(axis=1), [1, 2, 1], [0.21194157, 0.5761169, 0.21194157]),
    ],
)
def test_layers(layer: Any, x: Any, expected: Any) -> None:
    assert_allclose(layer(np.array([x], "float32"))[0], expected, rtol=1e-6)


def test_relu_layer_config() -> None:
    layer = layers.ReLU(max_value=5.0, negative_slope=0.2, threshold=1.0)
    config = layer.get_config()
    assert (config["max_value"], config["negative_slope"], config["threshold"]) == (5.0, 0.2, 1.0)
    assert layers.ReLU.from_config(config).get_config() == config
    assert layer.compute_output_shape((4, 5, 6)) == (4, 5, 6)


def test_prelu_layer() -> None:
    x = np.random.default_rng(6).normal(size=(2, 10, 5, 3))
    layer = layers.PReLU(
        alpha_initializer="glorot_uniform",
        alpha_regularizer="l1",
        alpha_constraint="non_neg",
        shared_axes=(1, 2),
        dtype="float64",
    )
    layer.build(x.shape)
    alpha = np.random.default_rng(7).random((1, 1, 3))
    layer.set_weights([alpha])
    assert_allclose(layer(x), (x > 0) * x + (x <= 0) * alpha * x, rtol=1e-6)


def test_softmax_of_huge_values() -> None:
    x = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], dtype="float32")
    expected = [[0.5, 0.5, 0.0], [1 / 3] * 3]
    assert_allclose(np.asarray(gpunn.activations.softmax(x)), expected, rtol=1e-6)


def test_the_last_axis_is_the_default() -> None:
    x = np.array([[0.0, math.log(3.0)], [0.0, 0.0]], dtype="float32")
    expected = [[0.25, 0.75], [0.5, 0.5]]
    assert_allclose(np.asarray(gpunn.activations.softmax(x)), expected, rtol=1e-6)


def test_linear_keeps_integers() -> None:
    x = np.random.default_rng(3).integers(-10, 10, (10, 5)).astype("int32")
    assert_allclose(np.asarray(gpunn.activations.linear(x)), x)


def test_get() -> None:
    for name, expected in [("relu", np.maximum(STEPS, 0)), (None, STEPS)]:
        assert_allclose(np.asarray(gpunn.activations.get(name)(STEPS)), expected)
    with pytest.raises(ValueError, match="typo"):
        gpunn.activations.get("typo")

"""Activation values that Keras 3 asserts in its unit tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

STEPS = np.array([-10.0, -5.0, 0.0, 5.0, 10.0])
SHAPES = [(5,), (2, 5), (3, 3, 3), (1, 2, 5)]
# Near zero, on both sides, and far out, where a careless formula overflows.
RANGES = [(-1e-7, 1e-7), (0, 1), (-10, 10), (10, 100), (-100, -10), (1e4, 1e5), (-1e5, -1e4)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


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
    ],
)
def test_elementwise(name, reference, shape, limits) -> None:
    x = np.random.default_rng(1).uniform(*limits, shape).astype("float32")
    result = np.asarray(getattr(gpunn.activations, name)(x))
    assert result.shape == shape
    with np.errstate(all="ignore"):
        assert_allclose(result, reference(x.astype("float64")), rtol=1e-5, atol=1e-37)


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

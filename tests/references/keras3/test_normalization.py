"""What Keras 3 asserts in its unit tests of normalization, noise and reshaping layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

layers = gpunn.layers
RANDOM = np.random.default_rng(1337)


@pytest.mark.parametrize(
    ("make", "arguments", "shape", "trained", "state"),
    [
        (layers.BatchNormalization, {"center": True, "scale": True}, (2, 3), 2, 2),
        (layers.BatchNormalization, {"center": False, "scale": False}, (2, 3), 0, 2),
        (layers.BatchNormalization, {"beta_regularizer": "l2", "gamma_regularizer": "l2"},
         (2, 4, 4, 3), 2, 2),
        (layers.LayerNormalization, {"gamma_regularizer": "l2"}, (3, 4, 2), 2, 0),
        (layers.LayerNormalization, {"beta_initializer": "ones"}, (3, 4, 2), 2, 0),
        (layers.LayerNormalization, {"scale": False, "center": False}, (3, 3), 0, 0),
        (layers.LayerNormalization, {"axis": (-3, -2, -1)}, (2, 8, 8, 3), 2, 0),
        (layers.RMSNormalization, {}, (4, 2), 1, 0),
        (layers.RMSNormalization, {"axis": -1}, (4, 2), 1, 0),
        (layers.RMSNormalization, {"scale": False}, (4, 2), 0, 0),
        (layers.GroupNormalization, {"gamma_regularizer": "l2"}, (3, 4, 32), 2, 0),
        (layers.GroupNormalization, {"groups": 4, "gamma_constraint": "unit_norm"}, (3, 4, 4),
         2, 0),
        (layers.UnitNormalization, {"axis": -1}, (2, 3), 0, 0),
        (layers.UnitNormalization, {"axis": (1, 2)}, (1, 3, 3), 0, 0),
        (layers.GaussianNoise, {"stddev": 0.2}, (2, 3), 0, 0),
        (layers.GaussianDropout, {"rate": 0.2}, (2, 3), 0, 0),
    ],
)  # fmt: skip
def test_shapes_and_weights(
    make: Any, arguments: dict[str, Any], shape: tuple[int, ...], trained: int, state: int
) -> None:
    layer = make(**arguments)
    for same in (layer, make.from_config(layer.get_config())):
        assert same(RANDOM.random(shape), training=True).shape == shape
        assert same.compute_output_shape(shape) == shape
        assert (len(same.trainable_weights), len(same.non_trainable_weights)) == (trained, state)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("shape", [(5, 2, 3), (5, 3, 3, 2)])
@pytest.mark.parametrize("moving_mean", ["zeros", "ones"])
@pytest.mark.parametrize("moving_variance", ["zeros", "ones"])
def test_batch_normalization(
    axis: int, shape: tuple[int, ...], moving_mean: str, moving_variance: str
) -> None:
    layer = layers.BatchNormalization(
        axis=axis, momentum=0, moving_mean_initializer=moving_mean,
        moving_variance_initializer=moving_variance,
    )  # fmt: skip
    x = RANDOM.normal(5.0, 10.0, shape)
    out = x
    for _ in range(3):
        out = layer(out, training=True)
    over = tuple(set(range(len(shape))) - {axis % len(shape)})
    assert_allclose(out.mean(over), 0.0, atol=1e-3)
    assert_allclose(out.std(over), 1.0, atol=1e-3)
    assert_allclose(layer.moving_mean.numpy(), 0.0, atol=1e-3)
    assert_allclose(layer.moving_variance.numpy(), 1.0, atol=1e-3)
    assert not np.allclose(layer(x), layer(x, training=True))
    # With a momentum of 0 the moving averages are those of the last batch.
    assert_allclose(layer(x), layer(x, training=True), rtol=1e-5, atol=1e-5)


def test_batch_normalization_frozen_and_trained() -> None:
    layer = layers.BatchNormalization(axis=-1, momentum=0.8, epsilon=1e-7)
    layer.build((1, 4, 4, 3))
    layer.trainable = False
    counts = [len(w) for w in (layer.weights, layer.trainable_weights)]
    assert (*counts, len(layer.non_trainable_weights)) == (4, 0, 4)
    x = RANDOM.normal(5.0, 10.0, (200, 4, 4, 3)).astype("float32")
    assert_allclose(layer(x, training=True), x, rtol=1e-6)
    layer.trainable = True
    counts = [len(w) for w in (layer.weights, layer.trainable_weights)]
    assert (*counts, len(layer.non_trainable_weights)) == (4, 2, 2)
    for _ in range(10):
        out = layer(x, training=True)
    assert_allclose(out.mean((0, 1, 2)), 0.0, atol=1e-3)
    assert_allclose(out.std((0, 1, 2)), 1.0, atol=1e-3)


def test_batch_normalization_of_ones() -> None:
    layer = layers.BatchNormalization(axis=-1, momentum=0.0, epsilon=1e-3)
    y = layer(np.ones((1, 2, 3, 4)), training=True)
    assert_allclose(y, 0.0, atol=1e-6)
    assert_allclose(layer.moving_mean.numpy(), 1.0, atol=1e-6)
    assert_allclose(layer.moving_variance.numpy(), 0.0, atol=1e-6)


def test_layer_normalization() -> None:
    layer = layers.LayerNormalization(beta_initializer="ones", gamma_initializer="ones")
    out = layer(np.arange(5.0)[None, :])
    assert_allclose(out, [[-0.41386, 0.29307, 1.0, 1.70693, 2.41386]], atol=1e-5)
    x = RANDOM.normal(5.0, 10.0, (1000, 2, 2, 2))
    out = layers.LayerNormalization()(x)
    assert_allclose(out.mean(), 0.0, atol=1e-1)
    assert_allclose(out.std(), 1.0, atol=1e-1)


@pytest.mark.parametrize("make", [layers.LayerNormalization, layers.RMSNormalization])
def test_the_order_of_the_axes_does_not_matter(make: Any) -> None:
    x = RANDOM.standard_normal((2, 3, 4))
    assert_allclose(make(axis=[-2, -1])(x), make(axis=[-1, -2])(x))


@pytest.mark.parametrize("axis", [2, 99, -3, -99, [0, 99]])
def test_layer_normalization_out_of_bounds(axis: Any) -> None:
    with pytest.raises(ValueError, match="is out of bounds"):
        layers.LayerNormalization(axis=axis)(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="is out of bounds"):
        layers.LayerNormalization(axis=axis).build((2, 4))


@pytest.mark.parametrize("axis", [[-1, 1], [1, 1]])
def test_layer_normalization_twice_over_an_axis(axis: list[int]) -> None:
    with pytest.raises(ValueError, match="an axis twice"):
        layers.LayerNormalization(axis=axis)(np.zeros((2, 4)))


def test_layer_normalization_takes_no_dictionary() -> None:
    with pytest.raises(TypeError, match="integer"):
        layers.LayerNormalization(axis={"axis": -1})


def test_rms_normalization() -> None:
    out = layers.RMSNormalization()(np.arange(10.0)[None, :])
    expected = [
        0.0, 0.18731716, 0.37463433, 0.5619515, 0.74926865, 0.9365858, 1.123903, 1.3112202,
        1.4985373, 1.6858544,
    ]  # fmt: skip
    assert_allclose(out, [expected], rtol=1e-6)
    # The same for layer normalization, with its epsilon.
    out = layers.RMSNormalization(epsilon=1e-3)(np.arange(5.0)[None, :])
    x = np.arange(5.0)
    assert_allclose(out, [x / np.sqrt(6.0 + 1e-3)], rtol=1e-6)


IMAGES = np.array([[[-1.0, 1.0, 0, 2.0], [1.0, 3.0, -4, -2.0]]])
FLAT = np.array([[-1.0, -1.0, 1.0, 1.0, 2.0, 2.0, 0, -2.0]])
SQUARE = np.array([[[-1.0, -1.0, 2.0, 2.0], [1.0, 1.0, 0, -2.0]]])


@pytest.mark.parametrize(
    ("groups", "axis", "x", "expected"),
    [
        (4, -1, IMAGES, [[[-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]]]),
        (-1, -1, IMAGES, [[[-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]]]),
        (1, -1, FLAT, [[-0.898, -0.898, 0.539, 0.539, 1.257, 1.257, -0.180, -1.616]]),
        (2, 1, FLAT, [[-1.0, -1.0, 1.0, 1.0, 0.904, 0.904, -0.301, -1.507]]),
        (1, -1, SQUARE, [[[-0.898, -0.898, 1.257, 1.257], [0.539, 0.539, -0.180, -1.616]]]),
        (2, 2, SQUARE, [[[-1.0, -1.0, 0.904, 0.904], [1.0, 1.0, -0.301, -1.507]]]),
        (2, 1, np.arange(16.0).reshape(1, 4, 2, 2),
         2 * [[[-1.5274, -1.0910], [-0.6546, -0.2182]], [[0.2182, 0.6546], [1.0910, 1.5274]]]),
    ],
)  # fmt: skip
def test_group_normalization(groups: int, axis: int, x: Any, expected: Any) -> None:
    out = layers.GroupNormalization(groups=groups, axis=axis)(x)
    assert_allclose(out, np.reshape(expected, out.shape), atol=1e-3)


def test_group_normalization_refuses() -> None:
    x = np.ones((2, 2, 2, 4))
    for groups in (5, 3):
        with pytest.raises(ValueError, match=f"4 channels.*groups={groups}"):
            layers.GroupNormalization(groups=groups)(x)
    for bad in (0, -2, 1.5, "32"):
        with pytest.raises(ValueError, match="groups must be"):
            layers.GroupNormalization(groups=bad)


def test_unit_normalization() -> None:
    out = layers.UnitNormalization(axis=-1)(RANDOM.standard_normal((2, 3)))
    assert_allclose((out**2).sum(axis=-1), 1.0, rtol=1e-6)
    out = layers.UnitNormalization(axis=(1, 2))(RANDOM.standard_normal((2, 3, 3)))
    assert_allclose((out**2).sum(axis=(1, 2)), 1.0, rtol=1e-6)
    out = layers.UnitNormalization(axis=1)(RANDOM.standard_normal((2, 3, 2)))
    assert_allclose((out**2).sum(axis=1), 1.0, rtol=1e-6)
    out = layers.UnitNormalization(axis=(1, 3))(RANDOM.standard_normal((2, 3, 4, 2)))
    assert_allclose((out**2).sum(axis=(1, 3)), 1.0, rtol=1e-6)
    assert (layers.UnitNormalization()(np.zeros((2, 3))) == 0).all()
    for axis in ([], [1, 1], 0, 3):
        with pytest.raises(ValueError, match="axis"):
            layers.UnitNormalization(axis=axis)(np.ones((2, 3, 2)))
    with pytest.raises(TypeError, match="integer"):
        layers.UnitNormalization(axis={"axis": -1})


def test_gaussian_noise() -> None:
    out = layers.GaussianNoise(0.3, seed=1337)(np.ones((20, 500)), training=True)
    assert_allclose(out.std(), 0.3, atol=0.02)


def test_gaussian_dropout() -> None:
    out = layers.GaussianDropout(0.3, seed=1337)(np.ones((20, 500)), training=True)
    assert_allclose(out.std(), np.sqrt(0.3 / (1 - 0.3)), atol=0.02)


@pytest.mark.parametrize(
    ("target", "shape", "expected"),
    [
        ((8, 1), (3, 2, 4), (3, 8, 1)),
        ((8,), (3, 2, 4), (3, 8)),
        ((2, 4), (3, 8), (3, 2, 4)),
        ((-1, 1), (3, 2, 4), (3, 8, 1)),
        ((1, -1), (3, 2, 4), (3, 1, 8)),
        ((-1,), (3, 2, 4), (3, 8)),
        ((2, -1), (3, 2, 4), (3, 2, 4)),
        ((-1, 8), (1, 6, 4), (1, 3, 8)),
    ],
)
def test_reshape(target: tuple[int, ...], shape: Any, expected: tuple[int, ...]) -> None:
    layer = layers.Reshape(target)
    x = RANDOM.random(shape).astype("float32")
    np.testing.assert_array_equal(layer(x), x.reshape(expected))
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *expected[1:])
    inputs = layers.Input(shape[1:])
    model = gpunn.Sequential([inputs, layer, layers.Dense(2)])
    assert model.output_shape == (None, *expected[1:-1], 2)


def test_reshape_takes_inputs_of_several_shapes() -> None:
    layer = layers.Reshape((-1, 8))
    assert layer(np.ones((1, 6, 4))).shape == (1, 3, 8)
    assert layer(np.ones((1, 10, 4))).shape == (1, 5, 8)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ((-2, 5), r"positive integers.*-1.*target_shape=\(-2, 5\)"),
        ((-1, -1, 5), r"-1 once.*target_shape=\(-1, -1, 5\)"),
        ((2.5,), r"target_shape=\(2.5,\)"),
        (4, "target_shape=4"),
    ],
)
def test_reshape_refuses(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Reshape(target)


def test_reshape_to_another_size_is_refused() -> None:
    for target in ((3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="cannot hold the 8 elements"):
            layers.Reshape(target)(np.ones((1, 2, 4)))

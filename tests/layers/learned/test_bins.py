"""`Discretization` and `CategoryEncoding`: arrays and models give the bins and rows of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers
from gpunn.utils import FeatureSpace

BOUNDS = [-0.5, 0.5, 1.5]
X = np.random.default_rng(3).normal(0.5, 2, (2, 3, 4)).astype("float32")
MODES = ("int", "one_hot", "multi_hot", "count")


def in_model(layer: Any, x: np.ndarray, backend: str = "numpy") -> np.ndarray:
    inputs = gpunn.Input(x.shape[1:], dtype=x.dtype.name)
    y = layer(inputs)
    model = gpunn.Model(inputs, y, backend=backend)
    found = model.predict(x, verbose=0)
    assert found.dtype == y.dtype and found.shape[1:] == y.shape[1:]
    assert_array_equal(np.asarray(model(x)), found)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(2, 3, 4), (6, 4), (24, 1), (4, 6, 1)])
@pytest.mark.parametrize("whole", [False, True])
def test_bins_are_kerass(keras: Any, backend: str, mode: str, shape: Any, whole: bool) -> None:
    gpunn.use_backend(backend)
    x = X.reshape(shape)
    x = np.round(x).astype("int32") if whole else x
    expected = keras.layers.Discretization(BOUNDS, output_mode=mode)(x).numpy()
    layer = layers.Discretization(BOUNDS, output_mode=mode)
    for found in (np.asarray(layer(x)), in_model(layer, x, backend)):
        assert_array_equal(found, expected)
        assert found.dtype.kind == expected.dtype.kind
    assert tuple(layer.compute_output_shape((None, *shape[1:])))[1:] == expected.shape[1:]


@pytest.mark.parametrize("many", [3, 70])
def test_bins_of_many_boundaries_are_numpys(backend: str, many: int) -> None:
    gpunn.use_backend(backend)
    bounds = np.linspace(-2, 2, many)
    x = X.reshape(6, 4)
    layer = layers.Discretization(bounds.tolist())
    for found in (np.asarray(layer(x)), in_model(layer, x, backend)):
        assert_array_equal(found, np.digitize(x, bounds))
        assert found.dtype == "int32"


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (4, 6, 1), (6, 4)])
def test_rows_of_codes_are_kerass(keras: Any, backend: str, mode: str, shape: Any) -> None:
    gpunn.use_backend(backend)
    codes = np.random.default_rng(5).integers(0, 5, shape).astype("int32")
    layer = layers.CategoryEncoding(5, mode)
    expected = keras.layers.CategoryEncoding(5, output_mode=mode)(codes).numpy()
    for found in (np.asarray(layer(codes)), in_model(layer, codes, backend)):
        assert_array_equal(found, expected)
    if mode == "count":
        weights = np.arange(codes.size, dtype="float32").reshape(shape)
        expected = keras.layers.CategoryEncoding(5, output_mode=mode)(codes, count_weights=weights)
        assert_array_equal(layer(codes, count_weights=weights), expected.numpy())


@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_rows_of_no_codes_are_zero(backend: str, mode: str) -> None:
    gpunn.use_backend(backend)
    none = np.zeros((2, 0), "int32")
    assert_array_equal(layers.CategoryEncoding(3, mode)(none), np.zeros((2, 3)))
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode=mode)
    assert_array_equal(lookup(none.astype(str)), np.zeros((2, 3)))
    assert_array_equal(lookup([]), np.zeros(3))


@pytest.mark.parametrize("mode", MODES)
def test_nan_is_in_no_bin(backend: str, mode: str) -> None:
    gpunn.use_backend(backend)
    x = np.array([[0.0, 1.0], [2.0, np.nan]])
    layer = layers.Discretization(BOUNDS, output_mode=mode)
    for given in (x, x.tolist(), x.astype("float32"), x[1]):
        with pytest.raises(ValueError, match=r"holds nan at \[(1, )?1\].*Fill in"):
            layer(given)
    with pytest.raises(ValueError, match=r"holds nan at \[1, 1\]"):
        in_model(layer, x.astype("float32"), backend)
    ends = np.array([[-np.inf, np.inf]])
    assert_array_equal(layers.Discretization(BOUNDS)(ends), [[0, 3]])


def test_nan_that_a_step_makes_is_in_the_last_bin_as_in_keras(backend: str) -> None:
    inputs = gpunn.Input((2,))
    y = layers.Discretization(BOUNDS)(gpunn.ops.log(inputs))
    model = gpunn.Model(inputs, y, backend=backend)
    assert model.predict(np.array([[-1.0, 1.0]]), verbose=0).tolist() == [[3, 1]]


def test_bins_index_an_embedding(backend: str) -> None:
    inputs = gpunn.Input((2,))
    chain = [layers.Discretization(BOUNDS), layers.Embedding(4, 3), layers.Flatten()]
    model = gpunn.Sequential([inputs, *chain, layers.Dense(1)], backend=backend)
    model.compile("sgd", "mse")
    table = model.layers[1].get_weights()[0].copy()
    x = np.array([[0.0, 1.0], [-1.0, 0.0]])
    model.fit(x, np.ones(2), verbose=0)
    changed = (model.layers[1].get_weights()[0] != table).any(1)
    assert changed.tolist() == [True, True, True, False]


@pytest.mark.parametrize("width", [3, 8, 32])
def test_bins_of_a_feature_space_have_the_width_that_was_asked_for(width: int) -> None:
    table = {"age": np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), "city": list("abcabc")}
    space = FeatureSpace(
        {"age": FeatureSpace.float_discretized(num_bins=width), "city": "string_categorical"},
        crosses=[("age", "city")],
    )
    space.adapt(table)
    assert space(table).shape == (6, width + 4 + 32)
    named = FeatureSpace({"age": "float_discretized"}, num_discretization_bins=width)
    named.adapt(table)
    codes = np.asarray(named(table)).argmax(1)
    assert (np.diff(codes) >= 0).all() and codes[0] < codes[-1] < width
    with pytest.raises(ValueError, match=r"age.* holds nan at \[1, 0\]"):
        space({"age": [1.0, np.nan], "city": ["a", "b"]})

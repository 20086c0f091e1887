"""Pooling layers: shapes and values that Keras 3 asserts in its unit tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpunn import layers

KINDS = {"max": (layers.MaxPooling2D, np.max), "average": (layers.AveragePooling2D, np.mean)}
GLOBAL = {
    "max": (layers.GlobalMaxPooling2D, np.max),
    "average": (layers.GlobalAveragePooling2D, np.mean),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("pool_size", "strides", "padding", "data_format", "expected"),
    [
        (2, 1, "valid", "channels_last", (3, 4, 4, 4)),
        (2, 1, "same", "channels_first", (3, 5, 5, 4)),
        ((2, 3), (2, 2), "valid", "channels_last", (3, 2, 2, 4)),
    ],
)
def test_shapes(
    kind: str, pool_size: Any, strides: Any, padding: str, data_format: str, expected: tuple
) -> None:
    layer = KINDS[kind][0](pool_size, strides, padding, data_format)
    assert layer.compute_output_shape((3, 5, 5, 4)) == expected
    assert layer(np.ones((3, 5, 5, 4))).shape == expected
    assert not layer.weights
    assert layer.built


def by_definition(
    function: Callable[..., Any], x: np.ndarray, window: Any, strides: Any, padding: str
) -> np.ndarray:
    """Return the existing pixels of each window, for channels-last images."""
    (rows, columns), (down, across), (height, width) = window, strides, x.shape[1:3]
    if padding == "same":
        out = -(-height // down), -(-width // across)
        top, left = (
            max((m - 1) * step + k - n, 0) // 2
            for m, step, k, n in zip(out, strides, window, (height, width), strict=True)
        )
    else:
        out, top, left = ((height - rows) // down + 1, (width - columns) // across + 1), 0, 0
    y = np.empty((len(x), *out, x.shape[3]))
    for i, j in np.ndindex(out):
        first, start = i * down - top, j * across - left
        under = x[:, max(first, 0) : first + rows, max(start, 0) : start + columns]
        y[:, i, j] = function(under, axis=(1, 2))
    return y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("pool_size", "strides", "padding"),
    [
        ((2, 2), (1, 1), "valid"),
        ((2, 2), (1, 1), "same"),
        ((2, 2), (2, 2), "same"),
        ((2, 3), (3, 3), "valid"),
        ((2, 3), (3, 3), "same"),
        ((4, 3), (2, 1), "same"),
    ],
)
def test_values(kind: str, pool_size: Any, strides: Any, padding: str, data_format: str) -> None:
    x = np.arange(100, dtype="float32").reshape((1, 5, 5, 4))
    layer, function = KINDS[kind]
    images, back = x, (0, 1, 2, 3)
    if data_format == "channels_first":
        images, back = x.transpose(0, 2, 3, 1), (0, 3, 1, 2)
    expected = by_definition(function, images, pool_size, strides, padding).transpose(back)
    assert_allclose(layer(pool_size, strides, padding, data_format)(x), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", GLOBAL)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_global(kind: str, data_format: str, keepdims: bool) -> None:
    x = np.arange(96, dtype="float32").reshape((2, 3, 4, 4))
    layer, function = GLOBAL[kind]
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    expected = function(x, axis=axes, keepdims=keepdims)
    made = layer(data_format=data_format, keepdims=keepdims)
    assert_allclose(made(x), expected)
    assert made.compute_output_shape(x.shape) == expected.shape

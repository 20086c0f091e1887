"""What Keras 3 asserts in its unit tests of to_categorical and set_random_seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1,), (1, 5)),
        ((3,), (3, 5)),
        ((4, 3), (4, 3, 5)),
        ((5, 4, 3), (5, 4, 3, 5)),
        ((3, 1), (3, 5)),
        ((3, 2, 1), (3, 2, 5)),
    ],
)
def test_to_categorical(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 5, shape)
    one_hot = gpunn.utils.to_categorical(labels, 5)
    assert one_hot.shape == expected
    assert set(np.unique(one_hot)) <= {0.0, 1.0}
    assert (one_hot.sum(axis=-1) == 1).all()
    assert (one_hot.argmax(axis=-1).reshape(shape) == labels).all()


def test_to_categorical_counts_the_classes() -> None:
    one_hot = gpunn.utils.to_categorical([0, 2, 5])
    assert one_hot.shape == (3, 6)
    assert one_hot.dtype == "float64"


def test_to_categorical_values() -> None:
    one_hot = gpunn.utils.to_categorical(np.array([0, 2, 1, 3, 4]), num_classes=5)
    assert_allclose(one_hot, np.eye(5)[[0, 2, 1, 3, 4]])


def test_to_categorical_refuses_a_label_beyond_the_classes() -> None:
    with pytest.raises((ValueError, IndexError)):
        gpunn.utils.to_categorical([0, 5], 3)


def test_set_random_seed_fixes_models() -> None:
    def output() -> np.ndarray:
        layers = gpunn.layers
        model = gpunn.Sequential([layers.Dense(10), layers.Dropout(0.5), layers.Dense(10)])
        x = np.random.random((32, 10)).astype("float32")  # noqa: NPY002 (seeded as well)
        return np.asarray(model.predict(x, batch_size=16, verbose=0))

    gpunn.utils.set_random_seed(42)
    first, second = output(), output()
    assert not np.allclose(first, second)
    gpunn.utils.set_random_seed(42)
    assert_allclose(output(), first, rtol=1e-6)
    gpunn.utils.set_random_seed(1337)
    assert not np.allclose(output(), first)


def test_set_random_seed_reaches_python_and_numpy() -> None:
    gpunn.utils.set_random_seed(7)
    first = random.random(), np.random.random()  # noqa: NPY002
    gpunn.utils.set_random_seed(7)
    assert (random.random(), np.random.random()) == first  # noqa: NPY002

"""Test lookups in a table so large that a one-hot matrix would not fit into memory."""

from __future__ import annotations

from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.backends import choice_put_back

ROWS, PLACES = 200_000, 20_000


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_the_gradient_of_a_large_table(backend: str) -> None:
    random = np.random.default_rng(0)
    table = random.standard_normal((ROWS, 2)).astype(np.float32)
    places = (random.pareto(1.0, PLACES) * 50).astype(np.int64) % ROWS  # some of them often
    weights = random.standard_normal((PLACES, 2)).astype(np.float32)
    expected = np.zeros((ROWS, 2))
    np.add.at(expected, places, weights)
    assert np.bincount(places).max() > 100
    with choice_put_back():
        gpunn.use_backend(backend)
        gradient = gpunn.grad(lambda x: ops.sum(ops.take(x, places, 0) * weights))
        found = gradient(table)
        assert_allclose(found, expected, 1e-4, 1e-4)
        assert_array_equal(gradient(table), found)


def test_a_custom_embedding_is_trained() -> None:
    class Embedding(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.table = self.add_weight((ROWS, 4), "uniform", name="table")

        def call(self, x: Any) -> Any:
            return ops.reshape(ops.take(self.table, ops.cast(x, "int32"), 0), (-1, 3 * 4))

    random = np.random.default_rng(0)
    x = random.integers(0, ROWS, (512, 3))
    model = gpunn.Sequential([layers.Input((3,)), Embedding(), layers.Dense(1)])
    model.compile(gpunn.optimizers.SGD(1.0), "mse")
    before = model.get_weights()[0]
    model.fit(x, np.ones((512, 1)), batch_size=512, verbose=0)
    moved = (model.get_weights()[0] != before).any(axis=1)
    assert_array_equal(np.flatnonzero(moved), np.unique(x))

"""An error in a step of a model's class leaves what an error in a step of `fit` leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

ROWS, BATCH = 32, 4
TABLE = np.arange(5, dtype="float32")


class Looked(layers.Layer):
    """Looks each number up in a table, and raises an error for one that is not in it."""

    def call(self, x: Any) -> Any:
        found = ops.take(ops.convert_to_tensor(TABLE), ops.cast(x[:, 0], "int32"))
        return ops.expand_dims(found, -1)


class Own(gpunn.Model):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def network(cls: Any, eagerly: bool = False) -> Any:
    gpunn.utils.set_random_seed(0)
    x = gpunn.Input((2,))
    parts = [layers.BatchNormalization()(layers.Dropout(0.5)(x)), Looked()(x)]
    model = cls(x, layers.Dense(1)(layers.Concatenate()(parts)))
    model.compile("adam", "mse", run_eagerly=eagerly)
    return model


def outcome(cls: Any, row: int, eagerly: bool = False) -> tuple[list[np.ndarray], list[int]]:
    """The weights, and the counts of updates, batches, passes and rows, after an error."""
    x = np.tile(np.arange(4, dtype="float32")[:, None], (ROWS // 4, 2))
    model, y = network(cls, eagerly), np.ones((ROWS, 1), "float32")
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    if row >= 0:
        model.fit(x, y, epochs=3, **options)
    x[row % ROWS, 0] = 9
    with pytest.raises(IndexError, match="got 9"):
        model.fit(x, y, **options)
    counters = model.training_state()[0]["counters"]
    x[row % ROWS, 0] = 0
    after = model.get_weights()
    model.fit(x, y, **options)  # it trains on
    assert np.isfinite(model.history.history["loss"]).all()
    return after, counters[:4].tolist()


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize("row", [-ROWS, 0, 9, 21])
def test_weights_averages_and_counts_are_those_of_the_step_before(backend: str, row: int) -> None:
    """In its first steps, which run in Python, and in those of a program. Dropout draws others."""
    gpunn.use_backend(backend)
    for eagerly in (False, True):
        (weights, counts), (_, expected) = outcome(Own, row, eagerly), outcome(gpunn.Model, row)
        assert counts == expected
        good = row % ROWS // BATCH * BATCH  # rows of the steps before
        reference = network(Own, eagerly)
        x = np.tile(np.arange(4, dtype="float32")[:, None], (ROWS // 4, 2))
        y = np.ones((ROWS, 1), "float32")
        options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
        if row >= 0:
            reference.fit(x, y, epochs=3, **options)
        if good:
            reference.fit(x[:good], y[:good], **options)
        for ours, theirs in zip(weights, reference.get_weights(), strict=True):
            assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)

"""A copy of a model whose steps train networks that it holds goes on as the original."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Holds(gpunn.Model):
    """It is never built: its step calls a network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = gpunn.Sequential([layers.Input((3,)), layers.Dropout(0.5), layers.Dense(1)])

    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self.net(x, training=True)))
        weights = self.net.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
def test_the_order_of_rows_and_random_numbers_go_on(copied: Callable[[Any], Any]) -> None:
    gpunn.utils.set_random_seed(0)
    model = Holds()
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    again = copied(model)
    for each in (model, again):
        each.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    for one, other in zip(model.net.get_weights(), again.net.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-6, atol=1e-8)
    assert_allclose(model.history.history["loss"], again.history.history["loss"], rtol=1e-6)

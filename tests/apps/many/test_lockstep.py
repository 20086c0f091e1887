"""Small networks that train in lockstep: each gets what it would get by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, optimizers
from gpunn.models import NonFiniteLossError

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(700, 3)).astype("float32")
Y = np.eye(3, dtype="float32")[RANDOM.integers(0, 3, 700)]


def networks(count: int, rule: Any, *, penalty: Any = None, dropout: float = 0.0) -> Any:
    models = []
    for seed in range(count):
        with gpunn.utils.seeded(seed):
            stack = [layers.Input((3,)), layers.Dense(3, "tanh", kernel_regularizer=penalty)]
            stack += [layers.Dropout(dropout)] if dropout else []
            model = gpunn.Sequential([*stack, layers.Dense(3, "softmax")])
            model.compile(rule(), "categorical_crossentropy", metrics=["accuracy"])
        models.append(model)
    return models


def test_results_do_not_depend_on_where_the_rows_are() -> None:
    weights = []
    for moved in (False, True):  # rows at the same place let a network use its program again
        models = networks(40, lambda: optimizers.Adam(0.05))
        gpunn.fit_many(models, X, Y, batch_size=2, epochs=3, verbose=0)
        x, y = (X.copy(), Y.copy()) if moved else (X, Y)
        gpunn.fit_many(models, x, y, batch_size=2, epochs=3, verbose=0)
        weights.append([array for model in models for array in model.get_weights()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("given", [{}, {"penalty": gpunn.regularizers.L2(3.0)}, {"dropout": 0.3}])
def test_losses_and_metrics_are_those_of_each_network(given: Any, batch_size: int) -> None:
    arguments: Any = {"batch_size": batch_size, "epochs": 4, "verbose": 0}
    rule = optimizers.SGD
    together = gpunn.fit_many(networks(18, rule, **given), X, Y, **arguments)
    for model, found in list(zip(networks(18, rule, **given), together, strict=True))[::6]:
        alone = model.fit(X, Y, **arguments).history
        for name, values in alone.items():
            np.testing.assert_allclose(found.history[name], values, rtol=1e-5, err_msg=name)
        assert len(alone["loss"]) == 4


def test_the_first_batch_that_is_no_number_is_named() -> None:
    x = X.copy()
    x[433] = 3e38  # beyond the largest number after the first product
    arguments: Any = {"batch_size": 1, "epochs": 3, "verbose": 0, "shuffle": False}

    def linear() -> Any:
        with gpunn.utils.seeded(3):
            model = gpunn.Sequential([layers.Input((3,)), layers.Dense(4), layers.Dense(3)])
            model.compile(optimizers.SGD(1e-4), "mse")
        return model

    with pytest.raises(NonFiniteLossError, match="step 434"):
        linear().fit(x, Y, **arguments)
    with pytest.raises(NonFiniteLossError, match="step 434"):
        gpunn.fit_many([linear() for _ in range(3)], x, Y, **arguments)

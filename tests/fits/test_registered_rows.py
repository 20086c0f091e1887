"""Fits of one model around each registered part: equal to fits of new models from its state."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import registered
from registered_networks import CASES, data, network, unusual

import gpunn

FIRSTS = [*{case[:2]: case for case in reversed(CASES)}.values()]
NOW = FIRSTS[3::44]


def new_network(backend: str, case: Any) -> Any:
    gpunn.backend.clear_session()  # slots are kept by the names of layers, which are numbered
    return network(backend, "float64", *case)


def options(draw: random.Random, model: Any) -> tuple[Any, dict[str, Any]]:
    """Data, and options of a fit."""
    rows, epochs = draw.randint(12, 20), draw.randint(1, 3)
    x, y = data(model, rows, draw.randint(0, 99))
    given: dict[str, Any] = {
        "batch_size": draw.choice([4, 5, rows]), "epochs": epochs, "shuffle": draw.random() < 0.7,
        "verbose": 0,
    }  # fmt: skip
    if draw.random() < 0.3:
        given |= {"initial_epoch": epochs, "epochs": 2 * epochs}
    if draw.random() < 0.4:
        given["sample_weight"] = np.linspace(0.5, 1.5, rows)
    if draw.random() < 0.5:
        given |= {"validation_data": (x[:7], y[:7]), "validation_batch_size": draw.choice([3, 7])}
        given["validation_freq"] = draw.choice([1, 2])
    if draw.random() < 0.4:
        looks = gpunn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
        given["callbacks"] = [looks]
    return (x, y), given


def between(draw: random.Random, model: Any, x: Any, y: Any) -> None:
    """Uses of a model that leave its training as it is."""
    what = draw.choice(["nothing", "evaluate", "predict", "test", "copy"])
    if what == "evaluate":
        model.evaluate(x, y, batch_size=3, verbose=0)
    elif what == "predict":
        model.predict(x, batch_size=5, verbose=0)
    elif what == "test":
        model.test_on_batch(x[:6], y[:6])
    elif what == "copy":
        model.set_weights(model.get_weights())


@unusual
@pytest.mark.parametrize(
    ("kind", "name", "arguments"),
    [pytest.param(*case, marks=[] if case in NOW else [pytest.mark.more(3)]) for case in CASES],
    ids=registered.label,
)
def test_fits_equal_those_of_new_models(
    backend: str, kind: str, name: str, arguments: dict[str, Any]
) -> None:
    """Dropout and other random numbers too, in the order of the rows that the seed gives."""
    draw, case = random.Random(f"{kind} {name} {arguments}"), (kind, name, arguments)
    one = new_network(backend, case)
    state: Any = one.training_state()
    weights = one.get_weights()
    for _ in range(3):
        (x, y), given = options(draw, one)
        between(draw, one, x, y)
        found = one.fit(x, y, **given)
        new = new_network(backend, case)
        new.set_weights(weights)
        new.set_training_state(*state)
        wanted = new.fit(x, y, **given)
        assert found.epoch == wanted.epoch and found.history.keys() == wanted.history.keys()
        for key, values in wanted.history.items():
            np.testing.assert_allclose(found.history[key], values, rtol=1e-10, err_msg=key)
        weights, state = new.get_weights(), new.training_state()
        for a, b in zip(one.get_weights(), weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
        assert one.optimizer.iterations == new.optimizer.iterations
        evaluated = [m.evaluate(x, y, batch_size=9, verbose=0) for m in (one, new)]
        np.testing.assert_allclose(*evaluated, rtol=1e-10)

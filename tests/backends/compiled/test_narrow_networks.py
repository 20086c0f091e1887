"""Narrow networks trained on one row per step: programs of such steps are one compiled function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, optimizers
from gpunn.backends.compiled import cpu_kernels

pytestmark = pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))

ROWS, INPUTS, CLASSES = 60, 5, 3
SOFTMAX = ("softmax", "sparse_categorical_crossentropy")


def trained(eagerly: bool, epochs: int = 2, **given: Any) -> list[np.ndarray]:
    """Return losses, metrics and weights after some epochs. Eager steps are single operations."""
    widths = given.get("widths", (4, 3))
    hidden, last = given.get("activation", "sigmoid"), given.get("last", ("sigmoid", "mse"))
    gpunn.utils.set_random_seed(1)
    stack: list[Any] = [layers.Input((INPUTS,))]
    stack += [layers.Dense(units, activation=hidden) for units in widths]
    model = gpunn.Sequential(
        [*stack, layers.Dense(CLASSES, activation=last[0])], backend="compiled"
    )
    name, options = given.get("optimizer", ("SGD", {}))
    optimizer = getattr(optimizers, name)(**{"learning_rate": 0.1, **options})
    model.compile(optimizer, last[1], metrics=given.get("metrics"), run_eagerly=eagerly)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(ROWS, INPUTS)), rng.integers(0, CLASSES, ROWS)
    y = labels if last[1].startswith("sparse") else np.eye(CLASSES)[labels]
    size = given.get("batch_size", 1)
    fit = {"sample_weight": rng.uniform(0.5, 2.0, ROWS)} if given.get("weighted") else {}
    history = model.fit(x, y, batch_size=size, epochs=epochs, verbose=0, **fit)
    return [np.array(values) for values in history.history.values()] + model.get_weights()


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "given",
    [
        {},
        *({"widths": (units, 2)} for units in (1, 2, 7, 8, 9, 15, 16, 17)),
        {"widths": ()},
        {"widths": (2, 3, 4, 5, 6, 7)},
        *({"activation": name} for name in ("linear", "relu", "tanh", "gelu", "silu", "softplus")),
        *({"last": ("linear", loss)} for loss in ("mae", "huber", "log_cosh", "cosine_similarity")),
        {"last": SOFTMAX},
        {"last": SOFTMAX, "metrics": ["accuracy"]},
        *(
            {"optimizer": (name, {})}
            for name in ("Adam", "AdamW", "RMSprop", "Nadam", "Lamb", "Lion")
        ),
        {"optimizer": ("SGD", {"momentum": 0.9, "nesterov": True})},
        {"optimizer": ("SGD", {"weight_decay": 0.01})},
        {"optimizer": ("Adam", {"amsgrad": True})},
        {"weighted": True},
        {"batch_size": 2},
    ],
    ids=str,
)
def test_a_program_gives_the_bits_of_single_operations(given: dict[str, Any]) -> None:
    for ours, single in zip(trained(False, **given), trained(True, **given), strict=True):
        np.testing.assert_array_equal(ours, single)


def test_a_loss_that_becomes_infinite_is_found_at_the_same_step() -> None:
    given = {"last": ("linear", "mse"), "optimizer": ("SGD", {"learning_rate": 1e8})}
    found = []
    for eagerly in (False, True):
        with pytest.raises(FloatingPointError, match=r"epoch 1, step \d+\.") as caught:
            trained(eagerly, activation="relu", **given)
        found.append(str(caught.value))
    assert found[0] == found[1]


def test_weights_set_between_epochs_are_those_of_the_next_one() -> None:
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1)], backend="compiled")
    model.compile(optimizers.SGD(0.0), "mse")
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    for value in (1.0, 3.0):
        model.set_weights([np.full((2, 1), value), np.zeros(1)])
        history = model.fit(x, y, batch_size=1, verbose=0)
        assert history.history["loss"] == [4 * value * value]
        assert model.get_weights()[0].tolist() == [[value], [value]]

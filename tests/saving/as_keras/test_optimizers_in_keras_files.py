"""Optimizers with several options, and more than ten weights of one shape, in Keras's files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own

ALL = [
    (name, own)
    for name, own in registered.cases("optimizer")
    if not own.get("lazy")  # which Keras lacks
]
LATER = [case for case in ALL if case[0] in ("Adafactor", "Ftrl", "Muon", "ScheduleFreeAdamW")]
CASES = [case for case in ALL if case not in LATER]
EACH = 4
ROWS = 12
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(ROWS, 3)).astype("float32")
FIT = {"batch_size": 4, "shuffle": False, "verbose": 0}


def rate(module: Any, r: random.Random) -> Any:
    schedules = module.optimizers.schedules
    return r.choice([
        0.01, schedules.ExponentialDecay(0.02, 3, 0.8),
        schedules.CosineDecay(0.02, 9, warmup_steps=4, warmup_target=0.03),
        schedules.PiecewiseConstantDecay([2, 7], [0.01, 0.02, 0.005]),
        schedules.InverseTimeDecay(0.02, 2, 0.7, staircase=True),
    ])  # fmt: skip


def network(module: Any, number: int) -> Any:
    """Return a compiled chain of the same layers and options in gpunn and in Keras."""
    cases = CASES if number < EACH * len(CASES) else LATER
    name, own = cases[number % len(cases)]
    r = random.Random(number)
    options = {**own, "learning_rate": rate(module, r)}
    common = {
        "weight_decay": 0.02, "global_clipnorm": 0.7, "clipnorm": 0.5, "clipvalue": 0.1,
        "use_ema": True, "gradient_accumulation_steps": 2, "loss_scale_factor": 4.0,
    }  # fmt: skip
    for key in r.sample(sorted(common), 3):
        if key not in options and not ("clip" in key and any("clip" in k for k in options)):
            options[key] = common[key]
    if "use_ema" in options:
        options |= {"ema_momentum": 0.6, "ema_overwrite_frequency": r.choice([None, 2])}
    layers = module.layers
    frozen = r.randrange(6)
    chain = [layers.Dense(3, "tanh", trainable=k != frozen) for k in range(6)]
    chain[r.randrange(6):0] = [layers.BatchNormalization()]
    model = module.Sequential([module.Input((3,)), *chain])
    model.compile(getattr(module.optimizers, name)(**options), "mse")
    return model


def assert_equal(some: Any, others: Any, tolerance: float = 0.0) -> None:
    for a, b in zip(some.get_weights(), others.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


# Adam with amsgrad, RMSprop with all its slots, Nadam that accumulates; Adafactor, Muon.
CHOSEN = {6, 24, 53, 135, 139}
# Adamax divides the gradient of a bias before BatchNormalization, which is rounding, by itself.
CHAOTIC = {47}


@pytest.mark.parametrize("number", [
    pytest.param(k, marks=() if k in CHOSEN else pytest.mark.more(4))
    for k in range(EACH * len(ALL)) if k not in CHAOTIC
])  # fmt: skip
def test_training_goes_on_in_both(number: int, tmp_path: Path, keras_as_elsewhere: Any) -> None:
    keras = keras_as_elsewhere
    gpunn.utils.set_random_seed(number)
    ours, first = network(gpunn, number), network(keras, number)
    first.set_weights(ours.get_weights())
    ours.fit(X, Y, **FIT)
    first.fit(X, Y, **FIT)
    assert_equal(ours, first, 3e-5)
    ours.save(tmp_path / "ours.keras")
    first.save(tmp_path / "theirs.keras")
    first.save_weights(tmp_path / "theirs.weights.h5")  # with the optimizer's state
    read = [
        keras.saving.load_model(tmp_path / "ours.keras"),
        gpunn.saving.load_model(tmp_path / "ours.keras"),
        gpunn.saving.load_model(tmp_path / "theirs.keras"),
    ]
    weights = network(gpunn, number)
    weights.load_weights(tmp_path / "theirs.weights.h5")
    assert_equal(weights, first)
    for model in read:
        assert int(model.optimizer.iterations) == int(first.optimizer.iterations)
        assert float(model.optimizer.learning_rate) == pytest.approx(
            float(first.optimizer.learning_rate), rel=1e-6
        )
    for model in (ours, first, *read):
        model.fit(X, Y, epochs=2, **FIT)
    assert_equal(ours, read[1])
    for model in (first, read[0], read[2]):
        assert_equal(ours, model, 1e-4)

"""What Keras 3 asserts in its unit tests of ReduceLROnPlateau."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers, optimizers

RNG = np.random.default_rng(0)
X, X_TEST = RNG.random((2, 10, 3))
Y, Y_TEST = np.eye(2)[RNG.integers(0, 2, (2, 10))]


def rate_after(epochs: int, optimizer: Any = None, **arguments: Any) -> float:
    model = gpunn.Sequential([layers.Dense(5), layers.Dense(2)])
    model.compile(loss="mse", optimizer=optimizer or optimizers.Adam(0.1))
    reduce = callbacks.ReduceLROnPlateau(
        **{"patience": 1, "factor": 0.1, "monitor": "val_loss", "min_delta": 100, **arguments}
    )
    data = {"validation_data": (X_TEST, Y_TEST), "verbose": 0}
    model.fit(X, Y, callbacks=[reduce], epochs=epochs, **data)
    return model.optimizer.learning_rate


def test_it_reduces() -> None:
    assert rate_after(2) == pytest.approx(0.01)


def test_a_schedule_is_refused() -> None:
    rate = optimizers.schedules.PolynomialDecay(initial_learning_rate=0.1, decay_steps=10)
    with pytest.raises(TypeError, match="this optimizer was created with a LearningRateSchedule"):
        rate_after(2, optimizers.Adam(rate))
    with pytest.raises(ValueError, match="factor"):
        callbacks.ReduceLROnPlateau(factor=1.0)


def test_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    rate_after(2, verbose=1)
    assert "ReduceLROnPlateau reducing learning rate to 0.01" in capsys.readouterr().out


def test_the_least_rate() -> None:
    assert rate_after(4, min_delta=10, min_lr=0.005) == 0.005


def test_cooldown() -> None:
    assert rate_after(4, cooldown=2) == pytest.approx(0.001)


def test_state_is_reset_when_training_begins() -> None:
    model = gpunn.Sequential([layers.Dense(2)])
    model.compile(loss="mse", optimizer="adam")
    reduce = callbacks.ReduceLROnPlateau(
        patience=1, factor=0.1, monitor="loss", min_delta=0, cooldown=2
    )
    reduce.set_model(model)
    reduce.best, reduce.wait, reduce.cooldown_counter = 0.5, 3, 2
    assert reduce.in_cooldown()
    reduce.on_train_begin()
    assert [reduce.best, reduce.wait, reduce.cooldown_counter] == [None, 0, 0]

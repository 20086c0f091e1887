"""Test `apps.learning.fit_best`: the best weights are kept, however the training ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.apps.learning import RowSet, Settings, fit_best
from gpunn.callbacks import Callback

RANDOM = np.random.default_rng(5)


class Watch(Callback):
    """Keeps the weights and the loss of each epoch; Ctrl-C comes after one of them."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last, self.losses, self.weights = last, [], []  # type: ignore[var-annotated]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(logs["val_loss"])
        self.weights.append(self.model.get_weights())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch > self.last:
            raise KeyboardInterrupt


@pytest.mark.parametrize("turning", [0.0, 0.5, 1.0])  # from where on it only gets worse
@pytest.mark.parametrize("last", [1, 4, 8, 1000])
def test_the_best_weights_are_kept(last: int, turning: float) -> None:
    x = RANDOM.normal(size=(24, 2))
    train = RowSet(x, x @ [1.0, -1.0])
    held = RowSet(x, turning * train.y)
    model = gpunn.Sequential(
        [gpunn.Input((2,)), gpunn.layers.Dense(1, kernel_initializer="zeros", use_bias=False)]
    )
    watch = Watch(last)
    settings = Settings(batch_size=4, optimizer="sgd", learning_rate=0.02, epochs=12)
    done = fit_best(model, train, held, 0, settings, [watch])
    best = int(np.argmin(watch.losses))
    assert done == (best + 1, len(watch.losses), last < 12)
    np.testing.assert_array_equal(model.get_weights(), watch.weights[best])


def test_an_interrupt_before_there_is_a_best_one_is_passed_on() -> None:
    rows = RowSet(np.ones((4, 2)), np.ones(4))
    model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)])

    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_best(model, rows, rows, 0, Settings(batch_size=2), [Stop()])

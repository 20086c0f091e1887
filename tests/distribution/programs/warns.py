"""Warnings on all ranks and on one, while training and after it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gpunn import Input, Sequential, layers
from gpunn.callbacks import Callback
from gpunn.distribution import rank


def warn(when: str) -> None:
    warnings.warn(f"{when} on all ranks", stacklevel=2)
    if rank() == 1:
        warnings.warn(f"{when} on one rank", stacklevel=2)


class Warn(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            warn("in an epoch")
        if epoch == 0 or rank() == 1:  # the same words, later on one rank
            warnings.warn_explicit("once more", UserWarning, "warns.py", 1)


def run() -> None:
    warn("before training")
    model = Sequential([Input((4,)), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    x = np.random.default_rng(0).normal(size=(20, 4))
    batches = ((x, x[:, :1]) for _ in range(4))
    model.fit(batches, epochs=3, steps_per_epoch=3, verbose=0, callbacks=[Warn()])
    warn("after training")
    with warnings.catch_warnings(record=True) as caught:
        warn("unseen")
    assert len(caught) == 1 + (rank() == 1)

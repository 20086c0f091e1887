"""Trainings of each rank alone, after ``set_distribution(None)``."""

from __future__ import annotations

import numpy as np

from gpunn import Input, Sequential, layers
from gpunn.distribution import rank, set_distribution


def run() -> None:
    set_distribution(None)
    x = np.random.default_rng(rank()).normal(size=(20 + rank(), 4))  # others on each rank
    model = Sequential([Input((4,)), layers.Dense(1 + rank())])
    model.compile(optimizer="sgd", loss="mse")
    for _ in range(1 + rank()):
        y = np.tile(x[:, :1], 1 + rank())
        history = model.fit(x, y, epochs=5, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]

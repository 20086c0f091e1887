"""Trainings of each rank alone, after ``set_distribution(None)``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gpunn import Input, Sequential, layers
from gpunn.callbacks import CSVLogger, ModelCheckpoint
from gpunn.distribution import rank, set_distribution


def run() -> None:
    set_distribution(None)
    x = np.random.default_rng(rank()).normal(size=(20 + rank(), 4))  # others on each rank
    model = Sequential([Input((4,)), layers.Dense(1 + rank())])
    model.compile(optimizer="sgd", loss="mse")
    y = np.tile(x[:, :1], 1 + rank())
    for _ in range(1 + rank()):
        history = model.fit(x, y, epochs=5, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
    with TemporaryDirectory() as folder:  # each writes its own files
        log, kept = Path(folder, "log.csv"), Path(folder, "model.gpunn")
        model.fit(x, y, verbose=0, callbacks=[CSVLogger(log), ModelCheckpoint(kept)])
        assert log.read_text() and kept.exists()

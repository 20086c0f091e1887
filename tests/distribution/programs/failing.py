"""A training in which one rank fails: ``failing.py HOW FOLDER``."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from gpunn import Input, Sequential, layers
from gpunn.callbacks import Callback, ModelCheckpoint
from gpunn.distribution import initialize, rank


class Fail(Callback):
    def __init__(self, how: str) -> None:
        self.how = how

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if rank() != 1 or epoch != 3:
            return
        if self.how == "raise":
            warnings.warn("bad luck on one rank", stacklevel=2)
            raise RuntimeError("the third epoch is unlucky")
        if self.how == "os._exit":
            os._exit(0)
        if self.how.startswith("exit"):
            sys.exit(int(self.how.split()[1]))
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}[self.how])


def run(how: str, place: str) -> None:
    folder = Path(place)
    folder.mkdir(exist_ok=True)
    x = np.random.default_rng(0).normal(size=(100, 4))
    model = Sequential([Input((4,)), layers.Dense(50, activation="relu"), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    checkpoint = ModelCheckpoint(folder / "last.gpunn")
    y, epochs = x.sum(1, keepdims=True), 1 if how == "after training" else 100_000
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[checkpoint, Fail(how)])
    if rank() == 1:
        sys.exit(0)
    for _ in range(100):  # the others go on alone
        model.evaluate(x, y, verbose=0)
    print("evaluated")


if __name__ == "__main__":
    initialize(timeout=10 if sys.argv[1] == "freeze" else 120)
    run(*sys.argv[1:])

"""What a search of the tests builds, in a module of its own: other processes import it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import gpunn
from gpunn import layers

X, Y = gpunn.datasets.toy.spirals(60)
MARK = "GPUNN_TEST_MARK"  # a file whose presence says that a process has died


def build(units: int = 4, rate: float = 0.05) -> Any:
    model = gpunn.Sequential([
        layers.Input((2,)), layers.Dense(units, "tanh"), layers.Dropout(0.1),
        layers.Dense(1, "sigmoid"),
    ])  # fmt: skip
    model.compile(gpunn.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return model


def dying_once(units: int = 4) -> Any:
    """Build a model; for the first time that it is asked for five units, the process dies."""
    mark = Path(os.environ[MARK])
    if units == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return build(units)


def dying(units: int = 4) -> Any:
    if units == 5:
        time.sleep(0.2)  # others are in work
        os.kill(os.getpid(), signal.SIGKILL)
    return build(units)


def by_hand(point: dict[str, Any], seed: int, rows: Any, held: Any, **fit: Any) -> Any:
    """Return the model and the history of a trial, as the documentation says it is trained."""
    with gpunn.utils.seeded(seed):
        model = build(**point)
        history = model.fit(
            X[rows], Y[rows], validation_data=(X[held], Y[held]), verbose=0, **fit
        )
    return model, history


def weights(model: Any) -> np.ndarray:
    return np.concatenate([array.ravel() for array in model.get_weights()])


class Peculiar(Exception):
    """An error that can be pickled, and not be read again."""

    def __init__(self, units: int, why: str) -> None:
        super().__init__(f"{units} units: {why}")


def refusing(units: int) -> gpunn.Sequential:
    """Refuse 5 units."""
    if units == 5:
        raise Peculiar(units, "not today")
    return build(units, 0.1)


class Pressing(gpunn.callbacks.Callback):
    """Notes in a folder that a trial began, sends Ctrl-C to the process that searches, and trains
    on when that process has removed what it had written for this one."""

    def __init__(self, marks: str, temporary: str, process: int) -> None:
        self.marks, self.temporary, self.process = marks, temporary, process

    def on_train_begin(self, logs: Any = None) -> None:
        Path(self.marks, f"{os.getpid()}-{time.monotonic_ns()}").touch()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        with suppress(FileExistsError):  # another trial has sent it
            Path(self.temporary, "pressed").touch(exist_ok=False)
            os.kill(self.process, signal.SIGINT)
        while [*Path(self.temporary).glob("gpunn-search-*")]:
            os.sched_yield()

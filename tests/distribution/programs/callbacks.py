"""Trainings with callbacks that write, stop or resume: ``callbacks.py CASE FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
import emulated  # noqa: F401  makes GPUNN_BACKEND=emulated known

import gpunn
from gpunn import Input, Sequential, layers
from gpunn.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    ModelCheckpoint,
)
from gpunn.distribution import initialize, rank, size

X = np.random.default_rng(0).normal(size=(101, 6))
Y = np.random.default_rng(1).integers(0, 3, 101)
EPOCHS = 6


class Stop(Callback):
    """Ends the process, or stops the training on one rank, after an epoch or a batch."""

    def __init__(self, epoch: int, batch: int | None = None, kill: bool = False) -> None:
        self.at, self.kill = (epoch, batch), kill
        self.epoch = -1

    @property
    def needs_train_batches(self) -> bool:
        return self.at[1] is not None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._act((self.epoch, batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._act((epoch, None))

    def _act(self, now: tuple[int, int | None]) -> None:
        if now != self.at:
            return
        if self.kill:
            raise SystemExit(0)
        self.model.stop_training = rank() == size() - 1


def model_and_fit(callbacks: list[Any], verbose: int = 0, **options: Any) -> tuple[Any, Any]:
    model = Sequential([
        Input((6,)), layers.Dense(9, activation="relu"), layers.Dropout(0.3),
        layers.BatchNormalization(synchronized=True), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    given = {"batch_size": 17, "epochs": EPOCHS, "validation_split": 0.2, **options}
    return model, model.fit(X, Y, callbacks=callbacks, verbose=verbose, **given)


def write(folder: Path) -> None:
    callbacks = [
        CSVLogger(folder / "log.csv"),
        ModelCheckpoint(folder / "{epoch}.gpunn", verbose=1),
        ModelCheckpoint(folder / "batch {epoch} {batch}.gpunn", save_freq=7),
        EarlyStopping("loss", patience=0, min_delta=10.0, verbose=1),
    ]
    model, _ = model_and_fit(callbacks, verbose=2)
    model.save(folder / f"rank {rank()}.gpunn")


def stop(folder: Path, **at: Any) -> None:
    model, history = model_and_fit([Stop(**at)])
    steps = model._trainer.updates if hasattr(model, "_trainer") else None
    found = {"history": history.history, "epochs": len(history.epoch), "steps": steps}
    (folder / f"{rank()}.json").write_text(json.dumps(found))
    np.savez(folder / f"weights {rank()}.npz", *model.get_weights())


def own_statistics(folder: Path) -> None:
    """Each rank has the statistics of its own rows; in some batches, one has no row."""
    model = Sequential([Input((6,)), layers.BatchNormalization(momentum=0.5), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    rows = X[:10] + 3.0
    checkpoint = ModelCheckpoint(folder / "{epoch}.gpunn", save_freq=1)
    model.fit(rows, rows[:, :1], batch_size=3, epochs=20, verbose=0, callbacks=[checkpoint])
    np.savez(folder / f"weights {rank()}.npz", *model.get_weights())


def backed_up(folder: Path, kill: tuple[int, int | None] | None, save_freq: Any) -> None:
    """Train on from where an earlier call was killed; write weights and history at the end."""
    backup = BackupAndRestore(folder / "backup", save_freq=save_freq)
    log = CSVLogger(folder / "log.csv")
    best = EarlyStopping("val_loss", patience=50)
    kills = [] if kill is None else [Stop(*kill, kill=True)]
    model, history = model_and_fit([log, best, *kills, backup])
    if rank() == 0:
        np.savez(folder / "weights.npz", *model.get_weights())
        (folder / "history.json").write_text(json.dumps([history.history, best.best]))


CASES: dict[str, Any] = {
    "own statistics": own_statistics,
    "show the progress": lambda folder: model_and_fit([], verbose=1),
    "write": write,
    "stop after an epoch": lambda folder: stop(folder, epoch=2),
    "stop after a batch": lambda folder: stop(folder, epoch=1, batch=2),
    "until epoch 1": lambda folder: backed_up(folder, (1, None), "epoch"),
    "until epoch 3": lambda folder: backed_up(folder, (3, None), "epoch"),
    "to the end": lambda folder: backed_up(folder, None, "epoch"),
    "until batch 3 of epoch 1": lambda folder: backed_up(folder, (1, 3), 2),
    "until batch 1 of epoch 4": lambda folder: backed_up(folder, (4, 1), 2),
    "to the end by batches": lambda folder: backed_up(folder, None, 2),
}


def run(case: str, place: str) -> None:
    folder = Path(place)
    folder.mkdir(exist_ok=True)
    gpunn.config.set_floatx("float64")
    gpunn.utils.set_random_seed(5 + rank())
    if not case.startswith("until"):
        CASES[case](folder)
        return
    try:
        CASES[case](folder)
    except SystemExit:  # another process goes on
        assert not (folder / "weights.npz").exists()
    else:
        raise AssertionError(f"{case}: nothing ended the training")


if __name__ == "__main__":
    initialize(timeout=60)
    run(*sys.argv[1:])

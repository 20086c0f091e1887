"""What Keras 3 asserts in its unit tests of ModelCheckpoint and BackupAndRestore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

callbacks, layers = gpunn.callbacks, gpunn.layers
pytestmark = pytest.mark.filterwarnings("ignore:.*own format:UserWarning")

RNG = np.random.default_rng(1337)
X, Y = RNG.random((10, 3)), RNG.random((10, 1))
BATCH = 4  # three batches per epoch, the last with two rows
BATCHES = 3


def regression() -> Any:
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(2, activation="relu"), layers.Dense(1)]
    )
    model.compile(optimizer="sgd", loss="mse")
    return model


def classifier() -> Any:
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["acc"])
    return model


# Keras requires these suffixes; any name works here.
ENDINGS = {False: ".keras", True: ".weights.h5"}


@pytest.mark.parametrize("weights_only", [False, True])
@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({}, True),
        ({"mode": "min"}, True),
        ({"monitor": "val_acc", "mode": "max"}, True),
        ({"monitor": "val_acc", "mode": "max", "save_best_only": True}, True),
        ({"save_best_only": True, "mode": "auto"}, True),
        ({"monitor": "val_acc", "mode": "max", "save_best_only": True,
          "initial_value_threshold": -0.01}, True),
        ({"mode": "min", "save_best_only": True, "initial_value_threshold": 0}, False),
        ({"mode": "auto", "save_best_only": True, "initial_value_threshold": 0}, False),
        ({"monitor": "val_acc", "mode": "auto", "save_best_only": True,
          "initial_value_threshold": 1}, False),
    ],
)  # fmt: skip
def test_checkpoint_is_written(
    arguments: dict[str, Any], written: bool, weights_only: bool, tmp_path: Path
) -> None:
    path = tmp_path / "subdir" / f"checkpoint{ENDINGS[weights_only]}"
    bits = (Y > 0.5).astype("float32")
    model = classifier()
    saver = callbacks.ModelCheckpoint(path, save_weights_only=weights_only, **arguments)
    model.fit(X, bits, batch_size=BATCH, validation_data=(X, bits), callbacks=[saver], verbose=0)
    assert path.exists() == written


@pytest.mark.parametrize("weights_only", [False, True])
def test_checkpoint_holds_the_weights(weights_only: bool, tmp_path: Path) -> None:
    path = tmp_path / f"checkpoint{ENDINGS[weights_only]}"
    model = regression()
    saver = callbacks.ModelCheckpoint(
        str(path), save_best_only=True, save_weights_only=weights_only
    )
    model.fit(X, Y, batch_size=5, validation_data=(X, Y), callbacks=[saver], verbose=0)
    if weights_only:
        again = regression()
        again.load_weights(path)
    else:
        again = gpunn.saving.load_model(path)
    for got, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        assert_allclose(got, expected)


@pytest.mark.parametrize("weights_only", [False, True])
def test_checkpoint_every_so_many_batches(weights_only: bool, tmp_path: Path) -> None:
    # Five batches per epoch: every 15 batches are every third epoch.
    x, y = RNG.random((30, 3)), RNG.random((30, 1))
    pattern = "checkpoint.epoch{epoch:02d}" + ENDINGS[weights_only]
    saver = callbacks.ModelCheckpoint(
        tmp_path / pattern, save_freq=15, save_weights_only=weights_only
    )
    regression().fit(x, y, batch_size=6, callbacks=[saver], epochs=10, verbose=0)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {pattern.format(epoch=epoch) for epoch in (3, 6, 9)}


def test_checkpoint_names_count_epochs_and_batches_from_one(tmp_path: Path) -> None:
    x, y = RNG.random((30, 3)), RNG.random((30, 1))
    pattern = "checkpoint.epoch{epoch:02d}batch{batch:02d}.keras"
    saver = callbacks.ModelCheckpoint(tmp_path / pattern, save_freq=1)
    regression().fit(x, y, batch_size=15, callbacks=[saver], epochs=5, verbose=0)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        pattern.format(epoch=epoch, batch=batch) for epoch in range(1, 6) for batch in (1, 2)
    }


def test_checkpoint_names_take_metrics(tmp_path: Path) -> None:
    saver = callbacks.ModelCheckpoint(tmp_path / "{epoch:03d}-{val_loss:.3f}.keras")
    history = (
        regression()
        .fit(X, Y, validation_data=(X, Y), callbacks=[saver], epochs=2, verbose=0)
        .history
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        f"{epoch:03d}-{loss:.3f}.keras" for epoch, loss in enumerate(history["val_loss"], 1)
    ]


def test_checkpoint_of_the_best_alone(tmp_path: Path) -> None:
    """Three epochs improve, one does not: three files."""

    class Script(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_loss"] = [0.5, 0.4, 0.45, 0.3][epoch]

    saver = callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", save_best_only=True)
    regression().fit(X, Y, validation_data=(X, Y), callbacks=[Script(), saver], epochs=4, verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.keras", "2.keras", "4.keras"]


def test_checkpoint_without_its_monitor_warns_and_saves(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.keras"
    saver = callbacks.ModelCheckpoint(path, monitor="unknown", save_best_only=True, mode="min")
    with pytest.warns(UserWarning, match="unknown"):
        regression().fit(X, Y, callbacks=[saver], verbose=0)
    assert path.exists()


def test_checkpoint_refuses() -> None:
    with pytest.raises(ValueError, match="save_freq"):
        callbacks.ModelCheckpoint("model.keras", save_freq="invalid_save_freq")
    callbacks.ModelCheckpoint("model.keras", save_freq="epoch")
    callbacks.ModelCheckpoint("model.keras", save_freq=3)


class Interrupt(callbacks.Callback):
    """Raises at the end of a batch or of an epoch, and counts the batches until then."""

    def __init__(self, batches: int | None = None, epochs: int | None = None) -> None:
        super().__init__()
        self.batches, self.epochs = batches, epochs
        self.seen = self.seen_epochs = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        if self.seen == self.batches:
            raise RuntimeError("in a batch")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen_epochs += 1
        if self.seen_epochs == self.epochs:
            raise RuntimeError("after an epoch")


def test_backup_after_an_epoch(tmp_path: Path) -> None:
    folder = tmp_path / "subdir"
    model = regression()
    backup = callbacks.BackupAndRestore(folder, save_freq="epoch")
    with pytest.raises(RuntimeError, match="after an epoch"):
        model.fit(
            X, Y, batch_size=BATCH, callbacks=[backup, Interrupt(epochs=2)], epochs=6, verbose=0
        )  # fmt: skip
    assert folder.exists()

    counter = Interrupt()
    history = model.fit(X, Y, batch_size=BATCH, callbacks=[backup, counter], epochs=5, verbose=0)
    assert history.epoch[-1] == 4
    # Two epochs are done: three are left.
    assert counter.seen == 3 * BATCHES
    assert not folder.exists()


def test_backup_within_an_epoch(tmp_path: Path) -> None:
    folder = tmp_path / "subdir"
    model = regression()
    backup = callbacks.BackupAndRestore(folder, save_freq=1)
    with pytest.raises(RuntimeError, match="in a batch"):
        model.fit(
            X, Y, batch_size=BATCH, callbacks=[backup, Interrupt(batches=2)], epochs=2, verbose=0
        )  # fmt: skip
    assert folder.exists()
    history = model.fit(X, Y, batch_size=BATCH, callbacks=[backup], epochs=5, verbose=0)
    assert history.epoch[-1] == 4


def test_backup_of_a_finished_training_leaves_nothing_to_do(tmp_path: Path) -> None:
    def fit(model: Any) -> int:
        backup = callbacks.BackupAndRestore(tmp_path / "subdir", delete_checkpoint=False)
        counter = Interrupt()
        model.fit(X, Y, batch_size=BATCH, callbacks=[backup, counter], epochs=2, verbose=0)
        return counter.seen

    model, fresh = regression(), regression()
    assert fit(model) == 2 * BATCHES
    assert (tmp_path / "subdir").exists()
    assert fit(fresh) == 0
    for got, expected in zip(fresh.get_weights(), model.get_weights(), strict=True):
        assert_allclose(got, expected)


@pytest.mark.parametrize("folder", ["", None])
def test_backup_refuses_no_folder(folder: str | None) -> None:
    with pytest.raises((ValueError, TypeError), match="backup_dir"):
        callbacks.BackupAndRestore(backup_dir=folder)


@pytest.mark.parametrize("save_freq", ["batch", 0.15])
def test_backup_refuses_a_frequency(save_freq: Any) -> None:
    with pytest.raises(ValueError, match="save_freq"):
        callbacks.BackupAndRestore(backup_dir="backup_dir", save_freq=save_freq)

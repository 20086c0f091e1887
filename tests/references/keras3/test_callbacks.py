"""What Keras 3 asserts in its unit tests of callbacks: when they act, and their results."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

callbacks, layers = gpunn.callbacks, gpunn.layers

RNG = np.random.default_rng(1337)
X, Y = RNG.random((10, 3)), RNG.random((10, 1))
BATCH = 4  # three batches per epoch, the last with two rows
BATCHES = 3


class Stub:
    """A substitute for a model, with the number of the last epoch as its weights."""

    def __init__(self) -> None:
        self.stop_training = False
        self.weights: Any = -1

    def get_weights(self) -> Any:
        return self.weights

    def set_weights(self, weights: Any) -> None:
        self.weights = weights


def regression(metrics: Any = ("mse",)) -> Any:
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(2, activation="relu"), layers.Dense(1)]
    )
    model.compile(optimizer="sgd", loss="mse", metrics=list(metrics))
    return model


def exploding() -> Any:
    """Overflows in the first batch: five layers of weights of 1e5."""
    big = gpunn.initializers.Constant(value=1e5)
    hidden = [layers.Dense(2, activation="relu", kernel_initializer=big) for _ in range(5)]
    model = gpunn.Sequential([layers.Input((3,)), *hidden, layers.Dense(2)])
    model.compile(optimizer="sgd", loss="mean_squared_error")
    return model


def watch(stopper: Any, values: list[float], *, interrupt: int | None = None) -> tuple[Any, int]:
    """Pass one value per epoch to the callback; return the final model and the number of epochs."""
    model, ran = Stub(), 0
    stopper.set_model(model)
    stopper.on_train_begin()
    for epoch, value in enumerate(values):
        ran += 1
        model.weights = epoch
        stopper.on_epoch_end(epoch, logs={stopper.monitor: value})
        if model.stop_training or epoch == interrupt:
            break
    stopper.on_train_end()
    return model, ran


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_early_stopping_patience(patience: int) -> None:
    losses = [10.0, 9.0, 8.0, 9.0, 8.9, 8.8, 8.7, 8.6, 8.5]
    stopper = callbacks.EarlyStopping(monitor="loss", patience=patience)
    _, ran = watch(stopper, losses)
    assert stopper.stopped_epoch == max(patience, 1) + 2
    assert ran == stopper.stopped_epoch + 1


@pytest.mark.parametrize(
    ("arguments", "values", "interrupt", "ran", "weights"),
    [
        # The best of five is in epoch 2.
        ({"patience": 2}, [0.2, 0.15, 0.1, 0.11, 0.12], None, 5, 2),
        # None beats the baseline, so patience is never renewed, and the best is still restored.
        ({"patience": 5, "baseline": 0.5}, [0.9, 0.8, 0.7, 0.71, 0.72, 0.73], None, 5, 2),
        # Something else stops the training.
        ({"patience": 5, "baseline": 0.5}, [0.9, 0.8, 0.7, 0.71, 0.72, 0.73], 3, 4, 2),
        # Once the baseline is beaten, better values renew the patience.
        ({"patience": 2, "baseline": 0.5}, [0.4, 0.45, 0.3, 0.31, 0.32, 0.33], None, 5, 2),
        # Values before epoch 2 are ignored, however good.
        ({"patience": 2, "start_from_epoch": 2}, [0.01, 0.02, 0.5, 0.4, 0.6, 0.7, 0.8], None, 6, 3),
        # An improvement of at most min_delta does not count.
        ({"patience": 2, "min_delta": 0.1}, [0.9, 0.85, 0.81, 0.3], None, 3, 0),
        ({"patience": 2, "min_delta": 0.1, "mode": "max"}, [0.5, 0.75, 0.8, 0.84], None, 4, 1),
        ({"patience": 1, "mode": "max"}, [0.1, 0.2, 0.3, 0.25], None, 4, 2),
    ],
)  # fmt: skip
def test_early_stopping_restores_the_best(
    arguments: dict[str, Any],
    values: list[float],
    interrupt: int | None,
    ran: int,
    weights: int,
) -> None:
    stopper = callbacks.EarlyStopping(restore_best_weights=True, **arguments)
    model, epochs = watch(stopper, values, interrupt=interrupt)
    assert (epochs, model.weights) == (ran, weights)


@pytest.mark.parametrize(("patience", "ran"), [(0, 2), (1, 2), (2, 3)])
def test_early_stopping_of_what_never_gets_better(patience: int, ran: int) -> None:
    """The first epoch is the best so far, so patience begins with the second."""
    assert watch(callbacks.EarlyStopping(patience=patience), [1.0, 2.0, 2.0, 2.0, 2.0])[1] == ran


def test_early_stopping_keeps_the_last_weights_by_default() -> None:
    model, _ = watch(callbacks.EarlyStopping(patience=2), [0.2, 0.1, 0.3, 0.4, 0.5])
    assert model.weights == 3


def test_early_stopping_starts_afresh_in_another_fit() -> None:
    stopper = callbacks.EarlyStopping(monitor="loss", patience=2)
    assert watch(stopper, [0.1, 0.2, 0.3, 0.4])[1] == 3
    # Worse than before, but better and better.
    assert watch(stopper, [0.9, 0.8, 0.7, 0.6, 0.5])[1] == 5
    assert stopper.stopped_epoch == 0


def accurate() -> Any:
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(1, activation="sigmoid")])
    model.compile(
        optimizer="sgd",
        loss="binary_crossentropy",
        metrics=["mse", "acc", "accuracy", gpunn.metrics.BinaryAccuracy(name="mine")],
    )
    return model


@pytest.mark.parametrize(
    ("mode", "monitor", "upwards"),
    [
        ("max", "val_mse", True),
        ("min", "val_loss", False),
        ("auto", "val_mse", False),
        ("auto", "loss", False),
        ("auto", "acc", True),
        ("auto", "val_accuracy", True),
        ("auto", "mine", True),
        ("min", "accuracy", False),
    ],
)
def test_direction_of_a_monitor(mode: str, monitor: str, upwards: bool) -> None:
    model = accurate()
    bits = (Y > 0.5).astype("float32")
    model.fit(X, bits, validation_data=(X, bits), verbose=0)
    for values in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]):
        stopper = callbacks.EarlyStopping(monitor=monitor, mode=mode, patience=1)
        stopper.set_model(model)
        model.stop_training = False
        stopper.on_train_begin()
        for epoch, value in enumerate(values):
            stopper.on_epoch_end(epoch, {monitor: value})
        assert model.stop_training == ((values[0] < values[-1]) != upwards)


def test_a_monitor_of_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        regression().fit(
            X, Y, callbacks=[callbacks.EarlyStopping(monitor="unknown")], epochs=2, verbose=0
        )


def test_a_monitor_that_is_not_there_is_warned_about() -> None:
    stopper = callbacks.EarlyStopping(monitor="val_loss", patience=1)
    with pytest.warns(UserWarning, match="val_loss"):
        history = regression().fit(X, Y, callbacks=[stopper], epochs=3, verbose=0)
    assert history.epoch == [0, 1, 2]


@pytest.mark.parametrize("name", ["EarlyStopping", "ModelCheckpoint"])
def test_an_unknown_mode_is_pointed_out(name: str) -> None:
    arguments = {"filepath": "model.keras"} if name == "ModelCheckpoint" else {}
    with pytest.warns(UserWarning, match="unknown"):
        getattr(callbacks, name)(mode="unknown", **arguments)


@pytest.mark.parametrize(("patience", "start", "at_least"), [(3, 0, 3), (3, 2, 5), (0, 2, 2)])
def test_early_stopping_in_fit(patience: int, start: int, at_least: int) -> None:
    stopper = callbacks.EarlyStopping(monitor="mse", patience=patience, start_from_epoch=start)
    model = regression()
    for _ in range(2):
        history = model.fit(X, Y, callbacks=[stopper], epochs=20, verbose=0)
        assert len(history.epoch) >= at_least


def test_early_stopping_example() -> None:
    # With a loss that only grows, patience 3 gives four epochs.
    model = gpunn.Sequential([layers.Input((20,)), layers.Dense(10)])
    model.compile(optimizer=gpunn.optimizers.SGD(learning_rate=1e-4), loss="mse")

    class Growing(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["loss"] = float(epoch)

    history = model.fit(
        np.arange(100).reshape(5, 20) / 100, np.zeros((5, 10)), epochs=10, batch_size=1,
        callbacks=[Growing(), callbacks.EarlyStopping(monitor="loss", patience=3)], verbose=0,
    )  # fmt: skip
    assert history.epoch == [0, 1, 2, 3]


def test_csv_logger(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"

    def fit(model: Any, logger: Any, epochs: int) -> None:
        model.fit(
            X, Y, batch_size=BATCH, validation_data=(X, Y), callbacks=[logger], epochs=epochs,
            verbose=0,
        )  # fmt: skip

    fit(regression(), callbacks.CSVLogger(path, separator="\t"), 1)
    model, logger = regression(), callbacks.CSVLogger(path, separator="\t", append=True)
    fit(model, logger, 1)
    fit(model, logger, 2)
    lines = path.read_text().splitlines()
    assert lines[0].split("\t") == ["epoch", "loss", "mse", "val_loss", "val_mse"]
    assert [line.split("\t")[0] for line in lines[1:]] == ["0", "0", "0", "1"]
    assert {line.count("\t") for line in lines} == {4}

    fit(model, callbacks.CSVLogger(path), 1)
    assert len(path.read_text().splitlines()) == 2


def test_csv_logger_keeps_the_numbers_of_the_history(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    history = (
        regression()
        .fit(
            X, Y, validation_data=(X, Y), callbacks=[callbacks.CSVLogger(path)], epochs=3, verbose=0
        )
        .history
    )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, values in history.items():
        assert [row[name] for row in rows] == [str(value) for value in values]


def test_csv_logger_leaves_room_for_validation(tmp_path: Path) -> None:
    # Validation every third epoch: the columns are there from the first, filled with NA.
    path = tmp_path / "log.csv"
    logger = callbacks.CSVLogger(path)
    logger.on_train_begin()
    for epoch in range(5):
        logs = {"loss": 0.5, "acc": 0.25}
        if epoch == 2:
            logs |= {"val_loss": 0.75, "val_acc": 0.125}
        logger.on_epoch_end(epoch, logs)
    logger.on_train_end()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "acc", "loss", "val_acc", "val_loss"]
    assert [row["val_loss"] for row in rows] == ["NA", "NA", "0.75", "NA", "NA"]
    assert [row["acc"] for row in rows] == ["0.25"] * 5


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_terminate_on_nan(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    y = np.eye(2)[RNG.integers(0, 2, 10)]
    history = exploding().fit(
        X, y, batch_size=BATCH, validation_data=(X, y), epochs=20, verbose=0,
        callbacks=[callbacks.TerminateOnNaN(), callbacks.CSVLogger(path)],
    ).history  # fmt: skip
    assert len(history["loss"]) == 1
    assert not np.isfinite(history["loss"][0])
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    assert len(rows) == 2
    assert {"nan", "inf"} & set(rows[-1])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_terminate_on_nan_can_raise() -> None:
    class Ending(callbacks.Callback):
        called = False

        def on_train_end(self, logs: Any = None) -> None:
            self.called = True

    ending = Ending()
    with pytest.raises(RuntimeError, match=r"(?i)nan"):
        exploding().fit(
            X, np.zeros((10, 2)), verbose=0,
            callbacks=[ending, callbacks.TerminateOnNaN(raise_error=True)],
        )  # fmt: skip
    assert not ending.called


@pytest.mark.parametrize("raise_error", [False, True])
def test_terminate_on_nan_lets_numbers_pass(raise_error: bool) -> None:
    guard = callbacks.TerminateOnNaN(raise_error=raise_error)
    history = regression().fit(X, Y, epochs=2, callbacks=[guard], verbose=0)
    assert len(history.history["loss"]) == 2


def test_which_logs_callbacks_get() -> None:
    trained = {"loss", "mean_squared_error"}
    both = trained | {"val_loss", "val_mean_squared_error"}
    received: dict[str, list[set[str]]] = {}

    class Recorder(callbacks.Callback):
        pass

    def record(hook: str) -> Any:
        def method(self: Any, *arguments: Any, logs: Any = None) -> None:
            # A hook of a batch or an epoch gets its number first.
            logs = arguments[-1] if arguments and isinstance(arguments[-1], dict) else logs
            received.setdefault(hook, []).append(set(logs or {}))

        return method

    expected = {
        "on_train_begin": set(),
        "on_epoch_begin": set(),
        "on_train_batch_begin": set(),
        "on_train_batch_end": trained,
        "on_test_begin": set(),
        "on_test_batch_begin": set(),
        "on_test_batch_end": trained,
        "on_test_end": trained,
        "on_epoch_end": both,
        "on_train_end": both,
        "on_predict_begin": set(),
        "on_predict_batch_begin": set(),
        "on_predict_batch_end": {"outputs"},
        "on_predict_end": set(),
    }
    for hook in expected:
        setattr(Recorder, hook, record(hook))
    model, recorder = regression(["mean_squared_error"]), Recorder()
    model.fit(
        X, Y, batch_size=BATCH, epochs=2, validation_data=(X, Y), callbacks=[recorder], verbose=0
    )
    model.predict(X, batch_size=BATCH, callbacks=[recorder], verbose=0)
    assert {hook: received[hook][0] for hook in received} == expected
    assert all(len({frozenset(keys) for keys in calls}) == 1 for calls in received.values())
    assert len(received["on_train_batch_end"]) == len(received["on_test_batch_end"]) == 2 * BATCHES
    assert len(received["on_predict_batch_end"]) == BATCHES
    assert len(received["on_train_begin"]) == len(received["on_train_end"]) == 1


def test_history_is_returned_and_starts_afresh() -> None:
    model = regression()
    first = model.fit(X, Y, epochs=2, verbose=0)
    assert first is model.history
    assert first.epoch == [0, 1]
    assert set(first.history) == {"loss", "mse"}
    second = model.fit(X, Y, epochs=1, verbose=0)
    assert second.epoch == [0]
    assert first.params["epochs"] == 2


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("EarlyStopping", {"monitor": "val_loss", "min_delta": 0, "patience": 0, "verbose": 0,
                           "mode": "auto", "baseline": None, "restore_best_weights": False,
                           "start_from_epoch": 0}),
        ("ModelCheckpoint", {"filepath": "model.keras", "monitor": "val_loss", "verbose": 0,
                             "save_best_only": False, "save_weights_only": False, "mode": "auto",
                             "save_freq": "epoch"}),
        ("BackupAndRestore", {"backup_dir": "backup", "save_freq": "epoch",
                              "double_checkpoint": False, "delete_checkpoint": True}),
    ],
)  # fmt: skip
def test_defaults_and_their_order(name: str, defaults: dict[str, Any]) -> None:
    required = {"ModelCheckpoint": 1, "BackupAndRestore": 1}.get(name, 0)
    cls = getattr(callbacks, name)
    values = list(defaults.values())
    for instance in (cls(*values[:required]), cls(*values)):
        held = {key: getattr(instance, key) for key in defaults}
        assert {key: str(value) for key, value in held.items()} == {
            key: str(value) for key, value in defaults.items()
        }

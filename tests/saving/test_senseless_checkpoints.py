"""Test intact checkpoints with invalid values: the error names the file and the entry."""

import math
import os
import shutil
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers
from gpunn.saving import files

RNG = np.random.default_rng(5)
X = RNG.normal(size=(70, 6)).astype("float32")
Y = RNG.integers(0, 3, 70)


class Crash(Exception):
    pass


class Crashing(callbacks.Callback):
    """Raises at a batch of the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 2):
            raise Crash


def network():
    gpunn.utils.set_random_seed(11)
    model = gpunn.Sequential([layers.Input((6,)), layers.Dense(3, "softmax", name="d")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def listeners(folder):
    return [
        callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True),
        callbacks.ModelCheckpoint(folder / "best.gpunn", "loss", save_freq=5),
        callbacks.ReduceLROnPlateau("loss", cooldown=3),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate),
        callbacks.StopOnSmallChange("loss", 0.0),
        callbacks.StopAfter(updates=10**6),
        callbacks.GradientMonitor(verbose=0),
    ]


def fit(folder, *more, save_freq=1, x=X, y=Y, **arguments):
    model = network()
    backup = callbacks.BackupAndRestore(folder / "backup", save_freq)
    arguments = {"batch_size": 20, "epochs": 4, **arguments}
    model.fit(x, y, verbose=0, callbacks=[*listeners(folder), *more, backup], **arguments)
    return model


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A folder with the checkpoint of a run that ended after two batches of its third epoch."""
    folder = tmp_path_factory.mktemp("crashed")
    with pytest.raises(Crash):
        fit(folder, Crashing())
    return folder


@pytest.fixture
def folder(crashed, tmp_path):
    shutil.copytree(crashed, tmp_path / "run")
    return tmp_path / "run"


def checkpoint(folder):
    return os.path.join(folder, "backup", "checkpoint.gpunn")


def write(folder, place, value):
    """Set a value in the checkpoint. ``place`` is the path of its keys."""
    document = at = files.read(checkpoint(folder))
    *inner, last = place
    for key in inner:
        at = at[key]
    assert isinstance(last, int) or last in at
    at[last] = value
    files.write(checkpoint(folder), document)


COUNTERS = ("training", "tensors", "counters")
NAN = math.nan
PLACES = {
    ("epoch",): [-1000, 10**30, 1000, "2", 2.0, True, None, NAN],
    ("batch",): [-1, 10**9, 3, "2", 5],
    ("stopped",): [1, "no"],
    ("training", "values", "seed"): [-1, 2**64, 1.5, "x", None],
    ("training", "values", "passes"): [-1, 2**70, 10**6, "2", 3.0, None],
    ("training", "values", "learning_rate"): [-1.0, NAN, math.inf, "x", None, True],
    (*COUNTERS, 0): [-1, -(2**63), 2**63 - 1],  # updates
    (*COUNTERS, 1): [-1, -(2**40), 2**63 - 1],  # batches
    (*COUNTERS, 2): [-1, 10**6, 2**63 - 1],  # pass
    (*COUNTERS, 3): [-5, -(10**12), 10**9, 41],  # position
    (*COUNTERS, 4): [-2, 10**9],  # bad batch
    (*COUNTERS, 7): [1],
    ("training", "tensors", "totals"): [np.array([0, NAN, 0.0]), np.array([0, -1.0, 0])],
    COUNTERS: [np.zeros(8), np.zeros(7, np.int64), 3, np.zeros(8, bool)],
    ("training", "tensors", "slot/m/d/kernel"): [np.zeros((6, 3), np.int64), np.zeros((3, 6))],
    ("training", "tensors", "slot/v/d/kernel"): [np.full((6, 3), -1e-3, np.float32)],
    ("training",): [None, {}, {"tensors": {}, "values": {}}],
    ("weights", "d/kernel"): [np.zeros((3, 6), np.float32), np.zeros((6, 3), bool)],
}
STATES = {
    ("EarlyStopping", "wait"): [-1, "x", 1.5, None, 2**70],
    ("EarlyStopping", "best"): ["x", [], True],
    ("EarlyStopping", "best_epoch"): [-1, NAN],
    ("EarlyStopping", "stopped_epoch"): [-1, None],
    ("EarlyStopping", "best_weights"): [3, [], [np.zeros(2), np.zeros(3)]],
    ("ModelCheckpoint", "best"): ["x"],
    ("ModelCheckpoint", "batches"): [-1, 5, 10**9, "x"],
    ("ReduceLROnPlateau", "wait"): [-1, "x"],
    ("ReduceLROnPlateau", "cooldown_counter"): [-1, 4, "x"],
    ("CSVLogger", "position"): [-1, "x", 1.5],
    ("CSVLogger", "columns"): ["x", [1], None],
    ("LearningRateScheduler", "set_for"): [-1, "x"],
    ("StopOnSmallChange", "last"): ["x"],
    ("StopOnSmallChange", "reason"): [3],
    ("StopAfter", "first"): [-1, "x", 2**70],
    ("StopAfter", "seconds"): [-1.0, NAN, math.inf, "x"],
    ("GradientMonitor", "records"): [3, [3]],
    ("GradientMonitor", "told"): [[["one"]], [3]],
    ("History", "epoch"): [3, ["x"], [-1]],
    ("History", "history"): [3, {"loss": 3}],
}
CASES = [(place, value) for place, values in dict[Any, Any](PLACES).items() for value in values]
CASES += [(place, value) for place, values in dict[Any, Any](STATES).items() for value in values]


def placed(folder, place):
    """Return the path in the document; that of a callback's state is given by its class name."""
    names = [entry["class_name"] for entry in files.read(checkpoint(folder))["callbacks"]]
    if place[0] not in names:
        return place
    return "callbacks", names.index(place[0]), "state", *place[1:]


@pytest.mark.parametrize(("place", "value"), CASES, ids=str)
def test_a_senseless_entry_is_named_and_nothing_is_trained(folder, place, value):
    place = placed(folder, place)
    write(folder, place, value)
    entry = next(name for name in reversed(place) if isinstance(name, str))
    trained = []
    watch = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: trained.append(epoch))
    with pytest.raises(ValueError, match=rf"Cannot load .*checkpoint\.gpunn: (.|\n)*{entry}"):
        fit(folder, watch)
    assert not trained


def test_what_was_not_changed_goes_on(folder, tmp_path):
    through = fit(tmp_path / "through")
    again = fit(folder)
    for one, other in zip(through.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "other",
    [{"batch_size": 10}, {"x": X[:30], "y": Y[:30]}, {"epochs": 1}],
    ids=["batch_size", "rows", "epochs"],
)
def test_a_place_that_the_run_does_not_have_is_refused(folder, other):
    with pytest.raises(ValueError, match=r"checkpoint\.gpunn: the entry '.*(position|epoch)'"):
        fit(folder, **other)


def test_a_checkpoint_between_epochs_is_of_as_many_rows(tmp_path):
    with pytest.raises(Crash):
        fit(tmp_path, Crashing(), save_freq="epoch")
    more = np.concatenate([X, X]), np.concatenate([Y, Y])
    with pytest.raises(ValueError, match=r"position' is 70, .* this run has 140 rows"):
        fit(tmp_path, x=more[0], y=more[1])
    assert fit(tmp_path, batch_size=35).built  # a new epoch may use another batch size


class Spoiling(callbacks.Callback):
    """Sets all weights to NaN at the end of an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([np.full_like(w, np.nan) for w in self.model.get_weights()])


def test_a_run_goes_on_from_its_own_nan(tmp_path):
    def run(epochs):
        model = network()
        stop = callbacks.EarlyStopping("loss", restore_best_weights=True)
        best = callbacks.ModelCheckpoint(
            tmp_path / "best", "spoilt", save_best_only=True, mode="min"
        )
        figure = callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(spoilt=float("nan"))
        )
        backup = callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        watch = [figure, stop, best, Spoiling(), backup]
        history = model.fit(X, Y, epochs=epochs, verbose=0, callbacks=watch)
        return history, model.get_weights(), best.best

    run(1)
    history, weights, best = run(1)  # there is nothing left to train
    assert history.epoch == [0] and math.isnan(best)
    assert not any(np.isnan(w).any() for w in weights)  # the best weights are restored
    with pytest.raises(FloatingPointError):
        run(2)  # trains with the NaN weights


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (COUNTERS, -5),
        (("training", "values", "passes"), "x"),
        (("training", "values", "launch_modes"), {"a step": "top"}),
    ],
)
def test_a_model_with_a_senseless_state_is_refused(tmp_path, place, value):
    """A saved model's training state is checked like that of a checkpoint."""
    model = network()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.gpunn")
    document = at = files.read(tmp_path / "model.gpunn")
    for key in place[:-1]:
        at = at[key]
    if place == COUNTERS:
        at["counters"][3] = value
    else:
        at[place[-1]] = value
    files.write(tmp_path / "model.gpunn", document)
    with pytest.raises(ValueError, match=r"model\.gpunn: the entry 'training/"):
        gpunn.models.load_model(tmp_path / "model.gpunn")
    assert gpunn.models.load_model(tmp_path / "model.gpunn", compile=False).built


@pytest.mark.parametrize("name", gpunn.common.registry.entries("optimizer"))
def test_slots_that_an_optimizer_says_are_not_negative_are_not(name):
    """And the other slots do become negative: the declaration is complete."""
    model = gpunn.Sequential([gpunn.Input((6,)), layers.Dense(4), layers.Dense(1)])
    optimizer = gpunn.common.registry.lookup("optimizer", name)()
    model.compile(optimizer, "mse")
    model.fit(X, Y, epochs=3, verbose=0)
    slots = {k: v for k, v in model.training_state()[0].items() if k.startswith("slot/")}
    negative = {entry.split("/")[1] for entry, array in slots.items() if (array < 0).any()}
    assert negative == set(optimizer.slot_names) - set(optimizer.not_negative)

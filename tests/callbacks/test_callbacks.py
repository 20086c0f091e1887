"""Test callbacks on their own and in `fit`. Keras's own figures for them are in keras_figures."""

import csv
import inspect
import io
import json
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import callbacks
from gpunn.common import registry
from gpunn.saving import files


def stub(**attributes):
    """A substitute for a model, as callbacks see it; its weights are a single number."""
    model = SimpleNamespace(stop_training=False, weights=0, saved=[], **attributes)
    model.get_weights = lambda: [np.array(model.weights)]
    model.set_weights = lambda weights: setattr(model, "weights", int(weights[0]))
    model.save = model.save_weights = model.saved.append
    model.get_config = dict
    return model


class LazyLogs(Mapping):
    """Logs whose values are read only on access."""

    def __init__(self, read):
        self.read = read

    def __getitem__(self, name):
        return self.read()[name]

    def __iter__(self):
        return iter(self.read())

    def __len__(self):
        return 1


def test_metrics_are_reset_within_an_epoch(backend):
    model = gpunn.Sequential(
        [gpunn.layers.Input((1,)), gpunn.layers.Dense(1, kernel_initializer="zeros")],
        backend=backend,
    )
    model.compile(gpunn.optimizers.SGD(0.0), "mse", metrics=["mae"])
    seen = []
    reset = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: model.reset_metrics(),
        on_train_batch_end=lambda batch, logs: seen.append([logs["loss"], logs["mae"]]),
    )
    x = np.arange(5.0).reshape(5, 1)
    model.fit(x, x, batch_size=2, verbose=0, shuffle=False, callbacks=[reset])
    assert seen == [[0.5, 0.5], [6.5, 2.5], [16.0, 4.0]]  # of each batch alone


REQUIRED = {"LearningRateScheduler": [float], "ModelCheckpoint": ["a.gpunn"], "StopAfter": [1]}


@pytest.mark.parametrize("name", sorted(registry.entries("callback")))
def test_verbose_is_a_number_from_the_start(name):
    """Keras compares it with 0 when something is printed, perhaps after hours."""
    make = registry.entries("callback")[name]
    if "verbose" not in inspect.signature(make).parameters:
        return
    given = REQUIRED.get(name, [1] if name.startswith("Stop") else [])
    for value in ("0", "auto", None, 1.5, -1):
        with pytest.raises(ValueError, match=r"verbose must be an integer of at least 0; got"):
            make(*given, verbose=value)
    made = [make(*given, verbose=value).verbose for value in (0, True, 2, np.int64(1))]
    assert made == [0, 1, 2, 1]


# -- the history


def test_a_history_prints_its_epochs():
    model = gpunn.Sequential([gpunn.layers.Input((1,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(
        [[1.0], [2.0]], [1.0, 2.0], epochs=30, verbose=0, validation_data=([[3.0]], [3.0]),
        validation_freq=10,
    )  # fmt: skip
    head, *epochs, rest = str(history).splitlines()
    assert head.split() == ["epoch", "loss"]
    shown = [line.split() for line in epochs]
    assert [line[0] for line in shown] == [*map(str, range(1, 11)), "...", *map(str, range(21, 31))]
    for epoch, value in (line for line in shown if len(line) == 2):
        assert float(value) == pytest.approx(history.history["loss"][int(epoch) - 1], rel=1e-3)
    assert rest.startswith("val_loss: 3 values, the last ")
    assert repr(history).startswith("<History of 30 epochs: loss ")
    assert str(callbacks.History()) == "<History of 0 epochs>"


# -- the list of callbacks


class Recorder(callbacks.Callback):
    def __init__(self):
        self.calls = []

    def on_batch_end(self, batch, logs=None):
        self.calls.append((batch, logs))


def test_a_list_calls_all_in_order_and_takes_nested_lists():
    order = []
    a, b = (
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs, name=name: order.append(name))
        for name in "ab"
    )
    both = callbacks.CallbackList([a, [b]], add_history=True, model=stub(), epochs=7)
    both.on_epoch_end(0, {"loss": 1.0})
    assert order == ["a", "b"]
    assert both.history.history == {"loss": [1.0]}
    assert both.model.history is both.history
    assert a.params == {"epochs": 7} and b.model is both.model


@pytest.mark.parametrize("wrong", [callbacks.History, [print], "history", object()])
def test_a_list_refuses_what_is_no_callback(wrong):
    with pytest.raises(TypeError, match=r"gpunn\.callbacks\.Callback"):
        callbacks.CallbackList(wrong)


@pytest.mark.parametrize(
    ("callback", "needed"),
    [
        (callbacks.History(), False),
        (callbacks.ProgressBar(), False),
        (callbacks.CSVLogger("f"), False),
        (callbacks.EarlyStopping(), False),
        (callbacks.ModelCheckpoint("f"), False),
        (callbacks.ModelCheckpoint("f", save_freq=9), True),
        (callbacks.BackupAndRestore("f"), False),
        (callbacks.BackupAndRestore("f", save_freq=9), True),
        (callbacks.TensorBoard("f"), False),
        (callbacks.TensorBoard("f", update_freq="batch"), True),
        (callbacks.TerminateOnNaN(), True),
        (callbacks.LambdaCallback(on_epoch_end=print), False),
        (callbacks.LambdaCallback(on_train_batch_end=print), True),
        (callbacks.LambdaCallback(on_batch_begin=print), True),
        (Recorder(), True),
    ],
)
def test_single_batches_are_called_only_for_who_listens(callback, needed):
    both = callbacks.CallbackList([callbacks.History(), callback])
    assert both.needs_train_batches is needed
    assert not both.needs_test_batches and not both.needs_predict_batches


def test_only_the_progress_bar_wants_progress():
    assert not callbacks.CallbackList([callbacks.History()]).needs_progress
    assert callbacks.CallbackList(add_progbar=True).needs_progress


def test_a_history_alone_changes_nothing():
    class Saver(callbacks.History):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    assert callbacks.CallbackList(add_history=True).only_watch
    for other in (callbacks.LambdaCallback(), callbacks.TerminateOnNaN(), Saver()):
        assert not callbacks.CallbackList([other], add_history=True).only_watch


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_hooks_set_on_a_history_are_called_in_time(backend):
    history, seen = callbacks.History(), []
    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)], backend=backend)
    model.compile("sgd", "mse")
    history.on_train_batch_end = lambda batch, logs: seen.append(batch)
    history.on_epoch_end = lambda epoch, logs: setattr(model, "stop_training", epoch == 5)
    x = np.zeros((4, 1))
    model.fit(x, x, batch_size=2, epochs=100, verbose=0, callbacks=[history])
    assert seen == [0, 1] * 6


def test_logs_of_a_batch_are_handed_on_unread():
    logs = LazyLogs(lambda: pytest.fail("read"))
    recorder = Recorder()
    callbacks.CallbackList([callbacks.History(), recorder]).on_train_batch_end(3, logs)
    assert len(recorder.calls) == 1
    assert recorder.calls[0][0] == 3 and recorder.calls[0][1] is logs


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("B", "HB"),
        ("BI", "HBI"),  # a callback without state may come after the backup ...
        ("BE", "EHB"),  # ... and one with state comes before it
        ("IBEBI", "IEHBBI"),
        ("EI", "EIH"),
    ],
)
def test_states_are_saved_after_they_are_made(given, order):
    kinds = {
        "B": lambda: callbacks.BackupAndRestore("f"),
        "E": callbacks.EarlyStopping,
        "I": callbacks.Callback,
    }
    made = callbacks.CallbackList([kinds[letter]() for letter in given], add_history=True)
    assert "".join(type(c).__name__.replace("Callback", "I")[0] for c in made.callbacks) == order


def test_a_lambda_callback_refuses_unknown_hooks():
    with pytest.raises(TypeError, match="Did you mean 'on_epoch_end'"):
        callbacks.LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="on_epoch_end must be a function"):
        callbacks.LambdaCallback(on_epoch_end=3)


def test_callbacks_are_registered():
    assert {"EarlyStopping", "History", "TensorBoard"} <= set(registry.entries("callback"))
    assert "CallbackList" not in registry.entries("callback")


# -- exact resume: interrupted after any epoch, each continues as if it had not been


def drive(kinds, values, epochs, model):
    for epoch in epochs:
        model.weights = epoch
        for callback in kinds:
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"loss": values[epoch]})


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=2, max_size=8),
    st.integers(0, 7),
)
@example([0.5, float("nan"), 0.5], 1)
def test_states_survive_a_checkpoint(tmp_path_factory, values, stop):
    folder = tmp_path_factory.mktemp("resume")

    def make(name):
        made = [
            callbacks.History(),
            callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True),
            callbacks.ModelCheckpoint("{epoch}", "loss", save_best_only=True),
            callbacks.CSVLogger(folder / name),
        ]
        model = stub()
        for callback in made:
            callback.set_model(model)
            callback.on_train_begin()
        return made, model

    def states(made):
        return [callback.get_state() for callback in made]

    through, model = make("through.csv")
    drive(through, values, range(len(values)), model)

    stop %= len(values)
    first, broken = make("resumed.csv")
    drive(first, values, range(stop), broken)
    files.write(folder / "states", {"states": states(first)})
    drive(first, values, range(stop, len(values)), broken)  # lost: after the last checkpoint

    again, resumed = make("resumed.csv")
    for callback, state in zip(again, files.read(folder / "states")["states"], strict=True):
        callback.set_state(state)
    drive(again, values, range(stop, len(values)), resumed)

    assert repr(states(again)) == repr(states(through))
    assert broken.saved[: len(model.saved) - len(resumed.saved)] + resumed.saved == model.saved
    for made in (through, again):
        for callback in made:
            callback.on_train_end()
    assert (folder / "resumed.csv").read_bytes() == (folder / "through.csv").read_bytes()
    assert resumed.weights == model.weights


def test_a_schedule_is_applied_once_an_epoch_though_resumed_within_it():
    def make():
        scheduler = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        scheduler.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=1.0)))
        scheduler.on_train_begin()
        return scheduler

    first = make()
    first.on_epoch_begin(0)
    first.on_epoch_begin(1)
    again = make()
    again.model.optimizer.learning_rate = first.model.optimizer.learning_rate
    again.set_state(first.get_state())
    again.on_epoch_begin(1)
    assert again.model.optimizer.learning_rate == 0.25
    again.on_epoch_begin(2)
    assert again.model.optimizer.learning_rate == 0.125
    unsigned = callbacks.LearningRateScheduler(max)  # it has no signature
    unsigned.set_model(again.model)
    unsigned.on_epoch_begin(0)
    assert again.model.optimizer.learning_rate == 0.125
    wrong = callbacks.LearningRateScheduler(lambda epoch, rate: "fast")
    wrong.set_model(again.model)
    with pytest.raises(ValueError, match="schedule must return a float; got 'fast'"):
        wrong.on_epoch_begin(0)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda epoch: 0.1 * 0.5**epoch,
        lambda epoch, rate: np.float32(0.1 * 0.5**epoch),
        gpunn.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5),
    ],
    ids=["of the epoch", "float32", "schedule"],
)
def test_a_schedule_of_the_epoch_alone(schedule):
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(1)])
    model.compile(gpunn.optimizers.SGD(0.7), "mse")
    scheduler = callbacks.LearningRateScheduler(schedule)
    x, y = np.ones((4, 3)), np.zeros((4, 1))
    history = model.fit(x, y, epochs=3, verbose=0, callbacks=[scheduler]).history
    assert history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])


# -- single callbacks


def test_the_best_weights_come_back_though_nothing_was_stopped():
    stopper = callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    model = stub()
    stopper.set_model(model)
    stopper.on_train_begin()
    drive([stopper], [0.5, 0.1, 0.3], range(3), model)
    stopper.on_train_end()
    assert not model.stop_training and model.weights == 1 and stopper.best == 0.1


def test_nan_is_never_the_best():
    stopper = callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True)
    model = stub()
    stopper.set_model(model)
    stopper.on_train_begin()
    drive([stopper], [float("nan"), 0.4, float("nan"), float("nan")], range(4), model)
    stopper.on_train_end()
    assert model.stop_training and model.weights == 1


def test_a_missing_metric_warns_with_the_closest():
    stopper = callbacks.EarlyStopping("val_acc", mode="max")
    stopper.set_model(stub())
    with pytest.warns(UserWarning, match="Did you mean 'val_accuracy'"):
        stopper.on_epoch_end(0, {"loss": 0.5, "val_accuracy": 0.5})
    stopper = callbacks.EarlyStopping()
    with pytest.warns(UserWarning, match="Pass validation_data to fit"):
        stopper.on_epoch_end(0, {"loss": 0.5})


@pytest.mark.parametrize("count", [-1, 1.5, True, "3"])
def test_counts_are_checked(count):
    for make in (
        lambda: callbacks.EarlyStopping(patience=count),
        lambda: callbacks.TensorBoard(histogram_freq=count),
        lambda: callbacks.TensorBoard(update_freq=count),
        lambda: callbacks.ModelCheckpoint("f", save_freq=count),
        lambda: callbacks.BackupAndRestore("f", save_freq=count),
    ):
        with pytest.raises(ValueError, match=r"(patience|_freq) must be "):
            make()


def test_a_name_in_a_file_name_that_is_not_there_is_pointed_out():
    saver = callbacks.ModelCheckpoint("{epoch}-{val_los:.2f}")
    saver.set_model(stub())
    with pytest.raises(ValueError, match=r"names 'val_los'.*Did you mean 'val_loss'"):
        saver.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})


def test_logs_are_not_read_for_a_file_name_without_them():
    saver = callbacks.ModelCheckpoint("{epoch:02d}-{batch}", save_freq=2)
    model = stub()
    saver.set_model(model)
    logs = LazyLogs(lambda: pytest.fail("read"))
    for batch in range(5):
        saver.on_train_batch_end(batch, logs)
    assert model.saved == ["01-2", "01-4"]


class Keeper(callbacks.Callback):
    """Keeps the logs of every batch as they were passed, and a copy of their current values."""

    def __init__(self):
        self.kept = {"train": [], "test": []}

    def on_train_batch_end(self, batch, logs=None):
        self.kept["train"].append((logs, json.dumps(logs)))

    def on_test_batch_end(self, batch, logs=None):
        self.kept["test"].append((logs, json.dumps(logs)))


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_each_batch_has_logs_of_its_own(backend):
    """The dictionaries stay unchanged; each holds the means over the batches so far."""
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [gpunn.layers.Input((2,)), gpunn.layers.Dense(1, "sigmoid")], backend=backend
    )
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy", "auc", "mae"])
    x = np.random.default_rng(1).normal(size=(12, 2)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    keeper = Keeper()
    plain = gpunn.Sequential.from_config(model.get_config())
    model.fit(x, y, batch_size=4, validation_data=(x, y), verbose=0, callbacks=[keeper])
    for kind, logs in keeper.kept.items():
        assert [type(given) for given, _ in logs] == [dict] * 3
        assert [json.dumps(given) for given, _ in logs] == [text for _, text in logs]
        assert [set(given) for given, _ in logs] == [{"loss", "accuracy", "auc", "mae"}] * 3, kind
    plain.compile("sgd", "binary_crossentropy", metrics=["mae"])
    plain.set_weights(model.get_weights())
    errors = [given["mae"] for given, _ in keeper.kept["test"]]
    for batches, error in enumerate(errors, 1):
        rows = slice(4 * batches)
        assert error == pytest.approx(plain.evaluate(x[rows], y[rows], verbose=0)[1], rel=1e-5)
    assert len(set(errors)) == 3


def test_terminate_on_nan_reads_the_running_loss(capsys):
    guard = callbacks.TerminateOnNaN()
    guard.set_model(stub())
    for batch, loss in enumerate([0.5, float("inf")]):
        assert not guard.model.stop_training
        guard.on_train_batch_end(batch, LazyLogs(lambda loss=loss: {"loss": loss}))
    assert guard.model.stop_training
    assert "Batch 1: the loss is inf" in capsys.readouterr().out


FILES = {
    "CSVLogger": lambda path: callbacks.CSVLogger(path),
    "CSVLogger that appends": lambda path: callbacks.CSVLogger(path, append=True),
    "GradientMonitor": lambda path: callbacks.GradientMonitor(filename=path, verbose=0),
    "ModelCheckpoint": lambda path: callbacks.ModelCheckpoint(path),
    "BackupAndRestore": lambda path: callbacks.BackupAndRestore(path, delete_checkpoint=False),
}


@pytest.mark.parametrize("name", FILES)
def test_the_folder_of_a_file_is_created(name, tmp_path):
    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse")
    path = tmp_path / "new" / "deep" / "file.gpunn"
    model.fit([[1.0]], [[2.0]], verbose=0, callbacks=FILES[name](path))
    assert path.exists()


def test_csv_quotes_what_has_to_be_quoted(tmp_path):
    logger = callbacks.CSVLogger(tmp_path / "f")
    logger.on_train_begin()
    logger.on_epoch_end(0, {"a,b": 0.1, "val_a,b": float("nan")})
    logger.on_train_end()
    with open(tmp_path / "f", newline="") as file:
        assert list(csv.reader(file)) == [["epoch", "a,b", "val_a,b"], ["0", "0.1", "nan"]]


def test_csv_goes_on_where_the_file_has_been_removed(tmp_path):
    logger = callbacks.CSVLogger(tmp_path / "f")
    logger.on_train_begin()
    logger.set_state({"position": 50, "columns": ["epoch", "loss"]})
    logger.on_epoch_end(4, {"loss": 0.5})
    logger.on_train_end()
    assert (tmp_path / "f").read_text().splitlines() == ["4,0.5"]


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("end", ["\r\n", "\n", ""])
def test_csv_appends_below_the_columns_of_the_file(tmp_path, separator, end):
    path = tmp_path / "f"
    head = ["epoch", "loss", "acc", "val_loss", "val_acc"]
    rows = [head, ["0", "0.5", "0.25", "a" + separator + "b", "NA"], ["1", "0.4"]]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue().removesuffix("\n") + end)
    logger = callbacks.CSVLogger(path, separator=separator, append=True)
    logger.on_train_begin()
    logger.on_epoch_end(0, {"auc": 0.75, "loss": 0.125, "val_auc": 0.5})
    logger.on_epoch_end(1, {"auc": 0.875, "loss": 0.25, "val_auc": 0.5, "val_loss": 2.0})
    logger.on_train_end()
    with open(path, newline="") as file:
        found = list(csv.DictReader(file, delimiter=separator))
    assert list(found[0]) == [*head, "auc", "val_auc"]
    none = {"acc": "NA", "val_acc": "NA"}
    assert found == [
        {**dict(zip(head, rows[1], strict=True)), "auc": "NA", "val_auc": "NA"},
        {**dict.fromkeys(found[0], "NA"), "epoch": "1", "loss": "0.4"},
        {"epoch": "0", "loss": "0.125", "val_loss": "NA", "auc": "0.75", "val_auc": "0.5", **none},
        {"epoch": "1", "loss": "0.25", "val_loss": "2.0", "auc": "0.875", "val_auc": "0.5", **none},
    ]
    logger.on_train_begin()
    logger.on_epoch_end(2, {"loss": 1.0})
    with open(path, newline="") as file:
        again = list(csv.DictReader(file, delimiter=separator))
    assert again[:4] == found and again[4] == {
        **dict.fromkeys(found[0], "NA"), "epoch": "2", "loss": "1.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch;loss\r\n0;0.5\r\n", "'epoch;loss'.* separator=','"),
        ("0,0.5\r\n", "no column 'epoch'"),
        ("epoch,loss\r\n0,0.5\r\n1,0.5,0.25\r\n", "line 3 has 3 cells below 2 headers"),
        ("epoch,loss,loss\r\n", "'loss' twice"),
    ],
)
def test_csv_does_not_append_to_what_is_no_such_table(tmp_path, text, message):
    (tmp_path / "f").write_bytes(text.encode())
    logger = callbacks.CSVLogger(tmp_path / "f", append=True)
    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse")
    weights = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0, callbacks=[logger])
    assert [w.tolist() for w in model.get_weights()] == [w.tolist() for w in weights]
    assert (tmp_path / "f").read_bytes().decode() == text

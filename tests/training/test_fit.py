"""Test `fit`, `evaluate` and `predict` beyond a plain pass: which rows, when, and how weighted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_models import LABELS, ROWS, TARGETS, X, classifier, linear

import gpunn

layers = gpunn.layers
NUMBERED = np.arange(ROWS, dtype="float64")[:, None]
# If the model always outputs 0, row i has the squared error 2^i: sums of losses identify the rows.
CODES = 2.0 ** (NUMBERED / 2)
BACKENDS = ["numpy", "compiled", "emulated"]


def silent(backend: str | None = None) -> Any:
    """A model that outputs 0 and learns nothing."""
    model = linear(dtype="float64", backend=backend)
    model.set_weights([np.zeros((1, 1)), np.zeros(1)])
    return model


class Watch(gpunn.callbacks.Callback):
    """Records which rows each step of each epoch saw (with `silent`), and the calls of hooks."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.epochs: list[list[list[int]]] = []
        self.events: list[str] = []
        self.losses: list[float] = []
        self.stop_after = stop_after

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append([])
        self.seen = 0
        self.events.append(f"epoch {epoch}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        sum_of_losses = self.model.backend.read(self.model._trainer.training.totals)[0]
        rows, self.seen = round(sum_of_losses) - self.seen, round(sum_of_losses)
        self.epochs[-1].append([i for i in range(rows.bit_length()) if rows >> i & 1])
        self.losses.append(logs["loss"])
        self.events.append(f"batch {batch}")
        if self.stop_after == sum(map(len, self.epochs)):
            self.model.stop_training = True

    def on_test_begin(self, logs: Any = None) -> None:
        self.events.append("test")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.events.append(f"end of epoch {epoch}")

    def on_train_end(self, logs: Any = None) -> None:
        self.events.append("end")

    def rows(self, epoch: int) -> list[int]:
        """The rows of all steps of an epoch."""
        return [row for step in self.epochs[epoch] for row in step]

    @property
    def steps(self) -> list[int]:
        return [len(epoch) for epoch in self.epochs]


def watched(**arguments: Any) -> Watch:
    """Train on numbered rows, in ten batches of two unless specified otherwise."""
    watch = Watch()
    given = {"x": NUMBERED, "y": CODES, "batch_size": 2, "verbose": 0, "callbacks": [watch]}
    silent(arguments.pop("backend", None)).fit(**{**given, **arguments})
    return watch


# -- which rows


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_shuffling_the_rows_come_as_they_stand(backend: str) -> None:
    watch = watched(shuffle=False, epochs=2, batch_size=8, backend=backend)
    epoch = [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert watch.epochs == [epoch, epoch]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_epoch_visits_each_row_once_in_a_new_order(backend: str) -> None:
    watch = watched(epochs=3, batch_size=8, backend=backend)
    flat = [watch.rows(epoch) for epoch in range(3)]
    assert all(sorted(rows) == list(range(ROWS)) for rows in flat)
    assert len({tuple(rows) for rows in flat}) == 3
    assert all([len(step) for step in epoch] == [8, 8, 4] for epoch in watch.epochs)


@pytest.mark.parametrize(
    ("steps_per_epoch", "expected"),
    [(9, [9, 1, 9, 1]), (5, [5, 5, 5, 5]), (11, [10] * 4), (4, [4, 4, 2, 4]), (10, [10] * 4)],
)
@pytest.mark.parametrize("source", ["arrays", "batches"])
@pytest.mark.filterwarnings("ignore:The data ran out")
def test_an_epoch_goes_on_where_the_last_one_stopped(
    steps_per_epoch: int, expected: list[int], source: str
) -> None:
    given: dict[str, Any] = {}
    if source == "batches":
        pairs = [(NUMBERED[i : i + 2], CODES[i : i + 2]) for i in range(0, ROWS, 2)]
        given = {"x": pairs, "y": None, "batch_size": None}
    watch = watched(epochs=4, steps_per_epoch=steps_per_epoch, shuffle=False, **given)
    assert watch.steps == expected
    rows = [row for epoch in range(4) for row in watch.rows(epoch)]
    assert rows == (list(range(ROWS)) * 4)[: len(rows)]


def test_data_that_runs_out_is_announced_once() -> None:
    with pytest.warns(UserWarning, match="ran out in epoch 2 of 4, after 1 of 9 steps") as caught:
        watched(epochs=4, steps_per_epoch=9)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("batches", "steps"), [(7, [3, 3, 1]), (6, [3, 3, 0])])
def test_a_generator_that_runs_out_ends_training(batches: int, steps: list[int]) -> None:
    source = ((NUMBERED[i : i + 2], CODES[i : i + 2]) for i in range(0, 2 * batches, 2))
    watch = Watch()
    with pytest.warns(UserWarning, match="ran out in epoch 3 of 5") as caught:
        history = silent().fit(
            source, steps_per_epoch=3, epochs=5, callbacks=[watch], verbose=0
        )  # fmt: skip
    assert len(caught) == 1
    assert watch.steps == steps
    assert watch.events[-1] == "end"
    assert history.epoch == [0, 1, 2][: 3 if steps[-1] else 2]


def test_initial_epoch_goes_on_with_the_numbering() -> None:
    watch = watched(epochs=5, initial_epoch=3)
    assert [event for event in watch.events if event.startswith("epoch")] == ["epoch 3", "epoch 4"]
    assert watched(epochs=3, initial_epoch=3).events == ["end"]
    assert watched(epochs=0).events == ["end"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_fits_shuffle_as_one(backend: str) -> None:
    """Continued training uses the next order, not the first one again."""
    together, apart = silent(backend), silent(backend)
    whole, parts = Watch(), Watch()
    together.fit(NUMBERED, CODES, batch_size=2, epochs=2, verbose=0, callbacks=[whole])
    for epoch in range(2):
        apart.fit(
            NUMBERED, CODES, batch_size=2, epochs=epoch + 1, initial_epoch=epoch, verbose=0,
            callbacks=[parts],
        )  # fmt: skip
    assert whole.epochs == parts.epochs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [2, 3])  # equal batches, or a smaller last one
def test_training_is_the_same_whether_somebody_looks_or_not(size: int, backend: str) -> None:
    """Unobserved epochs run without interruption; observers find NumPy's error state unchanged."""
    warned: list[str] = []
    look = gpunn.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: warned.append(np.geterr()["over"])
    )
    runs = []
    for callbacks in ([], [look]):
        model = linear(units=3, inputs=4, rate=0.1, metrics=["mae"], backend=backend)
        history = model.fit(
            X, TARGETS[:, [0, 1, 0]], batch_size=size, epochs=4, verbose=0, callbacks=callbacks,
            validation_split=0.3,
        )  # fmt: skip
        runs.append((history.epoch, history.history, [w.tolist() for w in model.get_weights()]))
    assert runs[0] == runs[1]
    assert [len(values) for values in runs[0][1].values()] == [4] * 4
    assert warned == ["warn"] * 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_callback_changes_counts_from_the_next_epoch_on(backend: str) -> None:
    results = []
    for epochs in ([2], [1, 2]):
        gpunn.utils.set_random_seed(7)
        dropout = layers.Dropout(0.5)
        model = gpunn.Sequential([layers.Input((4,)), dropout, layers.Dense(1)], backend=backend)
        model.compile(gpunn.optimizers.SGD(0.1), "mse")
        change = gpunn.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, dropout=dropout: setattr(dropout, "rate", 0.1)
        )
        for start, stop in enumerate(epochs):
            model.fit(
                X, TARGETS[:, 0], epochs=stop, initial_epoch=start, batch_size=4, verbose=0,
                callbacks=[change] if len(epochs) == 1 else [],
            )  # fmt: skip
            dropout.rate = 0.1
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        assert_array_equal(a, b)


# -- when it stops


def test_stopping_in_the_middle_of_an_epoch() -> None:
    watch = Watch(stop_after=13)
    model = silent()
    history = model.fit(
        NUMBERED, CODES, batch_size=2, epochs=5, verbose=0, callbacks=[watch],
        validation_data=(NUMBERED, NUMBERED),
    )  # fmt: skip
    assert watch.steps == [10, 3]
    assert watch.events[-3:] == ["test", "end of epoch 1", "end"]
    assert history.epoch == [0, 1]
    assert model.optimizer.iterations == 13
    again = Watch()
    model.fit(NUMBERED, CODES, batch_size=2, verbose=0, callbacks=[again])
    assert sorted(again.rows(0)) == list(range(ROWS))  # a new, complete pass


def test_hooks_always_get_a_dictionary() -> None:
    """As in Keras: a hook may read its logs without checking whether there are any."""
    logs_of: dict[str, Any] = {}

    def keep(hook: str) -> Any:
        return lambda self, *args, logs=None: logs_of.update(
            {hook: args[-1] if logs is None else logs}
        )

    hooks = [name for name in vars(gpunn.callbacks.Callback) if name.startswith("on_")]
    hooks = [name for name in hooks if "progress" not in name and "_batch" not in name[:8]]
    callback = type("Keep", (gpunn.callbacks.Callback,), {hook: keep(hook) for hook in hooks})()
    model = linear()
    model.fit(
        NUMBERED, NUMBERED, validation_data=(NUMBERED, NUMBERED), verbose=0, callbacks=[callback]
    )
    model.predict(NUMBERED, verbose=0, callbacks=[callback])
    assert len(logs_of) == 14
    for hook, logs in logs_of.items():
        assert hasattr(logs, "keys"), hook
        if "begin" in hook:
            assert dict(logs) == {}
    assert set(logs_of["on_train_end"]) == set(logs_of["on_epoch_end"]) == {"loss", "val_loss"}
    assert set(logs_of["on_train_batch_end"]) == set(logs_of["on_test_end"]) == {"loss"}
    assert set(logs_of["on_predict_batch_end"]) == {"outputs"}


def test_stop_training_set_at_an_epochs_end() -> None:
    class Enough(gpunn.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    history = linear().fit(NUMBERED, NUMBERED, epochs=9, verbose=0, callbacks=[Enough()])
    assert history.epoch == [0, 1]


# -- validation


@pytest.mark.parametrize(
    ("frequency", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3]), ([1, 4], [1, 4]), (9, [])]
)
def test_validation_freq(frequency: Any, epochs: list[int]) -> None:
    watch = watched(epochs=4, validation_data=(NUMBERED, NUMBERED), validation_freq=frequency)
    ends = [i for i, event in enumerate(watch.events) if event == "test"]
    assert [watch.events[i + 1] for i in ends] == [f"end of epoch {epoch - 1}" for epoch in epochs]


@pytest.mark.parametrize("again", [list, tuple])
def test_validation_steps_look_at_the_same_rows_each_time(again: Any) -> None:
    """This makes epochs comparable; the model does not change here."""
    batches = again((NUMBERED[i : i + 4], NUMBERED[i : i + 4]) for i in range(0, ROWS, 4))
    first = linear().evaluate(NUMBERED[:8], NUMBERED[:8], verbose=0)
    for given in ((NUMBERED, NUMBERED), batches):
        history = linear().fit(
            NUMBERED, NUMBERED, epochs=4, validation_data=given, validation_batch_size=4,
            validation_steps=2, verbose=0,
        ).history  # fmt: skip
        assert history["val_loss"] == pytest.approx([first] * 4, rel=1e-6)


def test_a_generator_to_validate_on_restarts_each_epoch() -> None:
    """Each validation gets the first two batches, or as many as there are."""
    constants = [1.0, 2.0, 3.0]
    source = ((np.full((4, 1), c), np.zeros((4, 1))) for c in constants)
    model = linear()
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    history = model.fit(
        NUMBERED, NUMBERED, epochs=4, validation_data=source, validation_steps=2, verbose=0
    ).history
    assert history["val_loss"] == pytest.approx([(1 + 4) / 2] * 4, rel=1e-6)
    assert len(history["loss"]) == 4
    short = ((np.full((4, 1), c), np.zeros((4, 1))) for c in constants[:1])
    with pytest.warns(UserWarning, match="to evaluate on ran out after 1 of 2 steps") as caught:
        history = model.fit(
            NUMBERED, NUMBERED, epochs=3, validation_data=short, validation_steps=2, verbose=0
        ).history
    assert len(history["val_loss"]) == len(caught) == 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("strategy", ["tail", "shuffled"])
def test_validation_split(strategy: str, backend: str) -> None:
    """A quarter of the rows is held out, the last or others; both parts together are all rows."""
    model, watch = silent(backend), Watch()
    history = model.fit(
        NUMBERED, CODES, batch_size=4, validation_split=0.25, verbose=0, callbacks=[watch],
        validation_strategy=strategy,
    ).history  # fmt: skip
    trained_on = sorted(watch.rows(0))
    assert len(trained_on) == 15
    assert (trained_on == list(range(15))) is (strategy == "tail")
    others = round(history["val_loss"][0] * 5)
    assert others + sum(2**row for row in trained_on) == 2**ROWS - 1


# -- return values


def test_the_names_in_the_history() -> None:
    model = classifier(metrics=["accuracy"], weighted_metrics=["acc"])
    history = model.fit(X, LABELS, epochs=2, validation_data=(X, LABELS), verbose=0).history
    names = ["acc", "accuracy", "loss", "val_acc", "val_accuracy", "val_loss"]
    assert sorted(history) == names
    assert all(len(values) == 2 and type(values[0]) is float for values in history.values())
    assert model.metrics_names == ["loss", "accuracy", "acc"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_logs_of_batches_are_running_means(backend: str) -> None:
    """With a rate of 0 the model stays fixed: each log is the mean loss of the rows so far."""
    model = linear(2, 4, backend=backend)
    watch = Watch()
    history = model.fit(
        X, TARGETS, batch_size=8, shuffle=False, verbose=0, callbacks=[watch]
    ).history  # fmt: skip
    kernel, bias = model.get_weights()
    losses = ((X @ kernel + bias - TARGETS) ** 2).mean(axis=1)
    assert_allclose(watch.losses, [losses[:n].mean() for n in (8, 16, 20)], rtol=1e-5)
    assert history["loss"] == pytest.approx([losses.mean()], rel=1e-5)


def test_what_evaluate_gives_back() -> None:
    plain, measured = linear(2, 4), linear(2, 4, metrics=["mse", "accuracy"])
    loss = plain.evaluate(X, TARGETS, verbose=0)
    assert type(loss) is float
    values = measured.evaluate(X, TARGETS, verbose=0)
    assert type(values) is list and [type(v) for v in values] == [float] * 3
    assert values[:2] == pytest.approx([loss, loss], rel=1e-6)
    named = measured.evaluate(X, TARGETS, verbose=0, return_dict=True)
    assert list(named) == ["loss", "mse", "accuracy"]
    assert list(named.values()) == pytest.approx(values)
    assert plain.evaluate(X, TARGETS, verbose=0, return_dict=True) == pytest.approx({"loss": loss})
    for size in (1, 7, 20, 100):
        assert plain.evaluate(X, TARGETS, batch_size=size, verbose=0) == pytest.approx(
            loss, rel=1e-6
        )
    some = plain.evaluate(X, TARGETS, batch_size=4, steps=2, verbose=0)
    assert some == pytest.approx(plain.evaluate(X[:8], TARGETS[:8], verbose=0), rel=1e-6)


def test_what_predict_gives_back() -> None:
    model = linear(2, 4)
    kernel, bias = model.get_weights()
    outputs = model.predict(X, verbose=0)
    assert_allclose(outputs, X @ kernel + bias, rtol=1e-5)
    for size in (1, 7, 20, 100):
        assert_allclose(model.predict(X, batch_size=size, verbose=0), outputs, rtol=1e-5)
    assert model.predict(X, batch_size=7, steps=2, verbose=0).shape == (14, 2)
    assert_allclose(model.predict([X[:3], X[3:]][0], verbose=0), outputs[:3], rtol=1e-5)
    for pair in ((X, TARGETS), (X,)):  # targets, if any, are ignored
        assert_allclose(model.predict(iter([pair]), verbose=0), outputs, rtol=1e-5)
    kept = outputs.copy()
    model.predict(X + 1, verbose=0)
    model.predict_on_batch(X + 1)
    assert_array_equal(outputs, kept)  # returned arrays are never overwritten


# -- single batches


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_batches_train_as_fit_does(backend: str) -> None:
    by_fit, by_hand = (linear(2, 4, rate=0.1, backend=backend) for _ in range(2))
    by_fit.fit(X, TARGETS, batch_size=8, shuffle=False, verbose=0)
    losses = []
    for at in range(0, ROWS, 8):
        before = by_hand.test_on_batch(X[at : at + 8], TARGETS[at : at + 8])
        losses.append((before, by_hand.train_on_batch(X[at : at + 8], TARGETS[at : at + 8])))
    for w, other in zip(by_fit.get_weights(), by_hand.get_weights(), strict=True):
        assert_array_equal(w, other)
    assert all(before == during for before, during in losses)  # the loss before the update


def test_single_batches_keep_no_memory_of_those_before() -> None:
    model = classifier(metrics=["accuracy"])
    first = model.test_on_batch(X, LABELS)
    model.test_on_batch(X[:3], LABELS[:3])
    assert model.test_on_batch(X, LABELS) == first
    named = model.train_on_batch(X, LABELS, class_weight={0: 2.0}, return_dict=True)
    assert list(named) == ["loss", "accuracy"]
    assert named["accuracy"] == first[1]


def test_batches_read_while_the_model_changes() -> None:
    """A generator may use the model that it feeds."""
    model = linear(2, 4, rate=0.1)
    seen = []

    def source() -> Iterator[Any]:
        for at in range(0, ROWS, 5):
            seen.append(model.predict(X, verbose=0).copy())
            yield X[at : at + 5], TARGETS[at : at + 5]

    model.fit(source(), verbose=0)
    assert len(seen) == 4
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("orders", [(False, True, False), (True, False, True), (True, True, False)])
@pytest.mark.parametrize("batch_size", [2, 5])
def test_each_fit_shuffles_if_it_says_so(backend: str, orders: Any, batch_size: int) -> None:
    """On the same arrays; one that does not is a fit of a new model with these weights."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 1)), random.normal(size=(8, 1))

    def model() -> Any:
        gpunn.utils.set_random_seed(1)
        made = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)], backend=backend)
        made.compile(gpunn.optimizers.SGD(0.3), "mse")
        return made

    one, given = model(), {"batch_size": batch_size, "epochs": 2, "verbose": 0}
    for shuffle in orders:
        fresh = model()
        fresh.set_weights(one.get_weights())
        fresh.fit(x, y, shuffle=False, **given)
        one.fit(x, y, shuffle=shuffle, **given)
        both = [m.get_weights() for m in (one, fresh)]
        alike = [np.array_equal(*pair) for pair in zip(*both, strict=True)]
        assert all(alike) if not shuffle else not any(alike)

"""Test training on streamed data, and what a call leaves on the device for the next one."""

from __future__ import annotations

import gc
import re
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
from little_memory import used

import gpunn
from gpunn import callbacks, layers
from gpunn.backends.contract.backend import Backend
from gpunn.feeding import memory, rows, streaming

pytestmark = pytest.mark.usefixtures("nothing_kept")
ROWS, BATCH, SPARSE = 107, 8, "sparse_categorical_crossentropy"
RNG = np.random.default_rng(3)
X = RNG.integers(0, 256, (ROWS, 5), np.uint8)
Y = RNG.integers(0, 3, ROWS)
WEIGHTS = RNG.uniform(0.5, 1.5, ROWS)


BACKENDS: list[Any] = ["numpy", "compiled", pytest.param("cupy", marks=pytest.mark.gpu), "emulated"]


@pytest.fixture
def backend(every_backend: str) -> str:
    return every_backend


@pytest.fixture(params=[*BACKENDS, "emulated, early"])
def timed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend; the emulated GPU does asynchronous work as late or as early as it may."""
    name, *early = request.param.split(", ")
    monkeypatch.setattr(emulated.STREAM, "late", not early)
    return name


class Own(gpunn.Sequential):
    """Its step is that of `fit`, by hand."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def network(
    backend: str, loss: Any = SPARSE, rate: float = 0.2, cls: Any = gpunn.Sequential
) -> Any:
    gpunn.utils.set_random_seed(11)
    model = cls(
        [
            layers.Input((5,), name="input"),
            layers.Rescaling(1 / 255, name="scaled"),
            layers.Dense(7, activation="relu", name="hidden"),
            layers.Dropout(rate, name="dropped"),
            layers.Dense(3, activation="softmax", name="output"),
        ],
        backend=backend,
        name="network",
    )
    model.compile(gpunn.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def bits(model: Any) -> list[bytes]:
    return [weight.tobytes() for weight in model.get_weights()]


def outcome(model: Any, x: Any = X, y: Any = Y, **options: Any) -> Any:
    """Everything that two epochs leave, bit for bit."""
    arguments = {"batch_size": BATCH, "epochs": 2, "verbose": 0, **options}
    history = model.fit(x, y, **arguments).history
    counters = model.training_state()[0]["counters"].tolist()
    evaluated = model.evaluate(x, y, batch_size=20, verbose=0)
    predicted = model.predict(x, batch_size=33, verbose=0)
    return bits(model), history, counters, evaluated, predicted.tobytes()


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "shuffled": dict,
    "as they stand": lambda: {"shuffle": False},
    "float32": lambda: {"x": X.astype(np.float32)},
    "float64": lambda: {"x": X / 3},
    "int64 in columns": lambda: {"x": np.asfortranarray(X.astype(np.int64))},
    "a list": lambda: {"x": X.tolist(), "y": Y.tolist()},
    "one-hot": lambda: {"y": np.eye(3)[Y]},
    "sample weights": lambda: {"sample_weight": WEIGHTS},
    "class weights": lambda: {"class_weight": {0: 2.0, 2: 0.5}},
    "validation data": lambda: {"validation_data": (X[:30] + 1, Y[:30], WEIGHTS[:30])},
    "the tail": lambda: {"validation_split": 0.3},
    "random rows": lambda: {"validation_split": 0.3, "validation_strategy": "shuffled"},
    "rows by class": lambda: {"validation_split": 0.3, "validation_strategy": "stratified"},
    "part of a pass": lambda: {"steps_per_epoch": 7, "epochs": 3},
    "batches of 1": lambda: {"batch_size": 1, "epochs": 1},
    "one batch": lambda: {"batch_size": ROWS + 3},
}


SIZES = [(case, 150) for case in CASES] + [("shuffled", 0), ("validation data", 1 << 20)]


EMULATED = ["shuffled", "one-hot", "sample weights", "validation data", "part of a pass"]
"""Cases that the emulated GPU, which is slow, trains in every run."""


def combinations() -> Iterator[Any]:
    for case, size in SIZES:
        more = [] if case in EMULATED else [pytest.mark.more]
        yield from ((place, case, size) for place in ("numpy", "compiled"))
        yield pytest.param("cupy", case, size, marks=pytest.mark.gpu)
        for place in ("emulated", "emulated, early"):
            yield pytest.param(place, case, size, marks=more)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("timed", "case", "size"), list(combinations()), indirect=["timed"])
def test_streamed_training_has_the_bits_of_any_other(
    timed: str, case: str, size: int, streamed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    options = CASES[case]()
    loss = "categorical_crossentropy" if case == "one-hot" else SPARSE
    expected = outcome(network(timed, loss), **options)
    assert "gpunn:" not in capsys.readouterr().err
    streamed(size)
    assert outcome(network(timed, loss), **options) == expected
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (3 if "validation_data" in options else 2)  # the last one from evaluate
    assert all(re.fullmatch(r"gpunn: .* streamed in chunks\.", line) for line in lines)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("case", ["shuffled", "float64", "sample weights", "the tail"])
@pytest.mark.parametrize("size", [150, 1200])
def test_steps_of_a_class_have_the_bits_of_any_other_too(
    timed: str, case: str, size: int, streamed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"epochs": 3, **CASES[case]()}  # the first two batches run in Python
    gpunn.use_backend(timed)
    expected = outcome(network(timed, cls=Own), **options)
    streamed(size)
    assert outcome(network(timed, cls=Own), **options) == expected
    assert "streamed in chunks." in capsys.readouterr().err


def test_the_steps_of_a_class_on_a_chunk_run_at_once(streamed: Any) -> None:
    """More batches in a chunk take few more calls of Python functions."""
    streamed(1 << 20)

    def calls(size: int) -> int:
        model, count = network("numpy", cls=Own), 0

        def watch(frame: Any, event: str, _: Any) -> None:
            nonlocal count
            count += event == "call"

        model.fit(X, Y, batch_size=size, epochs=2, verbose=0)
        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            model.fit(X, Y, batch_size=size, verbose=0)
        finally:
            sys.setprofile(before)
        return count

    assert calls(1) < 2 * calls(8)


class Crash(Exception):
    pass


class Crashing(callbacks.Callback):
    def __init__(self, batches: int) -> None:
        self.left = batches

    needs_train_batches = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if not self.left:
            raise Crash


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("batches", [3, 11, 15])
def test_a_run_goes_on_in_the_middle_of_a_piece(
    timed: str, batches: int, streamed: Any, tmp_path: Path
) -> None:
    """A checkpoint is the same file as without streaming: either run resumes from the other's."""

    def crash(folder: Path) -> bytes:
        backup = callbacks.BackupAndRestore(folder, save_freq=3)
        with pytest.raises(Crash):
            outcome(network(timed), callbacks=[backup, Crashing(batches)])
        return (folder / "checkpoint.gpunn").read_bytes()

    expected = outcome(network(timed))
    files = [crash(tmp_path / "1"), crash(tmp_path / "2")]
    streamed(3 * BATCH * 9)
    files.append(crash(tmp_path / "3"))
    assert files[0] == files[1] == files[2]
    for folder in ("1", "3"):
        backup = callbacks.BackupAndRestore(tmp_path / folder, save_freq=3)
        assert outcome(network(timed), callbacks=[backup]) == expected


@pytest.mark.parametrize("restored", [False, True])
def test_a_model_may_stream_now_and_not_then(timed: str, restored: bool) -> None:
    """The model does not remember whether it streamed, wherever in a pass it stopped."""
    stop = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(stop.model, "stop_training", batch == 9)
    )
    models = [network(timed), network(timed)]
    models[0].fit(X, Y, batch_size=BATCH, verbose=0, callbacks=[stop])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "lacking", lambda size, backend: 1000)
        patch.setattr(streaming, "CHUNK_BYTES", 150)
        memory.forget_kept_data()
        models[1].fit(X, Y, batch_size=BATCH, verbose=0, callbacks=[stop])
    states = [model.training_state() for model in models]
    if restored:
        models[1].set_training_state(*states[1])
    counters = [model.training_state()[0]["counters"].tolist() for model in models]
    assert counters[0] == counters[1]
    assert outcome(models[0]) == outcome(models[1])


def test_what_should_have_waited_shows(streamed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulated GPU detects whether a copy was waited for."""
    expected = outcome(network("emulated"))
    streamed(0)
    with monkeypatch.context() as patch:
        patch.setattr(emulated.Sending, "join", lambda self: None)
        assert outcome(network("emulated")) != expected
    with monkeypatch.context() as patch:
        patch.setattr(emulated.Sending, "wait", emulated.Sending.join)
        with pytest.raises(RuntimeError, match="written while it was being copied"):
            outcome(network("emulated"))
    with monkeypatch.context() as patch:
        patch.setattr(streaming.Chunks, "settle", lambda self: None)
        with pytest.raises(Crash):
            outcome(network("emulated"), callbacks=[Crashing(3)])
    pending = [sending for sending in emulated.STREAM.sent if sending.copies]
    assert pending
    for sending in pending:
        sending.wait()
    del pending, sending
    backend = gpunn.get_backend("emulated")
    with backend.stream_lock:
        emulated.STREAM.send([(backend.empty((2,), np.int8), backend.pinned((2,), np.int8))])
    gc.collect()
    assert emulated.STREAM.lost
    emulated.STREAM.lost = 0


# -- what a call leaves for the next


@pytest.fixture
def programs(backend: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The steps for which programs were made."""
    made: list[Any] = []
    program = Backend.program

    def listed(self: Backend, step: Any, *options: Any) -> Any:
        made.append(step)
        return program(self, step, *options)

    monkeypatch.setattr(Backend, "program", listed)
    return made


def fresh(backend: str, calls: list[Callable[[Any], Any]], forget: bool) -> list[Any]:
    model, results = network(backend), []
    for call in calls:
        result = call(model)
        results.append((bits(model), getattr(result, "history", result)))
        if forget:
            memory.forget_kept_data()
            model._trainer.forget_programs()
    return results


def fit(x: Any = X, y: Any = Y, **options: Any) -> Callable[[Any], Any]:
    return lambda model: model.fit(x, y, batch_size=BATCH, verbose=0, **options)


def test_programs_are_made_once(backend: str, programs: list[Any]) -> None:
    calls = [
        fit(validation_split=0.3, sample_weight=WEIGHTS),
        lambda model: model.evaluate(X, Y, batch_size=20, verbose=0),
    ]
    expected = fresh(backend, calls * 3, forget=True)
    programs.clear()
    assert fresh(backend, calls * 3, forget=False) == expected
    assert len(programs) == 2 * 3  # training, validation, evaluation: full and ragged batches each


def test_other_data_of_the_same_shapes_are_read(backend: str, programs: list[Any]) -> None:
    changing = X.copy()

    def begin(model: Any) -> None:
        changing[:] = X

    def change(model: Any) -> None:
        changing[:] = 255 - X

    check = (X[:20] / 2, Y[:20])
    calls = [
        begin, fit(changing, Y), change, fit(changing, Y), fit(changing, 2 - Y),
        fit(X / 7, Y), fit(X / 9, Y, validation_data=check), fit(X / 9, Y[::-1]),
        lambda model: model.evaluate(X / 5, Y, verbose=0),
        lambda model: model.evaluate(255 - X / 5, 2 - Y, verbose=0),
    ]  # fmt: skip
    expected = fresh(backend, calls, forget=True)
    programs.clear()
    assert fresh(backend, calls, forget=False) == expected
    if backend != "numpy":
        assert len(programs) == 2 + 2 + 2 + 1  # uint8, float32; validation, evaluation


def _set(path: str, value: Any) -> Callable[[Any], None]:
    """Set an attribute of the model without any notification."""

    def change(model: Any) -> None:
        owner, name = path.rsplit(".", 1)
        setattr(eval(owner, {"model": model}), name, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("model.layers[1].trainable", False),
        _set("model.layers[2].rate", 0.9),
        _set("model.optimizer.beta_1", 0.1),
        _set("model.optimizer.clipvalue", 1e-3),
        _set("model.optimizer.learning_rate", 0.5),
        lambda model: model.compile("sgd", SPARSE),
    ],
)
def test_a_change_between_two_calls_counts(backend: str, change: Any) -> None:
    calls = [fit(), change, fit()]
    kept = fresh(backend, calls, forget=False)
    assert kept == fresh(backend, calls, forget=True)
    assert kept != fresh(backend, [fit(), lambda model: None, fit()], forget=False)


def test_a_call_within_a_call_leaves_its_data_alone(backend: str) -> None:
    def nested(model: Any) -> Any:
        def look(epoch: int, logs: Any) -> None:
            model.evaluate(255 - X, Y, verbose=0)
            other.fit(255 - X, 2 - Y, batch_size=BATCH, verbose=0, validation_data=(X + 1, Y))

        other = network(backend)
        return model.fit(
            X, Y, batch_size=BATCH, epochs=3, verbose=0, validation_data=(X, Y),
            callbacks=callbacks.LambdaCallback(on_epoch_end=look),
        )  # fmt: skip

    plain = fit(epochs=3, validation_data=(X, Y))
    assert fresh(backend, [nested] * 2, False)[1][1] == fresh(backend, [plain] * 2, True)[1][1]


def test_models_take_turns_with_what_is_kept(backend: str, programs: list[Any]) -> None:
    models, data = [network(backend), network(backend)], (X, 255 - X)
    for _ in range(3):
        for model, x in zip(models, data, strict=True):
            fit(x)(model)
    assert len(programs) == 2 * 2  # of each model: full and ragged batches
    for model, x in zip(models, data, strict=True):
        alone = network(backend)
        for _ in range(3):
            fit(x)(alone)
        assert bits(alone) == bits(model)


def test_large_data_are_read_in_place_and_not_kept(backend: str, programs: list[Any]) -> None:
    size = 600 if backend == "emulated" else 60_000

    def data(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random((size, 5), np.float32)

    y = (np.arange(size) % 3).astype(np.int32)
    model, alone = network(backend), network(backend)
    for seed in (1, 2, 3):
        x = data(seed)
        made = len(programs)
        for _ in range(3):
            model.fit(x, y, batch_size=size // 2, verbose=0)
        assert len(programs) - made <= 1
        reference = weakref.ref(x)
        del x
        assert reference() is None
        for _ in range(3):
            alone.fit(data(seed), y, batch_size=size // 2, verbose=0)
            alone._trainer.forget_programs()
    assert bits(model) == bits(alone)


def test_only_the_last_data_set_of_a_kind_is_kept(gpu: str) -> None:
    model = network(gpu)
    x = np.zeros((1_500, 5), np.float32)

    def kept(n: int) -> int:
        model.fit(x[:n], np.zeros(n), batch_size=100, verbose=0)
        return used(model.backend)

    kept(1_500)
    before = kept(1_000)
    for n in range(1_000, 1_005):
        assert kept(n) <= before + 10_000
    if gpu == "emulated":
        with_data = used(model.backend)
        memory.forget_kept_data()
        assert used(model.backend) < with_data - 20_000

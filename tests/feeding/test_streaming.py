"""Data that the device has no room for, and what a call leaves there for the next one."""

from __future__ import annotations

import gc
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
from little_memory import fragmented, limited, refusal, used

import gpunn
from gpunn import callbacks, layers
from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.feeding import memory, rows, streaming

ROWS, BATCH, SPARSE = 107, 8, "sparse_categorical_crossentropy"
RNG = np.random.default_rng(3)
X = RNG.integers(0, 256, (ROWS, 5), np.uint8)
Y = RNG.integers(0, 3, ROWS)
WEIGHTS = RNG.uniform(0.5, 1.5, ROWS)


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    for sending in list(emulated.STREAM.sent):
        sending.sources = []  # left by an interrupted call of another test
    emulated.STREAM.lost = 0
    yield
    memory.forget_kept_data()
    gc.collect()
    lost, emulated.STREAM.lost = emulated.STREAM.lost, 0
    assert not lost


BACKENDS: list[Any] = ["numpy", "compiled", pytest.param("cupy", marks=pytest.mark.gpu), "emulated"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[*BACKENDS, "emulated, early"])
def timed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend; the emulated card does what it may do beside other work late, or early."""
    name, *early = request.param.split(", ")
    monkeypatch.setattr(emulated.STREAM, "late", not early)
    return name


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From its call on no data fit, and a piece has so many bytes, or a batch."""

    def begin(size: int) -> None:
        monkeypatch.setattr(rows, "lacking", lambda size, backend: 1000)
        monkeypatch.setattr(streaming, "CHUNK_BYTES", size)
        memory.forget_kept_data()

    return begin


def network(backend: str, loss: Any = SPARSE, rate: float = 0.2) -> Any:
    gpunn.utils.set_random_seed(11)
    model = gpunn.Sequential(
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
    """All that two epochs leave, bit for bit."""
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
"""Cases that the emulated card, which is slow, trains in every run."""


def combinations() -> Iterator[Any]:
    for case, size in SIZES:
        more = [] if case in EMULATED else [pytest.mark.more]
        yield from ((place, case, size) for place in ("numpy", "compiled"))
        yield pytest.param("cupy", case, size, marks=pytest.mark.gpu)
        for place in ("emulated", "emulated, early"):
            yield pytest.param(place, case, size, marks=more)


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
    assert len(lines) == (3 if "validation_data" in options else 2)  # the last by evaluate
    assert all(re.fullmatch(r"gpunn: .* streamed in chunks\.", line) for line in lines)


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


@pytest.mark.parametrize("batches", [3, 11, 15])
def test_a_run_goes_on_in_the_middle_of_a_piece(
    timed: str, batches: int, streamed: Any, tmp_path: Path
) -> None:
    """A checkpoint is the same file as without streaming: either goes on from the other's."""

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
    """Whether it does is nothing that it remembers, wherever in a pass it stopped."""
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
    """The emulated card tells a copy that is waited for from one that is not."""
    expected = outcome(network("emulated"))
    streamed(0)
    with monkeypatch.context() as patch:
        patch.setattr(emulated.Sending, "join", lambda self: None)
        assert outcome(network("emulated")) != expected
    with monkeypatch.context() as patch:
        patch.setattr(emulated.Sending, "wait", emulated.Sending.join)
        with pytest.raises(RuntimeError, match="written while it was being copied"):
            outcome(network("emulated"))
    gc.collect()
    assert emulated.STREAM.lost
    emulated.STREAM.lost = 0


# -- how much there is room for


def wide(card: str, width: int = 600) -> Any:
    model = gpunn.Sequential(
        [layers.Input((width,)), layers.Dense(3, activation="softmax")], backend=card
    )
    model.compile("sgd", SPARSE)
    return model


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    monkeypatch.setattr(memory, "ASKED_FROM", 1 << 16)
    x = np.random.default_rng(0).integers(0, 256, (1000, 600), np.uint8)
    return x, np.arange(1000) % 3


@pytest.fixture(params=["fresh", "fragmented"])
def memory_before(request: pytest.FixtureRequest, card: str) -> Iterator[None]:
    """As it may be after other tests, too."""
    with fragmented(get_backend(card)) if request.param == "fragmented" else nullcontext():
        yield


def test_what_does_not_fit_is_streamed_and_announced_once(
    card: str, memory_before: None, large: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = large
    model = wide(card)
    model.fit(x[:64], y[:64], verbose=0)
    taken = []
    look = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: taken.append(used(model.backend) - before)
    )
    with limited(model.backend, 400_000):
        before = used(model.backend)
        model.fit(x, y, epochs=3, verbose=0, callbacks=[look])
        line = capsys.readouterr().err
        assert re.fullmatch(
            rf"gpunn: 604.0 kB of data, \d+\.\d kB free on {card}: streamed in chunks\.\n", line
        )
        assert len(line) <= 81
        assert max(taken) < 200_000 and len(set(taken)) == 1
        assert np.isfinite(model.evaluate(x, y, batch_size=50, verbose=0))
        assert capsys.readouterr().err.count("gpunn:") == 1
        model.fit(x[:300], y[:300], verbose=0)  # there is room for these
    model.fit(x, y, verbose=0)
    assert not capsys.readouterr().err


def test_no_piece_brings_an_array_of_its_own(
    card: str, large: Any, streamed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = large
    streamed(20_000)
    model, made, kept = wide(card), [], []
    for name in ("empty", "zeros", "pinned"):
        make = getattr(model.backend, name)
        monkeypatch.setattr(model.backend, name, lambda *a, make=make: made.append(a) or make(*a))
    look = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(len(made)))
    model.fit(x / 255, y, epochs=3, verbose=0, callbacks=[look])
    assert kept[0] == kept[1] == kept[2] > 0


def test_pieces_take_a_share_of_what_is_free(card: str, streamed: Any) -> None:
    x, y = np.zeros((3_000, 300), np.float32), np.zeros(3_000)
    model = wide(card, 300)
    model.fit(x[:40], y[:40], batch_size=20, verbose=0)
    streamed(1 << 26)  # more than all of it
    with limited(model.backend, 2_000_000):
        model.fit(x, y, batch_size=20, verbose=0)


def test_a_file_larger_than_memory(card: str, streamed: Any, tmp_path: Path) -> None:
    """Of a memory map only pieces are ever in the host's memory, whatever their order."""
    numbers = np.random.default_rng(0).integers(0, 256, (3_000, 300))
    (numbers / 255).tofile(tmp_path / "x.bin")
    x = np.memmap(tmp_path / "x.bin", np.float64, "r", shape=numbers.shape)
    y = np.arange(len(x)) % 3
    gpunn.utils.set_random_seed(5)
    expected = wide(card, 300)
    gpunn.utils.set_random_seed(5)
    model = wide(card, 300)
    options = {"validation_split": 0.1, "validation_strategy": "shuffled"}
    options |= {"batch_size": 20, "verbose": 0}
    expected.fit(numbers / 255, y, **options)
    streamed(40_000)

    def use(some: Any) -> None:
        some.fit(x, y, **options)
        some.evaluate(x, y, batch_size=20, verbose=0)
        some.predict(x, batch_size=20, verbose=0)

    use(wide(card, 300))  # imports, and compiles kernels
    tracemalloc.start()
    try:
        use(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 2  # as float32 they would have that
    assert bits(model) == bits(expected)


def test_a_batch_that_does_not_fit_is_still_an_error(
    card: str, memory_before: None, large: Any
) -> None:
    x, y = large
    model = wide(card)
    model.fit(x[:64], y[:64], verbose=0)
    with limited(model.backend, 400_000):
        error = refusal(lambda: model.fit(x, y, batch_size=500, verbose=0))
        assert f"The {card} backend ran out of memory with batch_size=500." in error
        fits = int(re.findall(r"batch_size=(\d+) would fit", error)[0])
        model.fit(x, y, batch_size=fits // 4, verbose=0)
        assert not memory.kept_data(model.backend)  # none of it is left to the next call
        error = refusal(lambda: model.train_on_batch(x, y))
        assert error.startswith(f"x does not fit into the memory of the {card} backend: ")


def test_idle_pieces_of_memory_count_for_a_batch(card: str, large: Any) -> None:
    """Which the card cannot give to anybody else: there is an array in the same piece."""
    x, y = large
    model = wide(card)
    model.fit(x[:64], y[:64], verbose=0)
    with limited(model.backend, 1 << 20):
        model.backend.empty((1 << 20,), np.uint8)  # gone at once: its piece is idle
        beginning = model.backend.empty((1,), np.uint8)
        error = refusal(lambda: model.fit(x, y, batch_size=500, verbose=0))
        fits = int(re.findall(r"batch_size=(\d+) would fit", error)[0])
        free = int(re.findall(r"([\d,]+) are free", error)[0].replace(",", ""))
        assert fits == 256 and free >= fits * 600 * 4
        model.fit(x, y, batch_size=fits // 4, verbose=0)
        del beginning


# -- what a call leaves for the next


@pytest.fixture
def programs(backend: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Steps that programs were made of."""
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
            model.trainer.forget_programs()
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
    assert len(programs) == 2 * 3  # training, validation, evaluation: full and ragged batches


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
    """Set an attribute of the model's without another word."""

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
    models = [network(backend), network(backend)]
    for _ in range(3):
        for model, x in zip(models, (X, 255 - X), strict=True):
            fit(x)(model)
    # On a card both read the one place where such data lie; on the host each its own array.
    assert len(programs) == (12 if backend in ("numpy", "compiled") else 4)
    for model, x in zip(models, (X, 255 - X), strict=True):
        alone = network(backend)
        for _ in range(3):
            fit(x)(alone)
        assert bits(alone) == bits(model)


def test_only_the_last_data_set_of_a_kind_is_kept(card: str) -> None:
    model = network(card)
    x = np.zeros((1_500, 5), np.float32)

    def kept(n: int) -> int:
        model.fit(x[:n], np.zeros(n), batch_size=100, verbose=0)
        return used(model.backend)

    kept(1_500)
    before = kept(1_000)
    for n in range(1_000, 1_005):
        assert kept(n) <= before + 10_000
    if card == "emulated":
        memory.forget_kept_data()
        assert used(model.backend) < before - 20_000

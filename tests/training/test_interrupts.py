"""Test Ctrl-C at any moment: afterwards the same model, and a new one, give the bits of an
undisturbed process.

A trace function raises an interrupt at lines of the framework, or a signal is sent at random
moments. Products, updates and predictions are split into pieces for two threads here."""

from __future__ import annotations

import ctypes
import functools
import itertools
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from interrupting import Place, interrupt, places
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers
from gpunn.backends.numpy import updates as numpy_updates
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.backends.shared import threads
from gpunn.backends.shared.interrupts import perform

PACKAGE = Path(gpunn.__file__).parent
# The files that hold locks, take turns, trace, keep data for the next call, or have partial states.
FILES = {
    str(PACKAGE / name)
    for name in (
        "common/holds.py", "core/plan.py", "core/workspace.py", "core/storage.py",
        "common/registry.py", "backends/__init__.py", "backends/contract/backend.py",
        "backends/contract/control.py", "backends/shared/interrupts.py",
        "backends/cupy/launch/programs.py", "backends/cupy/launch/task_backend.py",
        "backends/numpy/backend.py", "backends/host/program.py", "backends/host/trace.py",
        "backends/numpy/updates.py", "backends/contract/device.py",
        "backends/contract/profiling.py", "backends/shared/threads.py", "training/training.py",
        "training/object_pool.py", "training/loops.py", "training/batch_iterator.py",
        "feeding/memory.py", "training/fitting.py", "training/predicting.py",
        "training/predictor.py", "feeding/rows.py", "training/programs.py", "training/step.py",
        "structure/builder.py", "structure/nested.py", "models/model.py", "models/trainable.py",
        "training/objective.py", "training/trainer.py",
    )
}  # fmt: skip
assert all(Path(file).is_file() for file in FILES)
ROWS = 60


@pytest.fixture(autouse=True)
def _in_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "FLOPS_WORTH_THREADS", 4_000)
    monkeypatch.setattr(numpy_updates, "SIZE_WORTH_THREADS", 100)
    monkeypatch.setattr(numpy_updates, "UPDATE_PIECE", 64)
    monkeypatch.setattr(NumpyBackend, "cache_bytes", 16 * 1024)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield


def network(backend: str) -> Any:
    gpunn.utils.set_random_seed(5)
    model = gpunn.Sequential(
        [
            gpunn.Input((12,)), layers.Dense(16, "relu", name="a"), layers.Dropout(0.2, name="b"),
            layers.BatchNormalization(name="c"), layers.Dense(3, "softmax", name="d"),
        ],
        backend=backend,
    )  # fmt: skip
    adam = gpunn.optimizers.Adam(0.01)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(0)
    return numbers.standard_normal((ROWS, 12), np.float32), numbers.integers(0, 3, ROWS)


WORK: dict[str, Callable[[Any, Path], Any]] = {
    "fit": lambda model, path: model.fit(*data(), batch_size=16, epochs=2, verbose=0),
    "predict": lambda model, path: model.predict(data()[0], verbose=0),
    "predict a few": lambda model, path: model.predict(data()[0][:5], verbose=0),
    "evaluate": lambda model, path: model.evaluate(*data(), batch_size=16, verbose=0),
    "train_on_batch": lambda model, path: model.train_on_batch(*data()),
    "save": lambda model, path: model.save(path),
    "load": lambda model, path: gpunn.models.load_model(path),
}


def results(model: Any, path: Path) -> list[Any]:
    """The results of a model: figures, predictions, weights, and the saved file."""
    x, y = data()
    history = model.fit(x, y, batch_size=16, epochs=2, verbose=0).history
    model.save(path)
    again = gpunn.models.load_model(path)
    return [
        history["loss"], history["accuracy"], model.train_on_batch(x, y),
        model.evaluate(x, y, batch_size=16, verbose=0), model.predict(x, verbose=0),
        model.predict(x[:5], verbose=0), again.predict(x, verbose=0), *model.get_weights(),
    ]  # fmt: skip


class Undisturbed:
    """The results of a model on a backend, and a check that another model gets the same."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend, self.path = backend, folder / "model.gpunn"
        model = network(backend)
        self.weights, self.state = model.get_weights(), model.training_state()
        self.expected = results(model, self.path)

    def check(self, model: Any, where: str) -> None:
        """Compare the results, starting from the same weights and training state."""
        model.set_weights(self.weights)
        model.set_training_state(*self.state)
        for found, expected in zip(results(model, self.path), self.expected, strict=True):
            assert_array_equal(found, expected, err_msg=f"after an interrupt at {where}")


@pytest.fixture
def undisturbed(backend: str, tmp_path: Path) -> Undisturbed:
    return Undisturbed(backend, tmp_path)


# -- at every line


def lines_of(name: str, backend: str, path: Path) -> list[Place]:
    """The lines that the work reaches: those that make the model are run before an interrupt."""
    model = network(backend)
    return places(lambda: WORK[name](model, path), FILES)


def interrupt_everywhere(undisturbed: Undisturbed, name: str, chosen: list[Place]) -> None:
    """Run once for each of these lines."""
    backend, path = undisturbed.backend, undisturbed.path
    assert chosen
    for number, place in enumerate(chosen):
        model, where = network(backend), str(place)
        interrupt(lambda m=model: WORK[name](m, path), place)
        undisturbed.check(model, where)
        if number % 16 == 15 or place == chosen[-1]:  # errors in the process's state persist
            undisturbed.check(network(backend), f"{where} or before, a new model")
        check_process(where)


@functools.cache
def blas() -> threadpoolctl.ThreadpoolController:
    """The BLAS libraries of this process: a search for them takes longer than an interrupt."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def check_process(where: str) -> None:
    """Check that the state of the process is restored after its next use."""
    with threads.ParallelRegion():
        pass
    assert {library.num_threads for library in blas().lib_controllers} <= {2}, where
    assert threads.ParallelRegion.threads() == 1, where


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_an_interrupt_at_some_lines(undisturbed: Undisturbed, name: str) -> None:
    every = 331 if undisturbed.backend == "emulated" else 97
    lines = lines_of(name, undisturbed.backend, undisturbed.path)
    interrupt_everywhere(undisturbed, name, lines[::every])


@pytest.mark.more(2)
@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_an_interrupt_at_every_line(
    undisturbed: Undisturbed, name: str, rotation: int | None
) -> None:
    """On the slow emulated GPU: at all lines that the CPU does not reach, and at some others.

    A run of the whole suite takes every fourth line, others from commit to commit.
    """
    lines = lines_of(name, undisturbed.backend, undisturbed.path)
    if undisturbed.backend == "emulated":
        others = {*lines_of(name, "compiled", undisturbed.path)}
        lines = [line for i, line in enumerate(lines) if line not in others or i % 8 == 0]
    chosen = lines if rotation is None else lines[rotation // 3 % 4 :: 4]
    interrupt_everywhere(undisturbed, name, chosen)


# -- signals at random moments


class Signals:
    """Sends SIGINT after a delay, and possibly another one a moment later."""

    def __init__(self, numbers: random.Random) -> None:
        self.numbers = numbers
        self.sent = 0

    def __enter__(self) -> Signals:
        self.before = signal.signal(signal.SIGALRM, self._send)
        # Python itself reports and drops an interrupt within a finalizer.
        self.hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)
        sys.unraisablehook = self.hook

    def after(self, seconds: float) -> None:
        self.left = self.numbers.choice((1, 1, 2))
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))

    def _send(self, number: int, frame: Any) -> None:
        self.left -= 1
        self.sent += 1
        if self.left:
            signal.setitimer(signal.ITIMER_REAL, self.numbers.uniform(1e-6, 1e-3))
        signal.raise_signal(signal.SIGINT)


def send_signals(undisturbed: Undisturbed, count: int, whole_steps: bool) -> None:
    """Send ``count`` signals, each during a task, and check the model after each round of tasks."""
    import time

    numbers = random.Random(count)
    model, path = network(undisturbed.backend), undisturbed.path
    seconds = {}
    for name, work in WORK.items():
        work(model, path)
        begun = time.perf_counter()
        work(model, path)
        seconds[name] = time.perf_counter() - begun
    with Signals(numbers) as signals:
        while signals.sent < count:
            for name, work in WORK.items():
                if whole_steps:
                    model.set_weights(undisturbed.weights)
                    model.set_training_state(*undisturbed.state)
                try:
                    signals.after(numbers.uniform(0, 1.2 * seconds[name]))
                    work(model, path)
                    while signals.left > 0:  # the task finished before the signal came
                        pass
                except KeyboardInterrupt:
                    pass
                try:
                    while signals.left > 0:
                        pass
                except KeyboardInterrupt:
                    pass
                if whole_steps and name == "fit":
                    check_whole_steps(undisturbed, model)
            undisturbed.check(model, f"signal {signals.sent}")
            undisturbed.check(network(undisturbed.backend), f"signal {signals.sent}")
            check_process(f"signal {signals.sent}")


def check_whole_steps(undisturbed: Undisturbed, model: Any) -> None:
    """Check that the weights are those after the counted number of steps."""
    steps = model._trainer.batches
    assert 0 <= steps <= 8
    alone = network(undisturbed.backend)
    x, y = data()
    for epoch in range(2):  # four steps per epoch
        first = 4 * epoch
        if steps > first:
            alone.fit(x, y, 16, epoch + 1, initial_epoch=epoch, verbose=0,
                      steps_per_epoch=min(4, steps - first))  # fmt: skip
    for found, expected in zip(model.get_weights(), alone.get_weights(), strict=True):
        assert_array_equal(found, expected, err_msg=f"after {steps} steps")


@pytest.mark.traced
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_signals_at_random_moments(undisturbed: Undisturbed) -> None:
    send_signals(undisturbed, 40, whole_steps=True)


@pytest.mark.in_turn(2)
@pytest.mark.more
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_thousand_signals_at_random_moments(undisturbed: Undisturbed) -> None:
    send_signals(undisturbed, 1_000, whole_steps=True)


# -- what is shown


@pytest.mark.traced
@pytest.mark.parametrize("name", ["fit", "evaluate", "predict"])
def test_a_traceback_has_the_lines_of_the_user_alone(name: str) -> None:
    """Of this file, and in it the frames of callbacks; without gpunn's."""
    model, shown = network("numpy"), list[Any]()
    given = data() if name != "predict" else data()[:1]
    ends = {"fit": "on_train_end", "evaluate": "on_test_end", "predict": "on_predict_end"}

    def by_user(logs: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    def call(*watching: Any) -> None:
        getattr(model, name)(*given, verbose=0, callbacks=[*watching])

    def shows(*watching: Any) -> None:
        with pytest.raises(KeyboardInterrupt) as caught:
            call(*watching)
        shown.append([(entry.path.name, entry.name) for entry in caught.traceback][1:])
        notes = getattr(caught.value, "__notes__", [])
        assert any("next fit continues" in note for note in notes) == (name == "fit")

    call()
    files = {str(PACKAGE / "training" / file) for file in ("loops.py", "predictor.py")}
    inside = places(call, files)
    interrupt(shows, inside[len(inside) // 4])  # before the pieces, which other threads may take
    shows(gpunn.callbacks.LambdaCallback(**{ends[name]: by_user}))
    own = Path(__file__).name
    assert shown[0] == [(own, "call"), ("interrupting.py", "trace")]
    assert shown[1] == [(own, "call"), (own, "by_user")]


@pytest.mark.traced
@pytest.mark.parametrize("name", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_a_traceback_of_a_batch_has_the_lines_of_the_user_alone(name: str) -> None:
    model, shown = network("numpy"), list[Any]()
    given = data() if name != "predict_on_batch" else data()[:1]

    def call() -> None:
        getattr(model, name)(*given)

    def shows() -> None:
        with pytest.raises(KeyboardInterrupt) as caught:
            call()
        shown.extend((entry.path.name, entry.name) for entry in caught.traceback[1:])

    call()
    inside = places(call, {str(path) for path in (PACKAGE / "training").glob("*.py")})
    interrupt(shows, inside[len(inside) // 4])
    assert shown == [(Path(__file__).name, "call"), ("interrupting.py", "trace")]


@pytest.mark.traced
def test_an_interrupt_may_come_at_an_instruction_without_a_line() -> None:
    """As in what Python itself adds to a function: a rare moment for a signal."""

    def stop(*logs: Any) -> Any:
        raise KeyboardInterrupt

    stop.__code__ = stop.__code__.replace(co_linetable=b"")
    model = network("numpy")
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), verbose=0, callbacks=[gpunn.callbacks.LambdaCallback(stop)])


@pytest.mark.traced
def test_an_interrupt_of_the_user_keeps_what_it_has() -> None:
    """Its text, its cause, its context and the notes of a fit around it, each once."""
    model, inner = network("numpy"), network("numpy")

    def stop(logs: Any) -> None:
        raise KeyboardInterrupt("enough") from KeyError("why")

    def fit_inner(logs: Any) -> None:
        inner.fit(*data(), verbose=0, callbacks=[gpunn.callbacks.LambdaCallback(on_train_end=stop)])

    with pytest.raises(KeyboardInterrupt, match="enough") as caught:
        try:
            raise OSError("before")
        except OSError:
            watching = gpunn.callbacks.LambdaCallback(on_train_end=fit_inner)
            model.fit(*data(), verbose=0, callbacks=[watching])
    assert isinstance(caught.value.__cause__, KeyError)
    assert isinstance(caught.value.__context__, OSError)
    assert len(caught.value.__notes__) == 1


# -- how long it takes


@pytest.mark.traced
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_an_interrupt_ends_a_long_epoch_at_a_step(backend: str) -> None:
    """It does not wait for the end of an epoch of four million steps."""
    model = gpunn.Sequential([gpunn.Input((1,)), layers.Dense(1)], backend=backend)
    model.compile("sgd", "mse")
    x = np.zeros((4_000_000, 1), np.float32)
    model.fit(x[:64], x[:64], batch_size=1, verbose=0)
    for seconds in (0.02, 0.1, 0.5):  # until some steps have run: the machine may be busy
        with Signals(random.Random(0)) as signals, pytest.raises(KeyboardInterrupt):
            soon = functools.partial(signals.after, seconds)
            begin = gpunn.callbacks.LambdaCallback(on_epoch_begin=lambda *_, soon=soon: soon())
            model.fit(x, x, batch_size=1, verbose=0, callbacks=[begin])
        if (steps := model._trainer.batches - 64) > 0:
            break
    assert 0 < steps < 4_000_000


@pytest.mark.traced
@pytest.mark.parametrize("batch_size", [20, 25])  # also a smaller last batch
@pytest.mark.parametrize("backend", ["compiled"])  # NumPy's epochs have Python between them
def test_an_interrupt_among_short_epochs_leaves_their_history(
    backend: str, batch_size: int
) -> None:
    """Nobody watches them, yet weights and history are those of the same number of steps."""
    x, y = data()
    watch = gpunn.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    for seconds in (0.03, 0.1):
        model, alone = network(backend), network(backend)
        with Signals(random.Random(0)) as signals, pytest.raises(KeyboardInterrupt):
            signals.after(seconds)
            model.fit(x, y, batch_size, epochs=10**9, verbose=0)
        history, steps = model.history, model._trainer.batches
        epochs = len(history.epoch)
        assert 3 * epochs <= steps <= 3 * epochs + 3
        expected = alone.fit(x, y, batch_size, epochs, verbose=0, callbacks=watch)
        assert (history.epoch, history.history) == (expected.epoch, expected.history)
        if more := steps - 3 * epochs:
            some = {"initial_epoch": epochs, "steps_per_epoch": more}
            alone.fit(x, y, batch_size, epochs + 1, verbose=0, **some)
        states = [{**m.training_state()[0]} for m in (model, alone)]
        if not more:  # the next epoch may have begun, without a step
            for state in states:
                del state["counters"], state["totals"]
        for found, undisturbed in zip(
            [*model.get_weights(), *states[0].values()],
            [*alone.get_weights(), *states[1].values()],
            strict=True,
        ):
            assert_array_equal(found, undisturbed)


def test_an_interrupt_does_not_part_the_figures_of_an_epoch() -> None:
    """At any instruction of the history."""
    for number in itertools.count():
        history, left = gpunn.callbacks.History(), [number]
        history.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})

        def trace(frame: Any, event: str, arg: Any, left: list[int] = left) -> Any:
            frame.f_trace_opcodes = True
            if event == "opcode":
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        try:
            sys.settrace(trace)
            history.on_epoch_end(1, {"loss": 0.5, "accuracy": 0.75})
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        assert len({len(history.epoch), *map(len, history.history.values())}) == 1
        if left[0] >= 0:
            break
    assert number > 10 and history.history["loss"] == [1.0, 0.5]


def test_what_a_user_wrote_is_interrupted_at_once() -> None:
    """Custom code may hang, so an interrupt there does not wait for the end of the step."""

    class Hangs(layers.Layer):
        def forward(self, call: Any) -> None:
            while True:
                pass

        def backward(self, call: Any) -> None:
            pass

    model = gpunn.Sequential([gpunn.Input((1,)), Hangs(), layers.Dense(1)], backend="numpy")
    model.compile("sgd", "mse")
    with Signals(random.Random(0)) as signals, pytest.raises(KeyboardInterrupt):
        signals.after(0.05)
        model.fit(np.zeros((2, 1)), np.zeros((2, 1)), verbose=0)


def test_an_interrupt_in_a_step_within_a_step_waits_for_the_outer_one() -> None:
    done: list[str] = []

    def outer() -> None:
        perform([lambda: signal.raise_signal(signal.SIGINT), lambda: done.append("inner")], 1)
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        perform([outer], 2)
    assert done == ["inner", "outer"]


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_handler_of_the_users_own_is_asked(backend: str) -> None:
    seen: list[int] = []

    def handler(number: int, frame: Any) -> None:
        seen.append(number)

    model, before = network(backend), signal.signal(signal.SIGINT, handler)
    try:
        callback = gpunn.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: signal.raise_signal(signal.SIGINT)
        )
        model.fit(*data(), batch_size=16, verbose=0, callbacks=[callback])
        assert seen == [signal.SIGINT] * 4
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_another_thread_leaves_signals_alone() -> None:
    before, model = signal.getsignal(signal.SIGINT), network("numpy")
    thread = threading.Thread(target=lambda: model.fit(*data(), verbose=0))
    thread.start()
    thread.join()
    assert model._trainer.batches == 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_an_interrupt_without_a_signal_between_two_calls_lets_the_step_end(where: str) -> None:
    done: list[int] = []

    def interrupted() -> None:
        thread, error = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(KeyboardInterrupt)
        raised = functools.partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, thread, error)
        with pytest.raises(KeyboardInterrupt):
            perform([lambda: done.append(0), raised, lambda: done.append(1)], 2)

    if where == "main thread":
        interrupted()
    else:
        thread = threading.Thread(target=interrupted)
        thread.start()
        thread.join()
    assert done == [0, 1]

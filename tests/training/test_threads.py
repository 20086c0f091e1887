"""Test several threads at once: each gets the same bits as alone, or an error with the reason.

Here the interpreter switches threads every 10 microseconds, 500 times as often as usual."""

from __future__ import annotations

import itertools
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers
from gpunn.common.holds import Access, Exclusive

THREADS = 8
BACKENDS = ("numpy", "compiled", "emulated")
ROWS = {"numpy": 100_000, "compiled": 100_000, "emulated": 2_000}  # rows predicted in a full test


@pytest.fixture(autouse=True)
def _restless() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def concurrently(*works: Callable[[], Any]) -> list[Any]:
    """Call each of these in its own thread, starting together; return their results."""
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(number: int) -> None:
        try:
            start.wait()
            results[number] = works[number]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def dense(backend: str, seed: int = 0, units: int = 24) -> Any:
    """A network with dropout, and with activations that save their input or their output."""
    gpunn.utils.set_random_seed(seed)
    model = gpunn.Sequential(
        [
            gpunn.Input((20,)), layers.Rescaling(0.5), layers.Dense(units, "relu"),
            layers.Dropout(0.3), layers.LayerNormalization(), layers.Dense(16, "gelu"),
            layers.Dense(4, "softmax"),
        ],
        backend=backend,
    )  # fmt: skip
    rate = gpunn.optimizers.Adam(0.01, clipnorm=1.0)
    metrics = ["accuracy", "sparse_categorical_crossentropy"]
    model.compile(rate, "sparse_categorical_crossentropy", metrics=metrics)
    return model


def convolutional(backend: str, seed: int = 0) -> Any:
    """A network on images, with batch normalization."""
    gpunn.utils.set_random_seed(seed)
    model = gpunn.Sequential(
        [
            gpunn.Input((20,)), layers.Reshape((5, 4, 1)),
            layers.Conv2D(3, 2, padding="same", activation="tanh"), layers.BatchNormalization(),
            layers.MaxPooling2D(), layers.Flatten(), layers.Dense(4),
        ],
        backend=backend,
    )  # fmt: skip
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("rmsprop", loss, metrics=["accuracy"])
    return model


def data(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, 20), np.float32), random.integers(0, 4, rows)


# -- predictions of one model

CALLS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "predict": lambda model, x, y: model.predict(x, verbose=0),
    "predict in batches": lambda model, x, y: model.predict(x, batch_size=7, verbose=0),
    "predict_on_batch": lambda model, x, y: model.predict_on_batch(x),
    "call": lambda model, x, y: model(x),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "evaluate in batches": lambda model, x, y: model.evaluate(x, y, batch_size=9, verbose=0),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
    "activations": lambda model, x, y: list(model.activations(x).values()),
}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.more)])
def test_one_model_answers_many_threads(
    make: Callable[..., Any], backend: str, share: float
) -> None:
    sizes = (64, 64, 1, 33)
    x, y = data(sum(sizes))
    cuts = np.cumsum((0, *sizes))
    parts = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(cuts)]
    alone = make(backend)
    expected = {
        (name, part): call(alone, *parts[part])
        for name, call in CALLS.items()
        for part in range(len(parts))
    }
    model = make(backend)  # unused so far: the threads also prepare it
    rounds = math.ceil(share * ROWS[backend] / (len(x) * len(CALLS) * THREADS))

    def ask(first: int) -> int:
        answered = 0
        names = [*CALLS][first:] + [*CALLS][:first]
        for _ in range(rounds):
            for name in names:
                for part, (xs, ys) in enumerate(parts):
                    found = CALLS[name](model, xs, ys)
                    if name == "activations":
                        for a, b in zip(found, expected[name, part], strict=True):
                            assert_array_equal(a, b)
                    else:
                        assert_array_equal(found, expected[name, part], err_msg=name)
                    answered += len(xs)
        return answered

    answered = concurrently(*(lambda k=k: ask(k) for k in range(THREADS)))
    assert sum(answered) >= share * ROWS[backend]


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_large_predictions_of_several_threads(backend: str) -> None:
    """Each prediction is split into pieces, which all threads process."""
    model = dense(backend, units=512)
    x, _ = data(9_000)
    alone = model.predict(x, verbose=0)
    answers = concurrently(*(lambda: model.predict(x, verbose=0),) * 4)
    for answer in answers:
        assert_array_equal(answer, alone)


# -- trainings of several models


def trained(model: Any, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Weights and figures after training: epochs with a ragged batch, then single batches."""
    figures = model.fit(x, y, batch_size=16, epochs=3, validation_split=0.2, verbose=0).history
    batch = [model.train_on_batch(x[:10], y[:10]) for _ in range(3)]
    evaluated = model.evaluate(x, y, verbose=0)
    return [*model.get_weights(), np.array(batch), np.array(evaluated),
            *(np.array(values) for values in figures.values())]  # fmt: skip


def test_trainings_beside_each_other_and_beside_predictions() -> None:
    """Run 8 trainings on two backends, and predictions of a model on each, all at once."""
    x, y = data(330)
    seeds = range(4)
    makes = (dense, convolutional)
    backends = ("numpy", "compiled")
    cases = [(makes[s % 2], backend, s) for s in seeds for backend in backends]
    alone = [trained(make(backend, seed), x, y) for make, backend, seed in cases]
    served = [dense(backend, 77) for backend in backends]
    answers = [model.predict(x, verbose=0) for model in served]
    # Built and prepared by this thread; the other threads use the result.
    models = [make(backend, seed) for make, backend, seed in cases]
    for model in models:
        model.predict(x[:5], verbose=0)
    still = threading.Event()

    def serve(number: int) -> None:
        while not still.is_set():
            assert_array_equal(served[number].predict(x, verbose=0), answers[number])

    left = [len(models)]

    def train(model: Any) -> list[np.ndarray]:
        try:
            return trained(model, x, y)
        finally:
            left.pop() if len(left) > 1 else None
            done.release()

    done = threading.Semaphore(0)

    def end() -> None:
        for _ in models:
            done.acquire()
        still.set()

    found = concurrently(
        *(lambda model=model: train(model) for model in models),
        lambda: serve(0), lambda: serve(1), end,
    )[: len(models)]  # fmt: skip
    for case, ours, expected in zip(cases, found, alone, strict=True):
        for a, b in zip(ours, expected, strict=True):
            assert_array_equal(a, b, err_msg=str(case))


def test_trainings_on_the_emulated_gpu() -> None:
    x, y = data(60)
    alone = [trained(dense("emulated", seed), x, y) for seed in range(3)]
    models = [dense("emulated", seed) for seed in range(3)]
    found = concurrently(*(lambda model=model: trained(model, x, y) for model in models))
    for ours, expected in zip(found, alone, strict=True):
        for a, b in zip(ours, expected, strict=True):
            assert_array_equal(a, b)


class Even(gpunn.initializers.Initializer):
    """All weights are equal, and stay equal."""

    def __call__(self, shape: Any, dtype: Any = None) -> np.ndarray:
        return np.ones(shape, dtype)


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_prediction_beside_training_sees_the_weights_between_two_steps(backend: str) -> None:
    """Each of many weights gets the same gradient in each step: a thread that sees two different
    values has read in the middle of a step."""
    size = 200_000
    model = gpunn.Sequential(
        [gpunn.Input((1,)), layers.Dense(size, use_bias=False, kernel_initializer=Even())],
        backend=backend,
    )
    model.compile(gpunn.optimizers.Adam(0.01), "mean_squared_error")
    x, y = np.ones((1, 1), np.float32), np.zeros((1, size), np.float32)
    ended = threading.Event()

    def train() -> None:
        for _ in range(60):
            model.train_on_batch(x, y)
        model.fit(np.repeat(x, 60, 0), np.repeat(y, 60, 0), batch_size=1, verbose=0)
        model.set_weights([np.full((1, size), 7.0)])
        ended.set()

    def look() -> int:
        seen = set()
        while not ended.is_set():
            for values in (model.predict(x, verbose=0), model.get_weights()[0]):
                assert values.min() == values.max()
                seen.add(float(values.min()))
        return len(seen)

    _, first, second = concurrently(train, look, look)
    assert first + second > 4  # they did read during the training


# -- rejected calls


class Busy(gpunn.callbacks.Callback):
    """Uses the model in the middle of fit, in another thread or in the same one."""

    def __init__(self, work: Callable[[Any], Any], thread: bool) -> None:
        self.work, self.thread = work, thread
        self.errors: list[BaseException] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        def run() -> None:
            try:
                self.work(self.model)
            except BaseException as error:
                self.errors.append(error)

        if self.thread:
            other = threading.Thread(target=run)
            other.start()
            other.join()
        else:
            run()


TRAININGS: dict[str, Callable[[Any], Any]] = {
    "fit": lambda model: model.fit(*data(20), verbose=0),
    "train_on_batch": lambda model: model.train_on_batch(*data(20)),
    "compile": lambda model: model.compile("sgd", "sparse_categorical_crossentropy"),
}


@pytest.mark.parametrize("thread", [True, False])
@pytest.mark.parametrize("method", TRAININGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_trainings_of_one_model_are_refused(backend: str, method: str, thread: bool) -> None:
    busy = Busy(TRAININGS[method], thread)
    model, alone = dense(backend), dense(backend)
    history = model.fit(*data(20), epochs=3, verbose=0, callbacks=[busy]).history
    assert len(busy.errors) == 3
    for error in busy.errors:
        assert isinstance(error, RuntimeError)
        assert str(error).startswith(f"{method}: the model '{model.name}' is being trained")
        assert ("another thread" in str(error)) == thread
        assert ("callback" in str(error)) == (not thread)
    # The running training was not disturbed, and afterwards the model is free.
    assert history == alone.fit(*data(20), epochs=3, verbose=0).history
    TRAININGS[method](model)


def test_a_training_that_failed_does_not_keep_the_model() -> None:
    model = dense("numpy")

    class Fails(gpunn.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.fit(*data(20), verbose=0, callbacks=[Fails()])
    assert concurrently(lambda: model.fit(*data(20), verbose=0))


# -- state of the process


def blas_threads() -> list[int]:
    """The thread counts of the loaded BLAS libraries, except some that other tests load."""
    found = threadpoolctl.threadpool_info()
    return [library["num_threads"] for library in found if library["user_api"] == "blas"]


def test_any_thread_sets_the_threads_of_blas() -> None:
    """Even if another thread, still alive, was the first to set them."""
    with threadpoolctl.threadpool_limits(2):
        before = blas_threads()
        dense("numpy").fit(*data(4), verbose=0)
        seen: list[list[int]] = []

        class Looks(gpunn.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                seen.append(blas_threads())

        concurrently(lambda: dense("numpy").fit(*data(4), verbose=0, callbacks=[Looks()]))
        assert seen and all(set(threads) == {1} for threads in seen)
        assert blas_threads() == before


def test_blas_gets_its_threads_back_after_overlapping_fits() -> None:
    """The first to begin ends first, so the second restores what the first changed."""
    with threadpoolctl.threadpool_limits(2):
        before = blas_threads()
        first_ended, second_began = threading.Event(), threading.Event()

        class Waits(gpunn.callbacks.Callback):
            def __init__(self, tells: threading.Event, waits: threading.Event) -> None:
                self.tells, self.waits = tells, waits

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                self.tells.set()
                assert self.waits.wait(60)

        never = threading.Event()

        def first() -> None:
            dense("numpy").fit(*data(4), verbose=0, callbacks=[Waits(never, second_began)])
            first_ended.set()

        concurrently(
            first,
            lambda: dense("numpy").fit(
                *data(4), verbose=0, callbacks=[Waits(second_began, first_ended)]
            ),
        )
        assert blas_threads() == before


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_the_number_of_threads_changes_no_bit(backend: str) -> None:
    """Layers wide enough for split products, with a ragged batch; predictions in pieces."""
    random = np.random.default_rng(0)
    x = random.standard_normal((300, 300), np.float32)
    y = random.standard_normal((300, 3), np.float32)

    def run(threads: int) -> list[np.ndarray]:
        with threadpoolctl.threadpool_limits(threads):
            gpunn.utils.set_random_seed(3)
            model = gpunn.Sequential(
                [
                    gpunn.Input((300,)), layers.Dense(1100, "tanh", kernel_regularizer="l2"),
                    layers.Dense(1100, "relu"), layers.Dense(3),
                ],
                backend=backend,
            )  # fmt: skip
            model.compile(gpunn.optimizers.Lamb(0.01), "mean_squared_error")
            model.fit(x, y, batch_size=128, epochs=2, verbose=0)
            model.train_on_batch(x[:100], y[:100])
            on_batch = model.predict_on_batch(x[:90])
            return [*model.get_weights(), model.predict(x, verbose=0), on_batch]

    one, two, three = run(1), run(2), run(3)
    for a, b, c in zip(one, two, three, strict=True):
        assert_array_equal(a, b)
        assert_array_equal(a, c)


def test_a_call_that_runs_generators_keeps_what_it_holds() -> None:
    """The call's stack changes: when a generator stops, it no longer has a caller above it."""
    lock, taken, stop = Exclusive(), threading.Event(), threading.Event()

    def take() -> None:
        lock.__enter__()  # never exits: only the end of this call releases the lock
        taken.set()
        while not stop.is_set():
            all(n >= 0 for n in range(3))

    thread = threading.Thread(target=take)
    thread.start()
    taken.wait()
    held = [lock.holder is not None for _ in range(20_000)]
    stop.set()
    thread.join()
    assert all(held) and lock.holder is None


def test_who_reads_may_read_again_while_a_writer_waits() -> None:
    access, done = Access(), threading.Event()
    reads, writes = threading.Event(), threading.Event()

    def read() -> None:
        with access.reading():
            reads.set()
            writes.wait()
            for _ in range(5_000):  # the writer arrives in the meantime
                with access.reading():
                    pass
            done.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reads.wait()
    writes.set()
    with access.writing():
        assert done.is_set()
    reader.join()

"""Programs on the host: a step traced once does the same as the step called each time."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import registered
import threadpoolctl
from registered_networks import assert_same_bits, drive, every_case, unusual

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.contract.backend import NotTraceableError
from gpunn.backends.host import trace as host_trace
from gpunn.backends.numpy import backend as numpy_backend
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.backends.numpy.updates import UPDATE_PIECE
from gpunn.backends.shared.threads import (
    SIZE_WORTH_THREADS,
    ParallelRegion,
    Workers,
    pieces_of_product,
)
from gpunn.common.holds import Exclusive


@pytest.mark.in_turn(12)
@unusual
@every_case
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_traced_step_is_the_plain_one(
    kind: str, name: str, arguments: dict, backend: str
) -> None:
    """Bitwise equal after changes of data, rate, position, pass and counters."""
    traced, plain = type(get_backend(backend))(), type(get_backend(backend))()
    case = (kind, name, arguments)
    found = drive(traced, case)
    with plain.profile():  # then the step itself is called each time
        assert_same_bits(found, drive(plain, case))


@pytest.fixture
def repeated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that each program replays, in the order in which the programs are created."""
    seen: list[Any] = []
    plain = NumpyBackend.replay_of
    monkeypatch.setattr(
        NumpyBackend, "replay_of", lambda self, calls: (seen.append(calls), plain(self, calls))[1]
    )
    return seen


def fitted(*chain: Any, loss: str = "mse", activation: Any = None) -> Any:
    chain = (layers.Input((5,)), *chain, layers.Dense(3, activation=activation))
    model = gpunn.Sequential(list(chain), backend="numpy")
    model.compile(gpunn.optimizers.Adam(0.01), loss)
    random = np.random.default_rng(0)
    model.set_weights([random.standard_normal(w.shape) for w in model.get_weights()])
    x, y = random.random((40, 5), np.float32), random.random((40, 3), np.float32)
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("name", ["mse", "binary_crossentropy", "categorical_crossentropy"])
def test_a_step_of_built_in_parts_is_traced(name: str, repeated: list[Any]) -> None:
    activation = {"mse": None, "binary_crossentropy": "sigmoid"}.get(name, "softmax")
    fitted(layers.Dense(4, "relu"), layers.Dropout(0.5), loss=name, activation=activation)
    (calls,) = repeated
    assert len(calls) > 20


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_array_functions_on_more_than_elements_are_traced(dtype: Any, backend: str) -> None:
    """A product of stacks whose result is small, and has another shape than its factors."""
    own = get_backend(backend).isolated()
    a, b = np.arange(30).reshape(2, 3, 5).astype(dtype), np.arange(10).reshape(5, 2).astype(dtype)
    out = np.zeros((2, 3, 2), dtype)
    own.program(lambda: own.xp.matmul(a, b, out=out), True).run(2)
    np.testing.assert_array_equal(out, a @ b)


class Doubling(layers.Layer):
    """Double with Python's operators, which cannot be traced."""

    def forward(self, call: Any) -> None:
        call.y[...] = call.x * 2

    def backward(self, call: Any) -> None:
        call.dx[...] = call.dy * 2


class Doubled(layers.Dense):
    """A layer of the framework with one changed line."""

    def call(self, x: Any) -> Any:
        return super().call(x) * 2


def test_a_users_layer_is_called_in_each_step(repeated: list[Any]) -> None:
    """Its weights after training are those of the same network built without it."""
    results = []
    for hidden in (
        [layers.Dense(4), Doubling()],
        [Doubled(4)],
        [layers.Dense(4), layers.Rescaling(2.0)],
    ):
        repeated.clear()
        results.append(fitted(*hidden).get_weights())
        assert len(repeated) == (type(hidden[-1]) is not Doubling)
    for a, b, c in zip(*results, strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(b, c, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_rate_that_changes_between_batches_counts(backend: str) -> None:
    dropout = layers.Dropout(0.5)
    chain = [layers.Input((50,)), dropout, layers.Dense(1, kernel_initializer="ones")]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), "mse")
    x, y = np.ones((4, 50), np.float32), np.full((4, 1), 50.0, np.float32)
    for _ in range(3):
        assert model.train_on_batch(x, y) > 1
    dropout.rate = 1.0
    for _ in range(3):
        assert model.train_on_batch(x, y) == 2500.0  # everything was dropped


def test_what_makes_a_new_array_is_refused_and_then_done_as_it_stands(
    repeated: list[Any],
) -> None:
    backend, out = NumpyBackend().isolated(), np.zeros(3)

    def step() -> None:
        np.add(out, backend.xp.sum(np.ones(2)), out=out)

    with pytest.raises(NotTraceableError, match=r"xp\.sum without out="):
        backend.trace(step)
    assert backend.xp is np
    program = backend.program(step, traceable=True)
    program.run(5)
    assert out.tolist() == [10.0] * 3
    assert not repeated


def test_numbers_become_arrays_only_where_that_is_faster() -> None:
    backend = NumpyBackend().isolated()
    small, large = np.zeros((4, 4), np.float32), np.zeros((64, 64), np.float32)
    assert small.size <= host_trace.SMALL < large.size

    def step() -> None:
        backend.xp.multiply(small, 0.5, out=small)
        backend.xp.multiply(large, 0.5, out=large)
        backend.xp.maximum(large, 0.0, out=large)

    calls: list[Any] = backend.trace(step).calls
    shapes = [np.shape(call.args[1]) for call in calls]
    assert shapes == [(4, 4), (), (64,)]
    assert {np.asarray(call.args[1]).dtype.name for call in calls} == {"float32", "float64"}


# -- threads


@pytest.fixture
def workers() -> Iterator[Workers]:
    with threadpoolctl.threadpool_limits(3, user_api="blas"), ParallelRegion():
        yield Workers()


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize("columns", [1, 7, 100])
@pytest.mark.parametrize("rows", [1, 2, 3, 64])
def test_pieces_make_up_the_product(
    rows: int, columns: int, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_backend, "pieces_of_product", lambda *sizes: pieces)
    backend, random = NumpyBackend(), np.random.default_rng(rows)
    a, b = random.random((rows, 20)), random.random((20, columns))
    for left, turn_left in ((a, False), (a.T.copy(), True)):
        for right, turn_right in ((b, False), (b.T.copy(), True)):
            out = np.full((rows, columns), np.nan)
            backend.matmul(left, right, out, transpose_a=turn_left, transpose_b=turn_right)
            np.testing.assert_allclose(out, a @ b, rtol=1e-14)


def test_every_piece_is_done_once_by_all_threads(workers: Workers) -> None:
    done: list[tuple[int, int]] = []
    meeting = threading.Barrier(3)

    def work(piece: int) -> None:
        if piece < 3:
            meeting.wait(60)  # needs three threads at once
        done.append((piece, threading.get_ident()))

    for _ in range(20):
        done.clear()
        workers.parallel_for(10, work)
        assert sorted(piece for piece, _ in done) == list(range(10))
        assert len({thread for _, thread in done}) == 3


class Numbers:
    """Numbers of pieces: a helper that has taken one rests until its caller finds none left."""

    taken, over = threading.Event(), threading.Event()

    def __init__(self) -> None:
        self.count, self.caller = itertools.count(), threading.get_ident()
        self.taken.clear()
        self.over.clear()

    def __next__(self) -> int:
        number = next(self.count)
        if threading.get_ident() == self.caller:
            if number >= 4:
                self.over.set()
            return number
        self.taken.set()
        self.over.wait(60)
        for _ in range(1000):
            time.sleep(0)  # the caller goes on
        return number


def test_a_helper_that_rests_before_its_piece_does_it(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = SimpleNamespace(count=Numbers, product=itertools.product)
    monkeypatch.setattr("gpunn.backends.shared.threads.itertools", numbers)
    done: list[int] = []

    def work(piece: int) -> None:
        Numbers.taken.wait(60)
        done.append(piece)

    workers.parallel_for(4, work)
    assert sorted(done) == [0, 1, 2, 3]


def test_two_threads_go_on_after_an_interrupted_call(workers: Workers) -> None:
    """Both wait for the helper that Ctrl-C has left at work."""
    inside, ends, main = threading.Event(), threading.Event(), threading.main_thread().ident

    def work(piece: int) -> None:
        if threading.get_ident() == main:
            inside.wait(20)
            return
        inside.set()
        while sys._current_frames()[main].f_code.co_name != "finish":
            ends.wait(0.001)
        os.kill(os.getpid(), signal.SIGINT)  # while the caller waits for this piece
        ends.wait(20)

    def interrupted() -> None:  # the call that holds the job ends with it
        workers.parallel_for(2, work)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with Exclusive():  # taking a lock, this thread sees that the call is over
        pass
    done: list[int] = []

    def other() -> None:
        with ParallelRegion():
            workers.parallel_for(3, done.append)

    others = [threading.Thread(target=other, daemon=True) for _ in range(2)]
    for thread in others:
        thread.start()
    while any(sys._current_frames()[t.ident].f_code.co_name != "finish" for t in others):
        ends.wait(0.001)
    ends.set()
    for thread in others:
        thread.join(20)
    assert sorted(done) == [0, 0, 1, 1, 2, 2]


def test_a_piece_may_share_again(workers: Workers) -> None:
    done: list[int] = []
    workers.parallel_for(3, lambda piece: workers.parallel_for(4, done.append))
    assert sorted(done) == sorted([0, 1, 2, 3] * 3)


def test_several_threads_may_share_at_once(workers: Workers) -> None:
    """No thread continues before all the work it requested is done."""
    wrong: list[int] = []

    def count() -> None:
        for number in range(300):
            done = [False] * 20
            workers.parallel_for(20, lambda piece, done=done: done.__setitem__(piece, True))
            if not all(done):
                wrong.append(number)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("where", [0, 9])
def test_an_error_in_a_piece_is_raised(workers: Workers, where: int) -> None:
    def work(piece: int) -> None:
        if piece == where:
            raise ValueError("in a piece")

    for _ in range(3):
        with pytest.raises(ValueError, match="in a piece"):
            workers.parallel_for(10, work)
    workers.parallel_for(10, lambda piece: None)


def test_a_session_gives_blas_one_thread_and_takes_it_back() -> None:
    """In a separate process: here others may have imported a BLAS since gpunn looked."""
    script = """
import threadpoolctl
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.backends.shared.threads import ParallelRegion

def threads():
    info = threadpoolctl.threadpool_info()
    return [library["num_threads"] for library in info if library["user_api"] == "blas"]

with threadpoolctl.threadpool_limits(3, user_api="blas"):
    before, backend = threads(), NumpyBackend()
    with backend.parallel_region(), backend.parallel_region():
        assert set(threads()) <= {1}
        assert ParallelRegion.threads() == max(before, default=1)
    assert threads() == before
    assert ParallelRegion.threads() == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_large_network_trains_alike_on_any_number_of_threads(backend: str) -> None:
    """Products and updates are large enough to be divided; the last pieces are ragged."""
    results = []
    random = np.random.default_rng(0)
    x, y = random.random((96, 300), np.float32), random.integers(0, 10, 96)
    assert pieces_of_product(48, 900, 900) > 1
    for count in (1, 2, 3):
        gpunn.utils.set_random_seed(0)
        model = gpunn.Sequential(
            [layers.Input((300,)), *(layers.Dense(900, "tanh") for _ in range(2))],
            backend=backend,
        )
        model.add(layers.Dense(10, activation="softmax"))
        model.compile(gpunn.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
        assert model.count_params() > SIZE_WORTH_THREADS > UPDATE_PIECE
        with threadpoolctl.threadpool_limits(count, user_api="blas"):
            model.fit(x, y, batch_size=48, epochs=2, verbose=0)
        results.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    for one, other in itertools.pairwise(results):
        np.testing.assert_array_equal(one, other)


# -- prediction in pieces


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model whose predictions are cut into pieces of eight rows."""
    monkeypatch.setattr(NumpyBackend, "cache_bytes", 8 * 1300)
    gpunn.utils.set_random_seed(0)
    chain = [layers.Input((10, 10)), layers.Flatten(), layers.Dense(50, activation="relu")]
    made = gpunn.Sequential([*chain, layers.Dense(10, activation="softmax")], backend="numpy")
    assert made.built
    return made


def test_what_the_cache_cannot_hold_is_predicted_in_pieces(
    model: Any, recorded_pieces: list[int]
) -> None:
    for rows in (8, 9, 61):
        model.predict_on_batch(np.zeros((rows, 10, 10)))
    assert recorded_pieces == [2, 8]  # the 8 rows are one piece, and are not divided


@pytest.mark.parametrize("rows", [1, 8, 9, 50, 61])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "float16"])
def test_a_prediction_in_pieces_is_that_of_each_row(model: Any, rows: int, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 5, (rows, 10, 10)).astype(dtype)
    single = np.concatenate([model.predict_on_batch(row[np.newaxis]) for row in x])
    for given in (x, np.asfortranarray(x)):
        np.testing.assert_allclose(model.predict(given, verbose=0), single, rtol=1e-5)
        np.testing.assert_allclose(model.predict_on_batch(given), single, rtol=1e-5)
    np.testing.assert_allclose(model.predict(x, batch_size=20, verbose=0), single, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch_size", [None, 20, 3])
def test_a_value_that_is_not_finite_is_found_in_any_piece(
    model: Any, value: float, batch_size: int | None
) -> None:
    x = np.zeros((50, 10, 10), np.float32)
    x[41, 2, 3] = value
    with pytest.raises(ValueError, match=rf"x holds {value} at \[41, 2, 3\]"):
        model.predict(x, batch_size=batch_size, verbose=0)
    x[41, 2, 3] = 0
    assert np.isfinite(model.predict(x, verbose=0)).all()


@pytest.mark.parametrize("rows", [1, 50])
def test_values_whose_squares_overflow_are_finite_all_the_same(model: Any, rows: int) -> None:
    x = np.full((rows, 10, 10), 1e30, np.float32)
    x[0, 0, 0] = -3e38
    assert model.predict(x, verbose=0).shape == (rows, 10)


def test_callbacks_are_not_called_before_all_values_are_known_to_be_good(model: Any) -> None:
    begun: list[int] = []
    callback = gpunn.callbacks.LambdaCallback()
    callback.on_predict_batch_begin = lambda number, logs=None: begun.append(number)
    x = np.zeros((50, 10, 10))
    x[-1] = np.nan
    with pytest.raises(ValueError, match="x holds nan"):
        model.predict(x, batch_size=10, callbacks=[callback], verbose=0)
    assert begun == []
    model.predict(x[:-1], batch_size=10, callbacks=[callback], verbose=0)
    assert begun == [0, 1, 2, 3, 4]


def test_training_between_predictions_shows(model: Any) -> None:
    x = np.random.default_rng(0).random((30, 10, 10))
    before = [model.predict(part, verbose=0) for part in (x, x[:4])]
    model.set_weights([w + 0.1 for w in model.get_weights()])
    after = [model.predict(part, verbose=0) for part in (x, x[:4])]
    for old, new in zip(before, after, strict=True):
        assert not np.allclose(old, new)
    np.testing.assert_allclose(after[0][:4], after[1], rtol=1e-5)


def test_a_users_layer_predicts_in_pieces() -> None:
    chain = [layers.Input((5,)), Doubling(), registered.make("layer", "Dense", {"units": 3})]
    model = gpunn.Sequential(chain, backend="numpy")
    x = np.random.default_rng(0).random((7, 5), np.float32)
    expected = 2 * x @ model.get_weights()[0]
    for _ in range(3):
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)

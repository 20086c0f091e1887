"""Functions and steps by hand in several threads: none waits for ever, and none loses an update."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops

LIMIT = 30
"""Seconds after which a thread counts as stopped."""


@pytest.fixture(autouse=True)
def _switches_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def network(seed: int) -> gpunn.Sequential:
    gpunn.utils.set_random_seed(seed)
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(3, "tanh"), layers.Dense(1)])
    model.get_weights()
    return model


def run_all(works: Sequence[Callable[[], None]]) -> None:
    """Run functions in a thread each, and raise the first error."""
    errors: list[BaseException] = []

    def kept(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=kept, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"
    if errors:
        raise errors[0]


def test_functions_that_write_two_models_in_opposite_order(backend: str) -> None:
    gpunn.use_backend(backend)
    one, two = network(0), network(1)
    x = np.ones((2, 2), "float32")

    def scaled(first: Any, second: Any) -> Any:
        @gpunn.function
        def scale(x: Any) -> Any:
            total = ops.sum(first(x)) + ops.sum(second(x))
            for model in (first, second):
                kernel = model.layers[-1].kernel
                kernel.assign_add(ops.ones_like(kernel))
            return total

        return scale

    calls = 150 if backend != "emulated" else 20
    before = [m.layers[-1].kernel.numpy() for m in (one, two)]
    functions = [scaled(one, two), scaled(two, one)]
    for f in functions:
        f(x)  # the first call runs in Python, where an assignment is two steps
    run_all([lambda f=f: [f(x) for _ in range(calls)] for f in functions])  # type: ignore[misc]
    for model, kernel in zip((one, two), before, strict=True):
        found = model.layers[-1].kernel.numpy()
        np.testing.assert_allclose(found, kernel + 2 * calls + 2, rtol=1e-5)


def test_two_models_whose_train_steps_use_each_other(backend: str) -> None:
    gpunn.use_backend(backend)

    others: dict[int, Any] = {}

    class Follows(gpunn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.dense(x)

        def train_step(self, data: Any) -> Any:
            x, y = data
            with gpunn.GradientTape() as tape:
                loss = ops.mean((self(x) - y) ** 2) + ops.mean((self(x) - others[id(self)](x)) ** 2)
            slopes = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(slopes, self.trainable_variables)
            return {"loss": loss}

    x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
    one, two = Follows(), Follows()
    for model, other in ((one, two), (two, one)):
        others[id(model)] = other
        model.compile("sgd", "mse")
        model(x)
    epochs = 40 if backend != "emulated" else 4
    run_all(
        [lambda m=m: m.fit(x, y, batch_size=1, epochs=epochs, verbose=0) for m in (one, two)]  # type: ignore[misc]
    )


def test_no_lock_is_held_while_a_users_body_runs() -> None:
    """A body may wait for another thread that calls the same function."""
    inner = threading.Event()

    @gpunn.function
    def doubled(x: Any, waits: bool) -> Any:
        if waits:
            assert inner.wait(LIMIT)
        return x * 2

    doubled(1.0, False)

    def first() -> None:
        assert doubled(3.0, True) == 6.0

    def second() -> None:
        assert doubled(np.ones(2), False).tolist() == [2.0, 2.0]
        inner.set()

    run_all([first, second])


@pytest.mark.parametrize("kind", ["weights", "variables", "function"])
def test_the_first_steps_of_an_optimizer_in_several_threads_all_count(kind: str) -> None:
    """They make its slots and its counters at once."""
    for _ in range(10):
        layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        layer.build((None, 1))
        w: Any = gpunn.Variable([[0.0]]) if kind == "variables" else layer.kernel
        optimizer = gpunn.optimizers.SGD(1.0, momentum=0.5)

        def step(w: Any = w, optimizer: Any = optimizer) -> None:
            optimizer.apply([ops.ones((1, 1))], [w])

        call = gpunn.function(step) if kind == "function" else step
        meeting = threading.Barrier(4)

        def work(call: Any = call, meeting: Any = meeting) -> None:
            meeting.wait(LIMIT)
            for _ in range(5):
                call()

        run_all([work] * 4)
        assert optimizer.iterations == 20
        assert float(np.asarray(w)[0, 0]) == pytest.approx(-38.000001907348633, rel=1e-6)


def test_additions_in_several_threads_are_all_made() -> None:
    layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    layer.build((None, 1))
    v = gpunn.Variable(0.0)

    def work() -> None:
        for _ in range(300):
            v.assign_add(1.0)
            layer.kernel.assign_sub([[1.0]])

    run_all([work] * 4)
    assert (float(v), float(layer.kernel.numpy()[0, 0])) == (1200.0, -1200.0)


def test_the_first_assignments_in_several_threads_are_all_made() -> None:
    """A weight gets its place in memory with the first of them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(60):
            layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
            layer.build((None, 1))
            meeting = threading.Barrier(4)

            def work(layer: Any = layer, meeting: Any = meeting) -> None:
                meeting.wait(LIMIT)
                layer.kernel.assign_add([[1.0]])

            run_all([work] * 4)
            assert float(layer.kernel.numpy()[0, 0]) == 4.0
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("threads", [4])
def test_one_function_in_many_threads_counts_every_call(threads: int, backend: str) -> None:
    gpunn.use_backend(backend)
    total = gpunn.Variable(0.0)

    @gpunn.function
    def add(x: Any) -> Any:
        total.assign_add(x)
        return x + 1

    calls = 100
    add(0.0)
    run_all([lambda: [add(float(k)) for k in range(calls)] for _ in range(threads)])  # type: ignore[misc]
    assert float(total) == threads * sum(range(calls))


@pytest.mark.parametrize("method", ["evaluate", "test_on_batch", "train_on_batch"])
def test_own_steps_in_another_thread_are_refused(method: str) -> None:
    """They would count by the metrics that are those of the fit, too, whose history was wrong."""

    class Own(gpunn.Sequential):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

        def test_step(self, data: Any) -> Any:
            return super().test_step(data)

    x, y, histories = np.ones((8, 2)), np.ones((8, 1)), []
    for meets in (True, False):
        gpunn.utils.set_random_seed(0)
        model = Own([layers.Input((2,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        refused: list[BaseException] = []

        def work(model: Own = model, refused: list[BaseException] = refused) -> None:
            with pytest.raises(RuntimeError) as caught:
                getattr(model, method)(x, y * 9)
            refused.append(caught.value)

        def meet(batch: int, logs: Any, work: Any = work, meets: bool = meets) -> None:
            if meets:
                run_all([work])

        watching = gpunn.callbacks.LambdaCallback(on_train_batch_end=meet)
        fit = model.fit(x, y, batch_size=2, validation_data=(x, y), verbose=0, callbacks=[watching])
        histories.append(fit.history)
        assert len(refused) == 4 * meets
        assert all("nother thread" in str(error) for error in refused)
        model.evaluate(x, y, verbose=0)
    assert histories[0] == histories[1]


@pytest.mark.parametrize("other", ["sets attributes", "trains"])
def test_what_fit_logs_does_not_depend_on_other_threads(other: str) -> None:
    """Sums of a program are rounded otherwise than in Python: which of both runs must not vary."""

    class Own(gpunn.Sequential):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    draw = np.random.default_rng(4)
    x, y = draw.normal(size=(40, 2)), draw.uniform(size=(40, 1))

    def trained() -> Any:
        model = Own([layers.Input((2,)), layers.Dense(8, "tanh"), layers.Dense(1)])
        model.set_weights([np.cos(np.arange(w.size)).reshape(w.shape) for w in model.weights])
        model.compile("sgd", "mse")
        return model.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0).history

    alone, ended, layer = trained(), threading.Event(), layers.Dense(1)

    def disturb() -> None:
        while not ended.is_set():
            if other == "trains":
                trained()
            else:
                layer.units = 1

    def compare() -> None:
        try:
            assert all(trained() == alone for _ in range(10))
        finally:
            ended.set()

    run_all([compare, disturb])


def test_a_thread_that_draws_for_a_while_does_not_keep_a_function_in_python() -> None:
    function = gpunn.function(lambda x: ops.sum(x * x))
    drawing, ended = threading.Event(), threading.Event()

    def draw() -> None:
        while not ended.is_set():
            np.random.standard_normal()  # noqa: NPY002
            drawing.set()

    def call() -> None:
        try:
            assert drawing.wait(LIMIT)
            assert [float(function(k)) for k in np.arange(4.0)] == [0.0, 1.0, 4.0, 9.0]
        finally:
            ended.set()

    run_all([call, draw])
    assert [float(function(k)) for k in np.arange(4.0)] == [0.0, 1.0, 4.0, 9.0]
    assert function.compiled


def test_many_threads_that_see_one_change_see_one_change() -> None:
    held = [1.0]
    function = gpunn.function(lambda x: x * held[0])
    for factor in (2.0, 3.0, 4.0):
        held[0] = factor
        meeting = threading.Barrier(6)

        def call(meeting: Any = meeting, factor: float = factor) -> None:
            meeting.wait(LIMIT)
            assert [float(function(np.float64(k))) for k in range(4)] == [
                k * factor for k in range(4)
            ]

        run_all([call] * 6)
    assert function.compiled


def test_a_garbage_collection_waits_for_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in any thread at any instruction, whatever locks that thread has."""
    waited: list[bool] = []
    collecting = False

    class Watched:
        def __init__(self, lock: Any) -> None:
            self._lock = lock

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if collecting and blocking:
                waited.append(True)
            return self._lock.acquire(blocking, timeout)

        def release(self) -> None:
            self._lock.release()

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *error: object) -> None:
            self.release()

    for kind in ("Lock", "RLock"):
        create = getattr(threading, kind)
        monkeypatch.setattr(threading, kind, lambda create=create: Watched(create()))
    model = gpunn.Sequential([layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile(gpunn.optimizers.Adam(), "mse")
    made = gpunn.function(lambda x: ops.sum(model(x) ** 2))
    x = np.ones((2, 3), np.float32)
    gc.disable()
    try:
        for _ in range(4):
            made(x)
            model.train_on_batch(x, x[:, :1])
            with gpunn.GradientTape() as tape:
                loss = ops.sum(model(x))
            cycle = [tape, loss]
            cycle.append(cycle)  # only a collection frees it
        del tape, loss, cycle, made
        collecting = True
        gc.collect()
        collecting = False
    finally:
        gc.enable()
    assert not waited

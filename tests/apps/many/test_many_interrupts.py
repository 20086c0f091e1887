"""Ctrl-C while many models train: each ends as Ctrl-C ends its own `fit`, and none trains on."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import searched
from interrupting import Place, interrupt, places

import gpunn
from gpunn import layers
from gpunn.apps.many import engines
from gpunn.callbacks import BackupAndRestore, Callback
from gpunn.saving.lock import FolderLock

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are sent by another way")

X = np.random.default_rng(0).normal(size=(1200, 3)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")
MANY = 10**6  # epochs that no test waits for
KINDS = {"one thread": (500, 1), "two threads": (500, 2), "lockstep": (8, 2)}


def build(units: int = 500, rate: float = 0.01) -> Any:
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(units, "tanh"), layers.Dense(2, "softmax")]
    )
    model.compile(gpunn.optimizers.SGD(rate), "sparse_categorical_crossentropy")
    return model


@pytest.fixture(autouse=True)
def _told() -> Iterator[None]:
    """Let `Hooks` know when the main thread has got the signal."""
    before = signal.getsignal(signal.SIGINT)
    got.clear()

    def handler(number: int, frame: Any) -> None:
        got.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    yield
    signal.signal(signal.SIGINT, before)


got = threading.Event()


class Hooks(Callback):
    """Remembers which hooks were called, and sends Ctrl-C in an epoch of the first model."""

    def __init__(self, number: int = 0) -> None:
        self.number, self.called = number, set[str]()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.number == 0 and epoch == 1:
            signal.raise_signal(signal.SIGINT)
            got.wait()

    def on_train_end(self, logs: Any = None) -> None:
        self.called.add("on_train_end")

    def release(self) -> None:
        self.called.add("release")


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_are_told_what_fit_tells_them(kind: str) -> None:
    units, threads = KINDS[kind]
    alone = Hooks()
    with pytest.raises(KeyboardInterrupt):
        build(units).fit(X, Y, epochs=MANY, verbose=0, callbacks=alone)
    hooks = [Hooks(k) for k in range(3)]
    models = [build(units) for _ in hooks]
    with pytest.raises(KeyboardInterrupt):
        gpunn.fit_many(
            models, X, Y, epochs=MANY, batch_size=4, verbose=0, threads=threads,
            callbacks=[[each] for each in hooks],
        )  # fmt: skip
    assert hooks[0].called == alone.called == {"release"}
    for model, each in zip(models, hooks, strict=True):
        assert each.called == (set() if model.history is None else {"release"})
        model.fit(X, Y, verbose=0)  # none of them is in training


@pytest.mark.parametrize("kind", KINDS)
def test_backups_of_each_model_are_kept_and_resumed(kind: str, tmp_path: Path) -> None:
    units, threads = KINDS[kind]
    given: dict[str, Any] = {"epochs": 6, "batch_size": 4, "verbose": 0, "threads": threads}

    def made() -> list[Any]:
        gpunn.utils.set_random_seed(4)
        return [build(units) for _ in range(2)]

    def fit(*pressing: Callback) -> list[Any]:
        models = made()
        gpunn.fit_many(
            models, X, Y, **given, callbacks=lambda k: [
                BackupAndRestore(tmp_path / str(k)), *(pressing if k == 0 else ())
            ],
        )  # fmt: skip
        return models

    with pytest.raises(KeyboardInterrupt):
        fit(Hooks())
    assert (tmp_path / "0" / "checkpoint.gpunn").exists()
    whole = made()
    gpunn.fit_many(whole, X, Y, **given)
    for resumed, expected in zip(fit(Callback()), whole, strict=True):
        for a, b in zip(resumed.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_search_keeps_no_model_that_is_not_finished(
    kind: str, tmp_path: Path
) -> None:
    units, threads = KINDS[kind]
    given: dict[str, Any] = {
        "over": {"units": [units], "rate": [0.1, 0.01, 0.001]}, "validation_split": 0.25,
        "epochs": 4, "batch_size": 3, "verbose": 0, "threads": threads,
    }  # fmt: skip
    expected = gpunn.search(build, X, Y, **given, callbacks=lambda k: Callback())
    numbers = iter([0])

    def callbacks(k: int) -> Callback:
        return Hooks(next(numbers, 1)) if k == 0 else Callback()

    with pytest.raises(KeyboardInterrupt):
        gpunn.search(build, X, Y, folder=tmp_path, callbacks=callbacks, **given)
    found = gpunn.search(build, X, Y, folder=tmp_path, callbacks=callbacks, **given)
    assert [r.history for r in found.results] == [r.history for r in expected.results]
    assert found.scores == expected.scores


class Late(Callback):
    """Notes after many epochs whether there was a signal, and sends one."""

    def __init__(self) -> None:
        self.reached: list[bool] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 500:
            self.reached.append(got.is_set())
            signal.raise_signal(signal.SIGINT)


def begins() -> list[Place]:
    """The lines that hand models to threads: up to the one that waits for these."""
    waits = contextlib.__file__
    files = {engines.__file__, threading.__file__, waits}
    models = [build() for _ in range(4)]
    reached = places(lambda: gpunn.fit_many(models, X, Y, epochs=99, verbose=0, threads=3), files)
    first = next(k for k, place in enumerate(reached) if place.file == engines.__file__)
    return [*itertools.takewhile(lambda place: place.file != waits, reached[first:])]


def test_a_signal_while_models_are_handed_to_threads_stops_them(rotation: int | None) -> None:
    """At some of the lines, others from commit to commit."""
    lines = begins()
    assert len(lines) > 40
    for place in lines[(rotation or 0) % 6 :: 6]:
        got.clear()
        late = Late()
        models = [build() for _ in range(4)]
        work = lambda: gpunn.fit_many(  # noqa: E731
            models, X, Y, epochs=MANY, verbose=0, threads=3,  # noqa: B023
            callbacks=lambda k: late if k == 0 else Callback(),  # noqa: B023
        )  # fmt: skip
        interrupt(work, place, by_signal=True)
        if late.reached != [False]:  # which threads are idle differs: a line may not be reached
            assert not late.reached, f"Ctrl-C at {place} was lost"
        for model in models:
            model.fit(X, Y, epochs=1, verbose=0)  # refused while it is in training


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_raised_rather_than_the_interrupts_that_it_causes(kind: str) -> None:
    class Failing(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise OSError("disk full")

    units, threads = KINDS[kind]
    for bad in range(threads):
        with pytest.raises(OSError, match="disk full"):
            gpunn.fit_many(
                [build(units + k // 2) for k in range(3)], X, Y, epochs=MANY, batch_size=4,
                verbose=0, threads=threads,
                callbacks=lambda k: Failing() if k == bad else Callback(),  # noqa: B023
            )  # fmt: skip


# -- of executors


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_threads_of_an_executor_end_soon() -> None:
    models: list[Any] = []

    def made(rate: float) -> Any:
        models.append(build(rate=rate))
        return models[-1]

    with pytest.raises(KeyboardInterrupt), ThreadPoolExecutor(2) as pool:
        gpunn.search(
            made, X, Y, over={"rate": [0.1, 0.01, 0.001]}, validation_split=0.5, epochs=MANY,
            verbose=0, executor=pool, callbacks=lambda k: Hooks(k),
        )  # fmt: skip
    for model in models:
        assert model.history is None or len(model.history.epoch) < MANY


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_processes_begin_no_other_trial_and_no_file_stays(tmp_path: Path, temporary: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    pressing = searched.Pressing(str(marks), str(temporary), os.getpid())
    context = multiprocessing.get_context("fork")
    with pytest.raises(KeyboardInterrupt), ProcessPoolExecutor(2, context) as pool:
        gpunn.search(
            searched.build, searched.X, searched.Y, over={"rate": [0.1] * 40}, folds=2,
            verbose=0, executor=pool, callbacks=pressing,
        )  # fmt: skip
    assert 1 <= len([*marks.iterdir()]) <= 2
    assert [path.name for path in temporary.iterdir()] == ["pressed"]


class Failing(Executor):
    """An executor that cannot be used."""

    def submit(self, *arguments: Any, **more: Any) -> Any:
        raise OSError("no processes left")


def test_no_file_stays_after_an_error_or_of_a_process_that_was_killed(temporary: Path) -> None:
    left, young, used = (temporary / f"gpunn-search-{name}" for name in ("left", "young", "used"))
    for folder in (left, young, used):
        folder.mkdir()
        (folder / "plan.pickle").touch()
    for folder in (left, used):
        os.utime(folder, (0, 0))
    lock = FolderLock(used)
    assert lock.take()
    with pytest.raises(OSError, match="no processes left"):
        gpunn.search(
            searched.build, searched.X, searched.Y, over={"units": [4]}, folds=2, verbose=0,
            executor=Failing(),
        )  # fmt: skip
    lock.release()
    assert {*temporary.iterdir()} == {young, used}

"""Test how much data fit on the device; data that do not fit are streamed."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_memory import fragmented, limited, refusal, used

import gpunn
from gpunn import callbacks, layers
from gpunn.backends import get_backend
from gpunn.feeding import memory
from gpunn.feeding.arrays import on_device

pytestmark = pytest.mark.usefixtures("nothing_kept")


def wide(gpu: str, width: int = 600) -> Any:
    model = gpunn.Sequential(
        [layers.Input((width,)), layers.Dense(3, activation="softmax")], backend=gpu
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    monkeypatch.setattr(memory, "ASKED_FROM", 1 << 16)
    x = np.random.default_rng(0).integers(0, 256, (1000, 600), np.uint8)
    return x, np.arange(1000) % 3


@pytest.fixture(params=["fresh", "fragmented"])
def memory_before(request: pytest.FixtureRequest, gpu: str) -> Iterator[None]:
    """The state of memory, also as other tests may leave it."""
    with fragmented(get_backend(gpu)) if request.param == "fragmented" else nullcontext():
        yield


def test_what_does_not_fit_is_streamed_and_announced_once(
    gpu: str, memory_before: None, large: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = large
    model = wide(gpu)
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
            rf"gpunn: 604.0 kB of data, \d+\.\d kB free on {gpu}: streamed in chunks\.\n", line
        )
        assert len(line) <= 81
        assert max(taken) < 200_000 and len(set(taken)) == 1
        assert np.isfinite(model.evaluate(x, y, batch_size=50, verbose=0))
        assert capsys.readouterr().err.count("gpunn:") == 1
        model.fit(x[:300], y[:300], verbose=0)  # these fit
    model.fit(x, y, verbose=0)
    assert not capsys.readouterr().err


def test_no_piece_brings_an_array_of_its_own(
    gpu: str, large: Any, streamed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = large
    streamed(20_000)
    model, made, kept = wide(gpu), [], []
    for name in ("empty", "zeros", "pinned"):
        make = getattr(model.backend, name)
        monkeypatch.setattr(model.backend, name, lambda *a, make=make: made.append(a) or make(*a))
    look = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(len(made)))
    model.fit(x / 255, y, epochs=3, verbose=0, callbacks=[look])
    assert kept[0] == kept[1] == kept[2] > 0


def test_pieces_take_a_share_of_what_is_free(gpu: str, streamed: Any) -> None:
    x, y = np.zeros((3_000, 300), np.float32), np.zeros(3_000)
    model = wide(gpu, 300)
    model.fit(x[:40], y[:40], batch_size=20, verbose=0)
    streamed(1 << 26)  # more than all free memory
    with limited(model.backend, 2_000_000):
        model.fit(x, y, batch_size=20, verbose=0)


@pytest.mark.more
def test_a_file_larger_than_memory(gpu: str, streamed: Any, tmp_path: Path) -> None:
    """Of a memory map, only chunks are ever in host memory, whatever their order."""
    numbers = np.random.default_rng(0).integers(0, 256, (3_000, 300))
    (numbers / 255).tofile(tmp_path / "x.bin")
    x = np.memmap(tmp_path / "x.bin", np.float64, "r", shape=numbers.shape)
    y = np.arange(len(x)) % 3
    gpunn.utils.set_random_seed(5)
    expected = wide(gpu, 300)
    gpunn.utils.set_random_seed(5)
    model = wide(gpu, 300)
    options = {"validation_split": 0.1, "validation_strategy": "shuffled"}
    options |= {"batch_size": 20, "verbose": 0}
    expected.fit(numbers / 255, y, **options)
    streamed(40_000)

    def use(some: Any) -> None:
        some.fit(x, y, **options)
        some.evaluate(x, y, batch_size=20, verbose=0)
        some.predict(x, batch_size=20, verbose=0)

    use(wide(gpu, 300))  # imports, and compiles kernels
    tracemalloc.start()
    try:
        use(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 2  # as float32 the data would take that much
    for weights, others in zip(model.get_weights(), expected.get_weights(), strict=True):
        assert weights.tobytes() == others.tobytes()


def test_a_batch_that_does_not_fit_is_still_an_error(
    gpu: str, memory_before: None, large: Any
) -> None:
    x, y = large
    model = wide(gpu)
    model.fit(x[:64], y[:64], verbose=0)
    with limited(model.backend, 400_000):
        error = refusal(lambda: model.fit(x, y, batch_size=500, verbose=0))
        assert f"The {gpu} backend ran out of memory with batch_size=500." in error
        fits = int(re.findall(r"batch_size=(\d+) would fit", error)[0])
        model.fit(x, y, batch_size=fits // 4, verbose=0)
        assert not memory.kept_data(model.backend)  # nothing is kept for the next call
        error = refusal(lambda: model.train_on_batch(x, y))
        assert error.startswith(f"x does not fit into the memory of the {gpu} backend: ")


def test_idle_pieces_of_memory_count_for_a_batch(gpu: str, large: Any) -> None:
    """Idle memory that the GPU cannot release, because an array lies in the same block."""
    x, y = large
    model = wide(gpu)
    model.fit(x[:64], y[:64], verbose=0)
    with limited(model.backend, 1 << 20):
        model.backend.empty((1 << 20,), np.uint8)  # freed at once: its block is idle
        beginning = model.backend.empty((1,), np.uint8)
        error = refusal(lambda: model.fit(x, y, batch_size=500, verbose=0))
        fits = int(re.findall(r"batch_size=(\d+) would fit", error)[0])
        free = int(re.findall(r"([\d,]+) are free", error)[0].replace(",", ""))
        assert fits == 256 and free >= fits * 600 * 4
        model.fit(x, y, batch_size=fits // 4, verbose=0)
        del beginning


@pytest.mark.parametrize("kind", ["array", "memory map", "every second column", "float64"])
def test_data_are_sent_without_a_second_array_on_the_device(
    gpu: str, kind: str, tmp_path: Path
) -> None:
    numbers = np.random.default_rng(0).normal(size=(20_000, 60)).astype(np.float32)
    numbers.tofile(tmp_path / "x.bin")
    x = {
        "array": numbers,
        "memory map": np.memmap(tmp_path / "x.bin", np.float32, "r", shape=numbers.shape),
        "every second column": np.repeat(numbers, 2, 1)[:, ::2],
        "float64": numbers.astype(np.float64),
    }[kind]
    backend = get_backend(gpu)
    there = backend.empty(numbers.shape, np.float32)
    with limited(backend, numbers.nbytes // 2):
        on_device(backend, x, np.dtype(np.float32), "x", there)
    np.testing.assert_array_equal(backend.read(there), numbers)

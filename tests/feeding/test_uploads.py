"""Test copies of large arrays to a GPU: they go through buffers while both sides go on.

The emulated GPU does such copies as late as allowed, or as early.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pretended_cuda
import pytest
from interrupting import interrupt, places

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.cupy.driver import cuda
from gpunn.backends.cupy.launch import ring, task_backend

RNG = np.random.default_rng(5)


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (RNG.normal(size=shape) * 100).astype(dtype)


MANY = (ring.BUFFERS + 2) * ring.SIZE // 1000 + 3
"""Rows of 1,000 bytes that fill all buffers, and some again."""


def mapped(folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", numbers(600, 250))
    return np.load(folder / "x.npy", mmap_mode="r")


SOURCES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda _: numbers(0, 5),
    "a number": lambda _: numbers(),
    "tiny": lambda _: numbers(3),
    "small": lambda _: numbers(64, 256),
    "a little larger": lambda _: numbers(64, 257),
    "many buffers": lambda _: numbers(MANY, 250),
    "rows of several buffers": lambda _: numbers(2, ring.SIZE),
    "every other column": lambda _: numbers(400, 500)[:, ::2],
    "rows of several buffers, every other": lambda _: numbers(2, ring.SIZE)[:, ::2],
    "in reverse": lambda _: numbers(400, 250)[::-1],
    "columns": lambda _: np.asfortranarray(numbers(400, 250)),
    "other axes first": lambda _: numbers(30, 40, 50).transpose(1, 2, 0),
    "the same row": lambda _: np.broadcast_to(numbers(250), (400, 250)),
    "not to be written": lambda _: np.frombuffer(numbers(400, 250).tobytes(), "float32"),
    "a memory map": mapped,
    "part of a memory map": lambda folder: mapped(folder)[5:, 1:],
    **{
        dtype: lambda _, dtype=dtype: numbers(400, 250, dtype=dtype)
        for dtype in ("bool", "uint8", "int16", "int32", "int64", "float16", "float64")
    },
}


@pytest.fixture(params=["", "early"])
def timed(request: pytest.FixtureRequest, gpu: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A GPU's backend; what runs at the same time is emulated as late or as early as it may."""
    monkeypatch.setattr(emulated.STREAM, "late", not request.param)
    return get_backend(gpu)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The backend of a pretended CUDA, whose streams do their work when something waits."""
    pretended_cuda.pretend(monkeypatch, pretended_cuda.Libraries(), "61")
    yield cuda.make_backend()
    pretended_cuda.STREAMS.clear()


def changed(array: np.ndarray) -> None:
    if array.flags.writeable:
        array[...] = 0


@pytest.mark.parametrize("name", SOURCES)
def test_an_upload_has_the_values_that_the_array_had(timed: Any, name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    expected = np.array(source)
    found = timed.upload(source)
    changed(source)
    assert found.dtype == expected.dtype and found.flags.c_contiguous
    np.testing.assert_array_equal(timed.read(found), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("name", SOURCES)
def test_a_write_casts_the_values_that_the_array_had(
    timed: Any, name: str, dtype: str, tmp_path: Path
) -> None:
    source = SOURCES[name](tmp_path)
    expected = source.astype(dtype)
    target = timed.zeros(source.shape, dtype)
    timed.write(target, source)
    changed(source)
    np.testing.assert_array_equal(timed.read(target), expected)


def test_a_write_of_the_other_byte_order_and_of_large_numbers(timed: Any) -> None:
    """A float64 beyond float32 is infinite there, without a warning: who asks is told."""
    swapped = numbers(400, 250).astype(">f4")
    target = timed.zeros((400, 250), "float32")
    timed.write(target, swapped)
    np.testing.assert_array_equal(timed.read(target), swapped)
    timed.write(target, np.full((400, 250), -1e39))
    assert (timed.read(target) == -np.inf).all()


def test_what_is_written_twice_has_the_last_values(timed: Any) -> None:
    """Later work, and later copies, come after a copy; a copy comes after work before it."""
    first, second = numbers(MANY, 250), numbers(MANY, 250)
    x, y = timed.zeros(first.shape, "float32"), timed.zeros(first.shape, "float32")
    timed.write(x, first)
    timed.affine(x, 2.0, 0.0, y)
    timed.write(x, second)
    np.testing.assert_array_equal(timed.read(y), first * 2)
    np.testing.assert_array_equal(timed.read(x), second)


def test_threads_upload_at_the_same_time(timed: Any) -> None:
    arrays = [numbers(MANY // 2 + k, 250) for k in range(4)]
    found: list[Any] = [None] * 4

    def work(k: int) -> None:
        for _ in range(3):
            found[k] = timed.read(timed.upload(arrays[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for array, values in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(values, array)


def test_a_buffer_that_is_still_copied_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulated GPU notices whether the host waits."""
    backend = get_backend("emulated")
    backend.upload(numbers(MANY, 250))
    monkeypatch.setattr(emulated.Sending, "wait", emulated.Sending.join)
    with pytest.raises(RuntimeError, match="written while it was being copied"):
        backend.upload(numbers(MANY, 250))


def test_an_upload_is_not_waited_for(pretended: Any) -> None:
    """The device gets on with it while the host goes on: nothing waits before a read."""
    backend = pretended
    x, y = numbers(400, 250), backend.zeros((400, 250), "float32")
    found = backend.upload(x)
    backend.affine(found, 2.0, 0.0, y)
    assert any(stream.pending for stream in pretended_cuda.STREAMS)
    np.testing.assert_array_equal(backend.read(y), x * 2)


@pytest.mark.parametrize("by_signal", [False, True])
def test_an_interrupted_upload_leaves_the_buffers_to_the_next(
    by_signal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "SIZE", 1 << 16)
    backend, x = get_backend("emulated"), numbers(MANY, 250)
    found = places(lambda: backend.upload(x), {ring.__file__, task_backend.__file__})
    assert len(found) > 20
    for place in found:
        interrupt(lambda: backend.upload(x), place, by_signal)
        assert not any(sending.copies for sending in emulated.STREAM.sent), place
        np.testing.assert_array_equal(backend.read(backend.upload(x)), x)


# -- values that are not finite


def network(backend: Any, inputs: int = 1, dtype: str = "float32") -> Any:
    gpunn.utils.set_random_seed(4)
    given = [layers.Input((200,), name=f"given_{k}") for k in range(inputs)]
    x = given[0] if inputs == 1 else layers.Concatenate()(given)
    y = layers.Dense(2, activation="softmax")(x)
    model = gpunn.Model(given, y, backend=backend, dtype=dtype)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


WRONG: dict[str, tuple[str, float, str]] = {
    "NaN": ("float32", np.nan, "float32"),
    "infinite": ("float32", -np.inf, "float32"),
    "half": ("float16", np.inf, "float32"),
    "too large": ("float64", 1e39, "float32"),
    "too large and negative": ("float64", -1e300, "float32"),
    "float64": ("float64", np.nan, "float64"),
}


def calls(model: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Callable[[], Any]]:
    """Calls that refuse x."""
    inputs = [x] if len(model.inputs) == 1 else [np.ones(x.shape, x.dtype), x]
    given = inputs[0] if len(inputs) == 1 else inputs
    yield lambda: model.predict(given, verbose=0)
    yield lambda: model.predict(given, batch_size=1400, verbose=0)
    yield lambda: model.predict_on_batch(given)
    yield lambda: model(given)
    yield lambda: model.predict((part for part in [(given,)]), verbose=0)
    yield lambda: model.evaluate(given, y, verbose=0)
    yield lambda: model.fit(given, y, verbose=0)
    yield lambda: model.fit((part for part in [(given, y)]), verbose=0)
    yield lambda: model.train_on_batch(given, y)
    yield lambda: model.test_on_batch(given, y)


def refusals(backend: str, name: str, inputs: int, on_device: bool = False) -> list[str]:
    dtype, value, own = WRONG[name]
    model, x = network(backend, inputs, own), np.ones((1500, 200), dtype)
    x[1137, 3] = value
    before, y, found = model.get_weights(), np.arange(1500) % 2, []
    for call in calls(model, model.backend.upload(x) if on_device else x, y):
        with pytest.raises(ValueError) as refused:
            call()
        found.append(str(refused.value))
    for now, weight in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, weight)
    return found


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # NumPy's, in pieces
@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("name", WRONG)
def test_a_large_array_is_refused_in_the_same_words_everywhere(
    other: str, name: str, inputs: int
) -> None:
    """No weight has changed then."""
    assert refusals(other, name, inputs) == refusals("numpy", name, inputs)


@pytest.mark.parametrize("name", ["NaN", "too large"])
def test_an_array_on_the_device_is_refused_in_the_same_words(gpu: str, name: str) -> None:
    assert refusals(gpu, name, 1, on_device=True) == refusals("numpy", name, 1)


def test_predictions_have_the_same_bits_however_the_rows_arrive(gpu: str, tmp_path: Path) -> None:
    """Copies in pieces do not divide what is computed at once."""
    model, x = network(gpu), numbers(MANY, 200) / 100
    expected = model.predict(model.backend.upload(x), verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(model.predict(x.astype("float64"), verbose=0), expected)
    np.testing.assert_array_equal(model.predict(np.asfortranarray(x), verbose=0), expected)
    np.save(tmp_path / "x.npy", x)
    saved = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(model.predict(saved, verbose=0), expected)


def test_a_generator_makes_a_batch_while_the_device_works(pretended: Any) -> None:
    pending = []
    x, y = numbers(8, 200), np.arange(8) % 2

    def batches() -> Iterator[Any]:
        for _ in range(5):
            pending.append(any(stream.pending for stream in pretended_cuda.STREAMS))
            yield x, y

    network(pretended).fit(batches(), verbose=0)
    assert pending[2:] == [True] * 3

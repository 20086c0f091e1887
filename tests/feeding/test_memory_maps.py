"""Test that a memory map of a truncated file raises an error instead of ending the process."""

import gc
import mmap
import os
import re
import weakref

import numpy as np
import pytest

import gpunn
from gpunn import layers

ROWS = 4096  # of 16 bytes: several pages


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(ROWS, 4)).astype("float32"))
    return path


def network(backend):
    model = gpunn.Sequential([gpunn.Input((4,)), layers.Dense(1)], backend=backend)
    model.compile("sgd", "mse")
    return model


def views(path):
    """The data as users pass them."""
    mapped = np.load(path, mmap_mode="r")
    yield mapped
    yield mapped[::2]
    yield np.asarray(mapped)[10:]
    with open(path, "rb") as file:
        plain = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield np.frombuffer(plain, np.float32, 4 * ROWS, len(plain) - 16 * ROWS).reshape(ROWS, 4)
    yield np.memmap(path, np.float32, "r", offset=os.path.getsize(path) - 16 * 100, shape=(100, 4))


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict", "train_on_batch", "targets"])
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_file_that_was_cut_is_refused_when_it_is_given(path, backend, number, call):
    x = list(views(path))[number]
    y = np.zeros((len(x), 1), np.float32)
    model = network(backend)
    work = {
        "fit": lambda: model.fit(x, y, verbose=0),
        "evaluate": lambda: model.evaluate(x, y, verbose=0),
        "predict": lambda: model.predict(x, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(x, y),
        "targets": lambda: model.fit(np.zeros((len(x), 4)), x[:, :1], verbose=0),
    }[call]
    if number in (0, 4) and call == "predict":
        assert np.isfinite(work()).all()
    os.truncate(path, 1000)
    named = "a file" if number == 3 else re.escape(str(path))
    with pytest.raises(ValueError, match=rf"[xy] is a memory map of {named}, .* become shorter"):
        work()


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_file_that_is_cut_during_training_is_refused_at_the_next_epoch(path, backend):
    x = np.load(path, mmap_mode="r")
    y = np.zeros((ROWS, 1), np.float32)
    model = network(backend)
    epochs = []

    def cut(epoch, logs):
        epochs.append(epoch)
        if epoch == 1:
            os.truncate(path, 1000)

    with pytest.raises(ValueError, match=rf"x is a memory map of {re.escape(str(path))}"):
        model.fit(
            x, y, epochs=4, verbose=0, callbacks=[gpunn.callbacks.LambdaCallback(on_epoch_end=cut)]
        )
    assert epochs == [0, 1]
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_file_that_has_grown_or_was_replaced_is_as_good(path):
    x = np.load(path, mmap_mode="r")
    expected = network("numpy")
    with open(path, "ab") as file:
        file.write(bytes(100))
    before = expected.predict(x, verbose=0)
    os.remove(path)  # the map keeps the file alive
    np.testing.assert_array_equal(expected.predict(x, verbose=0), before)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_nobody_keeps_the_file_open(path, backend):
    x = np.load(path, mmap_mode="r")
    model = network(backend)
    model.fit(x, np.zeros((ROWS, 1), np.float32), verbose=0)
    mapped = weakref.ref(x)
    del x
    gc.collect()
    assert mapped() is None


def test_a_copy_of_a_map_is_like_any_array(path):
    x, y = np.load(path, mmap_mode="r"), np.zeros((ROWS, 1), np.float32)
    for copied in (x.copy(), np.repeat(x, 2, axis=0)[::2]):
        found, expected = network("numpy"), network("numpy")
        found.set_weights(expected.get_weights())
        assert found.fit(copied, y, verbose=0, shuffle=False).history == expected.fit(
            np.array(x), y, verbose=0, shuffle=False
        ).history
        np.testing.assert_array_equal(
            found.predict(copied, verbose=0), expected.predict(np.array(x), verbose=0)
        )

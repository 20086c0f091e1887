"""The data of fits by a train_step: sent in each fit, streamed if there is no room for them."""

from __future__ import annotations

import gc
import re
import weakref
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from little_memory import limited
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.feeding import memory
from gpunn.feeding import rows as feeding_rows


class Means(gpunn.Sequential):
    """Its loss is the mean of the targets of the last batch."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        return {"loss": ops.mean(y) + 0 * ops.mean(self(x))}


def model() -> Means:
    made = Means([layers.Input((2,)), layers.Dense(1)])
    made.compile("sgd", "mse")
    return made


def losses(net: Means, x: Any, y: Any, **options: Any) -> float:
    options = {"batch_size": 4, "shuffle": False, "epochs": 1, **options}
    return float(net.fit(x, y, verbose=0, **options).history["loss"][-1])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_each_fit_reads_the_data_as_they_are_by_then(backend: str, dtype: str) -> None:
    gpunn.use_backend(backend)
    net = model()
    x, y = np.ones((8, 2), "float32"), np.full((8, 1), 4, dtype)
    assert [losses(net, x, y) for _ in range(3)] == [4.0, 4.0, 4.0]
    y[:] = 40
    assert losses(net, x, y) == 40.0
    y[:] = 7
    assert losses(net, x, y, epochs=3) == 7.0


def test_other_data_at_the_same_address_are_read(backend: str) -> None:
    gpunn.use_backend(backend)
    net, x = model(), np.ones((8, 2), "float32")
    block = bytearray(8 * 4)
    for value in (1.0, 2.0, 3.0, 4.0):
        y = np.frombuffer(block, "float32").reshape(8, 1)
        y[:] = value
        assert losses(net, x, y) == value
        del y
    for value in (1.0, 2.0, 3.0, 4.0):  # often at the place of the one before
        assert losses(net, x, np.full((8, 1), value, "float32")) == value


def test_two_models_share_neither_data_nor_programs(backend: str) -> None:
    gpunn.use_backend(backend)
    one, two = model(), model()
    x = np.ones((8, 2), "float32")
    y, z = np.full((8, 1), 1.0, "float32"), np.full((8, 1), 2.0, "float32")

    class FitsTheOther(gpunn.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert losses(two, x, z) == 2.0

    for _ in range(3):
        assert losses(one, x, y, callbacks=[FitsTheOther()], epochs=3) == 1.0


def test_data_without_room_on_the_device_are_streamed_with_a_notice(
    gpu: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpunn.use_backend(gpu)
    monkeypatch.setattr(memory, "ASKED_FROM", 1 << 16)
    r = np.random.default_rng(0)
    x = r.standard_normal((2000, 100)).astype("float32")
    y = r.standard_normal((2000, 1)).astype("float32")

    class Trains(gpunn.Sequential):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    def losses_of(little: bool) -> list[float]:
        gpunn.utils.set_random_seed(0)
        net = Trains([layers.Input((100,)), layers.Dense(1)])
        net.compile("adam", "mse")
        net.fit(x[:200], y[:200], batch_size=200, verbose=0)
        with limited(net.backend, 400_000) if little else nullcontext():
            found: list[float] = net.fit(x, y, batch_size=200, epochs=2, verbose=0).history["loss"]
        return found

    assert_allclose(losses_of(True), losses_of(False), rtol=1e-6)
    notices = capsys.readouterr().err.splitlines()
    assert [re.fullmatch(r"gpunn: .* of data, .* streamed in chunks\.", n) for n in notices]


def test_a_fit_keeps_no_large_data_on_the_device(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpunn.use_backend(gpu)
    monkeypatch.setattr(feeding_rows, "KEPT_ON_HOST", 0)
    monkeypatch.setattr(feeding_rows, "KEPT_BYTES", 0)
    net, rows = model(), 1 << 18
    x, y = np.ones((rows, 2), "float32"), np.ones((rows, 1), "float32")
    pool = net.backend.xp.get_default_memory_pool()
    losses(net, x[:8], y[:8])
    taken = []
    for _ in range(3):
        losses(net, x, y, batch_size=rows // 4)
        gc.collect()
        taken.append(pool.used_bytes())
    assert taken[0] == taken[1] == taken[2]
    losses(net, x[:8], y[:8])
    assert pool.used_bytes() < taken[0] + x.nbytes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_a_fit_are_freed_with_their_last_reference(backend: str, dtype: str) -> None:
    gpunn.use_backend(backend)
    net = model()
    x, y = np.ones((8, 2), dtype), np.ones((8, 1), dtype)
    of_x = weakref.ref(x)
    net.fit(x, y, validation_data=(x, y), batch_size=4, epochs=3, verbose=0)
    net.evaluate(x, y, verbose=0)
    del x, y
    gc.collect()
    assert of_x() is None

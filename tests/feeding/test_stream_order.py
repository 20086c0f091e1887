"""Test copies that overlap with GPU work: in any execution order, each step reads its own rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunn.backends.cupy.driver import cuda
from gpunn.backends.cupy.launch import ring
from gpunn.backends.cupy.launch.ring import Ring
from gpunn.backends.shared.order import Order
from gpunn.feeding import rows, streaming


class SimulatedGpu:
    """Streams that do their work at any time, in any order that their events allow."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.streams: list[Stream] = []
        self.cuda = SimpleNamespace(
            Stream=lambda non_blocking: Stream(self), alloc_pinned_memory=bytearray, Device=object
        )

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            ready = [stream for stream in self.streams if stream.ready()]
            assert ready, "the streams wait for each other"
            ready[self.random.integers(len(ready))].work.popleft()()


class Stream:
    def __init__(self, gpu: SimulatedGpu) -> None:
        self.gpu, self.work = gpu, deque[Any]()
        gpu.streams.append(self)

    def ready(self) -> bool:
        return bool(self.work) and getattr(self.work[0], "done", True)

    def record(self) -> Any:
        event = SimpleNamespace(done=False)
        event.synchronize = lambda: self.gpu.run(lambda: event.done)
        self.work.append(lambda: setattr(event, "done", True))
        return event

    def wait_event(self, event: Any) -> None:
        self.work.append(Waiting(event))


class Waiting:
    def __init__(self, event: Any) -> None:
        self.event = event

    @property
    def done(self) -> bool:
        return self.event.done

    def __call__(self) -> None:
        """Do nothing: it only waits."""


class Array(np.ndarray):
    def set(self, values: np.ndarray, stream: Stream) -> None:
        stream.work.append(lambda: np.copyto(self, values))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_streams_do_first_each_step_reads_its_rows(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run CuPy's part of the backend on simulated streams; the host runs ahead of them too."""
    monkeypatch.setattr(ring, "SIZE", 70)  # a piece of the data takes several buffers
    gpu = SimulatedGpu(seed)
    steps = Stream(gpu)
    queue: Any = cuda.CupyStream(gpu, steps)
    device: Any = SimpleNamespace(
        empty=lambda shape, dtype: np.zeros(shape, dtype).view(Array),
        send=Ring(queue).send, free_bytes=lambda: None,
    )  # fmt: skip
    at: list[int] = []
    control: Any = SimpleNamespace(place=lambda row, place: at.append(place))
    x, order, found = np.arange(230).reshape(-1, 2), Order(115, 7), []
    source = rows.Rows({"x": x, "y": x[:, 0]}, device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "CHUNK_BYTES", 24 * 10)
        chunks = streaming.Chunks(source, order, 5, "float32")

    def step(x: Any, y: Any) -> None:
        found.append((x.copy(), y.copy()))

    for number in range(3):
        row = 0
        while row < len(x):
            stop = chunks.bring(row, number, control)
            places = slice(at[-1], at[-1] + stop - row)
            steps.work.append(partial(step, chunks.rows.x[places], chunks.rows.arrays["y"][places]))
            row = stop
        chunks.settle()
    steps.record().synchronize()
    expected = np.concatenate([order.indices(number) for number in range(3)])
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), x[expected])
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), x[expected, 0])

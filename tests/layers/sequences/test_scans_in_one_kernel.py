"""A training step with recurrent layers as one persistent kernel, with loops for their scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import digit_networks as digits
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.codegen import Loop, PartCall
from gpunn.backends.cupy.launch.fuse import calls
from gpunn.backends.cupy.launch.known_gpus import known_gpu
from gpunn.backends.cupy.launch.loops import rolled
from gpunn.backends.cupy.launch.tasks import PartTask, Task

STEPS, INPUTS, CLASSES = 9, 3, 4


def network(
    backend: Any, make: Callable[[], list[Any]], steps: int = STEPS, dtype: str = "float64"
) -> Any:
    gpunn.utils.set_random_seed(3)
    chain = [layers.Input((steps, INPUTS)), *make(), layers.Dense(CLASSES)]
    model = gpunn.Sequential(chain, backend=backend, dtype=dtype)
    model.compile("adam", gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def data(rows: int, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, steps, INPUTS))
    x[:, steps // 2 :][random.random((rows, steps - steps // 2)) < 0.4] = 0  # steps to mask
    return x, np.arange(rows) % CLASSES


NETWORKS = {
    "SimpleRNN": lambda: [layers.SimpleRNN(5)],
    "GRU": lambda: [layers.GRU(5)],
    "GRU, reset before": lambda: [layers.GRU(5, reset_after=False)],
    "LSTM": lambda: [layers.LSTM(5)],
    "two LSTMs": lambda: [layers.LSTM(5, return_sequences=True), layers.LSTM(4)],
    "masked": lambda: [layers.Masking(), layers.GRU(5)],
    "dropout": lambda: [layers.LSTM(5, dropout=0.2)],
    "both ways": lambda: [layers.Bidirectional(layers.LSTM(3))],
    "eight equal layers": lambda: [
        layers.Flatten(), *(layers.Dense(6, activation="tanh") for _ in range(8))
    ],
}  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_that_of_numpy(
    gpu: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs with a ragged last batch; the mode is forced, so another would be an error."""
    monkeypatch.setattr(get_backend(gpu), "launch_mode", "persistent")
    x, y = data(20)
    found = []
    for backend in ("numpy", gpu):
        model = network(backend, NETWORKS[name])
        history = model.fit(x, y, batch_size=8, epochs=3, verbose=0).history
        found.append([*model.get_weights(), np.array(history["loss"])])
    for host, device in zip(*found, strict=True):
        np.testing.assert_allclose(device, host, 1e-9, 1e-11)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", ["SimpleRNN", "GRU", "LSTM", "two LSTMs"])
def test_a_kernel_is_as_short_for_a_long_scan_as_for_a_short_one(name: str) -> None:
    """So it is compiled as fast, and its parameters fit whatever the scan's length."""
    kernels = []
    for steps in (STEPS, 10 * STEPS):
        gpu = dry.make_backend(known_gpu("H200"))
        gpu.launch_mode = "persistent"
        model = network(gpu, NETWORKS[name], steps=steps, dtype="float32")
        (kernel,) = digits.program(model, *data(8, steps), 8).kernels
        kernels.append(kernel)
    short, long = kernels
    assert [call.entry for call in long.calls] == [call.entry for call in short.calls]
    assert len(long.parameters) == len(short.parameters)


def test_a_scan_on_a_gpu_is_one_kernel_by_itself() -> None:
    """Nobody has to ask for the mode, where it is predicted to be the fastest."""
    gpu = dry.make_backend(known_gpu("H200"))
    model = network(gpu, lambda: [layers.LSTM(32)], steps=28, dtype="float32")
    assert digits.program(model, *data(32, 28), 32).mode == "persistent"


@pytest.mark.parametrize(
    ("steps", "mode"),
    [(10, "persistent"), (100, "persistent"), pytest.param(6000, "fused", marks=pytest.mark.more)],
)
def test_a_launch_of_a_long_scan_is_short_on_a_slow_gpu(steps: int, mode: str) -> None:
    """A part takes two microseconds there, and a launch at most 25 milliseconds. A step that takes
    twice as long by itself is not one kernel."""
    gpu = dry.make_backend(known_gpu("H200"))
    model = network(gpu, lambda: [layers.SimpleRNN(2)], steps=steps, dtype="float32")
    program = digits.program(model, *data(4, steps), 4)
    assert program.mode == mode
    if mode == "persistent":
        tasks = len(program.launches[0].tasks)
        assert 0.0125 < program.steps_per_launch * tasks * 2e-6 <= 0.025


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("steps", "largest"), [(10, 64), (200, 8)])
def test_a_graph_of_long_scans_has_fewer_steps(
    steps: int, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = dry.make_backend()
    gpu.launch_mode = "fused"
    captured = []

    def capture(self: Any, step: Any, times: int) -> Any:
        captured.append(times)
        return lambda: None, []

    monkeypatch.setattr(type(gpu), "capture", capture)
    model = network(gpu, lambda: [layers.GRU(16)], steps=steps, dtype="float32")
    digits.program(model, *data(4, steps), 4).run(200)
    assert max(captured) == largest


ARRAYS = np.zeros((6, 4), np.float32)


def clip(array: int, limit: float, size: int) -> Task:
    values = {"gradients": ARRAYS[array], "limit": np.float32(limit), "n": np.int64(size)}
    return PartTask("clip_values", size, values)


tasks = st.builds(clip, st.integers(0, 5), st.sampled_from([0.5, 1.5]), st.sampled_from([3, 4]))


@hypothesis.given(
    st.lists(tasks, max_size=3), st.lists(st.lists(tasks, min_size=1, max_size=3), max_size=2),
    st.integers(1, 7),
)  # fmt: skip
def test_loops_do_the_same_calls_in_the_same_order(
    first: list[Task], bodies: list[list[Task]], times: int
) -> None:
    some = [*first, *(task for body in bodies for _ in range(times) for task in body)]
    parts, arguments, table = rolled(some)
    unrolled: list[tuple[PartCall, list[Any]]] = []
    for part in parts:
        width = sum(len(call.parameters(0)) for call in part.calls)
        fixed = [arguments.pop(0) for at in range(width) if at not in part.varying]
        for _ in range(part.iterations):
            row = iter([table.pop(0) for _ in part.varying])
            alike = iter(fixed)
            given = [next(row if at in part.varying else alike) for at in range(width)]
            for call in part.calls:
                unrolled.append((call, [given.pop(0) for _ in call.parameters(0)]))
    assert not arguments and not table
    assert [call for call, _ in unrolled] == list(calls(some))
    for (_, given), task in zip(unrolled, some, strict=True):
        assert all(a is b or a == b for a, b in zip(given[1:], task.arguments[1:], strict=True))
        assert np.shares_memory(given[0], task.arguments[0])
    for part in parts:
        if isinstance(part, Loop):
            assert part.iterations >= 4
            assert all(at % 3 != 2 for at in part.varying)  # sizes are constants of a kernel

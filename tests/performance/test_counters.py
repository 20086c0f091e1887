"""The costs of a step and a prediction match the committed ones; the counters work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from benchmarks import ROOT
from benchmarks.counts import counters, counting
from gpunn import layers
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.core import storage


@pytest.mark.checks("gpunn", "kernels", "benchmarks/counts", "benchmarks/results/counters.json")
def test_nothing_got_worse_and_what_got_better_is_committed() -> None:
    """In a separate process: imports of this one must not count."""
    command = [sys.executable, "-m", "benchmarks.counts.counters", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


def test_every_allocation_counts_however_small() -> None:
    x = np.ones((5, 4), np.float32)

    def work() -> None:
        y = np.empty(3, np.float64)
        np.add(x, x, out=x)  # none
        y[1:].reshape(2, 1)  # none: views
        (x + x).tobytes()
        np.zeros((1000, 1000), np.uint8)

    assert counting.allocated(work) == [24, 80, 1_000_000]
    assert counting.allocated(lambda: None) == []


def test_what_outlives_the_count_is_a_good_array() -> None:
    kept: list[np.ndarray] = []
    assert counting.allocated(lambda: kept.append(np.arange(1000, dtype=np.int64))) == [8000]
    kept[0].resize(2000, refcheck=False)
    assert kept.pop()[:1000].sum() == 499_500


def test_passes_are_what_modules_of_gpunn_do() -> None:
    x, y = np.ones((50, 8), np.float32), np.zeros(8, np.float32)

    def prepare() -> tuple[Callable[[], None], Any]:
        xp = vars(storage)["np"]  # as that module sees it
        add, total = xp.add, xp.add.reduce  # looked up beforehand

        def work() -> None:
            total(x, axis=0, out=y)
            add(y, 1, out=y)
            xp.copyto(y, xp.dot(y, y))

        return work, None

    given = x.nbytes + y.nbytes, 2 * y.nbytes, 2 * y.nbytes, y.nbytes
    assert counting.passes(prepare) == {"passes": 4, "passes' bytes": sum(given)}
    assert np.array_equal(y, np.full(8, 8 * 51**2))
    assert NumpyBackend().xp is np and vars(storage)["np"] is np  # as before


def test_calls_are_counted_by_kind() -> None:
    def inner() -> int:
        return len([abs(n) for n in (1, -2)])

    def work() -> None:
        inner()
        gpunn.config.floatx()

    got = counting.calls(work)
    # work, inner, floatx; abs, abs, len
    assert got == {"calls into gpunn": 1, "Python calls": 3, "C calls": 3}
    assert counting.calls(lambda: None) == {"calls into gpunn": 0, "Python calls": 1, "C calls": 0}


def test_a_loop_counts_its_instructions_each_time() -> None:
    def loop(n: int) -> int:
        for _ in range(n):
            pass
        return n

    few, many, more = (counting.instructions(lambda n=n: loop(n)) for n in (0, 10, 20))
    assert more - many == many - few > 0


class Negative(layers.Layer):
    """Allocate an array in every step, in every third one, or never (``every=0``)."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every, self.step = every, 0

    def forward(self, call: Any) -> None:
        self.step += 1
        if self.every and self.step % self.every == 0:
            np.copyto(call.y, np.negative(call.x))
        else:
            np.negative(call.x, out=call.y)

    def backward(self, call: Any) -> None:
        np.negative(call.dy, out=call.dx)


@pytest.mark.more
def test_a_wasteful_layer_makes_a_step_worse() -> None:
    def step(every: int) -> dict[str, int]:
        return counters.fit_step(
            lambda: counters.network([layers.Dense(6), Negative(every)], "sgd"), 4
        )

    thrifty, wasteful = step(0), step(1)
    assert wasteful["array allocations"] - thrifty["array allocations"] == 1
    assert wasteful["array bytes"] - thrifty["array bytes"] == 4 * 6 * 4
    with pytest.raises(RuntimeError, match=r"not every step costs the same: .*array bytes"):
        step(3)


def test_differences_name_what_changed() -> None:
    then = {"step": {"bytes": 10, "card launches": 12, "C calls": 5, "operations": 3}}
    now = {
        "step": {"bytes": 11, "card launches": 2, "C calls": 6, "operations": 3},
        "new": {"x": 1},
    }
    worse, better = counters.differences(now, then, everywhere=False)
    assert worse == ["new: x none -> 1", "step: C calls 5 -> 6", "step: bytes 10 -> 11"]
    assert better == ["step: card launches 12 -> 2"]
    worse, better = counters.differences(now, then, everywhere=True)
    assert worse == ["step: bytes 10 -> 11"] and better == ["step: card launches 12 -> 2"]
    assert counters.differences({}, then, everywhere=False)[0][0] == "step: C calls 5 -> none"

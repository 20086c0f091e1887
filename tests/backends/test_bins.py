"""Weights and predictions counted into bins by GPU kernels: exact, independent of the order, and at
a cost that depends on the number of predictions only."""

from __future__ import annotations

import math
import signal
from typing import Any

import numpy as np
import pytest
from comparisons.samples import DTYPES, make_gpu, on_both

import gpunn
from gpunn.backends import get_backend
from gpunn.backends.cupy.launch.codegen import Kernel

GPU = make_gpu(orders=(3,))


def totals(
    gpu: Any, bins: np.ndarray, weights: np.ndarray, size: int, blocks: int = 2
) -> np.ndarray:
    """Return the sum of the weights in each bin, computed by this many blocks."""
    gpu.kernels.blocks = blocks
    state = gpu.zeros((size,), np.float64)
    with gpu.stream_lock:
        gpu.add_to_bins(gpu.upload(bins), gpu.upload(weights), state)
    return gpu.read(state)


def exact(bins: np.ndarray, weights: np.ndarray, size: int) -> list[float]:
    """Python's own sums, which round once."""
    return [math.fsum(weights[bins == b].tolist()) for b in range(size)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skewed", [False, True])
def test_sums_of_weights_are_rounded_once(dtype: str, skewed: bool) -> None:
    """Weights between 1e-6 and 1e6, of both signs; the same for any number of blocks."""
    random = np.random.default_rng(0)
    size, n = 7, 3001
    bins = np.zeros(n, int) if skewed else random.integers(-1, size + 1, n)
    weights = (10.0 ** random.uniform(-6, 6, n) * random.choice([-1, 1], n)).astype(dtype)
    gpu = make_gpu(orders=range(4))
    found = [totals(gpu, bins, weights, size, blocks) for blocks in (1, 2, 5)]
    np.testing.assert_array_equal(found[1:], found[:-1])
    np.testing.assert_allclose(found[0], exact(bins, weights, size), 5e-16)


def test_sums_of_weights_that_are_nearly_nothing_or_nearly_too_much() -> None:
    for largest in (1e-300, 1e-30, 1e30, 1e300):
        weights = largest * np.arange(1.0, 9.0)
        found = totals(GPU, np.arange(8) % 3, weights, 3)
        np.testing.assert_allclose(found, exact(np.arange(8) % 3, weights, 3), 1e-15)
    assert totals(GPU, np.arange(3), np.zeros(3), 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["numpy", "compiled", "emulated"])
def test_bins_and_labels_that_32_bits_would_bring_back_into_range_are_ignored(name: str) -> None:
    backend = GPU if name == "emulated" else get_backend(name)
    state = backend.zeros((5,), np.float64)
    bins = np.array([1, 2**32 + 1, 2 - 2**32, 2**31, -1, 5])
    with backend.stream_lock:
        backend.add_to_bins(backend.upload(bins), backend.upload(np.ones(6)), state)
    assert backend.read(state).tolist() == [0, 1, 0, 0, 0]
    for classes, beyond in ((10, 429_496_730), (1, -(2**31))):  # the bin modulo 2^32 is one of them
        matrix = gpunn.metrics.ConfusionMatrix(num_classes=classes)
        labels = backend.upload(np.array([beyond, 0], np.int32))
        state = backend.zeros((matrix.state_size,), np.float64)
        y = backend.zeros((2, classes), np.float32)
        backend.metric(matrix, labels, y, None, state)
        assert backend.read(state).sum() == backend.read(state)[0] == 1


def test_a_weight_that_is_not_finite_shows_in_its_bin_alone() -> None:
    bins = np.array([0, 1, 1, 2, 2, 3, 3])
    weights = np.array([2.0, np.inf, 1, np.inf, -np.inf, np.nan, 1])
    expected = [2, np.inf, np.nan, np.nan]
    np.testing.assert_array_equal(totals(GPU, bins, weights, 4), expected)
    assert totals(GPU, bins[:1], weights[:1], 4).tolist() == [2, 0, 0, 0]


@pytest.mark.parametrize("weighted", [False, pytest.param(True, marks=pytest.mark.more)])
def test_many_labels_and_thresholds_cost_no_more_than_predictions(weighted: bool) -> None:
    """A million predictions, 400,000 bins: comparing all pairs would exceed the time limit."""
    rows, labels = 1000, 1000
    metric = gpunn.metrics.AUC(num_thresholds=200, multi_label=True, num_labels=labels)
    metric.build((rows, labels))
    random = np.random.default_rng(0)
    host, gpu = on_both(
        GPU,
        lambda backend, x: backend.metric(metric, x["t"], x["y"], x.get("w"), x["state"]),
        t=random.integers(0, 2, (rows, labels)).astype(np.float32),
        y=random.random((rows, labels)).astype(np.float32),
        w=random.random(rows).astype(np.float32) if weighted else None,
        state=np.zeros(metric.state_size),
    )
    assert len(gpu["state"]) > 400_000
    np.testing.assert_allclose(gpu["state"], host["state"], 1e-12 if weighted else 0)


def test_many_predictions_are_divided_among_blocks() -> None:
    """Whatever their bins: a single block would leave the GPU idle."""
    gpu: Any = make_gpu(orders=(3,))
    grids, prepare = list[tuple[str, int]](), gpu.kernels.prepare

    def noting(kernel: Kernel) -> Any:
        run = prepare(kernel)

        def launch(grid: Any, block: Any, arguments: Any) -> None:
            grids.append((kernel.calls[0].part, math.prod(grid)))
            run(grid, block, arguments)

        return launch

    gpu.kernels.prepare = noting
    for size in (2, 5000):
        grids.clear()
        totals(gpu, np.arange(4096) % size, np.ones(4096), size, blocks=8)
        assert [blocks for part, blocks in grids if part == "bin_sums"] == [8]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("top", [1, 5, 40_000])
def test_the_first_of_many_classes_are_found_in_few_looks(top: int, dtype: str) -> None:
    """Three rows: comparing each pair of classes would exceed a test's time limit."""
    rows, classes = 3, 30_000
    metric = gpunn.metrics.Precision(top_k=top)
    metric.build((rows, classes))
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, rows).astype(np.int32)
    y = random.integers(0, 50, (rows, classes)).astype(dtype)  # with ties at any position
    y[0, truth[0]], y[2] = 60, -5
    _, gpu = on_both(
        GPU,
        lambda backend, x: backend.metric(metric, x["t"], x["y"], None, x["state"]),
        t=truth, y=y, state=np.zeros(metric.state_size),
    )  # fmt: skip
    first = np.argsort(-y, axis=1, kind="stable")[:, :top]
    hits = int((first == truth[:, np.newaxis]).sum())
    below = rows * classes - first.size
    assert gpu["state"].tolist() == [below - rows + hits, first.size - hits, rows - hits, hits]


@pytest.mark.parametrize("columns", [1, 3, 16, 17, 33, 70])
def test_sums_of_targets_of_few_columns_and_of_many(columns: int) -> None:
    """The coefficient of determination of each column, by definition."""
    random = np.random.default_rng(0)
    t, y = random.normal(size=(2, 601, columns)).astype(np.float32)
    metric = gpunn.metrics.R2Score(class_aggregation=None)
    metric.build(t.shape)
    _, gpu = on_both(
        make_gpu(),
        lambda backend, x: backend.metric(metric, x["t"], x["y"], None, x["state"]),
        t=t, y=y, state=np.zeros(metric.state_size),
    )  # fmt: skip
    t, y = t.astype(np.float64), y.astype(np.float64)
    sums = t.sum(0), (t * t).sum(0), ((t - y) ** 2).sum(0), np.full(columns, 601.0)
    np.testing.assert_allclose(gpu["state"], [*np.concatenate(sums), 601], 1e-12, 1e-12)


def test_ctrl_c_between_the_launches_of_an_operation_leaves_nothing_for_the_next() -> None:
    gpu: Any = make_gpu(orders=(3,))
    bins, weights, prepare = np.arange(6) % 2, np.ones(6), gpu.kernels.prepare
    interrupts = [signal.SIGINT]

    def interrupted(kernel: Kernel) -> Any:
        run = prepare(kernel)

        def launch(*arguments: Any) -> None:
            run(*arguments)
            if kernel.calls[0].part == "bin_sums" and interrupts:
                signal.raise_signal(interrupts.pop())

        return launch

    gpu.kernels.prepare = interrupted
    with pytest.raises(KeyboardInterrupt):
        totals(gpu, bins, weights, 2)
    assert totals(gpu, bins, weights, 2).tolist() == [3, 3]

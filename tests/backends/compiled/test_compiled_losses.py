"""Compiled losses, metrics and softmax, beyond the tests shared with the other backends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from comparisons.formulas import LOSSES, METRICS, label
from scipy import special

from gpunn import activations, losses, metrics
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.contract.backend import Array, Backend

pytestmark = pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))

TOLERANCE = {"float32": 2e-6, "float64": 1e-14}
# On both sides of the limits where each row becomes a vector of its own, and where vectors end.
SHAPES = [
    (1, 10), (2, 16), (2, 17), (3, 2), (3, 16), (5, 10), (15, 17), (16, 31), (17, 32), (33, 33),
    (40, 3), (4, 48), (3, 49), (9, 64),
]  # fmt: skip
PER_ROW = [m for m in METRICS if m.functor is not None and m.accumulates != "columns"]


@pytest.fixture
def backend() -> Backend:
    return get_backend("compiled")


@pytest.fixture
def threads(backend: Any) -> Iterator[Any]:
    """A function that sets the number of threads of an operation."""
    yield backend.library.set_threads
    backend.library.set_threads(1)


def norm_of_difference(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def crossentropy(
    backend: Backend, logits: Array, truth: Array, weights: Array | None, scale: float
) -> tuple[Array, Array]:
    """Return the gradient and the totals."""
    gradient, totals = np.empty_like(logits), np.zeros(3)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    backend.loss(loss, truth, logits, weights, scale, gradient, totals)
    return gradient, totals


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_crossentropy_is_scipys_logarithm_of_softmax(backend, shape, dtype):
    rng = np.random.default_rng(shape)
    logits = rng.integers(-4, 5, shape).astype(dtype)  # small integers: many are equal
    truth = rng.integers(0, shape[1], shape[0]).astype(np.int32)
    weights = rng.random(shape[0]).astype(dtype)
    gradient, totals = crossentropy(backend, logits, truth, weights, 0.25)
    expected = special.log_softmax(logits.astype(np.float64), axis=1)
    share = 0.25 * weights[:, np.newaxis] * (np.exp(expected) - np.eye(shape[1])[truth])
    value = -0.25 * shape[0] * np.sum(weights * expected[np.arange(shape[0]), truth])
    assert norm_of_difference(gradient, share) < TOLERANCE[dtype]
    assert totals[0] == pytest.approx(value, rel=TOLERANCE[dtype])
    assert totals[1:].tolist() == [shape[0], np.sum(logits.argmax(axis=1) == truth)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("log", [False, True])
def test_softmax_and_its_gradient_are_pytorchs(backend, shape, dtype, log):
    rng = np.random.default_rng(shape)
    x, dy, before = rng.normal(size=(3, *shape)).astype(dtype)
    bias = rng.normal(size=shape[1]).astype(dtype)
    formula = activations.LogSoftmax() if log else activations.Softmax()
    y, dx = x.copy(), before.copy()
    backend.bias_activation(y, bias, formula, y)  # in place
    backend.activation_gradient(formula, y, dy, dx, accumulate=True)

    z = torch.tensor(x.astype(np.float64) + bias, requires_grad=True)
    expected = torch.log_softmax(z, 1) if log else torch.softmax(z, 1)
    expected.backward(torch.tensor(dy.astype(np.float64)))
    assert norm_of_difference(y, expected.detach().numpy()) < TOLERANCE[dtype]
    assert norm_of_difference(dx, z.grad.numpy() + before) < TOLERANCE[dtype]


@pytest.mark.parametrize("columns", [1, 10, 33, 700])
def test_threads_change_no_bit(backend, threads, columns):
    rng, rows = np.random.default_rng(columns), 150_000 // columns * (16 if columns == 1 else 1)
    logits = rng.normal(size=(rows, columns)).astype(np.float32)
    targets = rng.random((rows, columns)).astype(np.float32)
    results = []
    for count in (1, 3):
        threads(count)
        found = [*crossentropy(backend, logits, np.zeros(rows, np.int32), None, 1 / rows)]
        gradient, totals, softmax = np.empty_like(logits), np.zeros(2), np.empty_like(logits)
        backend.loss(losses.Huber(), targets, logits, None, 1 / rows, gradient, totals)
        backend.bias_activation(logits.copy(), None, activations.softmax, softmax)
        results.append([*found, gradient, totals, softmax])
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)
    expected = torch.nn.functional.huber_loss(
        *(torch.tensor(a.astype(np.float64)) for a in (logits, targets))
    )
    assert results[0][3][0] == pytest.approx(rows * float(expected), rel=1e-6)


def test_many_small_losses_lose_nothing(backend):
    rows = 1 << 20
    error = np.full((rows, 1), np.sqrt(0.1), np.float32)
    totals = np.zeros(2)
    backend.loss(
        losses.MeanSquaredError(), np.zeros_like(error), error, None, 1 / rows, None, totals
    )
    # A single-precision sum would be wrong in the fourth digit.
    assert totals[0] / rows == pytest.approx(float(error[0, 0] ** 2), rel=1e-12)


@pytest.mark.parametrize("columns", [3, 20, 40, 130])
def test_the_first_of_the_largest_is_the_answer(backend, columns):
    rng = np.random.default_rng(columns)
    y = rng.integers(0, 2, (60, columns)).astype(np.float32)
    y[:5], y[5:10] = -np.inf, np.inf
    truth = y.argmax(axis=1).astype(np.int32)
    state = np.zeros(2)
    backend.metric(metrics.SparseCategoricalAccuracy(), truth, y, None, state)
    assert state.tolist() == [60, 60]
    later = np.minimum(truth + 1, columns - 1).astype(np.int32)
    backend.metric(metrics.SparseCategoricalAccuracy(), later, y, None, state)
    assert state.tolist() == [60 + np.sum(later == truth), 120]


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_best_k_are_those_of_a_sort(backend, k):
    y = np.random.default_rng(k).permuted(np.tile(np.arange(70.0), (50, 1)), axis=1)
    truth = np.random.default_rng(0).integers(0, 70, 50).astype(np.int32)
    state, best = np.zeros(2), np.argsort(-y, axis=1)[:, :k]
    backend.metric(metrics.SparseTopKCategoricalAccuracy(k), truth, y, None, state)
    assert state.tolist() == [np.sum(best == truth[:, np.newaxis]), 50]


@pytest.mark.parametrize("formula", [f for f in LOSSES if f.functor], ids=label)
def test_a_loss_is_one_call_of_a_program(backend, formula):
    y = np.full((5, 3), 0.5, np.float32)
    truth = np.zeros(5, np.int32) if formula.sparse else y
    totals = np.zeros(3)

    def step(own: Any) -> None:
        own.loss(formula, truth, y, None, 0.2, np.empty_like(y), totals)

    assert_one_call(backend, step)


@pytest.mark.parametrize("formula", PER_ROW, ids=label)
def test_a_metric_is_one_call_of_a_program(backend, formula):
    y = np.full((5, 12), 0.5, np.float32)
    formula.build(y.shape)
    truth, state = np.zeros(5, np.int32), np.zeros(formula.state_size)
    assert_one_call(
        backend,
        lambda own: own.metric(formula, y if formula.sparse is False else truth, y, None, state),
    )


def assert_one_call(backend: Any, step: Any) -> None:
    own = backend.isolated()
    calls = own.trace(lambda: step(own)).calls
    assert [type(call) for call in calls] == [own.library.Bound]

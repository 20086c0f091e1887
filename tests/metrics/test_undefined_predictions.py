"""Metrics of predictions that are partly NaN: NaN exceeds all numbers, as in PyTorch, on every
backend."""

from __future__ import annotations

from typing import Any

import emulated  # noqa: F401  (registers the backend)
import numpy as np
import pytest
import torch

import gpunn
from gpunn import ops
from gpunn.backends import get_backend

BACKENDS = ("numpy", "compiled", "emulated")


def predictions(rows: int, classes: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Some rows without a number, some with infinity beside NaN."""
    random = np.random.default_rng(rows)
    y = random.integers(0, 4, (rows, classes)).astype(dtype)  # with ties
    y[random.random(y.shape) < 0.2] = np.nan
    y[random.random(y.shape) < 0.1] = np.inf
    y[random.random(y.shape) < 0.1] = -np.inf
    y[::7] = np.nan
    return y, random.integers(0, classes, rows).astype(np.int32)


def state_of(name: str, metric: Any, y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    backend = get_backend(name)
    metric.build(y.shape)
    state = backend.zeros((metric.state_size,), np.float64)
    with np.errstate(all="ignore"):
        backend.metric(metric, backend.upload(labels), backend.upload(y), None, state)
    return backend.read(state)


cases = pytest.mark.parametrize(
    ("name", "rows", "classes", "dtype"),
    [
        (name, *case) for name in BACKENDS
        for case in ((50, 3, "float32"), (9, 77, "float32"), (2, 500, "float64"))
    ],
)  # fmt: skip


@cases
def test_the_answer_is_the_first_of_the_largest(
    name: str, rows: int, classes: int, dtype: str
) -> None:
    y, labels = predictions(rows, classes, dtype)
    answers = torch.tensor(y).argmax(1).numpy()
    found = state_of(name, gpunn.metrics.SparseCategoricalAccuracy(), y, labels)
    assert found.tolist() == [(answers == labels).sum(), rows]
    matrix = state_of(name, gpunn.metrics.ConfusionMatrix(), y, labels).reshape(classes, classes)
    expected = np.zeros_like(matrix)
    np.add.at(expected, (labels, answers), 1)
    np.testing.assert_array_equal(matrix, expected)
    backend, totals = get_backend(name), get_backend(name).zeros((3,), np.float64)
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    arrays = backend.upload(labels), backend.upload(y)
    with np.errstate(all="ignore"):
        backend.loss(loss, *arrays, None, 1.0, None, totals)
    assert backend.read(totals)[2] == (answers == labels).sum()


@cases
def test_the_first_k_are_the_largest(name: str, rows: int, classes: int, dtype: str) -> None:
    y, labels = predictions(rows, classes, dtype)
    k = classes // 2
    found = state_of(name, gpunn.metrics.SparseTopKCategoricalAccuracy(k=k), y, labels)
    assert found[0] == ops.in_top_k(labels, y, k).numpy().sum()
    first = torch.tensor(y).sort(dim=1, descending=True, stable=True).indices.numpy()[:, :k]
    above = y[np.arange(rows), labels] != -np.inf  # the threshold, if k is given
    metric = gpunn.metrics.Recall(top_k=k)
    positives = metric.counts(state_of(name, metric, y, labels))[0]
    assert positives == ((first == labels[:, None]).any(1) & above).sum()

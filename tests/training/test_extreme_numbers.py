"""Test training steps with extreme values: huge gradients and weights, and rows of NaN."""

from __future__ import annotations

from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpunn
from gpunn import constraints, layers, losses, ops


@pytest.mark.parametrize("options", [{"clipnorm": 1.0}, {"global_clipnorm": 1.0}])
@pytest.mark.parametrize("size", [1e20, 1e37, 1e-25])
def test_a_norm_of_huge_gradients_is_finite(
    backend: str, size: float, options: dict[str, float]
) -> None:
    """Their squares overflow in single precision: NumPy once turned such gradients into 0."""
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1, use_bias=False)], backend=backend)
    model.compile(gpunn.optimizers.SGD(1.0, **options), lambda t, y: ops.mean(y * size, axis=-1))
    (before,) = model.get_weights()
    model.fit([[3.0, 4.0]], [[0.0]], verbose=0)
    clipped = [[0.6], [0.8]] if size > 1 else [[0.0], [0.0]]
    assert_allclose(before - model.get_weights()[0], clipped, 1e-5, 1e-6)


@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_a_norm_of_huge_weights_is_finite(backend: str, size: float) -> None:
    layer = layers.Dense(1, use_bias=False, kernel_constraint=constraints.MaxNorm(2.0))
    model = gpunn.Sequential([layers.Input((2,)), layer], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), "mse")
    model.set_weights([np.array([[3.0], [4.0]], np.float32) * np.float32(size)])
    model.fit([[0.0, 0.0]], [[0.0]], verbose=0)
    expected = [[1.2], [1.6]] if size > 1 else [[0.0], [0.0]]
    assert_allclose(model.get_weights()[0], expected, 1e-5, 1e-20)


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_rows_of_an_ignored_class_cost_nothing_whatever_they_are(
    backend: str, from_logits: bool
) -> None:
    """As in PyTorch, which excludes them from the sum: 0 times NaN would be NaN."""
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    y = logits if from_logits else np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([0, -1, 2, -1, 1], np.int32)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(labels, dtype=torch.int64), ignore_index=-1
    )
    y[1], y[3, 0] = np.nan, np.inf
    loss: Any = losses.SparseCategoricalCrossentropy(from_logits, ignore_class=-1)
    values, gradient = np.empty(5, np.float32), np.empty((5, 3), np.float32)
    with np.errstate(all="ignore"):
        assert float(loss(labels, y)) == pytest.approx(expected.item(), 1e-5)
        loss.forward_backward(gpunn.backends.get_backend(backend), labels, y, values, gradient)
    assert np.isfinite(gradient).all() and not gradient[[1, 3]].any() and gradient[0].any()


@pytest.mark.filterwarnings("ignore:The loss is nan")  # the layer that makes it so
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_prediction_that_is_no_number_has_no_loss(backend: str, place: int) -> None:
    """Anywhere in a row; kernels of the categorical hinge once skipped it."""
    t = np.array([[0.0, 1.0, 0.0]], np.float32)
    for name in ("categorical_hinge", "categorical_crossentropy", "cosine_similarity", "mae"):
        y = np.array([[0.2, 0.5, 0.3]], np.float32)
        y[0, place] = 0.0
        spoil = layers.Lambda(lambda x: ops.where(x == 0, np.nan, x))
        model = gpunn.Sequential([layers.Input((3,)), spoil], backend=backend)
        model.compile(loss=name)
        assert np.isnan(model.evaluate(y, t, verbose=0)), name

"""Norms compared with NumPy and PyTorch, and `normalize` with Keras."""

from __future__ import annotations

import itertools
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from operation_cases.case import floats
from operation_cases.computed import BACKENDS, by_torch, in_steps

import gpunn
from gpunn import layers, ops

INF = np.inf
ORDERS = (None, "fro", "nuc", INF, -INF, 1, -1, 2, -2)
BY_SINGULAR_VALUES = ("nuc", 2, -2)


@pytest.mark.parametrize("order", ORDERS)
def test_norms_of_matrices_are_those_of_numpy(order: Any) -> None:
    matrix, stack = floats(3, 4), floats(2, 3, 4, 5)
    assert_allclose(ops.norm(matrix, order).numpy(), np.linalg.norm(matrix, order), 1e-6)
    for axis, keepdims in itertools.product([(0, 1), (3, 1), (-1, 0), [2, -1]], [False, True]):
        found = ops.norm(stack, order, axis, keepdims).numpy()
        expected = np.linalg.norm(stack, order, tuple(axis), keepdims)
        assert found.shape == expected.shape
        assert_allclose(found, expected, 2e-6)
    for degenerate in (np.zeros((2, 3)), np.ones((1, 3)), np.diag([2.0, 2.0])):
        expected = np.linalg.norm(degenerate, order)
        assert_allclose(ops.norm(degenerate, order).numpy(), expected, 1e-6, 1e-7)
    assert_allclose(ops.norm(np.arange(6).reshape(2, 3), order).numpy(),
                    np.linalg.norm(np.arange(6).reshape(2, 3), order), 1e-6)  # fmt: skip


@pytest.mark.parametrize("order", [None, 0, 1, 2, 3, 0.5, -1, -2, INF, -INF])
def test_norms_of_vectors_are_those_of_numpy(order: Any) -> None:
    x = floats(3, 4)
    x[0, 1] = 0.0
    with np.errstate(divide="ignore"):
        assert_allclose(ops.norm(x[0], order).numpy(), np.linalg.norm(x[0], order), 1e-6)
        for axis, keepdims in itertools.product([0, -1, (1,)], [False, True]):
            found = ops.norm(x, order, axis, keepdims).numpy()
            at = axis if isinstance(axis, int) else axis[0]
            assert_allclose(found, np.linalg.norm(x, order, at, keepdims), 1e-6)


def test_without_an_order_it_is_the_length_of_all() -> None:
    x = floats(2, 3, 4)
    assert_allclose(ops.norm(x).numpy(), np.linalg.norm(x), 1e-6)
    assert_allclose(ops.norm(x, axis=(0, 1, 2)).numpy(), np.linalg.norm(x), 1e-6)
    assert_array_equal(ops.norm([3.0, -4.0]).numpy(), 5.0)


@pytest.mark.parametrize(
    ("shape", "order", "axis", "message"),
    [
        ((2, 3, 4), 1, None, "name one axis or two of a tensor of shape .2, 3, 4."),
        ((2, 3, 4), 2, (0, 1, 2), "name one axis or two"),
        ((4,), "fro", None, "ord of a vector is a number; got 'fro'"),
        ((3, 4), "nuc", 1, "ord of a vector is a number"),
        ((3, 4), 3, None, "ord of a matrix is one of 'fro', 'nuc', inf, -inf, 1, -1, 2, -2; got 3"),
        ((3, 4), 0, (0, 1), "ord of a matrix"),
        ((3, 4), 1, (0, 0), "axis must name axes of a tensor of 2, each once"),
        ((3, 4), 1, (0, 2), "axis must name axes"),
    ],
)
def test_what_there_is_not_is_refused(shape: Any, order: Any, axis: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ops.norm(np.ones(shape), order, axis)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_by_singular_values(backend: str) -> None:
    for order, x, twice in itertools.product(
        BY_SINGULAR_VALUES, [floats(4, 3), floats(2, 3, 5), np.diag([2.0, 2.0, 0.5])],
        [False, True],
    ):  # fmt: skip
        if twice and x.shape == (3, 3):  # equal singular values have no second derivative
            continue
        ours = in_steps(lambda x, n=order: ops.norm(x, n, (-2, -1)), [x], backend, twice)
        theirs = by_torch(lambda x, n=order: torch.linalg.matrix_norm(x, n), [x], twice)
        for found, expected in zip(ours, theirs, strict=True):
            for one, other in zip(found, expected, strict=True):
                assert_allclose(one, other, 1e-9, 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_matrix_that_is_not_finite_spoils_no_other(backend: str) -> None:
    x = floats(4, 3, 2)
    whole = in_steps(lambda x: ops.norm(x, "nuc", (1, 2)), [x], backend, twice=False)
    x[1, 0, 0], x[2, 1, 1] = np.nan, np.inf
    found = in_steps(lambda x: ops.norm(x, "nuc", (1, 2)), [x], backend, twice=False)
    assert_array_equal(np.isfinite(found.values[0]), [True, False, False, True])
    for one, other in ((found.values[0], whole.values[0]), (found.first[0], whole.first[0])):
        assert_array_equal(one[[0, 3]], other[[0, 3]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_penalty_on_the_largest_sum_is_trained(backend: str) -> None:
    """As in a network whose loss contains a norm of its kernels."""

    class Penalized(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight((3, 4), name="w")

        def call(self, x: Any) -> Any:
            self.add_loss(ops.norm(self.w, ord=1))
            return x @ self.w

    model = gpunn.Sequential([layers.Input((3,)), Penalized()], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.5))
    (before,) = model.get_weights()
    w = torch.tensor(before, requires_grad=True)
    torch.linalg.matrix_norm(w, 1).backward()
    history = model.fit(np.zeros((2, 3)), verbose=0).history
    assert history["loss"][0] == pytest.approx(float(np.linalg.norm(before, 1)), 1e-6)
    assert w.grad is not None
    assert_allclose(model.get_weights()[0], before - 0.5 * w.grad.numpy(), 1e-6)


# -- normalize


SCALES = (1.0, 1e-5, 1e-7, 1e-9, 1e-12, 1e-15, 0.0)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_normalize_is_that_of_keras(keras: Any, order: int) -> None:
    for scale, axis in itertools.product(SCALES, (-1, 0)):
        x = (scale * floats(3, 4)).astype(np.float32)
        for options in ({}, {"epsilon": 1e-3}, {"epsilon": 1e-12}):
            expected = keras.ops.normalize(x, axis, order, **options).numpy()
            found = ops.normalize(x, axis, order, **options).numpy()
            assert_allclose(found, expected, 1e-5, 1e-30, f"{scale} {axis} {options}")
    x = floats(2, 3, 4).astype(np.float32)
    expected = keras.ops.normalize(x, [0, 2]).numpy()
    assert_allclose(ops.normalize(x, (0, 2)).numpy(), expected, 1e-5)
    assert ops.normalize(5.0).tolist() == keras.ops.normalize(5.0).tolist()


@pytest.mark.parametrize("order", [0, -1, 1.5, "fro", np.inf])
def test_an_order_that_keras_refuses_is_refused(order: Any) -> None:
    with pytest.raises(ValueError, match="order must be an integer of 1 or more"):
        ops.normalize([1.0, 2.0], order=order)


@pytest.mark.parametrize("backend", BACKENDS)
def test_short_rows_are_brought_to_length_1_by_the_layer(keras: Any, backend: str) -> None:
    """Both bound the length below by 1e-12. A regression test: 1e-6 was once added to it."""
    layer = keras.layers.UnitNormalization()
    model = gpunn.Sequential([layers.Input((5,)), layers.UnitNormalization()], backend=backend)
    for scale in (1e15, 1.0, 1e-6, 1e-9, 1e-10, 1e-15, 0.0):
        x = (scale * floats(3, 5)).astype(np.float32)
        found = model.predict(x, verbose=0)
        assert_allclose(found, layer(x).numpy(), 1e-3, 1e-30, f"{scale}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_cosine_of_short_vectors_is_that_of_long_ones(keras: Any, backend: str) -> None:
    """Keras does not normalize vectors shorter than 1e-7 fully, which reduces the loss."""
    t, y = floats(6, 4).astype(np.float32), floats(6, 4, seed=1).astype(np.float32)
    theirs, ours = keras.losses.CosineSimilarity(), gpunn.losses.CosineSimilarity()
    assert float(ours(t, y)) == pytest.approx(float(theirs(t, y)), 1e-5)
    assert float(ours(t, y * 1e-9)) == pytest.approx(float(ours(t, y)), 1e-5)
    shortened = [keras.ops.convert_to_tensor(a) for a in (t, y * np.float32(1e-9))]
    assert abs(float(theirs(*shortened))) < 0.1 * abs(float(theirs(t, y)))
    model = gpunn.Sequential([layers.Input((4,)), layers.Rescaling(1e-9)], backend=backend)
    model.compile(loss=ours)
    assert model.evaluate(y, t, verbose=0) == pytest.approx(float(ours(t, y)), 1e-5)

"""Methods of tensors match those of NumPy's arrays, for all kinds of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from operation_cases.computed import BACKENDS, by_torch, eagerly, in_steps

import gpunn
from gpunn import layers, ops
from gpunn.ops.running.shape_trace import trace_of

X = np.random.default_rng(5).standard_normal((2, 1, 3)).astype(np.float32)

METHODS: list[Callable[[Any], Any]] = [
    lambda x: x.sum(), lambda x: x.sum(axis=0), lambda x: x.sum(1, keepdims=True),
    lambda x: x.mean(axis=(0, 2)), lambda x: x.max(axis=-1), lambda x: x.min(),
    lambda x: x.prod(axis=2), lambda x: x.std(axis=0), lambda x: x.var(),
    lambda x: (x > 0).any(axis=2), lambda x: (x > 0).all(), lambda x: x.argmax(axis=2),
    lambda x: x.argmin(), lambda x: x.argsort(axis=-1), lambda x: x.cumsum(axis=2),
    lambda x: x.cumprod(axis=2), lambda x: x.round(1), lambda x: x.ravel(),
    lambda x: x.flatten(), lambda x: x.squeeze(), lambda x: x.squeeze(axis=1),
    lambda x: x.swapaxes(0, 2), lambda x: x.repeat(2, axis=0), lambda x: x.dot(np.ones(3, "f")),
    lambda x: x.take([2, 0], axis=2), lambda x: x.diagonal(), lambda x: x.astype("int32"),
    lambda x: x.reshape(3, 2), lambda x: x.reshape((-1, 2)), lambda x: x.transpose(),
    lambda x: x.transpose(1, 0, 2), lambda x: x.transpose((2, 0, 1)), lambda x: x.T,
    lambda x: x.clip(-0.5, 0.5), lambda x: x.clip(max=0.0), lambda x: x.clip(min=0.25),
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_methods_of_arrays(backend: str) -> None:
    def all_of_them(x: Any) -> list[Any]:
        return [method(x) for method in METHODS]

    expected = all_of_them(X)
    for found in (eagerly(all_of_them, [X]), in_steps(all_of_them, [X], backend).values):
        for one, other in zip(found, expected, strict=True):
            other = np.asarray(other)
            assert one.shape == other.shape and one.dtype.kind == other.dtype.kind
            assert_allclose(one, other, 1e-6, 1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_methods_are_differentiated(backend: str) -> None:
    def function(x: Any) -> Any:
        return (x.reshape(2, 3).T.clip(min=-0.5) * x.sum(2).reshape(-1)).max(0) * x.mean()

    def theirs(x: Any) -> Any:
        flat = x.sum(2).reshape(-1)
        return (x.reshape(2, 3).T.clip(min=-0.5) * flat).max(0).values * x.mean()

    found, expected = in_steps(function, [X], backend), by_torch(theirs, [X])
    derivatives = (*found.first, *found.second), (*expected.first, *expected.second)
    for ours, other in zip(*derivatives, strict=True):
        assert_allclose(ours, other, 2e-5, 2e-5)


def test_single_numbers_and_lists() -> None:
    t = ops.convert_to_tensor([[1.25]])
    assert t.item() == 1.25 and isinstance(t.item(), float) and t.tolist() == [[1.25]]
    variable = gpunn.Variable([1.0, 2.0])
    assert variable.tolist() == [1.0, 2.0] and variable.max().item() == 2.0
    assert round(ops.convert_to_tensor(2.75)).item() == round(2.75)
    assert round(ops.convert_to_tensor(2.71828), 2).item() == pytest.approx(2.72)


def test_variables_and_weights_have_them() -> None:
    variable = gpunn.Variable(X)
    assert_allclose(variable.mean(axis=2), X.mean(axis=2), 1e-6)
    dense = layers.Dense(4)
    dense(np.ones((1, 3)))
    kernel = dense.kernel.numpy()
    assert_allclose(dense.kernel.std(axis=0), kernel.std(axis=0), 1e-5)
    assert_array_equal(dense.kernel.T, kernel.T)
    assert_array_equal(dense.kernel.reshape(-1), kernel.reshape(-1))


def test_rows_one_after_the_other() -> None:
    dense = layers.Dense(4)
    dense(np.ones((1, 3)))
    for given in (gpunn.Variable(X[:, 0]), dense.kernel, ops.convert_to_tensor(X[:, 0])):
        assert given.ndim == 2
        assert_array_equal([row.numpy() for row in given], np.asarray(given))
    with pytest.raises(TypeError, match="no axes"):
        list(gpunn.Variable(1.0))
    with pytest.raises(TypeError, match="symbolic"):
        list(gpunn.Input((3,)))


def test_symbolic_tensors_have_them() -> None:
    x = gpunn.Input((1, 3))
    y = x.astype("float32").mean(axis=-1) + x.reshape((-1, 3)).max(axis=1, keepdims=True)
    assert_allclose(gpunn.Model(x, y)(X), X.mean(-1) + X.max(-1), 1e-6)
    with pytest.raises(ValueError, match="one entry for each sample"):
        gpunn.Model(x, x.sum())
    with pytest.raises(TypeError, match="symbolic"):
        x.item()


def test_functions_of_numpy_give_arrays_as_before() -> None:
    t = ops.convert_to_tensor(X)
    for function in (np.sum, np.mean, np.max, np.std, np.argmax, np.cumsum, np.round, np.prod):
        assert isinstance(function(t), (np.ndarray, np.generic))
        assert_allclose(function(t), function(X), 1e-6)
    assert_allclose(np.sum(t, axis=2, keepdims=True), X.sum(axis=2, keepdims=True), 1e-6)
    assert_allclose(np.clip(t, 0, 1), np.clip(X, 0, 1))


@pytest.mark.traced
def test_functions_of_numpy_in_a_trace_say_what_to_use() -> None:
    with pytest.raises(TypeError, match=r"gpunn\.ops instead of numpy"):
        trace_of(np.sum, [((2,), "float32")])


def test_what_a_method_does_not_take() -> None:
    t = ops.convert_to_tensor(X)
    with pytest.raises(TypeError, match=r"sum\(\) takes the arguments \(axis, keepdims\); got dim"):
        t.sum(dim=1)
    with pytest.raises(TypeError, match="got 3 of them"):
        t.mean(0, True, 1)
    with pytest.raises(ValueError, match=r"row-major"):
        t.reshape(3, 2, order="F")

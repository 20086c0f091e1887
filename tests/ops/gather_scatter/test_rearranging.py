"""Elements in another order, repeated or padded: NumPy's, for few and for many, of every dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from operation_cases.computed import in_steps, weights

import gpunn
from gpunn import ops

CASES: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "transpose": (
        lambda x: ops.transpose(x, (2, 0, 1, 3)), lambda x: x.transpose(2, 0, 1, 3)
    ),
    "last axis too": (
        lambda x: ops.transpose(x, (3, 1, 0, 2)), lambda x: x.transpose(3, 1, 0, 2)
    ),
    "repeat": (
        lambda x: ops.broadcast_to(x[:, :, None, :1], (*x.shape[:2], 5, *x.shape[2:])),
        lambda x: np.broadcast_to(x[:, :, None, :1], (*x.shape[:2], 5, *x.shape[2:])),
    ),
    "turn and cut": (lambda x: x[::-1, 1:, ::2], lambda x: x[::-1, 1:, ::2]),
    "cut": (lambda x: x[1:, :-1, 1:2], lambda x: x[1:, :-1, 1:2]),
    "pad": (
        lambda x: ops.pad(x, ((0, 0), (1, 0), (2, 3), (0, 0))),
        lambda x: np.pad(x, ((0, 0), (1, 0), (2, 3), (0, 0))),
    ),
    "pad one axis": (
        lambda x: ops.pad(x, ((0, 0), (0, 0), (2, 3), (0, 0))),
        lambda x: np.pad(x, ((0, 0), (0, 0), (2, 3), (0, 0))),
    ),
    "pad with -0": (
        lambda x: ops.pad(x, 1, constant_values=-0.0), lambda x: np.pad(x, 1, constant_values=-0.0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (3, 20, 8, 4), (2, 0, 3, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
@pytest.mark.parametrize("case", CASES)
def test_elements_are_moved_as_by_numpy(
    case: str, dtype: str, shape: tuple[int, ...], every_backend: str
) -> None:
    function, expected = CASES[case]
    x = np.random.default_rng(0).integers(-2, 3, shape).astype(dtype)
    if dtype.startswith("float"):
        x *= -1  # some zeros are -0.0
    found = in_steps(function, [x], every_backend, twice=False).values[0]
    assert found.dtype == dtype
    assert_array_equal(found, expected(x))
    if dtype.startswith("float"):
        assert_array_equal(np.signbit(found), np.signbit(expected(x)))


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_moved_back(case: str, every_backend: str) -> None:
    function, expected = CASES[case]
    x = np.random.default_rng(0).standard_normal((3, 20, 8, 4)).astype(np.float32)
    (dy,) = weights([expected(x).shape], np.float32, 1)
    numbers = np.arange(x.size, dtype=np.float64).reshape(x.shape) + 1
    places = np.abs(expected(numbers)).astype(int).reshape(-1)  # 0 where it is padded
    wanted = np.zeros(x.size + 1)
    np.add.at(wanted, places, dy.astype(np.float64).reshape(-1))
    found = in_steps(function, [x], every_backend, twice=False).first[0]
    np.testing.assert_allclose(found.reshape(-1), wanted[1:], atol=1e-5)


@pytest.mark.parametrize("reduction", ["max", "min"])
def test_extremes_at_indices_have_pytorchs_derivatives(
    reduction: str, every_backend: str
) -> None:
    gpunn.use_backend(every_backend)
    random = np.random.default_rng(2)
    x, new, factors = random.normal(size=6), random.normal(size=9), random.normal(size=6)
    places = random.integers(0, 5, 9)
    given = [gpunn.Variable(a, dtype="float64") for a in (x, new)]
    with gpunn.GradientTape() as tape:
        found = ops.scatter_update(*given[:1], places[:, None], given[1], reduction=reduction)
        total = ops.sum(found * factors)
    slopes = tape.gradient(total, given)
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, new)]
    expected = theirs[0].scatter_reduce(0, torch.tensor(places), theirs[1], f"a{reduction}")
    (expected * torch.tensor(factors)).sum().backward()
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-6)
    for one, other in zip(slopes, theirs, strict=True):
        np.testing.assert_allclose(one, other.grad, atol=1e-12)

"""Operations along several axes, named in any order and from either end, are those of NumPy."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from gpunn import ops

X = np.random.default_rng(0).normal(size=(2, 3, 4))
AXES = [axes for count in (1, 2, 3) for axes in permutations(range(3), count)]
REDUCTIONS = ("sum", "mean", "max", "min", "prod", "var", "std", "any", "all", "count_nonzero")


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found, "float64"), expected, 1e-5, 1e-6)


@pytest.mark.parametrize("axes", AXES)
def test_reductions(backend: str, axes: tuple[int, ...]) -> None:
    x = X.astype("float32")
    for given in (axes, tuple(axis - 3 for axis in axes)):
        for name in REDUCTIONS:
            close(getattr(ops, name)(x, axis=given), getattr(np, name)(x, axis=given))
        close(ops.logsumexp(x, axis=given), np.log(np.exp(x).sum(axis=given)))
        close(ops.norm(x, axis=given) if len(axes) == 2 else 0.0,
              np.linalg.norm(x, axis=given) if len(axes) == 2 else 0.0)  # fmt: skip


@pytest.mark.parametrize("axes", AXES)
def test_a_weighted_average(backend: str, axes: tuple[int, ...]) -> None:
    weights = np.arange(1.0, 1 + np.prod([X.shape[axis] for axis in axes]))
    weights = weights.reshape([X.shape[axis] for axis in axes]) ** 2
    for given in (axes, tuple(axis - 3 for axis in axes)):
        # By definition: x with these axes first, in their order.
        first = np.moveaxis(X, axes, range(len(axes)))
        expected = np.tensordot(weights, first, len(axes)) / weights.sum()
        close(ops.average(X.astype("float32"), given, weights), expected)


@pytest.mark.parametrize("axes", [axes for axes in AXES if len(axes) == 3])
def test_axes_that_move(backend: str, axes: tuple[int, ...]) -> None:
    x = X.astype("float32")
    close(ops.transpose(x, axes), np.transpose(x, axes))
    close(ops.moveaxis(x, (0, 1, 2), axes), np.moveaxis(x, (0, 1, 2), axes))
    close(ops.flip(x, axes[:2]), np.flip(x, axes[:2]))
    close(ops.roll(x, (1, 2), axes[:2]), np.roll(x, (1, 2), axes[:2]))
    close(ops.expand_dims(x, axes[:2]), np.expand_dims(x, axes[:2]))
    close(ops.tensordot(x, x, (axes[:2], axes[:2])), np.tensordot(x, x, (axes[:2], axes[:2])))

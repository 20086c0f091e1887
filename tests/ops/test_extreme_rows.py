"""Operations along an axis on extreme rows: zeros, ties, huge and infinite values, NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from operation_cases.computed import by_torch, in_steps

from gpunn import ops

INF, NAN = np.inf, np.nan
CONSTANT = [[0.0] * 4, [-0.0] * 4, [1.0] * 4, [-7.0] * 4, [0.0, -0.0, 0.0, -0.0]]
TIES = [[1.0, 2.0, 2.0, 1.0], [3.0, 3.0, 3.0, -1.0], [0.0, -1.0, 0.0, -0.0]]
ZEROS = [[0.0, 5.0, 3.0, 2.0], [0.0, 0.0, 3.0, 2.0], [-1.0, 2.0, 0.0, 4.0]]
LARGE = [
    [1e4, -1e4, 0.0, 1e4], [88.0, 89.0, 90.0, 1e3], [1e10, 1e10, 0.0, 1.0], [1e20, 1e20, 1.0, 1.0],
    [3e38, 3e38, 3e38, 3e38],
]  # fmt: skip
BELOW = [[-INF, 1.0, 2.0, 3.0], [-INF, -INF, 0.0, -INF]]
NONE = [[NAN, 1.0, 2.0, 3.0], [-INF, -INF, -INF, -INF]]

Both = tuple[Callable[..., Any], Callable[..., Any], list[list[float]]]
CHECKS: dict[str, Both] = {
    "std": (
        lambda x: ops.std(x, -1), lambda x: torch.std(x, -1, correction=0), [*CONSTANT, *TIES],
    ),
    "var": (
        lambda x: ops.var(x, -1), lambda x: torch.var(x, -1, correction=0), [*CONSTANT, *TIES],
    ),
    "max": (lambda x: ops.max(x, -1), lambda x: torch.amax(x, -1), [*CONSTANT, *TIES, *NONE[:1]]),
    "min": (lambda x: ops.min(x, -1), lambda x: torch.amin(x, -1), [*CONSTANT, *TIES, *NONE[:1]]),
    "prod": (lambda x: ops.prod(x, -1), lambda x: torch.prod(x, -1), [*CONSTANT, *ZEROS]),
    "cumprod": (lambda x: ops.cumprod(x, -1), lambda x: torch.cumprod(x, -1), [*TIES, *ZEROS]),
    "log_softmax": (
        ops.log_softmax, lambda x: torch.log_softmax(x, -1), [*CONSTANT, *TIES, *LARGE, *NONE],
    ),
    "softmax": (
        ops.softmax, lambda x: torch.softmax(x, -1), [*CONSTANT, *TIES, *LARGE, *BELOW, *NONE],
    ),
    "logsumexp": (
        lambda x: ops.logsumexp(x, -1), lambda x: torch.logsumexp(x, -1),
        [*CONSTANT, *TIES, *LARGE[:2], *BELOW, *NONE],
    ),
    "norm": (
        lambda x: ops.norm(x, axis=-1), lambda x: torch.linalg.vector_norm(x, dim=-1),
        [*CONSTANT, *TIES, *NONE[:1]],
    ),
    "norm 3": (
        lambda x: ops.norm(x, 3, -1), lambda x: torch.linalg.vector_norm(x, 3, dim=-1),
        [*CONSTANT, *ZEROS],
    ),
    "norm 1": (
        lambda x: ops.norm(x, 1, -1), lambda x: torch.linalg.vector_norm(x, 1, dim=-1),
        [*CONSTANT, *ZEROS],
    ),
    "norm inf": (
        lambda x: ops.norm(x, INF, -1), lambda x: torch.linalg.vector_norm(x, INF, dim=-1),
        [*CONSTANT, *TIES, *ZEROS],
    ),
    "norm -1": (
        lambda x: ops.norm(x, -1, -1), lambda x: torch.linalg.vector_norm(x, -1, dim=-1), TIES[:2],
    ),
    "layer_normalization": (
        ops.layer_normalization, lambda x: torch.nn.functional.layer_norm(x, (4,), eps=1e-7),
        [*CONSTANT, *TIES],
    ),
}  # fmt: skip
BACKENDS = ["numpy", "compiled", pytest.param("emulated", marks=pytest.mark.more)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CHECKS)
def test_rows_are_those_of_pytorch(name: str, dtype: str, backend: str) -> None:
    ours, theirs, rows = CHECKS[name]
    x = np.array(rows, dtype)
    found = in_steps(ours, [x], backend, twice=False)
    expected = by_torch(theirs, [x], twice=False)
    tolerance = 2e-6 if dtype == "float32" else 2e-13
    scale = 1 + np.abs(np.nan_to_num(expected.first[0], posinf=0, neginf=0)).max(1, keepdims=True)
    for row, one, other, near in zip(
        rows, found.values[0], expected.values[0], tolerance * scale, strict=True
    ):
        assert_allclose(one, other, tolerance, near[0], err_msg=f"{name} of {row}")
    for row, one, other, near in zip(
        rows, found.first[0], expected.first[0], tolerance * scale, strict=True
    ):
        assert_allclose(one, other, 20 * tolerance, 20 * near[0], err_msg=f"slopes of {row}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_of_huge_numbers_share_the_slope_of_logsumexp(backend: str) -> None:
    """PyTorch gives each the full gradient: their sum is just as large, so it hides the tie."""
    x = np.array([[1e20, 1e20, 1.0, 1.0], [3e38, 1e38, 3e38, 0.0]], np.float32)
    found = in_steps(lambda x: ops.logsumexp(x, -1), [x], backend, twice=False).first[0]
    weight = found.sum(1, keepdims=True)
    assert_array_equal(found / weight, [[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0]])

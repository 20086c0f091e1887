"""Operations on numbers at the ends: zeros of both signs, huge, tiny, infinite ones, NaN, ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from operation_cases.computed import BACKENDS, by_torch, in_steps
from operation_cases.elementwise import BINARY, COMPARING, DIVIDING, UNARY

from gpunn import ops

INF, NAN = np.inf, np.nan

ENDS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 88.0, -104.0, 1e38, -1e38, 1e-30, -1e-35, INF, -INF, NAN]
# Where a derivative is not as PyTorch's, which takes another of those that there are.
OTHER_SLOPES = {
    "fmax": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
    "fmin": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
    "floor_divide": "PyTorch has none",
    "maximum": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
    "minimum": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
}

# The others end where their parts end.
NAMES = sorted({*BINARY, *DIVIDING, *COMPARING, "power"} - {"hypot", "logaddexp2", "fmod"})


def agree(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    tolerance = 2e-5 if found.dtype == np.float32 else 2e-13
    # Close to 0 numbers have fewer digits, or none on machines that take them for 0.
    assert_allclose(found, expected, tolerance, 1e-37, err_msg=what)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_of_one(name: str, dtype: str, backend: str) -> None:
    x = np.array(ENDS, dtype)
    found = in_steps(getattr(ops, name), [x], backend, twice=False)
    expected = by_torch(UNARY[name][0], [x], twice=False)
    there = slice(None, -1 if name == "sign" else None)  # PyTorch's sign of NaN is 0
    agree(found.values[0][there], expected.values[0][there], "value")
    # Of NaN there is none: NaN is as right as PyTorch's 0.
    agree(found.first[0][:-1], expected.first[0][:-1], "gradient")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_of_two(name: str, dtype: str, backend: str) -> None:
    a, b = (x.ravel() for x in np.meshgrid(np.array(ENDS, dtype), np.array(ENDS, dtype)))
    theirs = {**BINARY, **DIVIDING, **COMPARING, "power": torch.pow}[name]
    found = in_steps(getattr(ops, name), [a, b], backend, twice=False)
    expected = by_torch(theirs, [a, b], twice=False)
    there = np.full(a.shape, True)
    if name == "mod":  # PyTorch's is not a number where a / b overflows
        with np.errstate(all="ignore"):
            there = (abs(a / b) < 1e30) & (abs(a / b) > 1e-30)
    agree(found.values[0][there], expected.values[0][there], "value")
    if name in OTHER_SLOPES:
        return
    there &= ~np.isnan(a) & ~np.isnan(b)
    agree(found.first[0][there], expected.first[0][there], "gradient by the first")
    if name == "power":
        there &= a > 0  # of others by the exponent it is 0, as in TensorFlow
    agree(found.first[1][there], expected.first[1][there], "gradient by the second")

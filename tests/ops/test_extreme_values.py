"""Operations on extreme values: signed zeros, huge, tiny and infinite values, NaN, ties."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Sequence

import emulated
import numpy as np
import pytest
import torch
from host_kernels import compile_together
from numpy.testing import assert_allclose
from operation_cases.computed import (
    BACKENDS,
    BINARY,
    COMPARING,
    DIVIDING,
    UNARY,
    by_torch,
    in_steps,
)

from gpunn import ops
from gpunn.backends.contract.backend import Backend

INF, NAN = np.inf, np.nan

ENDS = [
    0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 88.0, -104.0, 1e38, -1e38, 1e-30, -1e-35, -20.0, INF, -INF,
    NAN,
]  # fmt: skip
# The joints of piecewise functions, too.
JOINTS = [3.0, -3.0, 6.0, 0.2, -0.2, *ENDS]
F = torch.nn.functional
# Derivatives that differ from PyTorch's, which chooses another valid one.
OTHER_SLOPES = {
    "fmax": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
    "fmin": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
    "floor_divide": "PyTorch has none",
    "maximum": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
    "minimum": "PyTorch shares the gradient of equal numbers, TensorFlow gives it to the first",
}



def hard_silu(x: torch.Tensor) -> torch.Tensor:
    """0 at minus infinity, where PyTorch's is NaN; PyTorch also uses single precision inside."""
    bent = torch.where(x.abs() >= 3, 0.0, x)
    return torch.where(x >= 3, x, bent * (bent / 6 + 0.5))


def ramp(x: torch.Tensor) -> torch.Tensor:
    """`torch.nn.functional.hardsigmoid`, which uses single precision inside."""
    return torch.where(x.abs() >= 3, (x > 0).to(x.dtype), x / 6 + 0.5)


def expm1(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's derivative uses the result, and loses all digits where that is near -1."""
    return torch.where(x < -1, torch.exp(torch.clamp(x, max=-1)) - 1, torch.expm1(x))


PIECEWISE = {
    "relu6": F.relu6, "hard_sigmoid": ramp, "hard_silu": hard_silu, "hard_tanh": F.hardtanh,
    "hard_shrink": F.hardshrink, "soft_shrink": F.softshrink, "elu": F.elu, "selu": F.selu,
    "celu": F.celu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "softsign": F.softsign,
    "tanh_shrink": F.tanhshrink, "silu": F.silu, "log_sigmoid": F.logsigmoid,
}  # fmt: skip

# The excluded functions overflow where their intermediate values do.
NAMES = sorted({*BINARY, *DIVIDING, *COMPARING, "power"} - {"hypot", "logaddexp2", "fmod"})


def agree(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    tolerance = 2e-5 if found.dtype == np.float32 else 2e-13
    # Values close to 0 have fewer digits, or none on machines that flush them to 0.
    assert_allclose(found, expected, tolerance, 1e-37, err_msg=what)


def of_one(dtype: str) -> list[np.ndarray]:
    return [np.array(ENDS, dtype)]


def of_two(dtype: str) -> list[np.ndarray]:
    return [x.ravel() for x in np.meshgrid(*of_one(dtype), *of_one(dtype))]


DTYPES = "float32", "float64"
TOGETHER = 12  # names per joint compilation of kernels: compiling one by one takes far longer


@functools.cache
def compile_some(names: Sequence[str], operands: int) -> None:
    def ask(backend: Backend) -> None:
        for name, dtype in itertools.product(names, DTYPES):
            with contextlib.suppress(AssertionError):  # nothing is computed: steps may differ
                arrays = (of_one, of_two)[operands - 1](dtype)
                in_steps(getattr(ops, name), arrays, backend, twice=False)

    compile_together(emulated.launched(ask))


def compile_kernels(backend: str, name: str, names: Sequence[str], operands: int) -> None:
    """Compile the kernels of this name and its neighbours, if the backend needs them."""
    if backend == "emulated":
        first = names.index(name) // TOGETHER * TOGETHER
        compile_some(tuple(names[first : first + TOGETHER]), operands)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_of_one(name: str, dtype: str, backend: str) -> None:
    compile_kernels(backend, name, tuple(UNARY), operands=1)
    (x,) = of_one(dtype)
    found = in_steps(getattr(ops, name), [x], backend, twice=False)
    theirs = expm1 if name == "expm1" else UNARY[name][0]
    expected = by_torch(theirs, [x], twice=False)
    there = slice(None, -1 if name == "sign" else None)  # PyTorch's sign of NaN is 0
    agree(found.values[0][there], expected.values[0][there], "value")
    # The derivative at NaN is undefined: NaN is as right as PyTorch's 0.
    agree(found.first[0][:-1], expected.first[0][:-1], "gradient")


@pytest.mark.parametrize(
    "backend", ["numpy", "compiled", pytest.param("emulated", marks=pytest.mark.more)]
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PIECEWISE)
def test_of_one_in_pieces(name: str, dtype: str, backend: str) -> None:
    """At the joints, the derivative is PyTorch's; NaN stays NaN."""
    x = np.array(JOINTS, dtype)
    found = in_steps(getattr(ops, name), [x], backend, twice=False)
    expected = by_torch(PIECEWISE[name], [x], twice=False)
    agree(found.values[0], expected.values[0], "value")
    agree(found.first[0][:-1], expected.first[0][:-1], "gradient")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_of_two(name: str, dtype: str, backend: str) -> None:
    compile_kernels(backend, name, NAMES, operands=2)
    a, b = of_two(dtype)
    theirs = {**BINARY, **DIVIDING, **COMPARING, "power": torch.pow}[name]
    found = in_steps(getattr(ops, name), [a, b], backend, twice=False)
    expected = by_torch(theirs, [a, b], twice=False)
    there = np.full(a.shape, True)
    if name == "mod":  # PyTorch's is NaN where a / b overflows
        with np.errstate(all="ignore"):
            there = (abs(a / b) < 1e30) & (abs(a / b) > 1e-30)
    agree(found.values[0][there], expected.values[0][there], "value")
    if name in OTHER_SLOPES:
        return
    there &= ~np.isnan(a) & ~np.isnan(b)
    agree(found.first[0][there], expected.first[0][there], "gradient by the first")
    if name == "power":
        there &= a > 0  # elsewhere the exponent gets the gradient 0, as in TensorFlow
    agree(found.first[1][there], expected.first[1][there], "gradient by the second")


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_of_sinc_has_its_digits_near_0(dtype: str, backend: str) -> None:
    """A regression test: it was NaN next to 0. PyTorch's has no correct digits below 1e-4."""
    sizes = [0.0, 1e-30, 1e-8, 1e-4, 0.01, 0.1, 0.15, 0.16, 0.3, 0.7, 1.0, 1.3, 2.0, 50.25]
    x = np.array([*sizes, *(-s for s in sizes)], dtype)
    x[1] = np.finfo(dtype).smallest_subnormal
    found = in_steps(lambda x: ops.sum(ops.sinc(x)), [x], backend, twice=False).first[0]
    weight = in_steps(lambda x: ops.sum(x), [x], backend, twice=False).first[0]
    z = math.pi * x.astype(np.longdouble)
    near = np.abs(z) < 0.1
    far = np.where(near, 1, z)
    series = -z / 3 * (1 - z**2 / 10 + z**4 / 280 - z**6 / 15120 + z**8 / 1330560)
    exact = math.pi * np.where(near, series, np.cos(far) / far - np.sin(far) / far**2)
    tolerance = 2e-6 if dtype == "float32" else 2e-14
    assert_allclose(found / weight, exact.astype(dtype), 2 * tolerance, tolerance * 1e-2)

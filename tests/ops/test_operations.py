"""Every operation: its values, gradients and the gradients of those agree with PyTorch's."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import emulated
import numpy as np
import pytest
from host_kernels import compile_together
from numpy.testing import assert_allclose, assert_array_equal
from operation_cases import CASES, Case
from operation_cases.computed import Result, at_once, by_torch, in_steps

from gpunn.backends.contract.backend import Backend
from gpunn.core.operators import FUNCTIONS

# What is no function of numbers for numbers, and so is tried elsewhere.
OTHERWISE = {"convert_to_numpy": "gives an array", "dtype": "gives a name"}

# Of values, gradients, and gradients of gradients: relative to the largest number of a result.
TOLERANCES = {"float64": (1e-12, 1e-11, 1e-9), "float32": (2e-6, 2e-5, 2e-4)}


def test_every_operation_has_a_case() -> None:
    assert set(CASES) | set(OTHERWISE) == set(FUNCTIONS)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    assert found.shape == expected.shape, what
    scale = max(1.0, float(np.abs(expected).max(initial=0, where=np.isfinite(expected))))
    assert_allclose(found, expected, tolerance, tolerance * scale, err_msg=what)


@functools.cache
def exactly(case: Case) -> Result:
    return by_torch(case.theirs, case.given("float64"), case.smooth)


def check(case: Case, backend: str, dtype: str, label: str) -> None:
    exact = exactly(case)
    arrays = case.given(dtype)
    found = in_steps(case.ours, arrays, backend, case.smooth)
    parts = ("values", "gradients", "gradients of gradients")
    for what, tolerance, ours, theirs in zip(parts, TOLERANCES[dtype], found, exact, strict=True):
        if what != "values" and not case.smooth:
            continue
        assert len(ours) == len(theirs), (label, what)
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if other.dtype == np.float32:  # of integers: PyTorch has them in float32
                tolerance = max(tolerance, TOLERANCES["float32"][0])
            assert_close(one, other, tolerance, f"{label}, {what} {number}")
    if backend == "numpy":
        for now, later in zip(at_once(case.ours, arrays), found.values, strict=True):
            assert now.dtype == later.dtype, label
            assert_array_equal(now, later, f"{label}, at once and in steps")


def check_all(name: str, backend: str, *dtypes: str) -> None:
    for number, case in enumerate(CASES[name]):
        shapes: Any = [a.shape for a in case.arrays]
        has_floats = any(a.dtype.kind == "f" for a in case.arrays)
        for dtype in dtypes if has_floats else ("float32",):
            check(case, backend, dtype, f"case {number} of {name} {shapes} {dtype}")


NAMES = sorted(CASES)
more = pytest.mark.more


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("numpy", "float64"),
        ("compiled", "float32"),
        pytest.param("numpy", "float32", marks=more),
        pytest.param("compiled", "float64", marks=more),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_an_operation(name: str, backend: str, dtype: str) -> None:
    check_all(name, backend, dtype)


EACH_RUN = NAMES[::4]  # the others wait for `make test-more`
BY_TURN = [*EACH_RUN, *(name for name in NAMES if name not in EACH_RUN)]
TOGETHER = 12  # names, whose kernels are compiled at once: one by one, that takes far longer


@functools.cache
def compile_kernels(group: int, dtype: str) -> None:
    def ask(backend: Backend) -> None:
        for name in BY_TURN[group * TOGETHER :][:TOGETHER]:
            for case in CASES[name]:
                with contextlib.suppress(AssertionError):  # nothing is computed: steps may differ
                    in_steps(case.ours, case.given(dtype), backend, case.smooth)

    compile_together(emulated.launched(ask))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=more)])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in EACH_RUN else more) for n in BY_TURN]
)
def test_an_operation_on_the_kernels_of_a_card(name: str, dtype: str) -> None:
    compile_kernels(BY_TURN.index(name) // TOGETHER, dtype)
    check_all(name, "emulated", dtype)

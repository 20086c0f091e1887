"""Signed zeros, infinities and NaN: the same bits eagerly, fused, and on every backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
from comparisons.expression_functions import FOLDS, PLAIN, ROUNDED, perform, value_of
from operation_cases.computed import BINARY, COMPARING, DIVIDING, UNARY, eagerly, in_steps

from gpunn import ops
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.compiled.backend import CompiledBackend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.expression import (
    ELEMENTS,
    OPERANDS,
    Expression,
    ExpressionOutput,
    Instruction,
)

more = pytest.mark.more
MACHINES = ["numpy", *cpu_kernels.INSTRUCTIONS]


@pytest.fixture(params=[*MACHINES, pytest.param("emulated", marks=more)])
def machine(request: pytest.FixtureRequest) -> Backend:
    """Each backend; the compiled one with each available instruction set."""
    name = request.param
    if name not in cpu_kernels.INSTRUCTIONS:
        return get_backend(name)
    if cpu_kernels.why_not() is not None or name not in cpu_kernels.available():
        pytest.skip(f"this machine has no {name}, or it was not built for it")
    return CompiledBackend((cpu_kernels.load(name), name))


each_dtype = pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=more)])


def numbers(dtype: str) -> np.ndarray:
    ends = np.finfo(dtype)
    signed = [
        0.0, ends.tiny, 0.4, 0.5, 1.0, 1.5, 2.5, 3.0, 7.0, 1e4, 1 / ends.eps, ends.max, np.inf,
    ]  # fmt: skip
    return np.array([*signed, *(-x for x in signed), np.nan, 2.0], dtype)


def assert_same(found: np.ndarray, expected: np.ndarray, what: str, exact: bool = True) -> None:
    """Compare bits, except those of NaN; inexact results only where they are 0, infinite or NaN."""
    assert found.shape == expected.shape, what
    found = found.astype(expected.dtype)
    if not exact:
        special = [~np.isfinite(x) | (x == 0) for x in (found, expected)]
        found, expected = (np.where(special[0] | special[1], x, 1.0) for x in (found, expected))
    np.testing.assert_array_equal(found, expected, what)
    if expected.dtype.kind == "f":
        there = ~np.isnan(expected)
        signs = [np.signbit(x)[there] for x in (found, expected)]
        np.testing.assert_array_equal(*signs, f"signs of {what}")


# -- the functions of expressions


@each_dtype
def test_each_function_is_that_of_numpy(machine: Backend, dtype: str) -> None:
    x = numbers(dtype)
    for function in PLAIN:
        count = OPERANDS[function]
        operands = [grid.reshape(1, -1) for grid in np.meshgrid(*[x] * count)]
        steps = (Instruction(function, tuple(range(count))),)
        made = Expression(dtype, (ELEMENTS,) * count, steps, (ExpressionOutput(count),))
        (found,) = perform(machine, made, operands[0].shape, operands, [operands[0]])
        with np.errstate(all="ignore"):
            expected = np.asarray(value_of(function, operands)).astype(dtype)
        assert_same(found, expected, function, function not in ROUNDED)


@pytest.mark.parametrize("columns", [1, 2, 9, 40, 700])
def test_sums_of_zeros_have_no_sign(machine: Backend, columns: int) -> None:
    """Sums start with 0, as in NumPy."""
    x = np.full((5, columns), -0.0, np.float32)
    x[1, columns // 2] = 0.0
    for function in ("row_sum", "column_sum"):
        given = x if function == "row_sum" else x.T.copy()
        fold = (Instruction(function, (0,)),)
        made = Expression("float32", (ELEMENTS,), fold, (ExpressionOutput(1),))
        expected = FOLDS[function](given, axis=int(function == "row_sum"), keepdims=True)
        (found,) = perform(machine, made, given.shape, [given], [np.ones_like(expected)])
        assert_same(found, expected, function)


# -- operations that become expressions in steps

FURTHER = {
    name: (getattr(ops, name), None)
    for name in (
        "cbrt", "sinc", "silu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu",
        "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink",
        "softsign", "log_sigmoid", "squareplus", "sparse_plus", "sparse_sigmoid",
    )
}  # fmt: skip
OF_ONE: dict[str, Callable[..., Any]] = {
    **{name: getattr(ops, name) for name in (*UNARY, *FURTHER)},
    "relu twice": lambda x: ops.relu(ops.relu(-x)),
    "clip": lambda x: ops.clip(x, -1.0, 1.0),
    "clip at 0": lambda x: ops.clip(x, 0.0, 1.0),
    "clip at -0": lambda x: ops.clip(x, -0.0, 1.0),
    "two digits": lambda x: ops.round(x, 2),
    "where": lambda x: ops.where(x > 0, x, -0.0),
    "threshold": lambda x: ops.threshold(x, 0.5, -1.0),
    "as a truth value": lambda x: ops.cast(x, "bool"),
    **{
        f"{name} {number}": lambda x, f=name, n=number: getattr(ops, f)(x, n)
        for name in ("maximum", "minimum", "fmax", "fmin", "mod", "floor_divide", "power")
        for number in (0.0, -0.0, -2.0)
    },
    **{
        f"{name} of {number}": lambda x, f=name, n=number: getattr(ops, f)(n, x)
        for name in ("maximum", "minimum", "divide", "power")
        for number in (0.0, -0.0)
    },
}
OF_TWO = [*BINARY, *DIVIDING, *COMPARING, "power", "divide_no_nan", "heaviside"]
INEXACT = {
    *ROUNDED, "softplus", "log2", "log10", "exp2", "erf", "erfc", "erfinv", "hypot", "logaddexp2",
    *FURTHER,
}  # fmt: skip


def compare(
    machine: Backend, functions: dict[str, Callable[..., Any]], arrays: list[np.ndarray]
) -> None:
    """Compare all of them in one step, where they are fused, with each one eagerly."""
    found = in_steps(lambda *xs: [f(*xs) for f in functions.values()], arrays, machine, False)
    for (name, function), values in zip(functions.items(), found.values, strict=True):
        exact = name.split()[0] not in INEXACT
        assert_same(values, eagerly(function, arrays)[0], name, exact)


@each_dtype
def test_operations_on_a_number_are_the_same_eagerly_and_fused(
    machine: Backend, dtype: str
) -> None:
    compare(machine, OF_ONE, [numbers(dtype)])


@each_dtype
def test_operations_on_two_numbers_are_the_same_eagerly_and_fused(
    machine: Backend, dtype: str
) -> None:
    a, b = (grid.ravel() for grid in np.meshgrid(*[numbers(dtype)] * 2))
    compare(machine, {name: getattr(ops, name) for name in OF_TWO}, [a, b])


@pytest.mark.parametrize("name", ["numpy", "compiled", "emulated"])
def test_relu_has_no_zero_below_0(name: str) -> None:
    """Wherever it is fused: after a product, after a sum, or alone."""
    machine = get_backend(name)
    x = np.array([[-0.0, 0.0, -1.0, np.nan, -np.inf, 2.0]], np.float32)
    for function in (
        ops.relu, lambda x: ops.relu(x * 1.5), lambda x: ops.relu(x + -0.0),
        lambda x: ops.relu(-ops.relu(x)),
    ):  # fmt: skip
        (found,) = in_steps(function, [x], machine, False).values
        assert not np.signbit(found[~np.isnan(found)]).any()
        np.testing.assert_array_equal(found, eagerly(function, [x])[0])


REDUCTIONS = {
    "sum": True, "max": True, "min": True, "prod": True, "argmax": True, "argmin": True,
    "all": True, "any": True, "cumsum": True, "cumprod": True, "sort": True, "argsort": True,
    "count_nonzero": True, "mean": False, "logsumexp": False, "var": False, "std": False,
    "norm": False, "softmax": False, "log_softmax": False, "normalize": False, "median": False,
}  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "columns", [1, 2, 33, *(pytest.param(n, marks=more) for n in (5, 200, 3000))]
)
def test_rows_and_columns_are_the_same_eagerly_and_fused(machine: Backend, columns: int) -> None:
    """Rows of signed zeros and infinities, with NaN, at the ends and in the middle."""
    rows = []
    for most, one in (
        (0.0, -0.0), (-0.0, 0.0), (-0.0, -0.0), (1.0, np.nan), (-1.0, np.inf), (1.0, -np.inf),
        (np.inf, -np.inf), (-np.inf, -np.inf), (np.inf, np.inf), (-0.0, np.nan),
    ):  # fmt: skip
        for place in {0, columns // 2, columns - 1}:
            row = np.full(columns, most, np.float32)
            row[place] = one
            rows.append(row)
    x = np.array(rows)
    for (name, exact), (given, axis), factor in itertools.product(
        REDUCTIONS.items(), ((x, 1), (x.T.copy(), 0)), (None, 2.0)
    ):

        def whole(x: Any, name: str = name, axis: int = axis, factor: Any = factor) -> Any:
            return getattr(ops, name)(x if factor is None else x * factor, axis=axis)

        (found,) = in_steps(whole, [given], machine, False).values
        assert_same(found, eagerly(whole, [given])[0], f"{name} along {axis}", exact)


def test_the_extreme_of_zeros_is_a_zero_without_a_sign() -> None:
    """NumPy may give either zero, depending on the length."""
    for x in ([0.0, -0.0], [-0.0, 0.0], [-0.0], [-0.0] * 40, [-1.0, -0.0]):
        for extreme in (ops.max(x), ops.max([x], axis=1), ops.min(np.abs(x) * -0.0)):
            assert not np.signbit(extreme.numpy()).any()

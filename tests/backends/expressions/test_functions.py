"""Each function of expressions on every backend, compared with NumPy's own."""

from __future__ import annotations

import itertools
from typing import Any

import emulated
import numpy as np
import pytest
from comparisons.expression_functions import (
    BACKENDS,
    EXTENTS,
    PLAIN,
    ROUNDED,
    SIZES,
    assert_near,
    draw,
    perform,
    value_of,
)
from host_kernels import compile_together

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.expression import (
    COLUMNS,
    ELEMENTS,
    ONE,
    OPERANDS,
    ROWS,
    BroadcastAxes,
    Expression,
    ExpressionOutput,
    Instruction,
)

each_backend = pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        pytest.param(b, d, marks=[pytest.mark.more] if (b, d) == ("emulated", "float64") else [])
        for b, d in itertools.product(BACKENDS, ("float32", "float64"))
    ],
    indirect=["backend"],
)


# `make test-more` also runs whatever `in_full` leaves out.
in_full = pytest.mark.parametrize("in_full", [False, pytest.param(True, marks=pytest.mark.more)])


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return get_backend(request.param)


def check(
    backend: Backend,
    function: str,
    dtype: str,
    size: tuple[int, int],
    value_axes: tuple[BroadcastAxes, ...],
    computed: int | None = None,
) -> None:
    """Compare with NumPy; the preceding step computes the operand `computed`."""
    rng = np.random.default_rng(len(function) + 7 * sum(map(ord, function)))
    inputs = [draw(rng, axes.shape(*size), dtype) for axes in value_axes]
    operands, given, steps = [*range(len(value_axes))], [*inputs], list[Instruction]()
    if computed is not None:
        operands[computed], given[computed] = len(value_axes), -inputs[computed]
        steps.append(Instruction("negative", (computed,)))
    steps.append(Instruction(function, tuple(operands)))
    result = ExpressionOutput(len(value_axes) + len(steps) - 1)
    expression = Expression(dtype, value_axes, tuple(steps), (result,))
    out = np.full(expression.value_axes[-1].shape(*size), -7, dtype)
    (got,) = perform(backend, expression, size, given, [out])
    wide = np.longdouble if dtype == "float64" else np.float64
    with np.errstate(all="ignore"):
        if function not in ROUNDED:
            expected = value_of(function, inputs)
            np.testing.assert_array_equal(got, np.broadcast_to(expected, got.shape))
            return
        expected = value_of(function, [x.astype(wide) for x in inputs])
    expected = np.broadcast_to(expected, got.shape)
    size_of: Any = 0.0
    if function == "logaddexp":  # it is a sum of its operands and a term below 1
        size_of = np.nan_to_num(np.abs(np.broadcast_to(np.maximum(*inputs), got.shape))) + 1
    elif function == "sigmoid":  # as in NumPy: 0 where 1 + exp(-x) is infinite
        size_of = np.finfo(dtype).tiny / np.finfo(dtype).eps
    assert_near(got, expected, ROUNDED[function], size_of)


@pytest.fixture(scope="module")
def compiled_together() -> None:
    """Compile the kernels at the beginning of `test_each_function` together."""

    def ask(backend: Backend) -> None:
        for function, dtype in itertools.product(PLAIN, ("float32", "float64")):
            count = OPERANDS[function]
            step = Instruction(function, tuple(range(count)))
            expression = Expression(dtype, (ELEMENTS,) * count, (step,), (ExpressionOutput(count),))
            array = np.ones((7, 5), dtype)
            backend.expression(expression, 7, 5, [array] * count, [array.copy()])

    compile_together(emulated.launched(ask))


@pytest.mark.in_turn(3)
@pytest.mark.usefixtures("compiled_together")
@in_full
@each_backend
@pytest.mark.parametrize("function", PLAIN)
def test_each_function(backend: Backend, function: str, dtype: str, in_full: bool) -> None:
    for size in SIZES:
        check(backend, function, dtype, size, (ELEMENTS,) * OPERANDS[function])
    if backend.name == "emulated" and function not in ("negative", "subtract"):
        return  # the code that reads is the same for each function
    for value_axes in itertools.product(EXTENTS, repeat=OPERANDS[function]):
        for size in ((7, 5), (3, 700), (1, 1)):
            if in_full or size == (7, 5) or is_one_of_few(value_axes):
                check(backend, function, dtype, size, value_axes)


def is_one_of_few(value_axes: tuple[BroadcastAxes, ...]) -> bool:
    """Whether these are among a few in which each operand has each axes: of two, those that are
    alike or follow each other; of three, a Latin square, where any two have each pair of axes."""
    places = [*map(EXTENTS.index, value_axes)]
    if len(places) == 2:
        return (places[1] - places[0]) % len(EXTENTS) in (0, 1)
    return len(places) == 1 or sum(places) % len(EXTENTS) == 0


@pytest.mark.in_turn(3)
@in_full
@each_backend
@pytest.mark.parametrize("function", PLAIN)
def test_each_function_of_what_was_just_computed(
    backend: Backend, function: str, dtype: str, in_full: bool
) -> None:
    count = OPERANDS[function]
    if backend.name == "emulated" and function not in ("negative", "subtract"):
        return
    for computed in range(count):
        for value_axes in itertools.product(EXTENTS, repeat=count):
            for size in ((7, 50), (1, 1)):
                if in_full or size == (7, 50) or is_one_of_few(value_axes):
                    check(backend, function, dtype, size, value_axes, computed)


@pytest.mark.in_turn(3)
@each_backend
@pytest.mark.parametrize("first", ["add", "subtract", "multiply", "divide"])
@pytest.mark.parametrize("then", ["add", "subtract", "multiply"])
def test_a_function_of_another(backend: Backend, first: str, then: str, dtype: str) -> None:
    """Operands may be an array, a single value, or the result of the preceding step."""
    if backend.name == "emulated" and (first, then) != ("multiply", "subtract"):
        return
    rng = np.random.default_rng(3)
    each = (ELEMENTS,) if backend.name == "emulated" else (ELEMENTS, ONE)
    for value_axes in itertools.product(each, repeat=3):
        for computed, side, size in itertools.product((None, 0, 1), (0, 1), ((7, 90), (1, 3))):
            inputs = [draw(rng, axes.shape(*size), dtype) for axes in value_axes]
            a, b, c = inputs
            steps, operands = list[Instruction](), [0, 1]
            if computed is not None:
                steps.append(Instruction("negative", (computed,)))
                operands[computed] = 3
            steps.append(Instruction(first, (operands[0], operands[1])))
            made = 2 + len(steps)
            steps.append(Instruction(then, (made, 2) if side == 0 else (2, made)))
            expression = Expression(dtype, value_axes, tuple(steps), (ExpressionOutput(made + 1),))
            out = np.full(expression.value_axes[-1].shape(*size), -7, dtype)
            given = [-x if k == computed else x for k, x in enumerate(inputs)]
            (got,) = perform(backend, expression, size, given, [out])
            with np.errstate(all="ignore"):
                inner = value_of(first, [a, b])
                expected = value_of(then, [inner, c] if side == 0 else [c, inner])
            np.testing.assert_array_equal(got, np.broadcast_to(expected, got.shape))


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("function", PLAIN)
def test_a_result_may_take_the_place_of_an_operand(backend: Backend, function: str) -> None:
    """Alone, and after a softmax-like fold of the rows."""
    if backend.name == "emulated" and function not in ("negative", "where"):
        return  # the code that writes is the same for each function
    count, rng = OPERANDS[function], np.random.default_rng(1)
    step = Instruction(function, tuple(range(count)))
    folded = Instruction("row_max", (count,)), Instruction("subtract", (count, count + 1))
    for size, steps in itertools.product([(40, 10), (3, 700), (600, 500)], [(), folded]):
        inputs = [rng.normal(size=size).astype(np.float32) for _ in range(count)]
        result = ExpressionOutput(count + len(steps))
        made = Expression("float32", (ELEMENTS,) * count, (step, *steps), (result,))
        (expected,) = perform(backend, made, size, inputs, [np.zeros(size, np.float32)])
        for place in range(count):
            arrays = [backend.upload(x.copy()) for x in inputs]
            with np.errstate(all="ignore"):
                backend.expression(made, *size, arrays, [arrays[place]])
            np.testing.assert_array_equal(backend.read(arrays[place]), expected)


def test_no_other_result_takes_the_place_of_an_operand(backend: Backend) -> None:
    step = Instruction("add", (0, 1))
    x, column = backend.zeros((4, 3), "float32"), backend.zeros((4, 1), "float32")
    y = backend.zeros((4, 3), "float32")
    two = Expression(
        "float32", (ELEMENTS, ROWS), (step,), (ExpressionOutput(2), ExpressionOutput(2))
    )
    sums = Expression("float32", (COLUMNS, COLUMNS), (step,), (ExpressionOutput(2),))
    for expression, inputs, outputs in (
        (two, [x, column], [x, y]), (sums, [x[:1], y[:1]], [x[:1]]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="shares memory with"):
            backend.expression(expression, len(outputs[0]), 3, inputs, outputs)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_known_powers(backend: Backend, dtype: str, exponent: float) -> None:
    x = draw(np.random.default_rng(0), (40, 50), dtype)
    if exponent == 0.5:  # for -infinity, NumPy takes a root where C uses a power
        x = np.abs(x)
    steps = Instruction("constant", (), exponent), Instruction("power", (0, 1))
    expression = Expression(dtype, (ELEMENTS,), steps, (ExpressionOutput(2),))
    (got,) = perform(backend, expression, x.shape, [x], [np.zeros_like(x)])
    with np.errstate(all="ignore"):
        assert_near(got, np.power(x, exponent), 2)


NUMBERS = (0.1, 1 / 3, 1e300, -1e300, np.inf, np.nan, 0.0, -0.0, 1.0, 1e-310, 16777217.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_are_rounded_to_what_is_computed_in(backend: Backend, dtype: str) -> None:
    """Expressions may share their GPU kernel's text: each one still has its own constants."""
    x = np.array([[1.0, -1.0, 1.5]], dtype)
    for numbers in (NUMBERS * 5, NUMBERS[::-1] * 5):
        steps = [Instruction("constant", (), number) for number in numbers]
        steps += [Instruction("multiply", (0, k + 1)) for k in range(len(numbers))]
        outputs = tuple(ExpressionOutput(1 + len(numbers) + k) for k in range(len(NUMBERS)))
        expression = Expression(dtype, (ELEMENTS,), tuple(steps), outputs)
        got = perform(backend, expression, x.shape, [x], [np.ones_like(x) for _ in outputs])
        with np.errstate(all="ignore"):
            expected = [x * np.asarray(number).astype(dtype) for number in numbers]
        for array, exact in zip(got, expected, strict=False):
            np.testing.assert_array_equal(array, exact)
            signs = [np.signbit(a)[~np.isnan(exact)] for a in (array, exact)]
            np.testing.assert_array_equal(*signs)

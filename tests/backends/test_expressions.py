"""Expressions on every backend, held against NumPy's own functions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import emulated
import numpy as np
import pytest
from host_kernels import compile_together
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.expression import (
    COLUMNS,
    ELEMENTS,
    MOST_COLUMNS,
    ONE,
    OPERANDS,
    ROW_FOLDS,
    ROWS,
    TRUTHS,
    Expression,
    Extent,
    Instruction,
    Output,
)

EXTENTS = (ELEMENTS, ROWS, COLUMNS, ONE)
SIZES = [
    (1, 1), (7, 5), (3, 700), (40, 10), (2000, 3), (1, 100_000), (0, 4), (5, MOST_COLUMNS),
    (600, 1), (9, 33),
]  # fmt: skip
NAMES = {"abs": "absolute", "mod": "remainder", "round": "rint", "copy": "positive"}
FOLDS: dict[str, Any] = {
    "row_sum": np.sum, "row_max": np.max, "row_min": np.min, "column_sum": np.sum,
}  # fmt: skip
ROUNDED = {  # functions that libraries compute to a few units in the last place; how many
    **dict.fromkeys(
        ("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
         "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "power", "arctan2"),
        4,
    ),
    "sigmoid": 5,
    "logaddexp": 5,
}  # fmt: skip
PLAIN = [name for name in OPERANDS if name not in FOLDS and OPERANDS[name]]


BACKENDS = "numpy", "compiled", "emulated"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return get_backend(request.param)


def perform(
    backend: Backend,
    expression: Expression,
    size: tuple[int, int],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """What the outputs hold afterwards."""
    out = [backend.upload(array.copy()) for array in outputs]
    with np.errstate(all="ignore"):
        backend.expression(expression, *size, [backend.upload(x) for x in inputs], out)
    return [backend.read(array) for array in out]


def value_of(function: str, operands: Sequence[Any], number: float = 0.0) -> Any:
    """What NumPy makes of arrays."""
    if function == "constant":
        return np.full((1, 1), number)
    if function in FOLDS:
        axis = 0 if function == "column_sum" else 1
        return FOLDS[function](operands[0], axis=axis, keepdims=True)
    if function == "where":
        return np.where(operands[0] != 0, *operands[1:])
    if function == "relu":
        return np.maximum(operands[0], 0)
    if function == "sigmoid":
        return 1 / (1 + np.exp(-operands[0]))
    value = getattr(np, NAMES.get(function, function))(*operands)
    return value.astype(operands[0].dtype) if function in TRUTHS else value


def draw(rng: np.random.Generator, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Numbers of all sizes, and special ones."""
    x = rng.choice([0.3, 1, 4, 30], shape) * rng.normal(size=shape)
    some = rng.random(shape)
    x = np.where(some < 0.2, np.round(x), x)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, -1e-40, 3e-45, 1.0, -1.0, 1e30, 3e6]
    with np.errstate(all="ignore"):
        return np.where(some > 0.85, rng.choice(special, shape), x).astype(dtype)


def assert_near(got: np.ndarray, exact: np.ndarray, units: float, size: Any = 0.0) -> None:
    """Alike to some units in the last place of what is exact, or of this size if that is more."""
    with np.errstate(all="ignore"):
        expected = exact.astype(got.dtype)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        same = (got == expected) | np.isnan(expected)
        unit = np.spacing(np.maximum(np.abs(expected), np.asarray(size, got.dtype)))
        difference = np.abs(got.astype(np.longdouble) - exact)
        near = same | (difference <= units * unit)
    assert near.all(), (got[~near][:5], exact[~near][:5])


def check(
    backend: Backend,
    function: str,
    dtype: str,
    size: tuple[int, int],
    extents: tuple[Extent, ...],
    computed: int | None = None,
) -> None:
    """That it gives what NumPy does; the operand `computed` is what the step before has made."""
    rng = np.random.default_rng(len(function) + 7 * sum(map(ord, function)))
    inputs = [draw(rng, extent.shape(*size), dtype) for extent in extents]
    operands, given, steps = [*range(len(extents))], [*inputs], list[Instruction]()
    if computed is not None:
        operands[computed], given[computed] = len(extents), -inputs[computed]
        steps.append(Instruction("negative", (computed,)))
    steps.append(Instruction(function, tuple(operands)))
    result = Output(len(extents) + len(steps) - 1)
    expression = Expression(dtype, extents, tuple(steps), (result,))
    out = np.full(expression.extents[-1].shape(*size), -7, dtype)
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
    if function == "logaddexp":  # which is a sum of its operands and less than 1
        size_of = np.nan_to_num(np.abs(np.broadcast_to(np.maximum(*inputs), got.shape))) + 1
    elif function == "sigmoid":  # as NumPy has it: 0 where 1 + exp(-x) is infinite
        size_of = np.finfo(dtype).tiny / np.finfo(dtype).eps
    assert_near(got, expected, ROUNDED[function], size_of)


@pytest.fixture(scope="module")
def compiled_together() -> None:
    """The kernels of what `test_each_function` begins with."""

    def ask(backend: Backend) -> None:
        for function, dtype in itertools.product(PLAIN, ("float32", "float64")):
            count = OPERANDS[function]
            step = Instruction(function, tuple(range(count)))
            expression = Expression(dtype, (ELEMENTS,) * count, (step,), (Output(count),))
            array = np.ones((7, 5), dtype)
            backend.expression(expression, 7, 5, [array] * count, [array.copy()])

    compile_together(emulated.launched(ask))


@pytest.mark.usefixtures("compiled_together")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", PLAIN)
def test_each_function(backend: Backend, function: str, dtype: str) -> None:
    for size in SIZES:
        check(backend, function, dtype, size, (ELEMENTS,) * OPERANDS[function])
    if backend.name == "emulated" and function not in ("negative", "subtract"):
        return  # what is read where is the same text for each function
    for extents in itertools.product(EXTENTS, repeat=OPERANDS[function]):
        for size in ((7, 5), (3, 700), (1, 1)):
            check(backend, function, dtype, size, extents)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", PLAIN)
def test_each_function_of_what_was_just_computed(
    backend: Backend, function: str, dtype: str
) -> None:
    count = OPERANDS[function]
    if backend.name == "emulated" and function not in ("negative", "subtract"):
        return
    for computed in range(count):
        for extents in itertools.product(EXTENTS, repeat=count):
            for size in ((7, 50), (1, 1)):
                check(backend, function, dtype, size, extents, computed)


@pytest.mark.parametrize("function", PLAIN)
def test_a_result_may_take_the_place_of_an_operand(backend: Backend, function: str) -> None:
    """Alone, and behind a softmax-like fold of its rows."""
    if backend.name == "emulated" and function not in ("negative", "where"):
        return  # what is written where is the same text for each function
    count, rng = OPERANDS[function], np.random.default_rng(1)
    step = Instruction(function, tuple(range(count)))
    folded = Instruction("row_max", (count,)), Instruction("subtract", (count, count + 1))
    for size, steps in itertools.product([(40, 10), (3, 700), (600, 500)], [(), folded]):
        inputs = [rng.normal(size=size).astype(np.float32) for _ in range(count)]
        result = Output(count + len(steps))
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
    two = Expression("float32", (ELEMENTS, ROWS), (step,), (Output(2), Output(2)))
    sums = Expression("float32", (COLUMNS, COLUMNS), (step,), (Output(2),))
    for expression, inputs, outputs in (
        (two, [x, column], [x, y]), (sums, [x[:1], y[:1]], [x[:1]]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="memory in common"):
            backend.expression(expression, len(outputs[0]), 3, inputs, outputs)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_known_powers(backend: Backend, dtype: str, exponent: float) -> None:
    x = draw(np.random.default_rng(0), (40, 50), dtype)
    if exponent == 0.5:  # of -infinity, NumPy takes a root, where C has a power
        x = np.abs(x)
    steps = Instruction("constant", (), exponent), Instruction("power", (0, 1))
    expression = Expression(dtype, (ELEMENTS,), steps, (Output(2),))
    (got,) = perform(backend, expression, x.shape, [x], [np.zeros_like(x)])
    with np.errstate(all="ignore"):
        assert_near(got, np.power(x, exponent), 2)


NUMBERS = (0.1, 1 / 3, 1e300, -1e300, np.inf, np.nan, 0.0, -0.0, 1.0, 1e-310, 16777217.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_are_rounded_to_what_is_computed_in(backend: Backend, dtype: str) -> None:
    """One expression has many, and others have the same text on a card: each has its own."""
    x = np.array([[1.0, -1.0, 1.5]], dtype)
    for numbers in (NUMBERS * 5, NUMBERS[::-1] * 5):
        steps = [Instruction("constant", (), number) for number in numbers]
        steps += [Instruction("multiply", (0, k + 1)) for k in range(len(numbers))]
        outputs = tuple(Output(1 + len(numbers) + k) for k in range(len(NUMBERS)))
        expression = Expression(dtype, (ELEMENTS,), tuple(steps), outputs)
        got = perform(backend, expression, x.shape, [x], [np.ones_like(x) for _ in outputs])
        with np.errstate(all="ignore"):
            expected = [x * np.asarray(number).astype(dtype) for number in numbers]
        for array, exact in zip(got, expected, strict=False):
            np.testing.assert_array_equal(array, exact)
            signs = [np.signbit(a)[~np.isnan(exact)] for a in (array, exact)]
            np.testing.assert_array_equal(*signs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FOLDS)
def test_each_fold(backend: Backend, function: str, dtype: str, size: tuple[int, int]) -> None:
    """What is folded, and what is computed of rows: sums are right to some roundings."""
    if not size[0] and function != "column_sum":
        return
    rng = np.random.default_rng(size[1])
    for extent in EXTENTS:
        if not (extent.rows if function == "column_sum" else extent.columns):
            continue
        x = rng.normal(1, 1, extent.shape(*size)).astype(dtype)
        after = [] if function == "column_sum" or size[1] > MOST_COLUMNS else [("multiply", (0, 1))]
        instructions = [Instruction(function, (0,)), *(Instruction(*step) for step in after)]
        outputs = tuple(map(Output, range(1, 1 + len(instructions))))
        expression = Expression(dtype, (extent,), tuple(instructions), outputs)
        made = [np.zeros(e.shape(*size), dtype) for e in expression.extents[1:]]
        fold, *products = perform(backend, expression, size, [x], made)
        wide = x.astype(np.longdouble)
        exact = value_of(function, [wide])
        if function.endswith("sum"):
            axis = 0 if function == "column_sum" else 1
            terms = np.abs(wide).sum(axis=axis, keepdims=True)
            assert_near(fold, exact, 3 + 0.2 * np.sqrt(max(size)), terms.astype(dtype))
        else:
            np.testing.assert_array_equal(fold, exact)
        for product in products:
            np.testing.assert_array_equal(product, x * fold)


@pytest.mark.parametrize("size", [(5, 3), (4, 40), (3, 700), (2, 5000)])
@pytest.mark.parametrize("function", sorted(ROW_FOLDS))
def test_folds_keep_nan_and_infinity(
    backend: Backend, function: str, size: tuple[int, int]
) -> None:
    x = np.zeros((4 * size[0], size[1]), np.float32)
    for row, special in enumerate((np.nan, np.inf, -np.inf, -0.0)):
        x[row::4, size[1] // 2] = special
    expression = Expression("float32", (ELEMENTS,), (Instruction(function, (0,)),), (Output(1),))
    (got,) = perform(backend, expression, x.shape, [x], [np.ones((len(x), 1), "float32")])
    np.testing.assert_array_equal(got, value_of(function, [x]))


def test_small_numbers_are_not_lost_in_a_sum_over_many_rows(backend: Backend) -> None:
    """Added one by one to a large one, they would be."""
    x = np.full((300_000, 1), 0.1, np.float32)
    x[0] = 1e4
    for function, size in (("column_sum", (300_000, 1)), ("row_sum", (1, 300_000))):
        fold = (Instruction(function, (0,)),)
        expression = Expression("float32", (ELEMENTS,), fold, (Output(1),))
        (got,) = perform(
            backend, expression, size, [x.reshape(size)], [np.zeros((1, 1), np.float32)]
        )
        np.testing.assert_allclose(got, x.sum(dtype=np.float64), rtol=2e-6)


DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64",
)  # fmt: skip


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_any_dtype(backend: Backend, dtype: str, extent: Extent) -> None:
    """Numbers are converted as they are read and as they are written; also where they are added."""
    rng = np.random.default_rng(3)
    for size, computed in itertools.product([(13, 11), (3, 1100)], ["float32", "float64"]):
        x = rng.integers(0, 60, extent.shape(*size)).astype(dtype)
        shape = extent.shape(*size)
        half = (Instruction("constant", (), 0.5), Instruction("multiply", (0, 1)))
        outputs = Output(2), Output(2), Output(2, accumulate=True), Output(0, accumulate=True)
        expression = Expression(computed, (extent,), half, outputs)
        made = [np.zeros(shape, computed), np.zeros(shape, dtype)]
        made += [np.full(shape, 1, dtype), np.full(shape, 2, computed)]
        got = perform(backend, expression, size, [x], made)
        product = x.astype(computed) * 0.5
        np.testing.assert_array_equal(got[0], product)
        np.testing.assert_array_equal(got[1], product.astype(dtype))
        np.testing.assert_array_equal(got[2], (1 + product).astype(dtype))
        np.testing.assert_array_equal(got[3], 2 + x.astype(computed))


def test_half_precision_is_rounded_as_numpy_does(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, 50_000, np.uint32)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(all="ignore"):
        between = ((halves.astype(np.float64) + np.roll(halves, 1)) / 2).astype(np.float32)
        x = np.concatenate([words.view(np.float32), halves, np.nextafter(halves, 1e9), between])
        x = x.reshape(1, -1)
        expected = x.astype(np.float16)
    copy = (Instruction("copy", (0,)),)
    expression = Expression("float32", (ELEMENTS,), copy, (Output(1),))
    (got,) = perform(backend, expression, x.shape, [x], [np.zeros(x.shape, np.float16)])
    np.testing.assert_array_equal(got, expected)


def test_outputs_of_every_extent(backend: Backend) -> None:
    """Of one expression, each written once, or added once, however the matrix is divided."""
    rng = np.random.default_rng(2)
    steps = (
        Instruction("add", (0, 1)), Instruction("multiply", (4, 2)), Instruction("add", (5, 3)),
        Instruction("column_sum", (6,)), Instruction("column_sum", (1,)),
        Instruction("column_index"), Instruction("add", (9, 2)), Instruction("negative", (3,)),
        Instruction("square", (1,)), Instruction("copy", (6,)), Instruction("add", (6, 10)),
        Instruction("multiply", (14, 12)), Instruction("add", (15, 11)),
    )  # fmt: skip
    written = (6, 7, 8, 9, 10, 11, 12, 13, 16, 0)
    outputs = tuple(Output(value, add) for value in written for add in (False, True))
    expression = Expression("float64", (ELEMENTS, ROWS, COLUMNS, ONE), steps, outputs)
    for size in ((1, 1), (600, 7), (5, 3000), (1, 700), (20, 256)):
        inputs = [
            rng.integers(-9, 9, extent.shape(*size)).astype("float64")
            for extent in expression.inputs
        ]
        x, r, c, one = inputs
        index = np.arange(size[1], dtype=np.float64)[None]
        whole = (x + r) * c + one
        expected = [
            whole, whole.sum(0, keepdims=True), r.sum(0, keepdims=True), index, index + c, -one,
            r * r, whole, (whole + index + c) * (r * r) - one, x,
        ]  # fmt: skip
        made = [np.full(e.shape, 10.0 * add) for e in expected for add in (False, True)]
        got = perform(backend, expression, size, inputs, made)
        twice = [exact for exact in expected for _ in range(2)]
        for array, exact, (value, add) in zip(got, twice, outputs, strict=True):
            np.testing.assert_array_equal(array, exact + 10.0 * add, err_msg=f"{value} {add}")


@pytest.mark.parametrize("size", [(900, 1100), (300_000, 5), (1, 1_000_000)])
def test_large_matrices(backend: Backend, size: tuple[int, int]) -> None:
    """Which threads may share: what is one number, or one for each row, is added once as well."""
    rng = np.random.default_rng(1)
    steps = (
        Instruction("square", (2,)), Instruction("square", (3,)), Instruction("square", (1,)),
        Instruction("add", (0, 4)), Instruction("multiply", (7, 5)), Instruction("add", (8, 6)),
    )  # fmt: skip
    inputs = (ELEMENTS, ROWS, COLUMNS, ONE)
    outputs = tuple(Output(value, accumulate=True) for value in (9, 4, 5, 6))
    expression = Expression("float32", inputs, steps, outputs)
    x, r, c, one = arrays = [
        rng.integers(-9, 9, extent.shape(*size)).astype("float32") for extent in inputs
    ]
    expected = [(x + c * c) * (one * one) + r * r, c * c, one * one, r * r]
    got = perform(backend, expression, size, arrays, [np.ones_like(e) for e in expected])
    for array, exact in zip(got, expected, strict=True):
        np.testing.assert_array_equal(array, exact + 1)


@pytest.mark.parametrize("columns", [10, 300, 2048, 5000])
def test_a_call_is_the_same_each_time_and_in_each_thread(backend: Backend, columns: int) -> None:
    rng = np.random.default_rng(columns)
    x = rng.normal(size=(40, columns)).astype(np.float32)
    steps = [Instruction("exp", (0,)), Instruction("multiply", (1, 0))]
    fold = "row_sum" if columns < 4000 else "column_sum"
    steps.append(Instruction(fold, (2,)))
    expression = Expression("float32", (ELEMENTS,), tuple(steps), (Output(2), Output(3)))
    made = [np.empty(e.shape(*x.shape), np.float32) for e in expression.extents[2:]]

    def call(_: int) -> list[bytes]:
        return [a.tobytes() for a in perform(backend, expression, x.shape, [x], made)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(call, range(12)))
    assert all(other == found[0] for other in found)


# -- any expression

EXACT = [  # of whole numbers that are not too large
    "copy", "negative", "abs", "sign", "relu", "floor", "isnan", "logical_not", "add", "subtract",
    "multiply", "maximum", "minimum", "equal", "less", "greater_equal", "logical_and",
    "logical_xor", "where", "square", "row_sum", "row_max", "row_min", "column_sum", "constant",
    "column_index", "mod", "floor_divide",
]  # fmt: skip


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    inputs = draw(st.lists(st.sampled_from(EXTENTS), min_size=1, max_size=4))
    found = [*inputs]
    sums = set[int]()
    instructions = []
    for _ in range(draw(st.integers(1, 20))):
        function = draw(st.sampled_from(EXACT))
        choice = [k for k in range(len(found)) if k not in sums]
        if function == "column_sum":
            choice = [k for k in choice if found[k].rows]
        elif function in ROW_FOLDS:
            choice = [k for k in choice if found[k].columns]
        if not choice:
            continue
        operands = tuple(draw(st.sampled_from(choice)) for _ in range(OPERANDS[function]))
        number = float(draw(st.integers(-3, 3))) if function == "constant" else 0.0
        if function == "column_sum":
            sums.add(len(found))
        instructions.append(Instruction(function, operands, number))
        found = [*Expression("float64", tuple(inputs), tuple(instructions), ()).extents]
    written = draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=5))
    outputs = tuple(Output(value, draw(st.booleans())) for value in written)
    dtype = draw(st.sampled_from(["float32", "float64"]))
    return Expression(dtype, tuple(inputs), tuple(instructions), outputs)


any_expression = given(
    expression=expressions(),
    rows=st.sampled_from([1, 2, 5, 19, 70, 300]),
    columns=st.sampled_from([1, 2, 3, 10, 16, 31, 64, 100, 256, 700]),
    seed=st.integers(0, 99),
)


@any_expression
@settings(max_examples=150)
def test_any_expression(expression: Expression, rows: int, columns: int, seed: int) -> None:
    compute(("numpy", "compiled"), expression, rows, columns, seed)


@any_expression
@settings(max_examples=25, derandomize=True, database=None)
def test_any_expression_on_a_card(
    expression: Expression, rows: int, columns: int, seed: int
) -> None:
    """The same: fewer, as a compiler makes a kernel of each."""
    compute(("emulated",), expression, rows, columns, seed)


def compute(
    backends: Sequence[str], expression: Expression, rows: int, columns: int, seed: int
) -> None:
    """On each of the backends what NumPy makes of whole numbers."""
    rng, size = np.random.default_rng(seed), (rows, columns)
    values = [
        rng.integers(-4, 5, extent.shape(*size)).astype(np.float64) for extent in expression.inputs
    ]
    inputs = [value.astype(expression.dtype) for value in values]
    limit = 1e6 if expression.dtype == "float32" else 1e12  # sums of such are exact
    for function, operands, number in expression.instructions:
        if function == "column_index":
            values.append(np.arange(columns, dtype=np.float64)[None])
        else:
            with np.errstate(all="ignore"):
                values.append(value_of(function, [values[k] for k in operands], number) + 0.0)
        with np.errstate(all="ignore"):
            assume(not np.abs(values[-1]).max() > limit and np.isfinite(values[-1]).all())
    made = [
        np.full(expression.extents[output.value].shape(*size), 5.0, expression.dtype)
        for output in expression.outputs
    ]
    for name in backends:
        got = perform(get_backend(name), expression, size, inputs, made)
        for array, output in zip(got, expression.outputs, strict=True):
            expected = values[output.value] + 5.0 * output.accumulate
            np.testing.assert_array_equal(array, expected, err_msg=f"{name} {output}")


@pytest.mark.parametrize("size", [(9, MOST_COLUMNS), (50, 20)])
def test_many_values_that_are_needed_to_the_end(backend: Backend, size: tuple[int, int]) -> None:
    """More than the registers of the compiled backend hold, where rows are long."""
    count = 20
    x = [np.full(size, k + 1.0) for k in range(count)]
    steps = [Instruction("square", (k,)) for k in range(count)]
    steps.append(Instruction("row_max", (count - 1,)))  # of the last input
    largest, total = 2 * count, 0
    for k in range(count):
        steps.append(Instruction("multiply", (count + k, largest)))
        product = count + len(steps) - 1
        if k:
            steps.append(Instruction("add", (total, product)))
        total = count + len(steps) - 1
    extents = (ELEMENTS,) * count
    expression = Expression("float64", extents, tuple(steps), (Output(total),))
    (got,) = perform(backend, expression, size, x, [np.zeros(size)])
    assert (got == count * sum(k * k for k in range(1, count + 1))).all()

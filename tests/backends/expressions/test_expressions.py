"""Expressions on every backend, compared with NumPy's own functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from comparisons.expression_functions import (
    BACKENDS,
    EXTENTS,
    FOLDS,
    SIZES,
    assert_near,
    perform,
    value_of,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpunn.backends import get_backend
from gpunn.backends.compiled import expressions as compiled_expressions
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.expression import (
    COLUMNS,
    ELEMENTS,
    MOST_COLUMNS,
    ONE,
    OPERANDS,
    ROW_REDUCTIONS,
    ROWS,
    BroadcastAxes,
    Expression,
    ExpressionOutput,
    Instruction,
)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return get_backend(request.param)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FOLDS)
def test_each_fold(backend: Backend, function: str, dtype: str, size: tuple[int, int]) -> None:
    """Folds, and operations on the folded rows: sums are exact to a few roundings."""
    if not size[0] and function != "column_sum":
        return
    rng = np.random.default_rng(size[1])
    for axes in EXTENTS:
        if not (axes.rows if function == "column_sum" else axes.columns):
            continue
        x = rng.normal(1, 1, axes.shape(*size)).astype(dtype)
        after = [] if function == "column_sum" or size[1] > MOST_COLUMNS else [("multiply", (0, 1))]
        instructions = [Instruction(function, (0,)), *(Instruction(*step) for step in after)]
        outputs = tuple(map(ExpressionOutput, range(1, 1 + len(instructions))))
        expression = Expression(dtype, (axes,), tuple(instructions), outputs)
        made = [np.zeros(e.shape(*size), dtype) for e in expression.value_axes[1:]]
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
@pytest.mark.parametrize("function", sorted(ROW_REDUCTIONS))
def test_folds_keep_nan_and_infinity(
    backend: Backend, function: str, size: tuple[int, int]
) -> None:
    x = np.zeros((4 * size[0], size[1]), np.float32)
    for row, special in enumerate((np.nan, np.inf, -np.inf, -0.0)):
        x[row::4, size[1] // 2] = special
    expression = Expression(
        "float32", (ELEMENTS,), (Instruction(function, (0,)),), (ExpressionOutput(1),)
    )
    (got,) = perform(backend, expression, x.shape, [x], [np.ones((len(x), 1), "float32")])
    np.testing.assert_array_equal(got, value_of(function, [x]))


def test_small_numbers_are_not_lost_in_a_sum_over_many_rows(backend: Backend) -> None:
    """Added one by one to a large sum, they would be lost."""
    x = np.full((300_000, 1), 0.1, np.float32)
    x[0] = 1e4
    for function, size in (("column_sum", (300_000, 1)), ("row_sum", (1, 300_000))):
        fold = (Instruction(function, (0,)),)
        expression = Expression("float32", (ELEMENTS,), fold, (ExpressionOutput(1),))
        (got,) = perform(
            backend, expression, size, [x.reshape(size)], [np.zeros((1, 1), np.float32)]
        )
        np.testing.assert_allclose(got, x.sum(dtype=np.float64), rtol=2e-6)


DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64",
)  # fmt: skip


@pytest.mark.parametrize("axes", EXTENTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_any_dtype(backend: Backend, dtype: str, axes: BroadcastAxes) -> None:
    """Values are converted when they are read and, to the dtype of a tensor, written or added."""
    rng = np.random.default_rng(3)
    held = dtype if dtype in ("bool", "int32", "float64") else "float32"
    for size, computed in itertools.product([(13, 11), (3, 1100)], ["float32", "float64"]):
        x = rng.integers(0, 60, axes.shape(*size)).astype(dtype)
        shape = axes.shape(*size)
        half = (Instruction("constant", (), 0.5), Instruction("multiply", (0, 1)))
        outputs = (
            ExpressionOutput(2),
            ExpressionOutput(2),
            ExpressionOutput(2, accumulate=True),
            ExpressionOutput(0, accumulate=True),
        )
        expression = Expression(computed, (axes,), half, outputs)
        made = [np.zeros(shape, computed), np.zeros(shape, held)]
        made += [np.full(shape, 1, held), np.full(shape, 2, computed)]
        got = perform(backend, expression, size, [x], made)
        product = x.astype(computed) * 0.5
        np.testing.assert_array_equal(got[0], product)
        np.testing.assert_array_equal(got[1], product.astype(held))
        np.testing.assert_array_equal(got[2], (1 + product).astype(held))
        np.testing.assert_array_equal(got[3], 2 + x.astype(computed))


def test_outputs_of_every_extent(backend: Backend) -> None:
    """Each output is written or added exactly once, however the matrix is divided."""
    rng = np.random.default_rng(2)
    steps = (
        Instruction("add", (0, 1)), Instruction("multiply", (4, 2)), Instruction("add", (5, 3)),
        Instruction("column_sum", (6,)), Instruction("column_sum", (1,)),
        Instruction("column_index"), Instruction("add", (9, 2)), Instruction("negative", (3,)),
        Instruction("square", (1,)), Instruction("copy", (6,)), Instruction("add", (6, 10)),
        Instruction("multiply", (14, 12)), Instruction("add", (15, 11)),
    )  # fmt: skip
    written = (6, 7, 8, 9, 10, 11, 12, 13, 16, 0)
    outputs = tuple(ExpressionOutput(value, add) for value in written for add in (False, True))
    expression = Expression("float64", (ELEMENTS, ROWS, COLUMNS, ONE), steps, outputs)
    for size in ((1, 1), (600, 7), (5, 3000), (1, 700), (20, 256)):
        inputs = [
            rng.integers(-9, 9, axes.shape(*size)).astype("float64") for axes in expression.inputs
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
    """Threads may share these: outputs with one value, or one per row, are added once too."""
    rng = np.random.default_rng(1)
    steps = (
        Instruction("square", (2,)), Instruction("square", (3,)), Instruction("square", (1,)),
        Instruction("add", (0, 4)), Instruction("multiply", (7, 5)), Instruction("add", (8, 6)),
    )  # fmt: skip
    inputs = (ELEMENTS, ROWS, COLUMNS, ONE)
    outputs = tuple(ExpressionOutput(value, accumulate=True) for value in (9, 4, 5, 6))
    expression = Expression("float32", inputs, steps, outputs)
    x, r, c, one = arrays = [
        rng.integers(-9, 9, axes.shape(*size)).astype("float32") for axes in inputs
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
    expression = Expression(
        "float32", (ELEMENTS,), tuple(steps), (ExpressionOutput(2), ExpressionOutput(3))
    )
    made = [np.empty(e.shape(*x.shape), np.float32) for e in expression.value_axes[2:]]

    def call(_: int) -> list[bytes]:
        return [a.tobytes() for a in perform(backend, expression, x.shape, [x], made)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(call, range(12)))
    assert all(other == found[0] for other in found)


# -- any expression

EXACT = [  # exact for integers that are not too large
    "copy", "negative", "abs", "sign", "relu", "floor", "isnan", "logical_not", "add", "subtract",
    "multiply", "maximum", "minimum", "equal", "less", "greater_equal", "logical_and",
    "logical_xor", "where", "square", "row_sum", "row_max", "row_min", "column_sum", "constant",
    "column_index", "mod", "floor_divide",
]  # fmt: skip


@st.composite
def expressions(draw: st.DrawFn, functions: Sequence[str] = EXACT) -> Expression:
    inputs = draw(st.lists(st.sampled_from(EXTENTS), min_size=1, max_size=4))
    found = [*inputs]
    sums = set[int]()
    instructions = []
    for _ in range(draw(st.integers(1, 20))):
        function = draw(st.sampled_from(functions))
        choice = [k for k in range(len(found)) if k not in sums]
        if function == "column_sum":
            choice = [k for k in choice if found[k].rows]
        elif function in ROW_REDUCTIONS:
            choice = [k for k in choice if found[k].columns]
        if not choice:
            continue
        operands = tuple(draw(st.sampled_from(choice)) for _ in range(OPERANDS[function]))
        number = float(draw(st.integers(-3, 3))) if function == "constant" else 0.0
        if function == "column_sum":
            sums.add(len(found))
        instructions.append(Instruction(function, operands, number))
        found = [*Expression("float64", tuple(inputs), tuple(instructions), ()).value_axes]
    written = draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=5))
    outputs = tuple(ExpressionOutput(value, draw(st.booleans())) for value in written)
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


@contextmanager
def divided() -> Iterator[None]:
    """Divide small matrices among threads, as large ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_expressions, "WORTH_THREADS", 1)
        patch.setattr(compiled_expressions, "PIECE", 64)
        compiled_expressions._encoded.cache_clear()
        yield
    compiled_expressions._encoded.cache_clear()


def folded(expression: Expression, *functions: str) -> Expression:
    """Also fold values per row and of the whole matrix, beside outputs with one value per row."""
    inputs = (ELEMENTS, ROWS, *expression.inputs)
    steps = [
        Instruction(s.function, tuple(k + 2 for k in s.operands), s.number)
        for s in expression.instructions
    ]
    outputs = [ExpressionOutput(o.value + 2, o.accumulate) for o in expression.outputs]
    found = Expression(expression.dtype, inputs, tuple(steps), ()).value_axes
    sums = {k + len(inputs) for k, s in enumerate(steps) if s.function == "column_sum"}
    whole = [k for k in range(len(found)) if found[k] == ELEMENTS and k not in sums][-2:]
    of_rows = [k for k in range(len(found)) if found[k] == ROWS and k not in sums][-2:]
    for number in (0, 1):  # a value per row, and a result computed from one
        steps.append(Instruction("subtract", (number, 1)))
        outputs.append(ExpressionOutput(len(inputs) + len(steps) - 1, accumulate=True))
    for function in functions:
        for value in [*whole, *(of_rows if function == "column_sum" else [])]:
            steps.append(Instruction(function, (value,)))
            outputs.append(ExpressionOutput(len(inputs) + len(steps) - 1, accumulate=True))
    return Expression(expression.dtype, inputs, tuple(steps), tuple(outputs))


@given(
    expression=expressions(),
    rows=st.sampled_from([300, 2000]),
    columns=st.sampled_from([1, 8, 31]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_any_expression_by_several_threads(
    expression: Expression, rows: int, columns: int, seed: int
) -> None:
    """Matrices are divided as large ones are; a sum over rows belongs to one thread."""
    with divided():
        compute(("compiled",), folded(expression, "column_sum"), rows, columns, seed)


@given(
    expression=expressions([f for f in EXACT if f not in {"column_sum", *ROW_REDUCTIONS}]),
    rows=st.sampled_from([2, 5]),
    columns=st.sampled_from([MOST_COLUMNS + 1, 5000, 9000]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_any_expression_of_long_rows(
    expression: Expression, rows: int, columns: int, seed: int
) -> None:
    """Long rows are cut into pieces: values per row stand beside sums of the pieces. By the
    contract, nothing is computed from such a sum."""
    with divided():
        compute(("compiled",), folded(expression, "row_sum", "row_max"), rows, columns, seed)


@pytest.mark.more
@pytest.mark.parametrize("size", [(1_000_000, 8), (3_000_000, 3), (70_000, 200)])
def test_column_sums_of_large_matrices(backend: Backend, size: tuple[int, int]) -> None:
    """Of integers, so that the sums are exact in any order."""
    rng = np.random.default_rng(4)
    inputs = (ELEMENTS, ROWS, COLUMNS)
    x, r, c = arrays = [
        rng.integers(-1, 2, axes.shape(*size)).astype(np.float32) for axes in inputs
    ]
    steps = (
        Instruction("multiply", (0, 2)), Instruction("add", (3, 1)), Instruction("square", (4,)),
        Instruction("column_sum", (4,)), Instruction("column_sum", (5,)),
        Instruction("column_sum", (1,)),
    )  # fmt: skip
    outputs = (
        ExpressionOutput(6),
        ExpressionOutput(7, accumulate=True),
        ExpressionOutput(8),
        ExpressionOutput(5),
    )
    expression = Expression("float32", inputs, steps, outputs)
    made = [np.ones(expression.value_axes[o.value].shape(*size), np.float32) for o in outputs]
    got = perform(backend, expression, size, arrays, made)
    whole = x * c + r
    squares = whole * whole
    expected = (whole, squares, r)
    for array, values, add in zip(got, expected, (0, 1, 0), strict=False):
        exact = values.sum(0, dtype=np.float64, keepdims=True) + add
        np.testing.assert_array_equal(array, exact.astype(np.float32))
    np.testing.assert_array_equal(got[3], squares)


@any_expression
@settings(max_examples=25, derandomize=True, database=None)
def test_any_expression_on_a_gpu(
    expression: Expression, rows: int, columns: int, seed: int
) -> None:
    """The same with fewer examples, as each one is compiled into a kernel."""
    compute(("emulated",), expression, rows, columns, seed)


def compute(
    backends: Sequence[str], expression: Expression, rows: int, columns: int, seed: int
) -> None:
    """Compare each backend with NumPy on integers."""
    rng, size = np.random.default_rng(seed), (rows, columns)
    values = [
        rng.integers(-4, 5, axes.shape(*size)).astype(np.float64) for axes in expression.inputs
    ]
    inputs = [value.astype(expression.dtype) for value in values]
    limit = 1e6 if expression.dtype == "float32" else 1e12  # sums of such values are exact
    for function, operands, number in expression.instructions:
        if function == "column_index":
            values.append(np.arange(columns, dtype=np.float64)[None])
        else:
            with np.errstate(all="ignore"):
                values.append(value_of(function, [values[k] for k in operands], number) + 0.0)
        with np.errstate(all="ignore"):
            assume(not np.abs(values[-1]).max() > limit and np.isfinite(values[-1]).all())
    made = [
        np.full(expression.value_axes[output.value].shape(*size), 5.0, expression.dtype)
        for output in expression.outputs
    ]
    for name in backends:
        got = perform(get_backend(name), expression, size, inputs, made)
        for array, output in zip(got, expression.outputs, strict=True):
            expected = values[output.value] + 5.0 * output.accumulate
            np.testing.assert_array_equal(array, expected, err_msg=f"{name} {output}")


@pytest.mark.parametrize("size", [(9, MOST_COLUMNS), (50, 20)])
def test_many_values_that_are_needed_to_the_end(backend: Backend, size: tuple[int, int]) -> None:
    """They exceed the registers of the compiled backend, where rows are long."""
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
    value_axes = (ELEMENTS,) * count
    expression = Expression("float64", value_axes, tuple(steps), (ExpressionOutput(total),))
    (got,) = perform(backend, expression, size, x, [np.zeros(size)])
    assert (got == count * sum(k * k for k in range(1, count + 1))).all()

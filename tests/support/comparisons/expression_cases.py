"""Expressions to compute on a backend and compare with NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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

Numbers = dict[str, np.ndarray]
SINGLE = tuple(f for f, n in OPERANDS.items() if n and f not in (*ROW_REDUCTIONS, "column_sum"))
"""Functions of single numbers."""
# At the limits of integers and beyond.
WIDE = (
    2**31 - 129.0, 2**31 - 1.0, 2.0**31, -(2.0**31), -(2**31) - 1.0, 3e9, -3e9, 1e19, 2e19, -1e19,
    1e30, -0.9, 1.9, np.inf, -np.inf, np.nan,
)  # fmt: skip
HARD = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, 1e-30, 88.0, np.nan, np.inf, -np.inf)
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
OF_TENSORS = ("bool", "int32", "float32", "float64")
ALL = (ELEMENTS, ROWS, COLUMNS, ONE)
Size = tuple[int, int]
SIZES: tuple[Size, ...] = ((1, 1), (1, 40), (33, 1), (5, 33), (70, 3), (2, 300))


@dataclass(frozen=True)
class ExpressionCase:
    """An expression and its inputs.

    Attributes:
        name: what it tests.
        expression: what is computed.
        inputs: the kind of values of each input: "normal" (the default), "hard", "wide",
            "positive" or "truths".
        dtypes: of inputs and outputs, if they are not the expression's.
        sizes: numbers of rows and columns to test.
    """

    name: str
    expression: Expression
    inputs: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    sizes: tuple[Size, ...] = SIZES

    def arrays(self, size: Size, rng: np.random.Generator) -> Numbers:
        """Return the inputs, and the initial contents of the outputs."""
        count = len(self.expression.inputs)
        values = [*range(count), *(output.value for output in self.expression.outputs)]
        found = {}
        for number, value in enumerate(values):
            dtype = np.dtype(self.dtypes[number] if self.dtypes else self.expression.dtype)
            kind = self.inputs[number] if number < len(self.inputs) else "normal"
            name = f"in{number}" if number < count else f"out{number - count}"
            found[name] = _numbers(rng, self.expression.value_axes[value].shape(*size), kind, dtype)
        return found

    def ask(self, backend: Backend, arrays: dict[str, Any], size: Size) -> None:
        inputs = [array for name, array in arrays.items() if name.startswith("in")]
        outputs = [array for name, array in arrays.items() if name.startswith("out")]
        with np.errstate(all="ignore"):
            backend.expression(self.expression, *size, inputs, outputs)


def _numbers(rng: np.random.Generator, shape: Size, kind: str, dtype: np.dtype) -> np.ndarray:
    x = 3 * rng.normal(size=shape)
    if kind == "truths" or dtype.kind == "b":
        x = rng.random(shape) < 0.5
    elif kind == "positive" or dtype.kind == "u":
        x = np.abs(x) + 0.1
    elif kind in ("hard", "wide"):
        numbers = HARD if kind == "hard" else WIDE
        x.flat[: len(numbers)] = rng.permutation(numbers)[: x.size]
        rng.shuffle(x.reshape(-1))
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def of(
    dtype: str, inputs: Sequence[BroadcastAxes], *steps: tuple[Any, ...], write: Sequence[Any]
) -> Expression:
    """Make an expression.

    A step is a function with its operands, or "constant" with its value. An output is a value to
    write or, with True, a value to add.
    """
    instructions = [
        Instruction(step[0], (), step[1]) if step[0] == "constant" else
        Instruction(step[0], step[1:]) for step in steps
    ]  # fmt: skip
    outputs = [
        ExpressionOutput(*value) if isinstance(value, tuple) else ExpressionOutput(value)
        for value in write
    ]
    return Expression(dtype, tuple(inputs), tuple(instructions), tuple(outputs))


def each_function(dtype: str) -> Iterator[ExpressionCase]:
    """Every element-wise function, a few in each expression."""
    for count in (1, 2, 3):
        functions = [function for function in SINGLE if OPERANDS[function] == count]
        for start in range(0, len(functions), 20):
            some = functions[start : start + 20]
            steps = [(function, *range(count)) for function in some]
            write = range(count, count + len(some))
            yield ExpressionCase(
                f"{some[0]} to {some[-1]}", of(dtype, (ELEMENTS,) * count, *steps, write=write),
                ("truths",) * (count == 3) + ("hard",) * 2, sizes=((13, 17),),
            )  # fmt: skip


def elements(dtype: str) -> Iterator[ExpressionCase]:
    """Element-wise functions that combine all kinds of values."""
    yield ExpressionCase(
        "each extent", of(
            dtype, ALL, ("add", 0, 1), ("multiply", 4, 2), ("subtract", 5, 3), ("square", 1),
            ("exp", 2), ("negative", 3), ("column_index",), ("add", 6, 10),
            write=(6, 7, 8, 9, (11, True)),
        ),
    )  # fmt: skip
    flat = of(dtype, (ELEMENTS, ONE), ("multiply", 0, 1), ("tanh", 2), write=(3, (2, True)))
    yield ExpressionCase("flat", flat, sizes=(*SIZES, (3000, 1), (1, 300_000)))
    one_axis = of(dtype, (ROWS, ROWS, ONE), ("add", 0, 1), ("add", 3, 2), write=(4,))
    yield ExpressionCase("rows alone", one_axis)
    yield ExpressionCase("columns alone", of(dtype, (COLUMNS, ONE), ("add", 0, 1), write=(2,)))
    ones = of(dtype, (ONE, ONE), ("add", 0, 1), write=(2, (2, True)))
    yield ExpressionCase("single numbers", ones)
    numbers = (0.1, -0.0, 1e-40, 1e300, -1e300, np.inf, -np.inf, np.nan, 3.0, 1e22, 16777217.0)
    last = len(numbers) + 1
    constants = of(
        dtype, (ELEMENTS,), *(("constant", number) for number in numbers),
        *(("multiply", 0, value) for value in range(1, last)), ("divide", 0, 2),
        write=range(1, 2 * last),
    )  # fmt: skip
    yield ExpressionCase("constants", constants)


def folds(dtype: str) -> Iterator[ExpressionCase]:
    """Sums and extremes."""
    softmax = (
        ("row_max", 0), ("subtract", 0, 2), ("exp", 3), ("row_sum", 4), ("divide", 4, 5),
    )  # fmt: skip
    gradient = (
        ("multiply", 6, 1), ("row_sum", 7), ("subtract", 1, 8), ("multiply", 6, 9),
        ("column_sum", 10), ("column_sum", 1),
    )  # fmt: skip
    both = of(dtype, (ELEMENTS, ELEMENTS), *softmax, *gradient, write=(6, 10, 11, (12, True)))
    sizes = (1, 1), (1, 10), (40, 10), (33, 1), (9, 200), (3, MOST_COLUMNS)
    yield ExpressionCase("softmax and its gradient", both, ("normal", "positive"), sizes=sizes)
    yield ExpressionCase(
        "folds of folds", of(
            dtype, ALL, ("row_sum", 0), ("add", 4, 1), ("multiply", 0, 5), ("row_min", 6),
            ("subtract", 6, 7), ("add", 8, 2), ("row_sum", 2), ("add", 9, 10), ("square", 10),
            ("column_sum", 11), ("column_sum", 8), ("column_sum", 7), ("add", 2, 3),
            write=(
                5, 8, 7, 11, 12, 10, 13, (14, True), 15, 16, (8, True), (16, True), (5, True),
                (10, True), (12, True),
            ),
        ),
    )  # fmt: skip
    extremes = of(dtype, (ELEMENTS,), ("row_max", 0), ("row_min", 0), write=(1, 2))
    yield ExpressionCase("extremes of NaN", extremes, ("hard",))
    sums = of(
        dtype, (ELEMENTS, ROWS, COLUMNS), ("row_sum", 0), ("row_max", 0), ("square", 0),
        ("row_min", 5), ("column_sum", 0), ("column_sum", 5), ("column_sum", 1),
        ("multiply", 0, 1), ("column_sum", 10), ("row_sum", 2), ("square", 2), ("square", 1),
        write=(3, (3, True), 4, 5, 6, 7, (8, True), 9, 11, 12, (12, True), 13, 14),
    )  # fmt: skip
    sizes = (1, 3 * MOST_COLUMNS + 5), (3, 5000), (2100, 2), (1, 1)
    yield ExpressionCase("sums", sums, ("positive",) * 3, sizes=sizes)
    nothing = of(
        dtype, (ELEMENTS, COLUMNS, ROWS), ("square", 0), ("square", 1), ("square", 2),
        ("column_sum", 0), ("row_sum", 0), ("row_sum", 1), ("column_sum", 2),
        write=(3, 4, 5, 6, 7, (8, True), (9, True)),
    )  # fmt: skip
    yield ExpressionCase("sums of nothing", nothing, sizes=((0, 5), (5, 0), (0, 0)))


def conversions(dtype: str) -> Iterator[ExpressionCase]:
    """Dtypes other than the expression's, and booleans."""
    count = len(DTYPES)
    steps = [("copy", number) for number in range(count)]
    copies = of(dtype, (ELEMENTS,) * count, *steps, write=range(count, 2 * count))
    yield ExpressionCase("conversions", copies, dtypes=DTYPES + OF_TENSORS * 3)
    # Not sums, which depend on the order where large terms cancel.
    wide = of(
        dtype, (ELEMENTS,), ("copy", 0), ("row_max", 1), write=[*[1, (1, True), (2, True)] * 4]
    )
    held = [name for name in OF_TENSORS for _ in range(3)]
    yield ExpressionCase("conversions of wide values", wide, ("wide",), (dtype, *held))
    added = of(
        dtype, (ELEMENTS,), ("constant", 0.3), ("multiply", 0, 1), ("column_sum", 2),
        write=[(2, True)] * 3 + [(3, True)] * 4,
    )  # fmt: skip
    yield ExpressionCase("additions", added, ("positive",), (dtype, *OF_TENSORS[1:], *OF_TENSORS))
    truths = of(
        dtype, (ELEMENTS, ELEMENTS), ("less", 0, 1), ("isnan", 0), ("add", 2, 3), ("add", 2, 2),
        ("multiply", 2, 1), ("where", 0, 2, 1), ("column_sum", 2), ("row_sum", 2),
        ("negative", 2), ("logical_or", 2, 1), ("sigmoid", 2), ("row_max", 2),
        write=(4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2),
    )  # fmt: skip
    yield ExpressionCase("truths", truths, ("hard", "hard"))


def every_case(dtype: str) -> list[ExpressionCase]:
    makes = each_function, elements, folds, conversions
    return [case for make in makes for case in make(dtype)]

"""Expressions to be computed on a backend and compared with NumPy."""

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
    ROW_FOLDS,
    ROWS,
    Expression,
    Extent,
    Instruction,
    Output,
)

Numbers = dict[str, np.ndarray]
ANY = tuple(f for f, n in OPERANDS.items() if n and f not in (*ROW_FOLDS, "column_sum"))
"""Functions of single numbers."""
HARD = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, 1e-30, 88.0, np.nan, np.inf, -np.inf)


@dataclass(frozen=True)
class ExpressionCase:
    """An expression, and the arrays that it is computed on.

    Attributes:
        name: what it is about.
        expression: what is computed.
        rows, columns: of the matrix.
        inputs: how each is made: "hard", "normal", "positive" or "truths".
        dtypes: of inputs and outputs, where they are not the expression's.
    """

    name: str
    expression: Expression
    rows: int
    columns: int
    inputs: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()

    def arrays(self) -> Numbers:
        """Inputs, and what stands in the outputs before."""
        rng = np.random.default_rng(5)
        values = [*range(len(self.expression.inputs)), *(o.value for o in self.expression.outputs)]
        found = {}
        for number, value in enumerate(values):
            shape = self.expression.extents[value].shape(self.rows, self.columns)
            dtype = np.dtype(self.dtypes[number] if self.dtypes else self.expression.dtype)
            kind = self.inputs[number] if number < len(self.inputs) else "normal"
            name = f"in{number}" if number < len(self.expression.inputs) else f"out{number}"
            found[name] = _numbers(rng, shape, kind, dtype)
        return found

    def run(self, backend: Backend, numbers: Numbers) -> Numbers:
        """What stands in the outputs afterwards."""
        arrays = {name: backend.upload(array.copy()) for name, array in numbers.items()}
        self.ask(backend, arrays)
        return {n: backend.read(array) for n, array in arrays.items() if n.startswith("out")}

    def ask(self, backend: Backend, arrays: dict[str, Any]) -> None:
        inputs = [array for name, array in arrays.items() if name.startswith("in")]
        outputs = [array for name, array in arrays.items() if name.startswith("out")]
        with np.errstate(all="ignore"):
            backend.expression(self.expression, self.rows, self.columns, inputs, outputs)


def _numbers(
    rng: np.random.Generator, shape: tuple[int, int], kind: str, dtype: np.dtype
) -> np.ndarray:
    x = 3 * rng.normal(size=shape)
    if kind == "hard":
        x.flat[: len(HARD)] = rng.permutation(HARD)[: x.size]
        rng.shuffle(x.reshape(-1))
    elif kind == "positive" or dtype.kind == "u":
        x = np.abs(x) + 0.1
    elif kind == "truths" or dtype.kind == "b":
        x = rng.random(shape) < 0.5
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def each_function(dtype: str) -> Iterator[ExpressionCase]:
    """Every function of single numbers, on hard ones; some in each expression."""
    for count in (1, 2, 3):
        functions = [function for function in ANY if OPERANDS[function] == count]
        for start in range(0, len(functions), 20):
            some = functions[start : start + 20]
            operands = tuple(range(count))
            yield ExpressionCase(
                f"{some[0]} to {some[-1]}",
                Expression(
                    dtype, (ELEMENTS,) * count,
                    tuple(Instruction(function, operands) for function in some),
                    tuple(Output(count + number) for number in range(len(some))),
                ),
                13, 17, ("truths",) * (count == 3) + ("hard",) * 2,
            )  # fmt: skip


def of(
    dtype: str, inputs: Sequence[Extent], *steps: tuple[Any, ...], write: Sequence[Any]
) -> Expression:
    """An expression: steps are a function with its operands, or a constant."""
    instructions = [
        Instruction("constant", (), step[1]) if step[0] == "constant" else
        Instruction(step[0], step[1:]) for step in steps
    ]  # fmt: skip
    outputs = [Output(*value) if isinstance(value, tuple) else Output(value) for value in write]
    return Expression(dtype, tuple(inputs), tuple(instructions), tuple(outputs))


def together(dtype: str) -> Iterator[ExpressionCase]:
    """What functions become in expressions: extents, folds, conversions, sizes."""
    extents = (ELEMENTS, ROWS, COLUMNS, ONE)
    mixed = of(
        dtype, extents, ("add", 0, 1), ("multiply", 4, 2), ("subtract", 5, 3),
        ("square", 1), ("exp", 2), ("negative", 3), ("column_index",), ("add", 6, 10),
        write=(6, 7, 8, 9, (11, True)),
    )  # fmt: skip
    for rows, columns in ((1, 1), (1, 40), (33, 1), (5, 33), (70, 3), (2, 300)):
        yield ExpressionCase(f"each extent, {rows} by {columns}", mixed, rows, columns)
    flat = of(dtype, (ELEMENTS, ONE), ("multiply", 0, 1), ("tanh", 2), write=(3, (2, True)))
    for rows, columns in ((1, 100), (50, 7), (1, 1), (3000, 1)):
        yield ExpressionCase(f"flat, {rows} by {columns}", flat, rows, columns)
    one_axis = of(dtype, (ROWS, ROWS, ONE), ("add", 0, 1), ("add", 3, 2), write=(4,))
    yield ExpressionCase("rows alone", one_axis, 50, 9)
    of_columns = of(dtype, (COLUMNS, ONE), ("add", 0, 1), write=(2,))
    yield ExpressionCase("columns alone", of_columns, 7, 50)
    ones = of(dtype, (ONE, ONE), ("add", 0, 1), write=(2, (2, True)))
    yield ExpressionCase("single numbers", ones, 7, 50)

    softmax = (
        ("row_max", 0), ("subtract", 0, 1), ("exp", 2), ("row_sum", 3), ("divide", 3, 4),
    )  # fmt: skip
    for rows, columns in ((1, 1), (1, 10), (40, 10), (33, 1), (9, 200), (3, MOST_COLUMNS)):
        yield ExpressionCase(
            f"softmax, {rows} by {columns}", of(dtype, (ELEMENTS,), *softmax, write=(5, 4)),
            rows, columns,
        )  # fmt: skip
    yield ExpressionCase(
        "folds of folds", of(
            dtype, extents, ("row_sum", 0), ("add", 4, 1), ("multiply", 0, 5), ("row_min", 6),
            ("subtract", 6, 7), ("add", 8, 2), ("row_sum", 2), ("add", 9, 10), ("square", 10),
            ("column_sum", 11), ("column_sum", 8), ("column_sum", 7), ("add", 2, 3),
            write=(5, 8, 7, 11, 12, 10, 13, (14, True), 15, 16, (8, True)),
        ), 21, 35,
    )  # fmt: skip
    yield ExpressionCase(
        "NaN in folds", of(dtype, (ELEMENTS,), ("row_max", 0), ("row_min", 0), write=(1, 2)),
        9, 4, ("hard",),
    )  # fmt: skip
    sums = of(
        dtype, (ELEMENTS, ROWS), ("row_sum", 0), ("row_max", 0), ("square", 0), ("row_min", 4),
        ("column_sum", 0), ("column_sum", 4), ("column_sum", 1), ("multiply", 0, 1),
        ("column_sum", 9), ("column_sum", 2),
        write=(2, (2, True), 3, 4, 5, 6, (7, True), 8, 10, 11),
    )  # fmt: skip
    for rows, columns in ((1, 3 * MOST_COLUMNS + 5), (3, 5000), (2100, 2), (1, 1)):
        inputs = "positive", "positive"
        yield ExpressionCase(f"sums, {rows} by {columns}", sums, rows, columns, inputs)
    for rows, columns in ((0, 5), (5, 0), (0, 0)):
        yield ExpressionCase(
            f"nothing, {rows} by {columns}", of(
                dtype, (ELEMENTS, COLUMNS, ROWS), ("square", 0), ("square", 1), ("square", 2),
                ("column_sum", 0), ("row_sum", 0), ("row_sum", 1), ("column_sum", 2),
                write=(3, 4, 5, 6, 7, (8, True), (9, True)),
            ), rows, columns,
        )  # fmt: skip

    kinds = (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )  # fmt: skip
    count = len(kinds)
    copies = of(
        dtype, (ELEMENTS,) * count, *(("copy", k) for k in range(count)),
        write=range(count, 2 * count),
    )  # fmt: skip
    yield ExpressionCase("conversions", copies, 7, 19, (), kinds * 2)
    yield ExpressionCase("conversions the other way", copies, 7, 19, (), kinds + kinds[::-1])
    added = of(
        dtype, (ELEMENTS,), ("constant", 0.3), ("multiply", 0, 1), ("column_sum", 2),
        write=[(2, True)] * count + [(3, True)] * count,
    )  # fmt: skip
    yield ExpressionCase("additions", added, 7, 19, ("positive",), (dtype, *kinds, *kinds))
    numbers = (0.1, -0.0, 1e-40, 1e300, -1e300, np.inf, -np.inf, np.nan, 3.0, 1e22, 16777217.0)
    constants = of(
        dtype, (ELEMENTS,), *(("constant", number) for number in numbers),
        *(("multiply", 0, 1 + k) for k in range(len(numbers))),
        *(("divide", 0, 1 + k) for k in range(2)),
        write=range(1 + len(numbers), 3 + 2 * len(numbers)),
    )  # fmt: skip
    yield ExpressionCase("constants", constants, 5, 7)
    truths = of(
        dtype, (ELEMENTS, ELEMENTS), ("less", 0, 1), ("isnan", 0), ("add", 2, 3), ("add", 2, 2),
        ("multiply", 2, 1), ("where", 0, 2, 1), ("column_sum", 2), ("row_sum", 2),
        ("negative", 2), ("logical_or", 2, 1),
        write=(4, 5, 6, 7, 8, 9, 10, 11, 2),
    )  # fmt: skip
    yield ExpressionCase("truths", truths, 9, 12, ("hard", "hard"))


def every_case(dtype: str) -> list[ExpressionCase]:
    return [*each_function(dtype), *together(dtype)]

"""Expressions on NumPy: one call for each instruction, in blocks if arrays are large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.expression import ELEMENTS, ROW_REDUCTIONS, TRUTHS, Expression
from gpunn.backends.host.program import TracingBackend
from gpunn.backends.shared.functions import array_function, choose, write
from gpunn.common.numeric.dtypes import name_of

LARGE = 1 << 18  # elements; below, an instruction's result is still in the cache
BLOCK = 1 << 15
_REDUCTIONS: dict[str, Any] = {
    "row_sum": np.sum, "row_max": np.max, "row_min": np.min, "column_sum": np.sum,
}
_IN_TURN = frozenset(("where", *_REDUCTIONS))  # these read operands after starting the result


class NumpyExpressions(TracingBackend):
    """Expressions built from user code; a part of `NumpyBackend`."""

    def _expression(self, call: OpCall) -> None:
        rows, columns = call.rows, call.columns
        for block in _blocks(call.expression, rows, columns):
            _Block(self, call, *block).perform()


def _blocks(
    expression: Expression, rows: int, columns: int
) -> Iterator[tuple[slice, slice]]:
    """Split the matrix between rows or, if these are long, between columns."""
    if rows * columns <= LARGE or ELEMENTS not in expression.value_axes:
        yield slice(0, rows), slice(0, columns)
    elif columns <= BLOCK or any(i.function in ROW_REDUCTIONS for i in expression.instructions):
        height = max(1, BLOCK // columns)
        for start in range(0, rows, height):
            yield slice(start, min(start + height, rows)), slice(0, columns)
    else:
        width = max(1, BLOCK // rows)
        for start in range(0, columns, width):
            yield slice(0, rows), slice(start, min(start + width, columns))


class _Block:
    """An expression over some rows and columns; ``values`` of inputs and instructions are arrays,
    or numbers for constants."""

    def __init__(
        self, backend: NumpyExpressions, call: OpCall, rows: slice, columns: slice
    ) -> None:
        self.backend, self.rows, self.columns = backend, rows, columns
        self.expression: Expression = call.expression
        self.size = rows.stop - rows.start, columns.stop - columns.start
        self._made = 0
        self._free: dict[tuple[tuple[int, int], str], list[Array]] = {}
        self._registers: dict[int, Array] = {}  # of values whose memory may be reused
        self.values: dict[int, Any] = {}
        self._outputs = [self._part(array) for array in call.outputs]
        self._direct: dict[int, Array] = {}  # values computed directly in their output
        for output, array in zip(self.expression.outputs, self._outputs, strict=True):
            made = output.value >= len(call.inputs) and not output.accumulate
            fits = made and name_of(array.dtype) == self._dtype(output.value)
            if fits and not self._is_read_late(output.value, array, call):
                self._direct.setdefault(output.value, array)
        for number, array in enumerate(call.inputs):
            self.values[number] = self._read(number, self._part(array))

    def perform(self) -> None:
        inputs = len(self.expression.inputs)
        kept = {output.value for output in self.expression.outputs}
        for step, instruction in enumerate(self.expression.instructions):
            number, function = inputs + step, instruction.function
            if function == "constant":
                self.values[number] = instruction.number
                continue
            if function == "column_index":
                self.values[number] = self._column_index()
                continue
            operands = [self.values[operand] for operand in instruction.operands]
            done = [
                operand for operand in set(instruction.operands)
                if self.expression.last_uses[operand] == step and operand not in kept
            ]
            if function not in _IN_TURN:
                self._release(done)
            out = self.values[number] = self._result(number)
            self._compute(function, operands, out)
            if function in _IN_TURN:
                self._release(done)
        for output, array in zip(self.expression.outputs, self._outputs, strict=True):
            value, continued = self.values[output.value], self._is_continued(output.value)
            if continued or (output.accumulate and not self._was_written(output.value)):
                self._add(value, array)
            elif value is not array and not self._was_written(output.value):
                if isinstance(value, float):
                    self.backend._do(np.copyto, array, value, casting="unsafe")
                else:
                    self.backend._convert(value, array)

    def _add(self, value: Any, array: Array) -> None:
        whole = array.dtype == np.int32  # the sum is converted
        total = self.backend.scratch(array.shape, np.float64, "total") if whole else array
        self.backend._do(np.add, array, value, out=total, casting="unsafe")
        if whole:
            self.backend._convert(total, array)

    def _is_read_late(self, value: int, array: Array, call: OpCall) -> bool:
        """Return whether an input in this array is still read after writing the value has begun."""
        in_turn = self.expression.instruction(value).function in _IN_TURN
        return in_turn and any(self.backend.overlap(array, x) for x in call.inputs)

    def _is_continued(self, value: int) -> bool:
        """Return whether it is a sum over rows that earlier blocks have begun."""
        folds = self.expression.instruction(value).function == "column_sum"
        return folds and self.rows.start > 0

    def _was_written(self, value: int) -> bool:
        """Return whether an earlier block has written the same elements."""
        axes = self.expression.value_axes[value]
        above = self.rows.start > 0 and not axes.rows
        return above or (self.columns.start > 0 and not axes.columns)

    def _compute(self, function: str, operands: list[Any], out: Array) -> None:
        do = self.backend._do
        if function in _REDUCTIONS:
            axis, x = 0 if function == "column_sum" else 1, operands[0]
            if axis == 0 and x.shape[1] == 1 and x.flags.c_contiguous:  # as in a row
                axis, x = 1, x.reshape(1, -1)
            do(_REDUCTIONS[function], x, axis=axis, out=out, keepdims=True)
        elif function == "where":
            condition, a, b = operands
            if isinstance(condition, float):
                do(np.copyto, out, a if condition else b)
                return
            if condition.dtype != bool:
                holds = self.backend.scratch(condition.shape, "bool", "condition")
                do(np.not_equal, condition, 0, out=holds)
                condition = holds
            a, b = self._floats(a, "first"), self._floats(b, "second")
            choose(self.backend, condition, a, b, out)
        elif function == "copy":
            do(np.copyto, out, operands[0], casting="unsafe")
        elif name := array_function(function):
            # As an operand of other functions, a truth value is 0 or 1.
            dtype = {} if function in TRUTHS else {"dtype": out.dtype}
            do(getattr(np, name), *operands, out=out, **dtype)
        else:
            given = [self._floats(x, f"operand {k}") for k, x in enumerate(operands)]
            write(self.backend, function, out, *given)

    def _floats(self, x: Any, name: str) -> Any:
        """Return an operand, with truth values as 0 and 1."""
        if isinstance(x, float) or x.dtype != bool:
            return x
        found = self.backend.scratch(x.shape, self.expression.dtype, name)
        self.backend._do(np.copyto, found, x)
        return found

    # -- memory

    def _dtype(self, number: int) -> str:
        truth = self.expression.instruction(number).function in TRUTHS
        return "bool" if truth else self.expression.dtype

    def _part(self, array: Array) -> Array:
        """Return this block's part of an array."""
        rows = self.rows if array.shape[0] > 1 else slice(None)
        return array[rows, self.columns if array.shape[1] > 1 else slice(None)]

    def _read(self, number: int, array: Array) -> Array:
        """Return an input in the dtype of the computation."""
        if name_of(array.dtype) in ("bool", self.expression.dtype):
            return array
        out = self._register(number, array.shape, self.expression.dtype)
        self.backend._do(np.copyto, out, array, casting="unsafe")
        return out

    def _result(self, number: int) -> Array:
        if number in self._direct and not self._is_continued(number):
            return self._direct[number]
        axes = self.expression.value_axes[number]
        return self._register(number, axes.shape(*self.size), self._dtype(number))

    def _register(self, number: int, shape: Any, dtype: str) -> Array:
        free = self._free.get((shape, dtype))
        if free:
            array = free.pop()
        else:
            self._made += 1
            array = self.backend.scratch(shape, dtype, f"expression {self._made}")
        self._registers[number] = array
        return array

    def _release(self, numbers: list[int]) -> None:
        for number in numbers:
            if (array := self._registers.pop(number, None)) is not None:
                self._free.setdefault((array.shape, name_of(array.dtype)), []).append(array)

    def _column_index(self) -> Array:
        first = self.columns.start

        def fill(array: Array) -> None:
            array[...] = np.arange(first, first + array.shape[1])

        shape = 1, self.size[1]
        return self.backend.scratch(shape, self.expression.dtype, f"columns from {first}", fill)

"""Expressions as one compiled operation, which performs their steps block by block.

An expression is encoded once for each size of the matrix, as steps (`.steps`): each is a function
with the registers that it reads and writes. `kernels/cpu/expressions.cpp` performs them.
"""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract import expression as ir
from gpunn.backends.contract.backend import Array
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.common.importing.light_dataclass import dataclass

from .loops import Loop
from .operations import CompiledOperations, name_of
from .steps import NUMBER, REGISTER, ExpressionCode, ExpressionStep, Register, lines

_WITH_NUMBERS = frozenset(
    ("add", "subtract", "multiply", "divide", "maximum", "minimum", "equal", "not_equal", "less",
     "less_equal", "greater", "greater_equal")
)
"""Functions of which one operand may be a single number."""
SUMS = ir.ROW_REDUCTIONS | {"column_sum"}
_POWERS: dict[float | None, str] = {
    -1.0: "reciprocal", 0.5: "sqrt", 1.0: "copy", 2.0: "square",
}
_MOST_REGISTERS, _FILE_BYTES, _SHORT, _WIDE, _SLACK = 256, 3 << 17, 32, 64, 128
_MOST_LISTED = 32  # these are also in kernels/cpu

BLOCK = 2048  # bytes of a register, unless a row is longer
LONG_BLOCK = 16384  # if no sum depends on it, and all registers stay in the cache:
CACHED_BYTES = 1 << 17
WORTH_THREADS = 1 << 22  # elements computed by all steps from which waking threads pays off
PIECE = 1 << 16  # elements that a thread takes at a time


class CompiledExpressions(CompiledOperations):
    """Expressions built from user code; a part of `CompiledBackend`."""

    def _expression(self, call: OpCall) -> None:
        expression, outputs = call.expression, call.outputs
        if self._as_loop(call):
            return
        arguments, operation = None, self._compiled("expression", expression.dtype)
        if operation is not None:
            dtypes = tuple([name_of(out.dtype) for out in outputs])
            arguments = _encoded(expression, call.rows, call.columns, dtypes)
        if arguments is None:
            NumpyBackend._expression(self, call)
        else:
            self._do(operation, *arguments, tuple(call.inputs), tuple(outputs))


    def _as_loop(self, call: OpCall) -> bool:
        """Perform it by a loop that was compiled ahead; return whether there is one."""
        expression, rows, columns = call.expression, call.rows, call.columns
        inputs, outputs, dtype = call.inputs, call.outputs, expression.dtype
        loop = Loop.of(expression)
        if loop is None or any(array.dtype != dtype for array in (*inputs, *outputs)):
            return False
        operation = self._compiled("loop", dtype, loop.key)
        if operation is None:
            return False
        numbers = self._constant("numbers of a loop", np.array(loop.constants or (0.0,)))
        adds = [output.accumulate for output in loop.expression.outputs]
        terms = [self.scratch((rows, columns), dtype, f"summed {k}") for k in loop.sums]
        written = [*(outputs[k] for k in loop.others), *terms]
        self._do(operation, *inputs, numbers, rows, columns, *adds, *written)
        for k, summed in zip(loop.sums, terms, strict=True):
            adds_up = expression.outputs[k].accumulate
            self.column_sums(summed, outputs[k].reshape(-1), accumulate=adds_up)
        return True


@lru_cache(1024)
def _encoded(
    expression: ir.Expression, rows: int, columns: int, dtypes: tuple[str, ...]
) -> tuple[Any, ...] | None:
    """Return the operation's arguments without arrays; None if the expression is too large."""
    found = _program(expression, rows, columns, dtypes)
    if found is None or len(expression.inputs) + len(dtypes) > _MOST_LISTED:
        return None
    encoder, program = found
    sections = program.encoded()
    ends = np.cumsum([len(section) for section in sections]).tolist()
    steps = [step for section in sections for step in section]
    return (
        np.array(steps, np.int64).reshape(-1), *ends, np.array(encoder.constants, np.float64),
        program.registers, *encoder.blocks, encoder.tasks(),
    )


def is_filling_with_zeros(call: Any, array: Array) -> bool:
    """Return whether a bound call only writes zeros to all of an array."""
    dtype = array.dtype.name
    if call.key != ("expression", dtype):
        return False
    *found, _, written = call.arguments
    zeros = _encoded(ir.filling(dtype, 0.0, 1.0), 1, array.size, (dtype,))
    assert zeros is not None
    return (
        len(written) == 1 and written[0].size == array.size
        and written[0].ctypes.data == array.ctypes.data
        and all(map(np.array_equal, found, zeros))
    )


def _program(
    expression: ir.Expression, rows: int, columns: int, dtypes: tuple[str, ...]
) -> tuple[_Encoder, ExpressionCode] | None:
    """Return the steps of an expression, for blocks as long as its registers allow."""
    for most, most_used in ((LONG_BLOCK, CACHED_BYTES), (BLOCK, _FILE_BYTES)):
        blocks = _Blocks.of(expression, rows, columns, most)
        if blocks is None:
            continue
        encoder = _Encoder(expression, blocks, dtypes)
        program = encoder.program()
        length = -(-blocks.height * blocks.width // _WIDE) * _WIDE + _SLACK
        used = program.registers * length + program.number_registers * _SHORT
        if program.registers + program.number_registers > _MOST_REGISTERS:
            return None
        if used * np.dtype(expression.dtype).itemsize <= most_used:
            return encoder, program
    return None


class _Blocks(NamedTuple):
    """The matrix, and the blocks that it is split into: ``by_rows``, in row-major order, or column
    by column."""

    rows: int
    columns: int
    height: int
    width: int
    by_rows: bool

    @staticmethod
    def of(expression: ir.Expression, rows: int, columns: int, most: int = BLOCK) -> _Blocks | None:
        """Return the blocks; their size depends only on the columns, so that sums have one order.

        ``most`` are the bytes of a register. With sums it must be `BLOCK`, else the result is None.
        """
        functions = {step.function for step in expression.instructions}
        folds = functions & ir.ROW_REDUCTIONS
        if not rows * columns or (most != BLOCK and functions & SUMS):
            return None
        if not folds and {*expression.value_axes} <= {ir.ONE, ir.ELEMENTS}:
            rows, columns = 1, rows * columns
        most //= np.dtype(expression.dtype).itemsize
        if columns <= most:
            return _Blocks(rows, columns, min(rows, most // columns), columns, False)
        if folds and columns <= ir.MOST_COLUMNS:
            return _Blocks(rows, columns, 1, columns, False)
        if folds and "column_sum" in functions:
            return None
        return _Blocks(rows, columns, 1, most, bool(folds))


# When a value is computed: once, for each column of blocks, for each block, after the last one.
_ONCE, _COLUMN, _BLOCK, _END = range(4)


@dataclass
class _Encoder:
    """Encodes an expression with outputs of these dtypes as steps for these blocks, in sections by
    when they are performed."""

    expression: ir.Expression
    blocks: _Blocks
    dtypes: tuple[str, ...]
    sections: tuple[list[ExpressionStep], ...] = field(default_factory=lambda: ([], [], [], []))
    constants: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._registers: dict[Any, Register] = {}  # by value and broadcasting
        self._when: dict[int, int] = {}
        self._stored: dict[int, list[int]] = {}  # outputs by their values
        for number, output in enumerate(self.expression.outputs):
            self._stored.setdefault(self._source(output.value), []).append(number)
        needed = self._needed()
        steps = filter(None, map(self._step, needed))
        self._folded = {
            self._source(step.operands[0]) for step in steps if step.function in ir.ROW_REDUCTIONS
        }
        for number in range(len(self.expression.value_axes)):
            if number in needed:
                self._add_value(number)

    def program(self) -> ExpressionCode:
        return ExpressionCode.of(self.sections)

    def tasks(self) -> int:
        """Return the number of parts that the blocks are divided into for threads."""
        rows, columns, *_, by_rows = self.blocks
        work = rows * columns * len(self.sections[_BLOCK])
        if by_rows or self.sections[_END] or work < WORTH_THREADS:
            return 1
        return max(1, rows * columns // PIECE)

    # -- values

    def _step(self, number: int) -> ir.Instruction | None:
        """Return the instruction that computes a value; None for an input."""
        place = number - len(self.expression.inputs)
        if place < 0:
            return None
        step = self.expression.instructions[place]
        if step.function == "power" and (exponent := self._step(step.operands[1])) is not None:
            known = exponent.number if exponent.function == "constant" else None
            if known in _POWERS:
                return ir.Instruction(_POWERS[known], step.operands[:1])
        if step.function == "multiply" and step.operands[0] == step.operands[1]:
            return ir.Instruction("square", step.operands[:1])
        return step

    def _source(self, number: int) -> int:
        """Return the value that it is a copy of, or itself."""
        while (step := self._step(number)) is not None and step.function == "copy":
            number = step.operands[0]
        return number

    def _needed(self) -> set[int]:
        """Return the values that outputs depend on."""
        needed, found = set[int](), [*self._stored]
        while found:
            number = found.pop()
            if number not in needed:
                needed.add(number)
                step = self._step(number)
                found += [] if step is None else map(self._source, step.operands)
        return needed

    def _add_value(self, number: int) -> None:
        axes, step = self.expression.value_axes[number], self._step(number)
        when = _ONCE if axes == ir.ONE else _COLUMN if axes == ir.COLUMNS else _BLOCK
        operands = () if step is None else tuple(map(self._source, step.operands))
        when = self._when[number] = max([when, *(self._when[operand] for operand in operands)])
        if step is not None and step.function == "column_sum":
            self._add_sum(number, operands[0])
            return
        folds = step is not None and step.function in ir.ROW_REDUCTIONS
        kept = step is None or when != _BLOCK or (folds and self.blocks.by_rows)
        out = self._registers[number] = Register(axes == ir.ONE and not folds, kept)
        if step is None:
            folded = number in self._folded
            self.sections[when].append(
                ExpressionStep("load", axes, out, array=number, accumulate=folded)
            )
        elif step.function == "constant":
            self.constants.append(step.number)
            array = len(self.constants) - 1
            self.sections[when].append(ExpressionStep("constant", axes, out, array=array))
        elif step.function == "column_index":
            self.sections[when].append(ExpressionStep("column_index", axes, out))
        elif folds:
            read = self._registers[operands[0]]
            self.sections[when].append(ExpressionStep(step.function, axes, out, (read,)))
        else:
            self._add_computed(number, step.function, operands, out)
            return
        self._store(number, when, out)

    def _add_computed(
        self, number: int, function: str, operands: tuple[int, ...], out: Register
    ) -> None:
        axes, when = self.expression.value_axes[number], self._when[number]
        read = [self._operand(operand, axes, when) for operand in operands]
        sources = [NUMBER if is_number else REGISTER for _, is_number in read]
        if function == "where":
            whole = 1  # operands that cannot be a number
        elif function in _WITH_NUMBERS:
            whole = 1 if REGISTER not in sources else 0
        else:
            whole = len(read)
        registers = [register for register, _ in read]
        for place in range(whole):
            if sources[place] == NUMBER:
                registers[place] = self._spread(operands[place], axes, when, registers[place])
                sources[place] = REGISTER
        if (output := self._direct(number)) >= 0:
            out.kept = True
            self.sections[when].append(ExpressionStep("place", axes, out, array=output))
        self.sections[when].append(
            ExpressionStep(function, axes, out, tuple(registers), sources=sources)
        )
        self._store(number, when, out)

    def _operand(self, number: int, axes: ir.BroadcastAxes, when: int) -> tuple[Register, bool]:
        """Return an operand's register for a step with a result of these axes, and whether it is
        one number."""
        register, own = self._registers[number], self.expression.value_axes[number]
        if own == ir.ONE or (own == ir.ROWS and self.blocks.height == 1):
            return register, own != axes
        if own == ir.ROWS and axes == ir.ELEMENTS:
            return self._spread(number, axes, when, register, "repeat"), False
        return register, False

    def _spread(
        self, number: int, axes: ir.BroadcastAxes, when: int, read: Register, how: str = "spread"
    ) -> Register:
        key = number, axes, when
        if key not in self._registers:
            out = self._registers[key] = Register(axes == ir.ONE, when != _BLOCK)
            self.sections[when].append(ExpressionStep(how, axes, out, (read,)))
        return self._registers[key]

    def _add_sum(self, number: int, operand: int) -> None:
        """Add the steps of sums over rows: of some blocks, and of all."""
        some, total, out = Register(kept=True), Register(kept=True), Register(kept=True)
        own, axes = self.expression.value_axes[operand], self.expression.value_axes[number]
        self.sections[_COLUMN].extend([ExpressionStep("begin_sum", axes, s) for s in (some, total)])
        read = self._registers[operand], total
        self.sections[_BLOCK].append(ExpressionStep("column_sum", own, some, read))
        self.sections[_END].append(ExpressionStep("end_sum", axes, out, (some, total)))
        self._store(number, _END, out)

    # -- outputs

    def _direct(self, number: int) -> int:
        """Return an output that the value may be computed into; -1 if there is none.

        A reduction reads some elements past the end of its operand, which an array may not have.
        """
        if self.expression.value_axes[number] == ir.ELEMENTS and number not in self._folded:
            for output in self._stored.get(number, ()):
                same = self.dtypes[output] == self.expression.dtype
                if same and not self.expression.outputs[output].accumulate:
                    return output
        return -1

    def _store(self, number: int, when: int, read: Register) -> None:
        axes = self.expression.value_axes[number]
        for output in self._stored.get(number, ()):
            accumulate = self.expression.outputs[output].accumulate
            step = ExpressionStep("store", axes, None, (read,), output, accumulate=accumulate)
            self.sections[when].append(step)


def listing(
    expression: ir.Expression, rows: int, columns: int, dtypes: tuple[str, ...]
) -> list[str]:
    """Return the steps of an expression as readable lines; none if NumPy computes it."""
    made = _program(expression, rows, columns, dtypes)
    if made is None:
        return []
    encoder, program = made
    times = "once", "once for each column of blocks", "for each block", "behind the last block"
    found = [f"blocks of {encoder.blocks.height} x {encoder.blocks.width}"]
    for number, when in enumerate(times):
        section = list(lines(program, number, encoder.constants))
        found += [f"{when}:", *section] if section else []
    return found

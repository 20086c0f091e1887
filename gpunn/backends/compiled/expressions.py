"""Expressions by one compiled operation, which performs their steps block by block.

An expression is encoded once, for a size of the matrix: as steps, each a function with the
registers that it reads and writes. `kernels/cpu/expressions.cpp` performs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract import Given
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
)

from .operations import CompiledOperations, name_of

# What follows is also in kernels/cpu/expressions.cpp, and in expressions.hpp beside it.
_FUNCTIONS = [*OPERANDS, "load", "store", "repeat", "spread", "begin_sum", "end_sum"]
_NUMBERS = {name: number for number, name in enumerate(_FUNCTIONS)}
_EXTENTS = {ONE: 0, ROWS: 1, COLUMNS: 2, ELEMENTS: 3}
_WITH_NUMBERS = frozenset(
    ("add", "subtract", "multiply", "divide", "maximum", "minimum", "equal", "not_equal", "less",
     "less_equal", "greater", "greater_equal")
)  # fmt: skip
"""Functions one of whose operands may be one number."""
_POWERS: dict[float | None, str] = {
    -1.0: "reciprocal", 0.5: "sqrt", 1.0: "copy", 2.0: "square",
}  # fmt: skip
_MOST_REGISTERS, _FILE_BYTES, _LANES, _WIDE = 256, 1 << 18, 16, 64
_MOST_LISTED = 32

BLOCK = 2048  # bytes of a register, unless a row is longer
WORTH_THREADS = 1 << 22  # numbers that all steps compute before it pays to wake other threads
PIECE = 1 << 16  # elements that a thread takes at a time


class CompiledExpressions(CompiledOperations):
    """What a user has written; a part of `CompiledBackend`."""

    def _expression(self, given: Given) -> None:
        expression, outputs = given.expression, given.outputs
        arguments, operation = None, self._compiled("expression", expression.dtype)
        if operation is not None:
            dtypes = tuple([name_of(out.dtype) for out in outputs])
            arguments = _encoded(expression, given.rows, given.columns, dtypes)
        if arguments is None:
            super()._expression(given)
        else:
            self._do(operation, *arguments, tuple(given.inputs), tuple(outputs))


@lru_cache(1024)
def _encoded(
    expression: Expression, rows: int, columns: int, dtypes: tuple[str, ...]
) -> tuple[Any, ...] | None:
    """The arguments of the operation without arrays; None if it would be too large for it."""
    blocks = _Blocks.of(expression, rows, columns)
    if blocks is None or len(expression.inputs) + len(dtypes) > _MOST_LISTED:
        return None
    encoder = _Encoder(expression, blocks, dtypes)
    steps = list(encoder.allocated())
    itemsize = np.dtype(expression.dtype).itemsize
    length = -(-blocks.height * blocks.width // _WIDE) * _WIDE + _WIDE
    used = encoder.registers * length + encoder.number_registers * _LANES
    if (
        encoder.registers + encoder.number_registers > _MOST_REGISTERS
        or used * itemsize > _FILE_BYTES
    ):
        return None
    ends = np.cumsum([len(section) for section in encoder.sections]).tolist()
    return (
        np.array(steps, np.int64).reshape(-1), *ends, np.array(encoder.constants, np.float64),
        encoder.registers, *blocks, encoder.tasks(),
    )  # fmt: skip


class _Blocks(NamedTuple):
    """The matrix, and the blocks that it is cut into.

    Attributes:
        by_rows: whether the blocks of a row follow each other, not those of a column.
    """

    rows: int
    columns: int
    height: int
    width: int
    by_rows: bool

    @staticmethod
    def of(expression: Expression, rows: int, columns: int) -> _Blocks | None:
        """Their size depends on the columns alone, so that sums have one order."""
        functions = {step.function for step in expression.instructions}
        if not rows * columns:
            return None
        folds = functions & ROW_FOLDS
        if not folds and {*expression.extents} <= {ONE, ELEMENTS}:
            rows, columns = 1, rows * columns
        most = BLOCK // np.dtype(expression.dtype).itemsize
        if columns <= most:
            return _Blocks(rows, columns, min(rows, most // columns), columns, False)
        if folds and columns <= MOST_COLUMNS:
            return _Blocks(rows, columns, 1, columns, False)
        if folds and "column_sum" in functions:
            return None
        return _Blocks(rows, columns, 1, most, bool(folds))


@dataclass(eq=False)
class _Register:
    """Where a value is kept.

    Attributes:
        is_number: whether it holds one number, not a block of them.
        kept: whether it is taken for good, not only up to the last step that reads it.
        place: its number, when it has been given one.
    """

    is_number: bool = False
    kept: bool = False
    place: int = -1


@dataclass
class _Step:
    function: str
    extent: Extent
    out: _Register
    operands: tuple[_Register, ...] = ()
    array: int = -1
    form: int = 0


# When a value is computed: once, for each column of blocks, for each block, after the last one.
_ONCE, _COLUMN, _BLOCK, _END = range(4)
_IN_TURN = frozenset((*ROW_FOLDS, "repeat"))  # the result must not lie over what is read


@dataclass
class _Encoder:
    """An expression as steps for these blocks.

    Attributes:
        dtypes: of the outputs.
        sections: the steps, by when they are done.
    """

    expression: Expression
    blocks: _Blocks
    dtypes: tuple[str, ...]
    sections: tuple[list[_Step], ...] = field(default_factory=lambda: ([], [], [], []))
    constants: list[float] = field(default_factory=list)
    registers: int = 0
    number_registers: int = 0

    def __post_init__(self) -> None:
        self._registers: dict[Any, _Register] = {}  # by the value, and how it is spread out
        self._when: dict[int, int] = {}
        self._stored: dict[int, list[int]] = {}  # outputs by their values
        for number, output in enumerate(self.expression.outputs):
            self._stored.setdefault(self._source(output.value), []).append(number)
        needed = self._needed()
        steps = filter(None, map(self._step, needed))
        self._folded = {
            self._source(step.operands[0]) for step in steps if step.function in ROW_FOLDS
        }
        for number in range(len(self.expression.extents)):
            if number in needed:
                self._add_value(number)

    def tasks(self) -> int:
        """Into how many parts the blocks are divided for threads."""
        rows, columns, *_, by_rows = self.blocks
        work = rows * columns * len(self.sections[_BLOCK])
        if by_rows or self.sections[_END] or work < WORTH_THREADS:
            return 1
        return max(1, rows * columns // PIECE)

    # -- values

    def _step(self, number: int) -> Instruction | None:
        """The instruction that a value comes from; None for an input."""
        place = number - len(self.expression.inputs)
        if place < 0:
            return None
        step = self.expression.instructions[place]
        if step.function == "power" and (exponent := self._step(step.operands[1])) is not None:
            known = exponent.number if exponent.function == "constant" else None
            if known in _POWERS:
                return Instruction(_POWERS[known], step.operands[:1])
        return step

    def _source(self, number: int) -> int:
        """The value that it is a copy of, or itself."""
        while (step := self._step(number)) is not None and step.function == "copy":
            number = step.operands[0]
        return number

    def _needed(self) -> set[int]:
        """What outputs are computed from."""
        needed, found = set[int](), [*self._stored]
        while found:
            number = found.pop()
            if number not in needed:
                needed.add(number)
                step = self._step(number)
                found += [] if step is None else map(self._source, step.operands)
        return needed

    def _add_value(self, number: int) -> None:
        extent, step = self.expression.extents[number], self._step(number)
        when = _ONCE if extent == ONE else _COLUMN if extent == COLUMNS else _BLOCK
        operands = () if step is None else tuple(map(self._source, step.operands))
        when = self._when[number] = max([when, *(self._when[operand] for operand in operands)])
        if step is not None and step.function == "column_sum":
            self._add_sum(number, operands[0])
            return
        folds = step is not None and step.function in ROW_FOLDS
        kept = when != _BLOCK or (folds and self.blocks.by_rows)
        out = self._registers[number] = _Register(extent == ONE and not folds, kept)
        if step is None:
            self.sections[when].append(_Step("load", extent, out, array=number))
        elif step.function == "constant":
            self.constants.append(step.number)
            array = len(self.constants) - 1
            self.sections[when].append(_Step("constant", extent, out, array=array))
        elif step.function == "column_index":
            self.sections[when].append(_Step("column_index", extent, out))
        elif folds:
            read = self._registers[operands[0]]
            self.sections[when].append(_Step(step.function, extent, out, (read,)))
        else:
            self._add_computed(number, step.function, operands, out)
            return
        self._store(number, when, out)

    def _add_computed(
        self, number: int, function: str, operands: tuple[int, ...], out: _Register
    ) -> None:
        extent, when = self.expression.extents[number], self._when[number]
        read = [self._operand(operand, extent, when) for operand in operands]
        whole = 1 if function == "where" else len(read) - 1  # operands that cannot be a number
        whole = whole if function in ("where", *_WITH_NUMBERS) else len(read)
        if whole < len(read) and function != "where":
            whole = 1 if all(is_number for _, is_number in read) else 0
        form = 0
        for place, (register, is_number) in enumerate(read):
            if is_number and place < whole:
                read[place] = self._spread(operands[place], extent, when, register), False
            elif is_number:
                form += 1 << (len(read) - 1 - place)
        registers = tuple(register for register, _ in read)
        direct = self._direct(number)
        self.sections[when].append(_Step(function, extent, out, registers, direct, form))
        self._store(number, when, out, direct)

    def _operand(self, number: int, extent: Extent, when: int) -> tuple[_Register, bool]:
        """Where a step with a result of this extent finds a value, and whether as one number."""
        register, own = self._registers[number], self.expression.extents[number]
        if own == ONE or (own == ROWS and self.blocks.height == 1):
            return register, own != extent
        if own == ROWS and extent == ELEMENTS:
            return self._spread(number, extent, when, register, "repeat"), False
        return register, False

    def _spread(
        self, number: int, extent: Extent, when: int, read: _Register, how: str = "spread"
    ) -> _Register:
        key = number, extent, when
        if key not in self._registers:
            out = self._registers[key] = _Register(extent == ONE, when != _BLOCK)
            self.sections[when].append(_Step(how, extent, out, (read,)))
        return self._registers[key]

    def _add_sum(self, number: int, operand: int) -> None:
        """Sums over rows: of some blocks, and of all."""
        some, total, out = _Register(kept=True), _Register(kept=True), _Register(kept=True)
        own, extent = self.expression.extents[operand], self.expression.extents[number]
        self.sections[_COLUMN].extend([_Step("begin_sum", extent, s) for s in (some, total)])
        read = self._registers[operand], total
        self.sections[_BLOCK].append(_Step("column_sum", own, some, read))
        self.sections[_END].append(_Step("end_sum", extent, out, (some, total)))
        self._store(number, _END, out)

    # -- outputs

    def _direct(self, number: int) -> int:
        """An output that the value may be computed into; -1 if there is none.

        A fold reads some numbers behind those of its operand, which an array may not have.
        """
        if self.expression.extents[number] == ELEMENTS and number not in self._folded:
            for output in self._stored.get(number, ()):
                same = self.dtypes[output] == self.expression.dtype
                if same and not self.expression.outputs[output].accumulate:
                    return output
        return -1

    def _store(self, number: int, when: int, read: _Register, but: int = -1) -> None:
        extent = self.expression.extents[number]
        for output in self._stored.get(number, ()):
            if output != but:
                accumulate = int(self.expression.outputs[output].accumulate)
                step = _Step("store", extent, _Register(), (read,), output, accumulate)
                self.sections[when].append(step)

    # -- registers

    def allocated(self) -> Iterator[tuple[int, ...]]:
        """The steps as numbers. A register is taken again when its value is read no more."""
        steps = [step for section in self.sections for step in section]
        last = {id(read): k for k, step in enumerate(steps) for read in step.operands}
        free: list[int] = []
        for k, step in enumerate(steps):
            done = [
                read.place for read in dict.fromkeys(step.operands)
                if not (read.kept or read.is_number) and last[id(read)] == k
            ]  # fmt: skip
            if step.function not in _IN_TURN:
                free += done
            if step.function != "store":
                self._allocate(step.out, free)
                if not step.out.kept and id(step.out) not in last:
                    done.append(step.out.place)
                    if step.function not in _IN_TURN:
                        free.append(step.out.place)
            if step.function in _IN_TURN:
                free += done
        for step in steps:
            read = [self._place(register) for register in step.operands]
            out = read[0] if step.function == "store" else self._place(step.out)
            yield (
                _NUMBERS[step.function], step.form, _EXTENTS[step.extent], out,
                *(read + [0] * 3)[:3], step.array,
            )  # fmt: skip

    def _allocate(self, register: _Register, free: list[int]) -> None:
        if register.place >= 0:
            return
        if register.is_number:
            register.place = self.number_registers
            self.number_registers += 1
        elif free and not register.kept:
            register.place = free.pop()
        else:
            register.place = self.registers
            self.registers += 1

    def _place(self, register: _Register) -> int:
        return register.place + (self.registers if register.is_number else 0)


def listing(expression: Expression, rows: int, columns: int, dtypes: tuple[str, ...]) -> list[str]:
    """The steps that an expression is performed by, as lines to read; none if NumPy does it."""
    blocks = _Blocks.of(expression, rows, columns)
    if blocks is None:
        return []
    encoder = _Encoder(expression, blocks, dtypes)
    steps = iter(list(encoder.allocated()))
    times = "once", "once for each column of blocks", "for each block", "behind the last block"
    lines = [f"blocks of {blocks.height} x {blocks.width}"]
    for when, section in zip(times, encoder.sections, strict=True):
        lines += [f"{when}:"] if section else []
        for step in section:
            _, _, _, out, *read, array = next(steps)
            names = [f"r{register}" for register in read[: len(step.operands)]]
            if step.function == "constant":
                names = [repr(encoder.constants[array])]
            elif step.function == "load":
                names = [f"in{array}"]
            target = f"out{array}" if step.function == "store" else f"r{out}"
            also = f", out{array}" if array >= 0 and step.function in OPERANDS and names else ""
            also = "" if step.function == "constant" else also
            lines.append(f"    {target}{also} = {step.function}({', '.join(names)})")
    return lines

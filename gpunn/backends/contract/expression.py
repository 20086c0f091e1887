"""Expressions: element-wise functions and sums along rows and columns, fused into one pass.

An expression is computed over a matrix (rows, columns). Each of its values varies with the
elements, with the rows, with the columns, or not at all. It is broadcast where it meets a larger
value. `gpunn.ops.fusion` builds expressions from user code; a backend compiles each to one loop or
one kernel. They are the intermediate representation between the two: other modules import this one
as ``ir``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import cached_property, lru_cache
from typing import NamedTuple

from gpunn.backends.shared.functions import FUNCTIONS
from gpunn.common.importing.light_dataclass import dataclass

from .declaration import Argument, OpCall, reads
from .device import Array
from .operation import Operations, operation


class BroadcastAxes(NamedTuple):
    """The axes of the matrix along which a value varies.

    >>> BroadcastAxes(rows=True, columns=False).shape(32, 10)
    (32, 1)
    """

    rows: bool
    columns: bool

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        return rows if self.rows else 1, columns if self.columns else 1

    def with_(self, other: BroadcastAxes) -> BroadcastAxes:
        """Return the axes of a value computed from two values."""
        if self == other:  # the most frequent case
            return self
        return BroadcastAxes(self.rows or other.rows, self.columns or other.columns)


ONE, ROWS, COLUMNS = (
    BroadcastAxes(False, False),
    BroadcastAxes(True, False),
    BroadcastAxes(False, True),
)
ELEMENTS = BroadcastAxes(True, True)

OPERANDS: dict[str, int] = {
    **dict.fromkeys(("constant", "column_index"), 0),
    **{name: len(function.operands.split()) for name, function in FUNCTIONS.items()},
    **dict.fromkeys(("row_sum", "row_max", "row_min", "column_sum"), 1),
}
"""The functions of instructions, and the number of operands of each."""

TRUTHS = frozenset(name for name, function in FUNCTIONS.items() if function.is_truth)
"""The functions whose result is a truth value: 1 or 0."""

ROW_REDUCTIONS = frozenset(("row_sum", "row_max", "row_min"))

MOST_COLUMNS = 2048
"""The largest number of columns of an expression that computes with a row reduction's result."""
MOST_ARRAYS = 24
MOST_INSTRUCTIONS = 128


class Instruction(NamedTuple):
    """An instruction that computes a value from earlier ones.

    Attributes:
        function: one of `OPERANDS`. Their formulas are NumPy's; "copy" copies a value (possibly
            of another dtype), "column_index" is the index of the column, from 0 on;
            "row_sum", "row_max" and "row_min" reduce each row to one number, "column_sum" all rows
            to one; no other instruction takes the result of "column_sum". The reduced value
            varies along that axis. As a condition, any number but 0 is true.
        operands: the indices of its operands: the inputs come first, then the results of the
            instructions.
        number: the value of a "constant".
    """

    function: str
    operands: tuple[int, ...] = ()
    number: float = 0.0


INPUT = Instruction("")


class ExpressionOutput(NamedTuple):
    """A value that is written, and whether it is added to the output instead."""

    value: int
    accumulate: bool = False


@dataclass(frozen=True)
class Expression:
    """A computation; its input and output arrays are given with each call.

    Args:
        dtype: of the computation, float32 or float64. Inputs may have any dtype, outputs any
            dtype of a tensor: they are converted as they are read and written. To int32, floats
            are truncated; values out of range become its smallest or largest value, NaN 0.
        inputs: the axes along which each input varies.
        instructions: in order.
        outputs: the values that are written; not an input itself.

    >>> softmax = Expression("float32", (ELEMENTS,), (
    ...     Instruction("row_max", (0,)), Instruction("subtract", (0, 1)),
    ...     Instruction("exp", (2,)), Instruction("row_sum", (3,)),
    ...     Instruction("divide", (3, 4))), (ExpressionOutput(5),))
    >>> [axes.columns for axes in softmax.value_axes]
    [True, False, True, True, False, True]
    """

    dtype: str
    inputs: tuple[BroadcastAxes, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[ExpressionOutput, ...]
    _signs: tuple[float, ...] = field(init=False, repr=False)
    """Signs of the constants: 0 and -0 are equal, but expressions with them are not."""

    def __post_init__(self) -> None:
        signs = tuple(math.copysign(1.0, step.number) for step in self.instructions)
        object.__setattr__(self, "_signs", signs)
        sums = set[int]()
        for number, (function, operands, _) in enumerate(self.instructions, len(self.inputs)):
            right = len(operands) == OPERANDS[function] and not sums & {*operands}
            if not right or not all(0 <= operand < number for operand in operands):
                raise ValueError(f"{function} of the values {operands} as value {number}.")
            if function in ROW_REDUCTIONS and not self.value_axes[operands[0]].columns:
                raise ValueError(f"{function} of a value that does not vary along columns.")
            if function == "column_sum":
                sums.add(number)
                if not self.value_axes[operands[0]].rows:
                    raise ValueError(f"{function} of a value that does not vary along rows.")

    def instruction(self, value: int) -> Instruction:
        """Return the instruction that computes a value; for an input, one without a function."""
        step = value - len(self.inputs)
        return self.instructions[step] if step >= 0 else INPUT

    @cached_property
    def value_axes(self) -> tuple[BroadcastAxes, ...]:
        """The axes of each value: inputs first, then instructions."""
        found = list(self.inputs)
        for instruction in self.instructions:
            axes = ONE
            for operand in instruction.operands:
                axes = axes.with_(found[operand])
            if instruction.function == "column_index":
                axes = COLUMNS
            elif instruction.function in ROW_REDUCTIONS:
                axes = BroadcastAxes(axes.rows, False)
            elif instruction.function == "column_sum":
                axes = BroadcastAxes(False, axes.columns)
            found.append(axes)
        return tuple(found)

    def __str__(self) -> str:
        """Return one line for each instruction.

        >>> doubled = Instruction("constant", number=2.0), Instruction("multiply", (0, 1))
        >>> print(Expression("float32", (ELEMENTS,), doubled, (ExpressionOutput(2),)))
        v1 = 2.0
        v2 = multiply(v0, v1)
        out0 = v2
        """
        lines = []
        for number, (function, operands, constant) in enumerate(
            self.instructions, len(self.inputs)
        ):
            given = ", ".join(f"v{operand}" for operand in operands)
            made = repr(constant) if function == "constant" else f"{function}({given})"
            lines.append(f"v{number} = {made}")
        for number, (value, accumulate) in enumerate(self.outputs):
            lines.append(f"out{number} {'+=' if accumulate else '='} v{value}")
        return "\n".join(lines)

    @cached_property
    def last_uses(self) -> dict[int, int]:
        """For each operand, the index of the last instruction that takes it."""
        found: dict[int, int] = {}
        for number, instruction in enumerate(self.instructions):
            found.update(dict.fromkeys(instruction.operands, number))
        return found

    def fits(
        self, inputs: Sequence[Array], outputs: Sequence[Array], size: tuple[int, int]
    ) -> bool:
        """Return whether these arrays have the shapes of its values."""
        shapes = [axes.shape(*size) for axes in self.value_axes]
        read, written = ([tuple(array.shape) for array in arrays] for arrays in (inputs, outputs))
        of_outputs = [shapes[output.value] for output in self.outputs]
        return read == shapes[: len(self.inputs)] and written == of_outputs


@lru_cache(256)
def filling(dtype: str, number: float, sign: float, accumulate: bool = False) -> Expression:
    """Return the expression that writes one number, with this sign, to each column."""
    steps = (
        Instruction("constant", number=math.copysign(number, sign)),
        Instruction("column_index"),
        Instruction("minimum", (0, 1)),
        Instruction("maximum", (0, 2)),
    )
    return Expression(dtype, (), steps, (ExpressionOutput(3, accumulate),))


def _numbered(name: str) -> Callable[[OpCall], dict[str, Array]]:
    return lambda call: {f"{name}[{k}]": a for k, a in enumerate(call.__dict__[name])}


def _accumulates(call: OpCall) -> bool:
    return any(output.accumulate for output in call.expression.outputs)


def _in_place(call: OpCall) -> tuple[str, ...]:
    """Return the inputs that the output may overwrite, if it is the only one and a full matrix."""
    expression: Expression = call.expression
    if (
        len(expression.outputs) != 1
        or expression.value_axes[expression.outputs[0].value] != ELEMENTS
    ):
        return ()
    return tuple(f"inputs[{k}]" for k, e in enumerate(expression.inputs) if e == ELEMENTS)


class Expressions(Operations):
    """Element-wise functions and reductions of user code, as one operation."""

    @operation(
        inputs=reads("? ?", "real", of=_numbered("inputs")),
        outputs=Argument(
            "? ?",
            "tensor",
            read=_accumulates,
            written=True,
            of=_numbered("outputs"),
            over=_in_place,
        ),
        where=("expression.fits(inputs, outputs, (rows, columns))",),
    )
    def expression(
        self,
        expression: Expression,
        rows: int,
        columns: int,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
    ) -> None:
        """outputs = expression(inputs), computed over a matrix (rows, columns).

        Arrays have two axes, like their values: (rows, columns), (rows, 1), (1, columns) or
        (1, 1). An expression that computes with the result of a row reduction has at most
        `MOST_COLUMNS` columns. A single output of shape (rows, columns) may overwrite
        an input of this shape.
        """

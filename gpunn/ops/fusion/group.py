"""A group of tensors that one expression computes: which tensors fit into it, and how.

An expression works on a matrix (rows, columns). The axes of a group's largest tensors are divided:
the leading ones form its rows, the others its columns. Values that vary along some of them only
have one value per row, per column, or for all; see `gpunn.backends.contract.expression`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gpunn.backends.contract import expression as ir
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.ops.tensor import Shape, Tensor


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the expression."""

    function: str  # see `Instruction`; "input" is read from an array
    axes: ir.BroadcastAxes  # along which it varies
    operands: tuple[Value, ...] = ()
    number: float = 0.0


class Member(NamedTuple):
    """The value of a tensor of the group."""

    value: Value
    axes: ir.BroadcastAxes  # of its shape; the value may vary along fewer


class Group:
    """Tensors that are computed together.

    Args:
        shape: of its largest tensors.
        rows: the number of leading axes that form the rows.
    """

    def __init__(self, shape: Shape, rows: int, dtype: str) -> None:
        self.shape, self.dtype = shape, dtype
        self._lead, self._tail = shape[:rows], shape[rows:]
        self.rows, self.columns = math.prod(self._lead), math.prod(self._tail)
        self.members: list[Tensor] = []  # in the order in which they joined
        self.inputs: list[Tensor] = []
        self._known: dict[int, Member] = {}  # members and inputs
        self._values: list[Value] = []  # the results of instructions
        self._same: dict[tuple[object, ...], Value] = {}
        self._aligned: dict[Shape, ir.BroadcastAxes | None] = {}
        self._flat = -1, True  # the number of inputs and values, and whether it is flat then

    # -- shapes

    def aligned(self, shape: Shape) -> ir.BroadcastAxes | None:
        """Return the axes along which a tensor of this shape varies, broadcast with the largest;
        None if it does not fit."""
        if shape not in self._aligned:
            self._aligned[shape] = self._found_aligned(shape)
        return self._aligned[shape]

    def _found_aligned(self, shape: Shape) -> ir.BroadcastAxes | None:
        if math.prod(shape) == 1:
            return ir.ONE
        whole = (1,) * (len(self.shape) - len(shape)) + shape
        lead, tail = whole[: len(self._lead)], whole[len(self._lead) :]
        if lead in (self._lead, (1,) * len(lead)) and tail in (self._tail, (1,) * len(tail)):
            return ir.BroadcastAxes(math.prod(lead) > 1, math.prod(tail) > 1)
        return None

    def axes_of(self, shape: Shape) -> list[ir.BroadcastAxes]:
        """Return the axes along which a tensor of this shape may vary, the likeliest first."""
        found = self.aligned(shape), ir.ROWS if shape == self._lead else None
        return [value_axes for value_axes in dict.fromkeys(found) if value_axes is not None]

    def axes_of_tensor(self, t: Tensor) -> ir.BroadcastAxes | None:
        """Return the axes along which a joining tensor varies, as an input of its shape does, if
        there is one. None if it does not fit."""
        for source in t.inputs:
            if source.shape == t.shape and id(source) in self._known:
                return self._known[id(source)].axes
        return next(iter(self.axes_of(t.shape)), None)

    def axes_within(
        self, shape: Shape, t: Tensor, value_axes: ir.BroadcastAxes
    ) -> ir.BroadcastAxes | None:
        """Return the axes along which an operand varies that is broadcast to ``t``."""
        if t.shape == self.shape:
            return self.aligned(shape)
        if math.prod(shape) == 1:
            return ir.ONE
        return value_axes if shape == t.shape else None

    def over(
        self, shape: Shape, value_axes: ir.BroadcastAxes, axes: Sequence[int]
    ) -> ir.BroadcastAxes | None:
        """Return whether axes of a tensor are its rows, its columns or both; None if only part."""
        front = len(self._lead) - len(self.shape) + len(shape) if value_axes == ir.ELEMENTS else 0
        long = {a for a, n in enumerate(shape) if n > 1}
        rows, columns = {a for a in long if a < front}, {a for a in long if a >= front}
        folded = long & set(axes)
        if value_axes != ir.ELEMENTS:
            return None if folded not in (set(), long) else value_axes if folded else ir.ONE
        if folded & rows not in (set(), rows) or folded & columns not in (set(), columns):
            return None
        return ir.BroadcastAxes(bool(folded & rows), bool(folded & columns))

    # -- values

    def known(self, t: Tensor) -> Member | None:
        return self._known.get(id(t))

    def can_read(self, t: Tensor, value_axes: ir.BroadcastAxes | None) -> bool:
        """Return whether a tensor can be an operand that varies along these axes."""
        if value_axes is None:
            return False
        known = self._known.get(id(t))
        if known is None:
            return not t.is_number or value_axes == ir.ONE
        # A sum over rows is complete only after all rows.
        return known.axes == value_axes and known.value.function != "column_sum"

    def read(self, t: Tensor, value_axes: ir.BroadcastAxes) -> Value:
        """Return the value of an operand, which may be a new input."""
        known = self._known.get(id(t))
        if known is None:
            if t.is_number:
                return self.constant(float(t), t)
            self.inputs.append(t)
            known = self._known[id(t)] = Member(Value("input", value_axes), value_axes)
        return known.value

    def constant(self, number: float, of: Tensor | None = None) -> Value:
        """Return a constant. Equal constants of two tensors stay separate, so that the expression
        does not depend on their values and is compiled once."""
        return self._of("constant", (), number, of)

    def do(self, function: str, *operands: Value) -> Value:
        """Return the value of an instruction; identical instructions share one."""
        if function in ("multiply", "divide") and _is_one(operands[1]):
            return operands[0]
        if function == "multiply" and _is_one(operands[0]):
            return operands[1]
        return self._of(function, operands)

    def _of(
        self,
        function: str,
        operands: tuple[Value, ...],
        number: float = 0.0,
        of: Tensor | None = None,
    ) -> Value:
        key = function, *map(id, operands), repr(number), id(of)  # repr distinguishes -0.0 and NaN
        if key not in self._same:
            value = Value(function, _axes_of(function, operands), operands, number)
            self._same[key] = value
            self._values.append(value)
        return self._same[key]

    def fold(self, function: str, value: Value, over: ir.BroadcastAxes) -> Value:
        """Reduce each row to its sum, maximum or minimum; a sum may also run over the rows."""
        along = ir.BroadcastAxes(False, over.columns), ir.BroadcastAxes(over.rows, False)
        alone = True
        for name, axis in zip((function, "column_sum"), along, strict=True):
            if (axis.rows and value.axes.rows) or (axis.columns and value.axes.columns):
                value, alone = self.do(name, value), False
            elif axis != ir.ONE and function == "row_sum":
                count = float(self.rows if axis.rows else self.columns)
                value = self.do("multiply", value, self.constant(count))
        if alone and function == "row_sum":  # a sum starts at +0, so the sum of a single -0 is +0
            value = self.do("add", value, self.constant(0.0))
        return value

    # -- members

    @property
    def is_full(self) -> bool:
        """Whether another tensor might exceed the limits."""
        long = len(self._values) > ir.MOST_INSTRUCTIONS - 8
        return long or len(self.inputs) > ir.MOST_ARRAYS // 2

    @property
    def work(self) -> int:
        """The number of instructions that compute."""
        return sum(bool(value.operands) for value in self._values)

    def add(self, t: Tensor, member: Member) -> None:
        self._known[id(t)] = member
        self.members.append(t)

    def empty(self) -> Group:
        """Create a group with the same rows and columns, and no members."""
        return Group(self.shape, len(self._lead), self.dtype)

    def is_written(self, t: Tensor) -> bool:
        """Return whether the expression can write a member: whether it has its own value for each
        element."""
        value, value_axes = self._known[id(t)]
        return bool(value.operands) and value.axes == value_axes and t.primitive.lowering != "same"

    def is_in_place(self, source: Tensor, t: Tensor) -> bool:
        """Return whether a member can overwrite an input: both are element-wise."""
        extents = (self._in_matrix(self._known[id(x)].axes) for x in (source, t))
        return all(value_axes == ir.ELEMENTS for value_axes in extents)

    # -- the expression

    @property
    def is_flat(self) -> bool:
        """Whether rows and columns are interchangeable."""
        size = len(self.inputs) + len(self._values)
        if self._flat[0] != size:
            self._flat = size, self._found_flat()
        return self._flat[1]

    def _found_flat(self) -> bool:
        extents = {member.axes for member in map(self.known, self.inputs) if member}
        extents |= {value.axes for value in self._values}
        folds = any(value.function in (*ir.ROW_REDUCTIONS, "column_sum") for value in self._values)
        return extents <= {ir.ONE, ir.BroadcastAxes(self.rows > 1, self.columns > 1)} and not folds

    def size(self) -> tuple[int, int]:
        """Return rows and columns: a single row if they are interchangeable."""
        return (1, self.rows * self.columns) if self.is_flat else (self.rows, self.columns)

    def shape_of(self, t: Tensor) -> tuple[int, int]:
        """Return the shape of the array of a member or an input in the expression."""
        return self._in_matrix(self._known[id(t)].axes).shape(*self.size())

    def _in_matrix(self, value_axes: ir.BroadcastAxes) -> ir.BroadcastAxes:
        return ir.ELEMENTS if value_axes != ir.ONE and self.is_flat else value_axes

    def expression(self, outputs: Sequence[tuple[Tensor, bool]]) -> ir.Expression:
        """Return the expression that computes these members, each optionally accumulated."""
        inputs = [self._known[id(t)] for t in self.inputs]
        numbers = {id(member.value): number for number, member in enumerate(inputs)}
        for number, value in enumerate(self._values, len(inputs)):
            numbers[id(value)] = number
        return ir.Expression(
            self.dtype,
            tuple(self._in_matrix(member.axes) for member in inputs),
            tuple(
                ir.Instruction(v.function, tuple(numbers[id(x)] for x in v.operands), v.number)
                for v in self._values
            ),
            tuple(
                ir.ExpressionOutput(numbers[id(self._known[id(t)].value)], adds)
                for t, adds in outputs
            ),
        )


def _is_one(value: Value) -> bool:
    return value.function == "constant" and value.number == 1.0


def _axes_of(function: str, operands: Sequence[Value]) -> ir.BroadcastAxes:
    found = ir.COLUMNS if function == "column_index" else ir.ONE
    for operand in operands:
        found = found.with_(operand.axes)
    if function in ir.ROW_REDUCTIONS:
        return ir.BroadcastAxes(found.rows, False)
    return ir.BroadcastAxes(False, found.columns) if function == "column_sum" else found

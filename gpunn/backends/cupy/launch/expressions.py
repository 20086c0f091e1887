"""Expressions as parts of kernels: the source of each is generated at its first use.

Without row reductions it is an ``ELEMENT_PART``: each thread computes elements. With them it is a
``ROW_PART``: a warp makes one pass over a row for each level of dependent reductions, and
recomputes in each pass the values of an element that it needs. A separate part sums columns.

Constants are parameters of the part, not text: expressions that differ only in them share one
kernel, so that an expression with a constant that changes every epoch is compiled once.

>>> dense = ir.Expression("float32", (ir.ELEMENTS, ir.COLUMNS), (
...     ir.Instruction("add", (0, 1)), ir.Instruction("relu", (2,))), (ir.ExpressionOutput(3),))
>>> print(text_of(dense, ("float32",) * 3))
#include "expressions.cuh"
<BLANKLINE>
ELEMENT_PART void expression_b3f88dd5d1(ThreadGroup threads,
        ROW_SLICED const float* in0,
        const float* in1,
        int64 rows,
        int64 columns,
        ROW_SLICED float* out0) {
    for (MatrixPlace at(threads, rows, columns); at.inside(); at.next()) {
        const float v0 = in0[at.element];
        const float v1 = in1[at.column];
        const float v2 = elements::add(v0, v1);
        const float v3 = elements::relu(v2);
        out0[at.element] = v3;
    }
}
<BLANKLINE>
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property

import numpy as np

from gpunn.backends.contract import expression as ir

from .kernel_source import add, dtype_named, type_name

PIECE = ir.MOST_COLUMNS
"""Columns that a warp reduces if rows are split into pieces."""

_STARTS = {"row_sum": "{0}(0)", "row_max": "math::minus_infinity<{0}>()"}
_STARTS["row_min"] = "-" + _STARTS["row_max"]
_STEPS = {
    "row_sum": "{0} += {1};",
    "row_max": "{0} = elements::maximum({0}, {1});",
    "row_min": "{0} = elements::minimum({0}, {1});",
}
_OVER_WARP = {"row_sum": "warp_sum", "row_max": "warp_maximum", "row_min": "warp_minimum"}
_LINE = 100  # characters
_INDENT = " " * 4


def text_of(expression: ir.Expression, dtypes: Sequence[str], **options: bool) -> str:
    """Return the CUDA source of the part that computes an expression; see `Composition` for the
    arguments. Instead of a column sum, it writes the operand of the sum."""
    steps = dict(enumerate(expression.instructions, len(expression.inputs)))
    outputs = [
        ir.ExpressionOutput(steps[output.value].operands[0])
        if output.value in steps and steps[output.value].function == "column_sum" else output
        for output in expression.outputs
    ]
    return Composition(replace(expression, outputs=tuple(outputs)), dtypes, **options).text


def compose(expression: ir.Expression, dtypes: Sequence[str], **options: bool) -> Composition:
    """Return the composition of an expression, and add its part to the parts of kernels.

    Expressions that differ only in their constants share it.
    """
    steps = tuple(step._replace(number=0.0) for step in expression.instructions)
    alike = replace(expression, instructions=steps)
    return _composed(alike, tuple(dtypes), tuple(options.items()))


@cache
def _composed(
    expression: ir.Expression,
    dtypes: tuple[str, ...],
    options: tuple[tuple[str, bool], ...],
) -> Composition:
    made = Composition(expression, dtypes, **dict(options))
    add(f"{made.name}.cu", made.text)
    return made


class Composition:
    """The source of a part that computes an expression, and what its caller needs to know.

    If its values vary along only one axis, or all along both, the part is `flat`: it has
    elements, and needs neither rows nor columns.

    Args:
        dtypes: of its inputs, then of its outputs.
        rows, columns: whether there are several.
        pieces: whether rows are split into pieces of `PIECE` columns. A row reduction then has one
            number for each piece of a row, in the expression's dtype; nothing is computed from it.

    Attributes:
        live: the outputs, and the values that they depend on.
        constants: the constants among these: parameters ``v3`` and so on.
        folds: the row reductions among these.
        axes: the axes along which any of them varies.
    """

    def __init__(
        self,
        expression: ir.Expression,
        dtypes: Sequence[str],
        rows: bool = True,
        columns: bool = True,
        pieces: bool = False,
    ) -> None:
        self._expression, self._pieces = expression, pieces
        self._type = type_name(expression.dtype)
        self._inputs = len(expression.inputs)
        self._types = [type_name(dtype) for dtype in dtypes]
        self.live = self._closure(output.value for output in expression.outputs)
        self.constants = [v for v in self.live if self._function(v) == "constant"]
        self.folds = [v for v in self.live if self._function(v) in ir.ROW_REDUCTIONS]
        self._value_axes = expression.value_axes
        self.flat = self._flatten(rows, columns)
        self.axes = ir.ONE
        for value in self.live:
            self.axes = self.axes.with_(expression.value_axes[value])

    @cached_property
    def name(self) -> str:
        """The name of the part, derived from its source."""
        return f"expression_{hashlib.sha256(self._of('').encode()).hexdigest()[:10]}"

    @cached_property
    def text(self) -> str:
        return self._of(self.name)

    # -- values

    def _function(self, value: int) -> str:
        return self._expression.instruction(value).function

    def _operands(self, value: int) -> tuple[int, ...]:
        return self._expression.instruction(value).operands

    def _closure(self, values: Iterable[int], stops: Iterable[int] = ()) -> list[int]:
        """Return these values and their dependencies, in order, without those in ``stops``."""
        found, waiting, stops = set[int](), list(values), {*stops}
        while waiting:
            value = waiting.pop()
            if value not in found and value not in stops:
                found.add(value)
                waiting += self._operands(value)
        return sorted(found)

    def _flatten(self, rows: bool, columns: bool) -> bool:
        """Return whether all values vary along one axis; if so, their axes become `ELEMENTS` or
        `ONE`."""
        if self.folds or any(self._function(value) == "column_index" for value in self.live):
            return False
        whole = self._expression.value_axes
        short = [ir.BroadcastAxes(e.rows and rows, e.columns and columns) for e in whole]
        for value_axes in (whole, short):
            if len({value_axes[value] for value in self.live} - {ir.ONE}) < 2:
                self._value_axes = tuple(
                    ir.ELEMENTS if axes != ir.ONE else ir.ONE for axes in value_axes
                )
                return True
        return False

    @cached_property
    def _levels(self) -> dict[int, int]:
        """For each value, the number of passes over a row that must precede it."""
        found: dict[int, int] = {}
        for value in self.live:
            level = max((found[operand] for operand in self._operands(value)), default=0)
            found[value] = level + (self._function(value) in ir.ROW_REDUCTIONS)
        return found

    # -- text

    def _of(self, name: str) -> str:
        lines = [*self._of_all(), *(self._rows() if self.folds else self._elements())]
        mark = "ROW" if self.folds else "ELEMENT"
        head = f"{mark}_PART void {name}("
        parameters = ["ThreadGroup threads", *self._parameters()]
        if len(line := f"{head}{', '.join(parameters)}) {{") > _LINE:
            line = f"{head}{f',{chr(10)}{_INDENT * 2}'.join(parameters)}) {{"
        body = "".join(f"{_INDENT}{line}\n" for line in lines)
        return f'#include "expressions.cuh"\n\n{line}\n{body}}}\n'

    def _parameters(self) -> Iterator[str]:
        for value in self.live:
            if value < self._inputs:
                mark = self._mark(self._value_axes[value])
                yield f"{mark}const {self._types[value]}* in{value}"
        yield from ["int64 n"] if self.flat else ["int64 rows", "int64 columns"]
        for number, output in enumerate(self._expression.outputs):
            mark, type_ = self._mark(self._value_axes[output.value]), self._output_type(number)
            yield f"{mark}{type_}* {self._output(number)}"
        yield from (f"{self._type} v{value}" for value in self.constants)

    def _mark(self, axes: ir.BroadcastAxes) -> str:
        return "ROW_SLICED " if axes.rows else ""

    def _output(self, number: int) -> str:
        return f"{'into' if self._expression.outputs[number].accumulate else 'out'}{number}"

    def _output_type(self, number: int) -> str:
        return self._types[self._inputs + number]

    def _of_all(self) -> list[str]:
        """Return the lines that are the same for all elements."""
        same = [value for value in self.live if self._is_of_all(value)]
        return [self._defined(value, {}) for value in same if value not in self.constants]

    def _is_of_all(self, value: int) -> bool:
        return self._value_axes[value] == ir.ONE and not self._levels[value]

    def _elements(self) -> list[str]:
        if self.flat:
            head, places = "for (int64 i : threads.elements(n)) {", {ir.ELEMENTS: "i"}
            first = {ir.ONE: "i == 0"}
        else:
            head = "for (MatrixPlace at(threads, rows, columns); at.inside(); at.next()) {"
            places = {ir.ELEMENTS: "at.element", ir.ROWS: "at.row", ir.COLUMNS: "at.column"}
            first = {
                ir.ONE: "at.element == 0", ir.ROWS: "at.column == 0", ir.COLUMNS: "at.row == 0",
            }
        lines = [self._defined(v, places) for v in self.live if not self._is_of_all(v)]
        for number, output in enumerate(self._expression.outputs):
            axes = self._value_axes[output.value]
            lines.append(self._written(number, places.get(axes, "0"), first.get(axes)))
        return [head, *_inner(lines), "}"]

    def _rows(self) -> list[str]:
        lines: list[str] = []
        for level in range(max(self._levels.values()) + 1):
            of_level = [value for value in self.live if self._levels[value] == level]
            alone = [v for v in of_level if not self._value_axes[v].columns]
            lines += [
                self._defined(value, {ir.ROWS: "row"}) for value in alone
                if not self._is_of_all(value) and value not in self.folds
            ]
            for number, output in enumerate(self._expression.outputs):
                if output.value in alone:
                    lines.append(self._of_row(number))
            lines += self._pass([value for value in of_level if self._value_axes[value].columns])
        if any(self._value_axes[value] == ir.ELEMENTS for value in self.live):
            lines.insert(0, "const int64 start = row * columns;")
        head = ["const int lane = threadIdx.x % WARP;"]
        if self._pieces:
            head += [
                f"const int64 pieces = (columns + {PIECE - 1}) / {PIECE};",
                "for (int64 unit : threads.rows(rows * pieces)) {",
            ]
            lines[:0] = [
                "const int64 row = unit / pieces, piece = unit % pieces;",
                f"const int64 rest = columns - piece * {PIECE};",
                f"const int64 stop = piece * {PIECE} + (rest < {PIECE} ? rest : {PIECE});",
            ]
        else:
            head.append("for (int64 row : threads.rows(rows)) {")
        return [*head, *_inner(lines), "}"]

    def _pass(self, values: list[int]) -> list[str]:
        """Return a loop over a row: reductions of these values, and writes of outputs."""
        folds = [fold for fold in self.folds if self._operands(fold)[0] in values]
        outputs = [n for n, out in enumerate(self._expression.outputs) if out.value in values]
        if not folds and not outputs:
            return []
        ends = [*(self._operands(fold)[0] for fold in folds)]
        ends += [self._expression.outputs[number].value for number in outputs]
        places = {ir.ELEMENTS: "start + column", ir.COLUMNS: "column"}
        inner = [
            self._defined(value, places) for value in self._closure(ends, self.folds)
            if self._value_axes[value].columns
        ]
        for fold in folds:
            step = _STEPS[self._function(fold)]
            inner.append(step.format(f"v{fold}", f"v{self._operands(fold)[0]}"))
        for number in outputs:
            axes = self._value_axes[self._expression.outputs[number].value]
            inner.append(self._written(number, places[axes], "" if axes.rows else "row == 0"))
        first, stop = (f"piece * {PIECE} + lane", "stop") if self._pieces else ("lane", "columns")
        return [
            *(f"{self._type} v{fold} = {_STARTS[self._function(fold)].format(self._type)};"
              for fold in folds),
            f"for (int64 column = {first}; column < {stop}; column += WARP) {{",
            *_inner(inner),
            "}",
            *(f"v{fold} = {_OVER_WARP[self._function(fold)]}(v{fold});" for fold in folds),
        ]

    def _of_row(self, number: int) -> str:
        """Return the line that writes an output once for a whole row."""
        value = self._expression.outputs[number].value
        rows = self._value_axes[value].rows
        place, first = ("row" if rows else "0"), ([] if rows else ["row == 0"])
        if self._pieces and value in self.folds:
            place = "unit" if rows else "piece"
        elif self._pieces:
            first.append("piece == 0")
        return self._written(number, place, " && ".join([*first, "lane == 0"]))

    def _defined(self, value: int, places: dict[ir.BroadcastAxes, str]) -> str:
        """Return the line that computes or reads a value."""
        if value < self._inputs:
            text = f"in{value}[{places.get(self._value_axes[value], '0')}]"
            if self._types[value] != self._type:
                text = f"{self._type}({text})"
        else:
            function, operands, _ = self._expression.instruction(value)
            text = f"elements::{function}({', '.join(f'v{operand}' for operand in operands)})"
            if function == "column_index":
                text = f"{self._type}({places[ir.COLUMNS]})"
        return f"const {self._type} v{value} = {text};"

    def _written(self, number: int, place: str, condition: str | None) -> str:
        """Return the line that writes an output if the condition holds."""
        output, type_ = self._expression.outputs[number], self._output_type(number)
        target, value, kind = f"{self._output(number)}[{place}]", f"v{output.value}", self._type
        if output.accumulate:
            sum_type = np.result_type(dtype_named(type_), dtype_named(kind))  # as in NumPy
            kind, of_value = type_name(sum_type), kind
            terms = ((target, type_), (value, of_value))
            value = " + ".join(t if type_of == kind else f"{kind}({t})" for t, type_of in terms)
        if type_ != kind:
            value = f"Converted<{type_}>::of({value})"
        return f"{f'if ({condition}) ' if condition else ''}{target} = {value};"


def _inner(lines: Iterable[str]) -> list[str]:
    return [f"{_INDENT}{line}" for line in lines]

"""Expressions on a GPU: their kernel parts, and the arrays of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract import expression as ir
from gpunn.backends.contract.backend import Array
from gpunn.common.numeric.dtypes import name_of

from .launch.codegen import WARP
from .launch.expressions import PIECE, Composition, compose
from .launch.tasks import PartTask
from .sums import CupySums

MOST_SHARED = 1 << 18
"""The most elements of one long row that may share a launch with tasks in slices of batch rows: a
group of threads does each slice."""

_ADDITIONS = ir.Instruction("add", (0, 1)), ir.Instruction("add", (1, 0))
_RELU = ir.Instruction("relu", (2,))
_EPILOGUES: dict[Any, str] = {
    **{((add,), (ir.ExpressionOutput(2),)): "bias" for add in _ADDITIONS},
    **{((add, _RELU), (ir.ExpressionOutput(3),)): "relu" for add in _ADDITIONS},
}
"""Epilogues of a product, by the instructions and outputs of an expression with two inputs."""

Written = tuple[ir.ExpressionOutput, Array]
"""An output of an expression, and its array."""


class BoundExpression(NamedTuple):
    """An expression over a matrix, and the arrays of its inputs."""

    expression: ir.Expression
    rows: int
    columns: int
    inputs: Sequence[Array]


class CupyExpressions(CupySums):
    """Expressions built from user code; a part of `CupyBackend`."""

    def _expression(self, call: OpCall) -> None:
        expression: ir.Expression = call.expression
        if self._is_epilogue(expression, call.inputs, call.outputs):
            return
        sums: list[Written] = []
        others: list[Written] = []
        for output, array in zip(expression.outputs, call.outputs, strict=True):
            summed = expression.instruction(output.value).function == "column_sum"
            (sums if summed else others).append((output, array))
        bound = BoundExpression(expression, call.rows, call.columns, call.inputs)
        summands = self._summands(bound, others, sums)
        self._compute(bound, others)
        for output, array in sums:
            summand = summands[expression.instruction(output.value).operands[0]]
            self._sum(expression.dtype, summand, array, output.accumulate)

    def _is_epilogue(
        self, expression: ir.Expression, inputs: Sequence[Array], outputs: Sequence[Array]
    ) -> bool:
        """Make it the epilogue of the preceding product if it adds a bias in place, with or without
        relu; return whether it is one."""
        kind = _EPILOGUES.get((expression.instructions, expression.outputs))
        if kind is None or {*expression.inputs} != {ir.ELEMENTS, ir.COLUMNS}:
            return False
        at = expression.inputs.index(ir.ELEMENTS)
        x, bias, out = inputs[at], inputs[1 - at], outputs[0]
        same = self.overlap(x, out) == "same" and x.dtype == bias.dtype == expression.dtype
        return same and self._as_epilogue(kind, out, bias.reshape(-1))

    def _weigh(self, x: Array, weights: Array) -> None:
        """x *= the weight of each row, in place: each thread writes the elements that it reads."""
        product = ir.Instruction("multiply", (0, 1))
        inputs, outputs = (ir.ELEMENTS, ir.ROWS), (ir.ExpressionOutput(2),)
        made = ir.Expression(x.dtype.name, inputs, (product,), outputs)
        rows, columns = x.shape
        bound = BoundExpression(made, rows, columns, [x, weights.reshape(-1, 1)])
        self._compute(bound, [(*outputs, x)])

    def _summands(
        self, bound: BoundExpression, others: list[Written], sums: list[Written]
    ) -> dict[int, Array]:
        """Return the arrays of values whose columns are summed; those that are not written yet are
        added to ``others``."""
        expression, rows, columns, inputs = bound
        found = dict(enumerate(inputs))
        found |= {out.value: array for out, array in others if not out.accumulate}
        found = {v: array for v, array in found.items() if array.dtype == expression.dtype}
        for output, _ in sums:
            (value,) = expression.instruction(output.value).operands
            if value not in found:
                shape = expression.value_axes[value].shape(rows, columns)
                found[value] = self.scratch(shape, expression.dtype, f"summand {len(others)}")
                others.append((ir.ExpressionOutput(value), found[value]))
        return found

    def _sum(self, dtype: str, x: Array, out: Array, accumulate: bool) -> None:
        """out (+)= the sums of the columns of x."""
        sums, plain = out, out.dtype == dtype
        if not plain:
            sums = self.scratch(out.shape, dtype, "sums of columns")
        asked = OpCall()
        asked.__dict__.update(
            x=x, out=sums.reshape(-1), accumulate=plain and accumulate, rows=len(x),
            features=x.shape[1], dtype=x.dtype,
        )
        self._column_sums(asked)
        if not plain:
            copy = ir.Expression(dtype, (ir.COLUMNS,), (ir.Instruction("copy", (0,)),), ())
            bound = BoundExpression(copy, 1, sums.size, [sums])
            self._compute(bound, [(ir.ExpressionOutput(1, accumulate), out)])

    def _compute(self, bound: BoundExpression, outputs: Sequence[Written]) -> None:
        """Compute these values of an expression, none of them a sum of columns."""
        outputs = [(output, array) for output, array in outputs if array.size]
        if not outputs:
            return
        made = _composed(bound, outputs)
        rows, columns = made.axes.shape(bound.rows, bound.columns)
        bound = bound._replace(rows=rows, columns=columns)
        if made.folds and columns > PIECE:
            self._compute_in_pieces(bound, outputs)
        else:
            self._ask_for(made, bound, outputs)

    def _compute_in_pieces(self, bound: BoundExpression, outputs: Sequence[Written]) -> None:
        """Perform `_compute` for long rows: reduce pieces first, and then their results."""
        expression, rows, columns, inputs = bound
        pieces = -(-columns // PIECE)
        folds = {
            value for value in range(len(inputs), len(expression.value_axes))
            if expression.instruction(value).function in ir.ROW_REDUCTIONS
        }
        firsts = [pair for pair in outputs if pair[0].value not in folds]
        parts: dict[int, Array] = {}
        for value in dict.fromkeys(output.value for output, _ in outputs if output.value in folds):
            shape = ir.BroadcastAxes(expression.value_axes[value].rows, True).shape(rows, pieces)
            name = f"pieces of {len(parts)} in {expression.dtype}"
            parts[value] = self.scratch(shape, expression.dtype, name)
            firsts.append((ir.ExpressionOutput(value), parts[value]))
        self._ask_for(_composed(bound, firsts, pieces=True), bound, firsts, pieces)
        for value, array in parts.items():
            function = expression.instruction(value).function
            axes = ir.BroadcastAxes(expression.value_axes[value].rows, True)
            fold = ir.Expression(expression.dtype, (axes,), (ir.Instruction(function, (0,)),), ())
            of_rows = [
                (ir.ExpressionOutput(1, o.accumulate), a) for o, a in outputs if o.value == value
            ]
            self._compute(BoundExpression(fold, len(array), pieces, [array]), of_rows)

    def _ask_for(
        self, made: Composition, bound: BoundExpression, outputs: Sequence[Written], pieces: int = 1
    ) -> None:
        expression, rows, columns, inputs = bound
        n = rows * columns
        values: dict[str, Any] = {"n": n, "rows": rows, "columns": columns}
        values |= {f"in{number}": array for number, array in enumerate(inputs)}
        values |= {
            f"{'into' if output.accumulate else 'out'}{number}": array
            for number, (output, array) in enumerate(outputs)
        }
        type_ = np.dtype(expression.dtype).type
        with np.errstate(over="ignore"):  # a large constant becomes infinite in float32
            for value in made.constants:
                values[f"v{value}"] = type_(expression.instruction(value).number)
        # A flat part can be split between any elements; a large one keeps the GPU busy by itself.
        sliced = rows if rows > 1 else n if made.flat and WARP < n <= MOST_SHARED else 0
        threads = rows * pieces * WARP if made.folds else n
        task = PartTask(made.name, threads, values, sliced)
        task.flat = made.flat and rows == 1
        self._ask(task)


def _composed(
    bound: BoundExpression, outputs: Sequence[Written], pieces: bool = False
) -> Composition:
    expression, rows, columns, inputs = bound
    written = tuple(output for output, _ in outputs)
    if written != expression.outputs:
        expression = replace(expression, outputs=written)
    dtypes = [name_of(array.dtype) for array in (*inputs, *(array for _, array in outputs))]
    return compose(expression, dtypes, rows=rows > 1, columns=columns > 1, pieces=pieces)

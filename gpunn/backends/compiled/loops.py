"""Expressions that are compiled ahead, from the framework's own layers.

`tools/loops.py` writes a loop of each for the kernels. Its key describes what the
expression computes, apart from its constants and whether it adds to its outputs.
"""

from __future__ import annotations

from functools import lru_cache

from gpunn.backends.contract import expression as ir
from gpunn.common.importing.light_dataclass import dataclass

_AXES = {ir.ONE: "1", ir.COLUMNS: "c", ir.ELEMENTS: "e"}
_APART = ir.ROW_REDUCTIONS | {"column_index"}


@dataclass(frozen=True, eq=False)
class Loop:
    """An expression as a loop over elements, and column sums of its results.

    Attributes:
        expression: what the loop computes. Its last outputs are the ones to sum.
        others: the indices of outputs that are not column sums.
        sums: the indices of outputs that are column sums.
    """

    expression: ir.Expression
    key: str
    constants: tuple[float, ...]
    others: tuple[int, ...]
    sums: tuple[int, ...]

    @staticmethod
    @lru_cache(1024)
    def of(expression: ir.Expression) -> Loop | None:
        """Return the loop of an expression; None if it is not such a loop."""
        if any(step.function in _APART for step in expression.instructions):
            return None
        loop = _without_sums(expression)
        value_axes = loop.value_axes
        elementwise = {value_axes[output.value] for output in loop.outputs} == {ir.ELEMENTS}
        if not elementwise or not {*value_axes} <= {*_AXES}:
            return None
        sums = [expression.value_axes[output.value] != ir.ELEMENTS for output in expression.outputs]
        return Loop(
            loop,
            _key(loop),
            tuple(step.number for step in loop.instructions if step.function == "constant"),
            tuple(k for k, is_sum in enumerate(sums) if not is_sum),
            tuple(k for k, is_sum in enumerate(sums) if is_sum),
        )


def _without_sums(expression: ir.Expression) -> ir.Expression:
    """Replace column sums by their operands, as the last outputs."""
    first = len(expression.inputs)
    numbers = list(range(first))  # the new index of each value
    steps: list[ir.Instruction] = []
    summed: dict[int, int] = {}
    for number, step in enumerate(expression.instructions, first):
        operands = tuple(numbers[k] for k in step.operands)
        numbers.append(first + len(steps))
        if step.function == "column_sum":
            summed[number] = operands[0]
        else:
            steps.append(ir.Instruction(step.function, operands, step.number))
    written = [
        ir.ExpressionOutput(numbers[output.value], output.accumulate)
        for output in expression.outputs if output.value not in summed
    ]
    added = [ir.ExpressionOutput(summed[o.value]) for o in expression.outputs if o.value in summed]
    return ir.Expression(expression.dtype, expression.inputs, tuple(steps), (*written, *added))


def _key(expression: ir.Expression) -> str:
    given = " ".join(_AXES[axes] for axes in expression.inputs)
    steps = [" ".join([s.function, *map(str, s.operands)]) for s in expression.instructions]
    return "; ".join([given, *steps, " ".join(str(output.value) for output in expression.outputs)])

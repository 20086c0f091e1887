"""Expressions on a card: so far, an array function for each instruction."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract import Given
from gpunn.backends.contract.expression import TRUTHS

from .launch.task_backend import TaskBackend

_NAMES = {"abs": "absolute", "mod": "remainder", "round": "rint"}
_FOLDS = {"row_sum": ("sum", 1), "row_max": ("max", 1), "row_min": ("min", 1)} | {
    "column_sum": ("sum", 0)
}


class CupyExpressions(TaskBackend):
    """What a user has written; a part of `CupyBackend`."""

    def _expression(self, given: Given) -> None:
        xp, dtype = self.xp, given.expression.dtype
        values: list[Any] = [array.astype(dtype) for array in given.inputs]
        for function, operands, number in given.expression.instructions:
            taken = [values[operand] for operand in operands]
            if function == "constant":
                values.append(xp.full((1, 1), number, dtype))
            elif function == "column_index":
                values.append(xp.arange(given.columns, dtype=dtype).reshape(1, -1))
            elif function in _FOLDS:
                name, axis = _FOLDS[function]
                values.append(getattr(xp, name)(taken[0], axis=axis, keepdims=True))
            elif function == "copy":
                values.append(taken[0])
            elif function == "relu":
                values.append(xp.maximum(taken[0], 0))
            elif function == "sigmoid":
                values.append(1 / (1 + xp.exp(-taken[0])))
            elif function == "where":
                values.append(xp.where(taken[0] != 0, *taken[1:]))
            else:
                value = getattr(xp, _NAMES.get(function, function))(*taken)
                values.append(value.astype(dtype) if function in TRUTHS else value)
        for output, array in zip(given.expression.outputs, given.outputs, strict=True):
            value = values[output.value]
            if output.accumulate:
                value = array + value
            if array.dtype == bool:
                value = value != 0
            xp.copyto(array, value, casting="unsafe")

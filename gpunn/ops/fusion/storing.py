"""Copying or adding results to their destinations, as an expression where possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.expression import (
    ELEMENTS,
    ONE,
    BroadcastAxes,
    Expression,
    ExpressionOutput,
    Instruction,
)
from gpunn.ops.primitive import Work


@lru_cache(256)
def _filled(dtype: str, number: float, sign: float, accumulate: bool) -> Expression:
    """Write one number to each column."""
    steps = (
        Instruction("constant", number=math.copysign(number, sign)),
        Instruction("column_index"),
        Instruction("minimum", (0, 1)),
        Instruction("maximum", (0, 2)),
    )
    return Expression(dtype, (), steps, (ExpressionOutput(3, accumulate),))


def fill(backend: Backend, number: float, array: Array, accumulate: bool = False) -> None:
    """Write a number to all elements of an array, or add it, as an expression that is part of a
    step's program. Integers must be representable in float32."""
    dtype = array.dtype.name if array.dtype.kind == "f" else "float32"
    made = _filled(dtype, number, math.copysign(1.0, number), accumulate)
    backend.expression(made, 1, array.size, [], [array.reshape(1, -1)])


@lru_cache(256)
def _of_elements(
    function: str, dtype: str, count: int, axes: BroadcastAxes, accumulate: bool
) -> Expression:
    step = Instruction(function, tuple(range(count)))
    return Expression(dtype, (axes,) * count, (step,), (ExpressionOutput(count, accumulate),))


def write_elements(
    backend: Backend, function: str, arrays: Sequence[Array], out: Array, accumulate: bool = False
) -> None:
    """out = a function of arrays of its size, element-wise, or += with ``accumulate``.

    Args:
        function: one of `gpunn.backends.contract.expression.OPERANDS`.
        arrays: contiguous, as is ``out``.
    """
    axes = ELEMENTS if out.size > 1 else ONE
    made = _of_elements(function, out.dtype.name, len(arrays), axes, accumulate)
    rows = [array.reshape(1, -1) for array in (*arrays, out)]
    backend.expression(made, 1, out.size, rows[:-1], rows[-1:])


def stored(backend: Backend, source: Any, array: Array, accumulate: bool = False) -> Work:
    """Return work that writes an array, or a number, to an array of the same size, or adds it."""
    dtype, is_number = array.dtype.name, not hasattr(source, "dtype")
    if not is_number and source.size == array.size:
        source = source.reshape(array.shape)
    fits = dtype in ("float32", "float64") and array.flags.c_contiguous and array.size > 0
    if is_number and fits:
        return partial(fill, backend, float(source), array, accumulate)
    like = not is_number and source.size == array.size and source.flags.c_contiguous
    if fits and like and backend.overlap(source, array) is None:
        return partial(write_elements, backend, "copy", [source], array, accumulate)
    whole = array.flags.c_contiguous and array.size and like and not accumulate
    if whole and dtype == source.dtype.name == "int32" and backend.overlap(source, array) is None:
        return partial(backend.affine, source, 1.0, 0.0, array)
    if accumulate:
        return lambda: backend.xp.add(array, source, out=array)
    return lambda: backend.xp.copyto(array, source)

"""Results that are copied or added to where they belong, as an expression where there is one."""

from __future__ import annotations

from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.expression import ELEMENTS, ONE, Expression, Instruction, Output
from gpunn.ops.primitive import Work


def stored(backend: Backend, source: Any, array: Array, accumulate: bool = False) -> Work:
    """What writes an array, or a number, to an array of as many elements, or adds it."""
    dtype, is_number = array.dtype.name, not hasattr(source, "dtype")
    if not is_number and source.size == array.size:
        source = source.reshape(array.shape)
    fits = dtype in ("float32", "float64") and array.flags.c_contiguous and array.size > 0
    if is_number and fits and array.size == 1:
        constant = Instruction("constant", number=float(source))
        made = Expression(dtype, (), (constant,), (Output(0, accumulate),))
        return partial(backend.expression, made, 1, 1, [], [array.reshape(1, 1)])
    like = not is_number and source.size == array.size and source.flags.c_contiguous
    if fits and like and backend.overlap(source, array) is None:
        copy = Instruction("copy", (0,))
        extent = ELEMENTS if array.size > 1 else ONE
        made = Expression(dtype, (extent,), (copy,), (Output(1, accumulate),))
        given = [source.reshape(1, -1)], [array.reshape(1, -1)]
        return partial(backend.expression, made, 1, array.size, *given)
    if accumulate:
        return lambda: backend.xp.add(array, source, out=array)
    return lambda: backend.xp.copyto(array, source)

"""Copying or adding results to their destinations, as an expression where possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from gpunn.backends.contract import expression as ir
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.numeric.dtypes import name_of
from gpunn.ops.primitive import Work

LOWERED = frozenset({*ir.OPERANDS, "cast", "broadcast", "same"})
"""What an expression can compute, by `Primitive.lowering`: `rules` has a rule for each."""


def fill(backend: Backend, number: float, array: Array, accumulate: bool = False) -> None:
    """Write a number to all elements of an array, or add it, as an expression that is part of a
    step's program. Integers must be representable in float32."""
    dtype = name_of(array.dtype) if array.dtype.kind == "f" else "float32"
    made = ir.filling(dtype, number, math.copysign(1.0, number), accumulate)
    backend.expression(made, 1, array.size, [], [array.reshape(1, -1)])


@lru_cache(256)
def _of_elements(
    function: str, dtype: str, numbers: tuple[int | None, ...], axes: ir.BroadcastAxes,
    accumulate: bool,
) -> ir.Expression:
    """Return the expression of arrays, for which ``numbers`` has None, and numbers, in order."""
    constants = [ir.Instruction("constant", number=float(n)) for n in numbers if n is not None]
    arrays = numbers.count(None)
    places = {True: iter(range(arrays)), False: iter(range(arrays, len(numbers)))}
    steps = *constants, ir.Instruction(function, tuple(next(places[n is None]) for n in numbers))
    return ir.Expression(
        dtype, (axes,) * arrays, steps, (ir.ExpressionOutput(len(numbers), accumulate),)
    )


def write_elements(
    backend: Backend, function: str, operands: Sequence[Array | int], out: Array,
    accumulate: bool = False,
) -> None:
    """out = one of the `OPERANDS` of contiguous arrays of its size and whole numbers, or += with
    ``accumulate``. All must be exact in float32, if ``out`` is not of floats."""
    axes = ir.ELEMENTS if out.size > 1 else ir.ONE
    dtype = name_of(out.dtype) if out.dtype.kind == "f" else "float32"
    numbers = tuple(None if hasattr(x, "dtype") else x for x in operands)
    made = _of_elements(function, dtype, numbers, axes, accumulate)
    arrays = [x for x in operands if hasattr(x, "dtype")]
    rows = [array.reshape(1, -1) for array in (*arrays, out)]
    if out.size:  # a rank may have no rows
        backend.expression(made, 1, out.size, rows[:-1], rows[-1:])


EXACT = 1 << 24
"""Whole numbers nearer to 0 differ from all others in float32."""


def is_exact(operands: Sequence[Any], out: Array) -> bool:
    """Return whether truth values of booleans, or of integers and a number that they are compared
    with, are exact as expressions of float32, and the arrays fit."""
    arrays = [x for x in (*operands, out) if hasattr(x, "dtype")]
    numbers = [x for x in operands if not hasattr(x, "dtype")]
    compared = len(numbers) == 1 and isinstance(numbers[0], int) and abs(numbers[0]) < EXACT
    kinds = "biu" if compared else "b" if not numbers else ""
    alike = all(x.shape == out.shape and x.flags.c_contiguous for x in arrays)
    return out.size > 0 and alike and all(x.dtype.kind in kinds for x in arrays)


def stored(backend: Backend, source: Any, array: Array, accumulate: bool = False) -> Work:
    """Return work that writes an array, or a number, to an array of the same size, or adds it."""
    dtype, is_number = name_of(array.dtype), not hasattr(source, "dtype")
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


FEW = 1 << 10
"""Elements that are gathered one by one in less time than an array function takes to begin."""


def by_operations(backend: Backend, size: int) -> bool:
    """Return whether operations compute so many elements, which are part of a step's program, and
    not an array function."""
    return backend.repeats and size > 0 and (backend.traces or size <= FEW)


def rearrange(
    backend: Backend, x: Array, shape: Sequence[int], out: Array, axes: Sequence[int],
    places: Callable[[np.ndarray], np.ndarray], what: str, in_runs: bool = False,
) -> bool:
    """Write the elements of x in another order, repeated, or with zeros among them; return False
    where an array function is faster, or the arrays do not allow it.

    It gathers rows at constant indices, so that it is part of a step's program. Where nothing is
    repeated, an array function takes less time than to make these.

    Args:
        x: has this shape, or only its elements.
        out: has the same axes before the first and after the last of ``axes``.
        axes: along which the elements move, in the same way for all indices along others.
        places: makes the index of each element of ``out`` along the axes from the first to the last
            of these, or -1 for a 0, from the indices of x.
        what: identifies ``places``.
        in_runs: whether array functions copy several of the gathered rows at once.
    """
    if not (backend.repeats and x.size and out.size):
        return False
    if not (x.flags.c_contiguous and out.flags.c_contiguous):
        return False
    first, last = min(axes), max(axes) + 1
    outer, inner = math.prod(shape[:first]), math.prod(shape[last:])
    if (in_runs or inner == 1) and not by_operations(backend, out.size):
        return False
    n, count = (array.size // (outer * inner) for array in (x, out))
    if max(n, count) > np.iinfo(np.int32).max:
        return False

    def write(array: Array) -> None:
        made = places(np.arange(n, dtype=np.int32).reshape(shape[first:last]))
        backend.write(array, np.ascontiguousarray(made).reshape(1, count))

    numbers = backend.scratch(
        (1, count), np.dtype(np.int32), f"{what} along {first} of {shape}", write
    )
    rows, into = x.reshape(outer, n, inner), out.reshape(outer, count, inner)
    backend.take_rows(rows, numbers, into, False)
    return True

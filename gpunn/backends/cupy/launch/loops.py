"""Loops in a persistent kernel: tasks that a step repeats with other arrays.

A scan is traced step by step, so its tasks come in equal groups: the same parts with the same
sizes, on the next slices of the same arrays. Such groups become one `Loop`, so a kernel is as
short for a long scan as for a short one, and so are its parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Array

from .codegen import Loop, PartCall
from .fuse import calls
from .tasks import Task, region

LEAST_ITERATIONS = 4
"""The fewest iterations of a loop. Fewer are written one after the other: then the compiler can mix
their instructions."""


class Rolled(NamedTuple):
    """Tasks as parts and loops of a stage, with the arguments of their parameters in order; the
    table has the arguments that vary in the loops, iteration by iteration."""

    parts: tuple[PartCall | Loop, ...]
    arguments: list[Any]
    table: list[Any]


def rolled(tasks: Sequence[Task], copies: Sequence[int] = ()) -> Rolled:
    """Return the tasks of a stage, with a loop wherever `LEAST_ITERATIONS` or more are alike;
    ``copies`` as in `calls`."""
    made = calls(tasks, copies)
    known: dict[Hashable, int] = {}
    alike = [
        known.setdefault((call, *_folded(call, task)), len(known))
        for call, task in zip(made, tasks, strict=True)
    ]
    parts: list[PartCall | Loop] = []
    arguments: list[Any] = []
    table: list[Any] = []
    start = 0
    while start < len(made):
        length, iterations = _longest(alike, start)
        rows = [
            [a for task in tasks[at : at + length] for a in task.arguments]
            for at in range(start, start + length * iterations, length)
        ]
        columns = [list(map(eight_bytes, column)) for column in zip(*rows, strict=True)]
        varying = tuple(at for at, column in enumerate(columns) if len(set(column)) > 1)
        iteration = made[start : start + length]
        parts.append(Loop(iteration, iterations, varying) if iterations > 1 else iteration[0])
        arguments += [a for at, a in enumerate(rows[0]) if at not in varying]
        table += [row[at] for row in rows for at in varying]
        start += length * iterations
    return Rolled(tuple(parts), arguments, table)


def _folded(call: PartCall, task: Task) -> list[int | None]:
    """Return the arguments that a kernel may have as constants, None in place of the others."""
    return [
        eight_bytes(argument) if parameter.is_constant(argument) else None
        for parameter, argument in zip(call.parameters(0), task.arguments, strict=True)
    ]


def _longest(alike: Sequence[int], start: int) -> tuple[int, int]:
    """Return the length and the number of iterations from ``start`` on that cover the most calls.

    >>> _longest([1, 2, 3, 2, 3, 2, 3, 2, 3, 4], 1), _longest([1, 2, 2, 1], 1)
    ((2, 4), (1, 1))
    """
    best = 1, 1
    for length in range(1, (len(alike) - start) // LEAST_ITERATIONS + 1):
        iteration, iterations = alike[start : start + length], 1
        while alike[start + length * iterations : start + length * (iterations + 1)] == iteration:
            iterations += 1
        if iterations >= LEAST_ITERATIONS and length * iterations > best[0] * best[1]:
            best = length, iterations
    return best


def eight_bytes(argument: Array | np.generic) -> int:
    """Return an argument as 8 bytes in an integer: the address of an array, or a number's bits.

    >>> eight_bytes(np.float32(1)) == 0x3F800000, eight_bytes(np.bool_(True))
    (True, 1)
    """
    if isinstance(argument, np.generic):
        return int.from_bytes(argument.tobytes(), "little", signed=argument.dtype.itemsize == 8)
    return region(argument, False).start

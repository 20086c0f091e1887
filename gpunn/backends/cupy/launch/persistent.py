"""Launch mode "persistent": one kernel does all tasks of a step, and goes on with the next step.

The tasks are put into phases, between which all blocks come together. In a phase of rows
each block takes pieces of the batch through all layers, forward and backward; in a spread
phase the grid shares out what needs all rows: gradients of weights, sums, the update. Each
task goes into the earliest phase that it may. Products are parts like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array

from .codegen import BLOCK, Kernel, Stage
from .fuse import Configuration, calls
from .modes import LaunchModeError
from .parts import type_name
from .tasks import Conflict, PartTask, Product, Task, region

PARAMETERS = 4096  # bytes that a kernel's parameters may take (CUDA C++ Programming Guide)


def as_parts(tasks: Sequence[Task]) -> list[Task]:
    """The same tasks, with parts in place of products.

    Where gradients are updated, each of their elements is made by the thread that will update
    the weight at its place, so that nobody waits in between.

    Raises:
        LaunchModeError: if there is none for a product.
    """
    updates = [task for task in tasks if task.name == "update"]
    gradients = region(updates[0].arguments[1], False) if updates else None

    def place(out: Array) -> int:
        start = region(out, False).start
        inside = gradients and gradients.start <= start < gradients.stop
        return (start - gradients.start) // out.itemsize if gradients and inside else 0

    return [_part_of(task, place) for task in tasks]


def _part_of(task: Task, place: Callable[[Array], int]) -> Task:
    part = task
    if task.name == "column_sums":
        x, rows, features, accumulate, out = task.arguments
        values = [x, rows, features, place(out), accumulate, out]
        part = PartTask("sums_of_columns", task.choices, out.size, values)
    elif isinstance(task, Product):
        part = _part_of_product(task, place)
    part.operation = task.operation
    return part


def _part_of_product(task: Product, place: Callable[[Array], int]) -> Task:
    a, b, out, transpose_a, transpose_b, accumulate, precision = task.arguments[:7]
    if precision is not None or (transpose_a and transpose_b):
        raise LaunchModeError("one of its products is the library's")
    choices, rows = (type_name(out.dtype),), len(out)
    if transpose_a:
        values = [a, b, len(a), *out.shape, place(out), accumulate, out]
        return PartTask("product_of_columns", choices, out.size, values)
    if transpose_b:
        values = [a, b, rows, out.shape[1], a.shape[1], accumulate, out]
        return PartTask("product_transposed", choices, out.size, values, rows)
    values = [a, b, rows, a.shape[1], out.shape[1], accumulate, out]
    return PartTask("product", choices, out.size, values, rows)


def batch_of(tasks: Sequence[Task]) -> int:
    """The rows of the batch: the least that a task has which cannot do without rows."""
    return min((task.rows for task in tasks if task.rows and task.stage != "grid"), default=1)


@dataclass
class Phase:
    """What is done between two barriers: row by row, or else spread over the grid."""

    by_rows: bool
    tasks: list[Task] = field(default_factory=list)


# Stages of a spread phase, in their order there, in which a place belongs to the same thread.
_DEALT = (("grid", "grid"), ("grid", "blocks"), ("blocks", "blocks"))


def phases(tasks: Sequence[Task]) -> list[Phase]:
    """The tasks in phases, those of each in order."""
    batch = batch_of(tasks)
    found: list[Phase] = []
    places: list[int] = []  # of the tasks before
    for number, task in enumerate(tasks):
        by_rows = task.rows > 0 and task.rows % batch == 0
        if task.rows and task.stage == "blocks" and not by_rows:
            raise LaunchModeError("one of its products has other rows than the batch")
        place = 0
        for before, at in zip(tasks[:number], places, strict=True):
            conflict = before.conflict(task)
            if by_rows:
                together = conflict is Conflict.PIECES and found[at].by_rows
            else:
                together = conflict is Conflict.THREADS and (before.stage, task.stage) in _DEALT
            if conflict is not Conflict.NONE:
                place = max(place, at if together else at + 1)
        while place < len(found) and found[place].by_rows != by_rows:
            place += 1
        if place == len(found):
            found.append(Phase(by_rows))
        found[place].tasks.append(task)
        places.append(place)
    return found


def stages_of(found: Sequence[Phase]) -> list[tuple[str, list[Task]]]:
    """The stages of the kernel. What one block does by itself after a barrier is done in it."""
    stages: list[tuple[str, list[Task]]] = []
    for phase in found:
        if phase.by_rows:
            stages.append(("rows", phase.tasks))
        elif stages and all(task.stage == "last" for task in phase.tasks):
            stages[-1][1].extend(phase.tasks)
            continue
        else:
            for name, stage in (("grid", "grid"), ("blocks", "blocks"), ("once", "last")):
                some = [task for task in phase.tasks if task.stage == stage]
                # What could be cut into rows, but not into those of the batch.
                some += [t for t in phase.tasks if t.stage == "rows" and name == "grid"]
                if some:
                    stages.append((name, some))
        stages.append(("barrier", []))
    return stages


def configure(tasks: Sequence[Task], resident: int, barrier: Callable[[], Array]) -> Configuration:
    """The kernel of a step. Its first argument, the number of steps, is left to the caller.

    Args:
        tasks: the step's, all of them parts.
        resident: how many blocks can be on the card at once.
        barrier: gives the memory of the barrier.

    Raises:
        LaunchModeError: if one kernel cannot hold them.
    """
    if not resident:
        raise LaunchModeError("the card cannot hold all blocks of a launch at once")
    stages: list[Stage] = []
    arguments: list[Any] = [barrier()]
    batch = batch_of(tasks)
    for name, some in stages_of(phases(tasks)):
        if name == "rows":
            arguments += [np.int64(batch), np.int64(-(-batch // resident)), np.int64(BLOCK)]
        stages.append(Stage(name, calls(some)))
        arguments += [argument for task in some for argument in task.arguments]
    size = 8 * (len(arguments) + 1)
    if size > PARAMETERS:
        raise LaunchModeError(f"its arguments take {size:,} bytes; a kernel has {PARAMETERS:,}")
    return Configuration(Kernel(tuple(stages), repeats=True), resident, arguments)

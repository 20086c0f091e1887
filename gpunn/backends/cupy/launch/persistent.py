"""Launch mode "persistent": one kernel does all tasks of a step, and continues with the next step.

The tasks are grouped into phases; between two of them all blocks synchronize. There are two
kinds. In a phase by rows each block takes slices of the batch through all layers, forward and
backward. In a phase by elements the whole grid divides the tasks that need all rows: gradients of
weights, sums, the update. Each task is placed in the earliest possible phase. Matrix products are
parts like all others (`parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array

from .codegen import BLOCK, Kernel, Stage
from .fuse import LaunchConfiguration, copied_address
from .kernel_source import part_named
from .loops import eight_bytes, rolled
from .modes import LaunchModeError
from .tasks import Conflict, Task, strictest


def batch_of(tasks: Sequence[Task]) -> int:
    """Return the rows of the batch: the fewest of all products, or else of all tasks that must be
    done row by row. Others may have the rows of a weight."""
    by_rows = [task for task in tasks if task.rows and task.stage != "grid"]
    products = [task for task in by_rows if task.stage == "blocks"]
    return min((task.rows for task in products or by_rows), default=1)


@dataclass
class Phase:
    """The tasks between two barriers: by rows, or else by elements."""

    by_rows: bool
    tasks: list[Task] = field(default_factory=list)


# Pairs of stages of a phase by elements in which the same thread has an element in both.
_STRIDED = (("grid", "grid"), ("grid", "blocks"), ("blocks", "blocks"))


def phases(tasks: Sequence[Task]) -> list[Phase]:
    """Group the tasks into phases, in order within each."""
    batch = batch_of(tasks)
    found: list[Phase] = []
    numbers: list[int] = []  # the phase of each earlier task
    conflicts = list(_conflicts(tasks))
    for number, task in enumerate(tasks):
        rows = task.rows or task.size * task.flat
        by_rows = rows > 0 and rows % batch == 0
        if task.rows and task.stage == "blocks" and not by_rows:
            raise LaunchModeError("one of its products does not have the rows of the batch")
        phase = 0
        for before, conflict in conflicts[number].items():
            at = numbers[before]
            if by_rows:
                together = conflict is Conflict.SAME_SLICE and found[at].by_rows
            else:
                stages = tasks[before].stage, task.stage
                together = conflict is Conflict.SAME_THREAD and stages in _STRIDED
            phase = max(phase, at if together else at + 1)
        while phase < len(found) and found[phase].by_rows != by_rows:
            phase += 1
        if phase == len(found):
            found.append(Phase(by_rows))
        found[phase].tasks.append(task)
        numbers.append(phase)
    return found


def _conflicts(tasks: Sequence[Task]) -> Iterator[dict[int, Conflict]]:
    """Yield for each task the numbers of the earlier ones that it must wait for, and how far.

    A long scan has thousands of tasks. So only regions that overlap are compared, and of those with
    the same bounds none before the last that is written: what waits for that waits for them too.
    """
    regions = [(region, number) for number, task in enumerate(tasks) for region in task.regions]
    start = np.array([region.start for region, _ in regions], np.uint64)
    stop = np.array([region.stop for region, _ in regions], np.uint64)
    written = np.array([region.written for region, _ in regions], np.bool_)
    compared = np.ones(len(regions), np.bool_)
    since: dict[tuple[int, int], list[int]] = {}  # the regions compared, by their bounds
    end = 0  # of the regions of earlier tasks
    for task in tasks:
        found: dict[int, set[Conflict]] = {}
        for mine in task.regions:
            overlap = (start[:end] < mine.stop) & (stop[:end] > mine.start) & compared[:end]
            for at in np.flatnonzero(overlap & (written[:end] | mine.written)).tolist():
                region, number = regions[at]
                found.setdefault(number, set()).add(region.conflict(mine))
        yield {number: strictest(kinds) for number, kinds in found.items()}
        for mine in task.regions:
            if mine.written:
                compared[since.pop(mine[:2], [])] = False
        for at, mine in enumerate(task.regions, end):
            since.setdefault(mine[:2], []).append(at)
        end += len(task.regions)


def stages_of(found: Sequence[Phase]) -> list[tuple[str, list[Task]]]:
    """Return the stages of the kernel. Work of a single block right after a barrier becomes part of
    the barrier's stage: the last block to arrive does it before the others continue. What writes
    the counters, of which each block has a copy, every block does."""
    stages: list[tuple[str, list[Task]]] = []
    barrier: list[Task] | None = None  # the tasks of the last one
    for phase in found:
        each = [task for task in phase.tasks if task.name and part_named(task.name).writes_copy]
        others = [task for task in phase.tasks if task not in each]
        if barrier is not None and all(task.stage == "last" for task in phase.tasks):
            barrier.extend(others)
            if each:
                stages.append(("each", each))
                barrier = None  # what comes later may read the counters
            continue
        if phase.by_rows:
            stages.append(("rows", others))
        else:
            for name, stage in (("grid", "grid"), ("blocks", "blocks"), ("once", "last")):
                of_stage = [task for task in others if task.stage == stage]
                # Tasks with rows, but not the rows of the batch.
                of_stage += [t for t in others if t.stage == "rows" and name == "grid"]
                if of_stage:
                    stages.append((name, of_stage))
        if each:
            stages.append(("each", each))
        barrier = []
        stages.append(("barrier", barrier))
    return stages


def configure(
    tasks: Sequence[Task],
    resident: int,
    barrier: Callable[[], Array],
    upload: Callable[[np.ndarray], Array],
) -> LaunchConfiguration:
    """Return the persistent kernel of a step, all of whose tasks are parts, for a GPU on which so
    many blocks can be resident at once. The caller adds its last argument, the number of steps.

    Raises:
        LaunchModeError: if the GPU does not allow it.
    """
    if not resident:
        raise LaunchModeError("the GPU cannot hold all blocks of a launch at once")
    addresses = (copied_address(task) for task in tasks)
    copies = list(dict.fromkeys(address for address in addresses if address is not None))
    stages: list[Stage] = []
    arguments: list[Any] = [barrier()]
    table: list[Any] = []
    batch = batch_of(tasks)
    for name, members in stages_of(phases(tasks)):
        if name == "rows":
            arguments += [np.int64(batch), np.int64(-(-batch // resident)), np.int64(BLOCK)]
        parts, given, rows = rolled(members, copies)
        stages.append(Stage(name, parts))
        arguments += given
        table += rows
    if table:
        arguments.insert(1, upload(np.array(list(map(eight_bytes, table)), np.int64)))
    return LaunchConfiguration(Kernel(tuple(stages), repeats=True), resident, arguments)

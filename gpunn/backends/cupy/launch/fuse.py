"""Launch mode "fused": the tasks of a step, combined into as few launches as possible.

The algorithm processes the list of tasks from its end. Each task joins the earliest later launch
that it may share, or else begins a new launch in front of all others. A task may run
before an earlier one only if they share no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Array

from .codegen import BLOCK, PARAMETER_BYTES, WARP, Kernel, PartCall, Stage
from .kernel_source import NULL, Constant, part_named
from .tasks import Conflict, Task, region

MOST_ARGUMENTS = PARAMETER_BYTES // 8 - 4
"""The most arguments of the tasks that share a launch. Each takes at most 8 bytes of the kernel's
parameters, of which at most four are the launch's own, see `Kernel`."""


MOST_IN_SLICE = 1 << 12
"""The most elements of a slice in a launch that several tasks share: a block that takes a larger
one is busy while others are idle, which costs more than a launch."""


_STRIDED = ("grid", "blocks")
"""The stages, in order, of tasks that divide common arrays by threads."""


@dataclass
class FusedLaunch:
    """The tasks of one launch, in order: those in ``main``, then those in ``last``."""

    main: list[Task] = field(default_factory=list)
    last: list[Task] = field(default_factory=list)
    _between: set[Conflict] = field(default_factory=set)  # those in main

    @property
    def tasks(self) -> list[Task]:
        return [*self.main, *self.last]

    def conflict(self, task: Task) -> Conflict:
        """Return how far ``task`` must precede these."""
        return max(task.conflict(other) for other in self.tasks)

    @property
    def stages(self) -> list[tuple[str, list[Task]]]:
        """The stages of its kernel, with the tasks of each."""
        found: list[tuple[str, list[Task]]] = []
        by_rows = len(self.main) > 1 or any(task.by_slices for task in self.main)
        if self.main and by_rows and common_slices(self.main):
            found = [("rows", self.main)]
        else:
            for name in dict.fromkeys((*_STRIDED, *(str(task.stage) for task in self.main))):
                of_stage = [task for task in self.main if str(task.stage) == name]
                found += [(name, of_stage)] if of_stage else []
        return [*found, ("last", self.last)] if self.last else found

    def prepend(self, task: Task) -> bool:
        """Put ``task`` in front of these if one launch can do them all; return whether it can."""
        if task.stage is None or any(other.stage is None for other in self.main):
            return False
        if sum(len(other.arguments) for other in [task, *self.tasks]) > MOST_ARGUMENTS:
            return False
        conflicts = {task.conflict(other) for other in self.main}
        if not self._suits(task, conflicts):
            return False
        if task.stage == "last":
            self.last.insert(0, task)
        else:
            self.main.insert(0, task)
            self._between |= conflicts
        return True

    def _suits(self, task: Task, conflicts: set[Conflict]) -> bool:
        """Return whether one launch can do ``task`` and these, with these conflicts to them."""
        if task.stage == "last":
            return conflicts <= {Conflict.NONE}
        if not self.main:
            return True
        tasks, between = [task, *self.main], conflicts | self._between
        slices = common_slices(tasks)
        if slices:
            in_slices = between <= {Conflict.NONE, Conflict.SAME_SLICE}
            return in_slices and all(each.size <= slices * MOST_IN_SLICE for each in tasks)
        # Each thread does its elements in all of them, in the stages' order.
        later = [other for other in self.main if other.stage != "blocks"]
        in_order = task.stage != "blocks" or all(
            task.conflict(other) is Conflict.NONE for other in later
        )
        strided = all(each.stage in _STRIDED and not each.by_slices for each in tasks)
        return strided and in_order and between <= {Conflict.NONE, Conflict.SAME_THREAD}


def common_slices(tasks: Sequence[Task]) -> int:
    """Return how many slices the rows of all tasks can be divided into; 0 if they cannot be."""
    least = min(task.rows for task in tasks)
    return least if least and all(task.rows % least == 0 for task in tasks) else 0


def fuse(tasks: Sequence[Task]) -> list[FusedLaunch]:
    """Return the launches of a step with these tasks, in the order in which they run."""
    launches: list[FusedLaunch] = []
    for task in reversed(tasks):
        for launch in launches:
            if launch.prepend(task):
                break
            if launch.conflict(task) is not Conflict.NONE:
                launches.insert(0, _launch_of(task))
                break
        else:
            launches.insert(0, _launch_of(task))
    return launches


def _launch_of(task: Task) -> FusedLaunch:
    return FusedLaunch([], [task]) if task.stage == "last" else FusedLaunch([task])


class LaunchConfiguration(NamedTuple):
    """A kernel and its launch: blocks of the grid, and arguments."""

    kernel: Kernel
    blocks: int
    arguments: list[Any]

    def with_constants(self, read: Callable[[Array], np.ndarray]) -> LaunchConfiguration:
        """Return this launch by a kernel that has sizes, flags and null pointers as constants.

        It is for launches that are repeated: each kernel is compiled for its constants. ``read``
        copies an array to the host.
        """
        constants: list[tuple[str, Constant]] = []
        arguments = []
        # The number of steps, the last parameter of a persistent kernel, is not an argument yet.
        for parameter, value in zip(self.kernel.declared, self.arguments, strict=False):
            if not parameter.is_constant(value):
                arguments.append(value)
            elif not parameter.pointer:
                constants.append((parameter.name, value.item()))
            else:
                array = None if value is NULL else tuple(read(value).tolist())
                constants.append((parameter.name, array))
        kernel = replace(self.kernel, constants=tuple(constants))
        return LaunchConfiguration(kernel, self.blocks, arguments)


def configure(
    launch: FusedLaunch, blocks: int, arrivals: Callable[[], Array]
) -> LaunchConfiguration:
    """Return the kernel of a launch of parts. ``blocks`` is the largest useful grid; ``arrivals``
    returns the counter for a last stage."""
    stages: list[Stage] = []
    arguments: list[Any] = []
    wanted = [1]  # blocks, of each stage
    for name, tasks in launch.stages:
        if name == "last":
            arguments += [arrivals()] if stages else []
        else:
            size = max(task.size for task in tasks)
            if name == "rows":
                count = common_slices(tasks) or 1  # 1 for a single task that needs all its rows
                in_slice = max(size // count, 1)
                by_block = in_slice >= BLOCK // 2 or any(task.by_slices for task in tasks)
                threads = BLOCK if by_block else WARP  # of a group
                fewest = max(min(task.size for task in tasks) // count, 1)  # elements of a slice
                at_once = max(WARP // in_slice, min(threads // fewest, count // blocks), 1)
                arguments += [np.int64(count), np.int64(at_once), np.int64(threads)]
                size = -(-count // at_once) * threads
            wanted.append(-(-size // BLOCK))
        stages.append(Stage(name, calls(tasks)))
        arguments += [argument for task in tasks for argument in task.arguments]
    return LaunchConfiguration(Kernel(tuple(stages)), min(max(wanted), blocks), arguments)


def calls(tasks: Sequence[Task], copies: Sequence[int] = ()) -> tuple[PartCall, ...]:
    """Return the parts of a stage. Threads synchronize before each that depends on earlier ones.

    ``copies``: the addresses of the arrays that each block has a copy of.
    """
    made: list[PartCall] = []
    since: list[Task] = []  # those since the last synchronization
    for task in tasks:
        syncs = any(other.conflict(task) > Conflict.SAME_THREAD for other in since)
        since = [task] if syncs else [*since, task]
        copied = copied_address(task)
        copy = 0 if copied is None or not copies else copies.index(copied)
        made.append(PartCall(task.name, task.choices, syncs, copy))
    return tuple(made)


def copied_address(task: Task) -> int | None:
    """Return the address of the array that each block of a persistent kernel has a copy of, if the
    task reads or writes one."""
    parameters = part_named(task.name).parameters if task.name else ()  # a library's has none
    for parameter, value in zip(parameters, task.arguments, strict=False):
        if parameter.mark == "BLOCK_COPY":
            return region(value, False).start
    return None

"""Launch mode "fused": the tasks of a step, put into as few launches as possible.

The list is gone through from its end. Each task joins the earliest launch behind it that it
may share; where none is, it begins one in front of all others. A task may pass what it has no
memory in common with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Array

from .codegen import BLOCK, WARP, Call, Kernel, Stage
from .tasks import Conflict, Task


@dataclass
class Group:
    """Tasks of one launch, each list in order: those in ``last`` run when ``main`` is done."""

    main: list[Task] = field(default_factory=list)
    last: list[Task] = field(default_factory=list)

    @property
    def tasks(self) -> list[Task]:
        return [*self.main, *self.last]

    def conflict(self, task: Task) -> Conflict:
        """How far ``task`` must come before these."""
        return max(task.conflict(other) for other in self.tasks)

    def take(self, task: Task) -> bool:
        """Put ``task`` in front of these, if one launch can do them all."""
        if task.stage is None or any(other.stage is None for other in self.main):
            return False
        before = max((task.conflict(other) for other in self.main), default=Conflict.NONE)
        if task.stage == "last":
            if before is Conflict.NONE:
                self.last.insert(0, task)
                return True
            return False
        if not self.main:
            self.main.append(task)
            return True
        by_blocks = {other.stage for other in [task, *self.main]} == {"blocks"}
        if (by_blocks and before is Conflict.NONE) or (
            before in (Conflict.NONE, Conflict.PIECES) and pieces([task, *self.main])
        ):
            self.main.insert(0, task)
            return True
        return False


def pieces(tasks: Sequence[Task]) -> int:
    """Into how many pieces all of these can be cut alike; 0 if they cannot."""
    least = min(task.rows for task in tasks)
    return least if least and all(task.rows % least == 0 for task in tasks) else 0


def fuse(tasks: Sequence[Task]) -> list[Group]:
    """The launches of a step whose operations ask for ``tasks``, in the order in which they run."""
    groups: list[Group] = []
    for task in reversed(tasks):
        for group in groups:
            if group.take(task):
                break
            if group.conflict(task) is not Conflict.NONE:
                groups.insert(0, _group(task))
                break
        else:
            groups.insert(0, _group(task))
    return groups


def _group(task: Task) -> Group:
    return Group([], [task]) if task.stage == "last" else Group([task])


class Configuration(NamedTuple):
    """A kernel and how it is launched: blocks of the grid, and its arguments."""

    kernel: Kernel
    blocks: int
    arguments: list[Any]


def configure(group: Group, blocks: int, arrivals: Callable[[], Array]) -> Configuration:
    """The kernel of a group of parts.

    Args:
        group: tasks that are parts.
        blocks: the largest grid that gains anything.
        arrivals: gives the counter for a last stage.
    """
    stages: list[Stage] = []
    arguments: list[Any] = []
    wanted = 1
    if group.main:
        name = group.main[0].stage
        if len(group.main) > 1 and name == "grid":
            name = "rows"
        size = max(task.size for task in group.main)
        if name == "rows":
            count = pieces(group.main)
            team = BLOCK if size // count >= BLOCK // 2 else WARP
            arguments += [np.int64(count), np.int64(1), np.int64(team)]
            size = count * team
        wanted = -(-size // BLOCK)
        stages.append(Stage(str(name), calls(group.main)))
        arguments += [argument for task in group.main for argument in task.arguments]
    if group.last:
        arguments += [arrivals()] if stages else []
        stages.append(Stage("last", calls(group.last)))
        arguments += [argument for task in group.last for argument in task.arguments]
    return Configuration(Kernel(tuple(stages)), max(1, min(wanted, blocks)), arguments)


def calls(tasks: Sequence[Task]) -> tuple[Call, ...]:
    """The tasks of a stage; their team meets before one that another must wait for."""
    made: list[Call] = []
    since: list[Task] = []  # those since it met
    for task in tasks:
        meets = any(other.conflict(task) > Conflict.THREADS for other in since)
        since = [task] if meets else [*since, task]
        made.append(Call(task.name, task.choices, meets))
    return tuple(made)

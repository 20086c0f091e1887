"""Steps of several networks as one program: a network in each lane of vectors.

`kernels/cpu/lanes.hpp` performs them. Which networks those are does not change the results of any.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from gpunn.backends.shared.lockstep import Run

NETWORKS = 16  # at once
MOST_BYTES = 1 << 19  # of the arrays of so many networks: wider ones fill vectors by themselves
# Arguments in which networks of a group may differ: seeds, rates, data and what counts steps.
_OWN = {
    "gather": (0, 1, 3, 5), "dropout": (1, 2, 3, 4), "dropout_gradient": (2,),
    "normal_noise": (1, 2, 3), "update": (5, 7), "schedule": (0,), "penalties": (3,),
}
_FORMULAS = {  # where the parameters of a formula are, which networks of a group have in common
    "bias_activation": 2, "activation_gradient": 2, "row_activation": 2,
    "row_activation_gradient": 2, "loss": 4,
}


class LaneProgram:
    """The calls of one network's step, for groups of such networks.

    Attributes:
        key: Networks of equal keys can be a group.
    """

    def __init__(self, library: Any, calls: Sequence[Any]) -> None:
        self.library, self.calls = library, tuple(calls)
        self.key: Hashable = tuple(map(_signature, calls))
        self.groups: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def is_small(self) -> bool:
        """Return whether such networks are faster in a group than one after the other."""
        try:
            return bool(self.library.Lanes((self.calls,)).bytes <= MOST_BYTES)
        except ValueError:  # an operation that may end a step
            return False

    def run_of(self, steps: int, passes: int = 1, between: Any = None) -> LaneRun:
        return LaneRun(self, steps, passes, between)

    def group(self, others: Sequence[LaneProgram]) -> Any:
        """Return these networks as a group. The last group is kept."""
        programs = self, *others
        key = tuple(map(id, programs))
        if key not in self.groups:
            self.groups = {key: (self.library.Lanes(tuple(p.calls for p in programs)), programs)}
        return self.groups[key][0]


class LaneRun(Run):
    """A run of such a program, in one or several passes; arguments as `Program.run` has them."""

    def __init__(
        self, program: LaneProgram, steps: int, passes: int = 1, between: Any = None
    ) -> None:
        super().__init__()
        self.program, self.passes, self.between = program, passes, between
        self.per_pass, self.steps = steps, steps * passes
        # All passes are one run: members with the same number of them begin and end together.
        self.key = program.key, (steps, passes) if passes > 1 else 1

    def perform(self, others: Sequence[Any], steps: int, stopped: np.ndarray) -> None:
        runs = [self, *others]
        for first in range(0, len(runs), NETWORKS):
            for group, some in _groups(runs[first : first + NETWORKS]):
                if self.passes > 1:
                    between = tuple(run.between for run in some)
                    group.run(self.per_pass, stopped, self.passes, between)
                else:
                    group.run(steps, stopped)


def _groups(runs: Sequence[LaneRun]) -> list[tuple[Any, Sequence[LaneRun]]]:
    """Return the networks of these runs as one group, or each by itself, which gives the same bits,
    if their arrays are laid out in different ways."""
    try:
        return [(runs[0].program.group([run.program for run in runs[1:]]), runs)]
    except ValueError:
        return [(run.program.group([]), [run]) for run in runs]


def _signature(call: Any) -> Hashable:
    """Return the operation, and what networks of a group have in common of its arguments."""
    name, *choices = call.key
    own, formula = _OWN.get(name, ()), _FORMULAS.get(name)
    common = [None if i in own else _common(value) for i, value in enumerate(call.arguments)]
    if formula is not None:
        common[formula] = call.arguments[formula].tobytes()
    return name, *choices, *common


def _common(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_common, value))
    return (value.dtype.char, value.size) if isinstance(value, np.ndarray) else value

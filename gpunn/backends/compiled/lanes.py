"""Steps of several networks as one program: a network in each lane of vectors.

`kernels/cpu/lanes.hpp` performs them. Which networks those are does not change the results of any.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from gpunn.backends.shared.lockstep import Lockstep, Run

MOST_BYTES = 1 << 19  # of the arrays of a group: wider networks fill vectors by themselves
BYTES_AT_ONCE = 1 << 31  # of these arrays, over all steps of a run: some tenths of a second


class LaneProgram:
    """The calls of one network's step, for groups of such networks.

    Attributes:
        key: Networks of equal keys can be a group.
        bytes: Memory of the arrays of a group; None if such networks cannot be one.
    """

    def __init__(self, library: Any, calls: Sequence[Any]) -> None:
        self.library, self.calls = library, tuple(calls)
        self.key: Hashable = tuple(_signature(call, library.lane_rules) for call in calls)
        try:
            self.bytes: int | None = library.Lanes((self.calls,)).bytes
        except ValueError:  # an operation that may end a step
            self.bytes = None

    def is_small(self) -> bool:
        """Return whether such networks are faster in a group than one after the other."""
        return self.bytes is not None and self.bytes <= MOST_BYTES

    @property
    def steps_at_once(self) -> int:
        """How many steps of a group are a run."""
        return BYTES_AT_ONCE // max(self.bytes or 0, 1)

    def run_of(self, steps: int, passes: int = 1, between: Any = None) -> LaneRun:
        return LaneRun(self, steps, passes, between)


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

    def perform(self, others: Sequence[Any], steps: int, group: Lockstep) -> None:
        together = self.program.library.NETWORKS
        runs = [self, *others]
        for first in range(0, len(runs), together):
            for lanes, some in _lanes_of(runs[first : first + together], group):
                if self.passes > 1:
                    between = tuple(run.between for run in some)
                    lanes.run(self.per_pass, group.stopped, self.passes, between)
                else:
                    lanes.run(steps, group.stopped)


def _lanes_of(
    runs: Sequence[LaneRun], group: Lockstep
) -> Iterator[tuple[Any, Sequence[LaneRun]]]:
    """Yield the networks of these runs together or, if their arrays are laid out in different ways,
    each by itself, which gives the same bits."""
    calls = tuple(run.program.calls for run in runs)
    key = tuple(map(id, calls))  # which the lanes keep alive
    if key not in group.kept:
        try:
            group.kept[key] = runs[0].program.library.Lanes(calls)
        except ValueError:
            if len(runs) == 1:
                raise
            group.kept[key] = None
    if group.kept[key] is None:
        for run in runs:
            yield from _lanes_of([run], group)
    else:
        yield group.kept[key], runs


def _signature(call: Any, rules: dict[str, Any]) -> Hashable:
    """Return the operation, and what networks of a group have in common of its arguments."""
    lanes, own = rules.get(call.key[0], (range(len(call.arguments)), ()))
    return call.key, tuple(
        None if place in own else _common(value, place in lanes)
        for place, value in enumerate(call.arguments)
    )


def _common(value: Any, any_contents: bool) -> Hashable:
    if isinstance(value, tuple):
        return tuple(_common(entry, any_contents) for entry in value)
    if not isinstance(value, np.ndarray):
        return value
    return value.dtype.char, value.size, b"" if any_contents else value.tobytes()

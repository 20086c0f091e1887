"""The rules for sharing a launch, checked on a small machine that touches memory by address.

The rules do not check themselves: the tests go through slices and threads one by one. Two of them
that touch the same address, one of them writing, must not run at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from gpunn.backends.contract.backend import NotTraceableError
from gpunn.backends.cupy.launch.fuse import FusedLaunch, calls, fuse
from gpunn.backends.cupy.launch.persistent import phases
from gpunn.backends.cupy.launch.tasks import Conflict, Region, Task

WORK = list(product(range(2), range(2)))  # (slice, thread)


def touched(region: Region, slice_: int, thread: int) -> set[int]:
    """Return the addresses that a thread touches while it works on a slice."""
    first, stop = region.start, region.stop
    if region.sliced:
        half = (stop - first) // 2
        first, stop = first + slice_ * half, first + (slice_ + 1) * half
    mine = set(range(first, stop))
    if region.strided_from is not None:
        mine = {a for a in mine if (a - region.strided_from) % 2 == thread}
    return mine


def collides(first: Task, second: Task, across: str) -> bool:
    """Return whether one task writes an address that the other one touches: in any two parts of the
    work, or in parts of different slices, or of different threads."""
    return any(
        touched(a, p, t) & touched(b, q, u)
        for a, b in product(first.regions, second.regions)
        if a.written or b.written
        for (p, t), (q, u) in product(WORK, WORK)
        if across == "all" or (p != q if across == "slices" else t != u)
    )


def task(stage: str | None, rows: int, *regions: Region) -> Task:
    made = Task()
    made.stage, made.rows = stage, rows
    made.regions = regions
    return made


WHOLE = Region(0, 4, True, False)
HALVES = Region(0, 4, True, True)
STRIDED = Region(0, 4, True, False, 0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (WHOLE, WHOLE, Conflict.ORDER),
        (WHOLE, WHOLE._replace(written=False), Conflict.ORDER),
        (WHOLE._replace(written=False), WHOLE, Conflict.ORDER),
        (WHOLE._replace(written=False), WHOLE._replace(written=False), Conflict.NONE),
        (WHOLE, Region(4, 8, True, False), Conflict.NONE),  # neighbours
        (WHOLE, Region(3, 5, False, False), Conflict.ORDER),  # one address in common
        (WHOLE, Region(1, 3, False, False), Conflict.ORDER),  # one inside the other
        (HALVES, HALVES, Conflict.SAME_SLICE),
        (HALVES, HALVES._replace(written=False), Conflict.SAME_SLICE),
        (HALVES, WHOLE, Conflict.ORDER),  # one of the two is not divided
        (WHOLE, HALVES, Conflict.ORDER),
        (HALVES, Region(0, 6, True, True), Conflict.ORDER),  # divided at another position
        (HALVES, Region(2, 4, True, True), Conflict.ORDER),
        (STRIDED, STRIDED, Conflict.SAME_THREAD),
        (STRIDED, Region(2, 6, True, False, 0), Conflict.SAME_THREAD),  # from the same start
        (STRIDED, Region(0, 4, True, False, 1), Conflict.ORDER),  # the next thread's
        (STRIDED, WHOLE, Conflict.ORDER),
        (STRIDED, HALVES, Conflict.ORDER),
    ],
)
def test_two_regions(first: Region, second: Region, expected: Conflict) -> None:
    assert first.conflict(second) is expected
    assert second.conflict(first) is expected


def test_slices_and_threads_together_need_an_order() -> None:
    """Work that is divided by slices in one task and by threads in another has no single owner."""
    other = Region(8, 12, True, True)
    both = task("grid", 2, STRIDED, other), task("grid", 2, STRIDED, other)
    assert both[0].conflict(both[1]) is Conflict.ORDER


regions = st.builds(
    lambda start, size, written, cut: Region(
        start, start + size, written, cut == "slice", cut if isinstance(cut, int) else None
    ),
    st.integers(0, 6), st.sampled_from([2, 4]), st.booleans(),
    st.sampled_from([None, "slice", "slice", 0, 1]),
)  # fmt: skip
kinds = st.sampled_from(
    [(None, 0), ("grid", 8), ("grid", 5), ("grid", 0), ("rows", 8), ("rows", 16), ("blocks", 0),
     ("blocks", 8), ("last", 0)]
)  # fmt: skip
tasks = st.builds(
    lambda kind, some: task(*kind, *some), kinds, st.lists(regions, min_size=1, max_size=3)
)


def for_many(*given: Any, now: int = 150) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Ask for examples of these strategies: ``now`` of them, and 500 in `make test-more`."""

    def checking(check: Callable[..., None]) -> Callable[..., None]:
        later = [] if now == 500 else [pytest.param(500, marks=pytest.mark.more)]

        @pytest.mark.parametrize("count", [now, *later])
        def checked(count: int) -> None:
            settings = hypothesis.settings(max_examples=count, derandomize=True, database=None)
            settings(hypothesis.given(*given)(check))()

        checked.__name__, checked.__doc__ = check.__name__, check.__doc__
        return checked

    return checking


@for_many(tasks, tasks, now=500)
def test_a_conflict_is_no_smaller_than_it_is(first: Task, second: Task) -> None:
    found = first.conflict(second)
    across = {Conflict.NONE: "all", Conflict.SAME_THREAD: "threads", Conflict.SAME_SLICE: "slices"}
    assert found is Conflict.ORDER or not collides(first, second, across[found])


@for_many(st.lists(tasks, max_size=9))
def test_what_shares_a_launch_may_run_at_once(some: list[Task]) -> None:
    launches = fuse(some)
    assert sorted(map(id, some)) == sorted(id(t) for launch in launches for t in launch.tasks)
    place = {
        id(t): (k, t in launch.last) for k, launch in enumerate(launches) for t in launch.tasks
    }
    for k, first in enumerate(some):
        for second in some[k + 1 :]:
            if not collides(first, second, "all"):
                continue
            (a, first_ends), (b, second_ends) = place[id(first)], place[id(second)]
            assert a <= b
            if a < b or (not first_ends and second_ends):  # the last block waits for the others
                continue
            assert first_ends == second_ends
            stages = dict(launches[a].stages)
            order = launches[a].last if first_ends else launches[a].main
            if first_ends or "rows" in stages:
                assert comes_first(order, first, second)
                assert first_ends or not collides(first, second, "slices")
                continue
            names = [name for t in (first, second) for name in stages if t in stages[name]]
            assert not collides(first, second, "threads")
            assert names in (["grid", "grid"], ["grid", "blocks"], ["blocks", "blocks"])
            assert names[0] != names[1] or order.index(first) < order.index(second)
    for launch in launches:
        assert all(t.stage is not None for t in launch.tasks) or len(launch.tasks) == 1
        assert all(t.stage == "last" for t in launch.last)
        assert not any(t.stage == "last" for t in launch.main)
        if "rows" in dict(launch.stages):
            assert cut_alike(launch.main)  # all of them have this many slices
        else:  # a product in blocks of threads takes rows
            assert not any(t.stage == "blocks" and t.rows for t in launch.main)
        assert sorted(map(id, launch.tasks)) == sorted(id(t) for _, ts in launch.stages for t in ts)


def test_the_last_block_of_a_launch_counts_too() -> None:
    """A task that only its last stage waits for joins no later launch."""
    x, y, z = (Region(8 * k, 8 * k + 4, True, False) for k in range(3))
    read = [region._replace(written=False) for region in (x, z)]
    some = [task("rows", 5, x), task("grid", 8, y), task("last", 0, *read), task("grid", 5, z)]
    assert [[some.index(t) for t in launch.tasks] for launch in fuse(some)] == [[0], [1, 2], [3]]


def test_threads_wait_for_what_was_done_long_before() -> None:
    x, y = HALVES, Region(8, 12, True, True)
    some = [task("rows", 8, x), task("rows", 8, y), task("rows", 8, x), task("rows", 8, y)]
    assert [call.syncs for call in calls(some)] == [False, False, True, False]


def enumerate_stages(launch: FusedLaunch) -> Iterator[tuple[int, int, str, Task]]:
    """Yield the place of each task of a launch: its stage, and its number there."""
    for number, (name, some) in enumerate(launch.stages):
        for k, t in enumerate(some):
            yield number, k, name, t


def comes_first(order: list[Task], first: Task, second: Task) -> bool:
    """Return whether `first` runs first, with a barrier between if threads share its results."""
    at, then = order.index(first), order.index(second)
    syncs = [call.syncs for call in calls(order)][at + 1 : then + 1]
    return at < then and (any(syncs) or not collides(first, second, "threads"))


def cut_alike(some: list[Task]) -> bool:
    least = min(t.rows for t in some)
    return least > 0 and all(t.rows % least == 0 for t in some)


@for_many(st.lists(tasks.filter(lambda t: t.stage is not None), max_size=9))
def test_what_shares_a_phase_may_run_at_once(some: list[Task]) -> None:
    try:
        found = phases(some)
    except NotTraceableError as error:
        hypothesis.assume("does not have the rows of the batch" not in str(error))
        raise
    stages = ("grid", "rows", "blocks", "last")
    place = {id(t): (k, phase) for k, phase in enumerate(found) for t in phase.tasks}
    for k, first in enumerate(some):
        for second in some[k + 1 :]:
            if not collides(first, second, "all"):
                continue
            (a, phase), (b, _) = place[id(first)], place[id(second)]
            assert a <= b
            if a < b:
                continue
            if phase.by_rows:
                assert not collides(first, second, "slices")
                assert comes_first(phase.tasks, first, second)
            else:
                assert not collides(first, second, "threads")
                assert stages.index(str(first.stage)) <= stages.index(str(second.stage))


small_regions = st.lists(
    st.lists(
        st.builds(
            lambda start, size, *marks: Region(start, start + size, *marks),
            st.integers(0, 5), st.integers(1, 3), st.booleans(), st.booleans(),
            st.sampled_from([None, None, 0, 1]),
        ),
        min_size=1, max_size=4,
    ),
    max_size=12,
)  # fmt: skip


@for_many(small_regions, st.lists(kinds, min_size=12, max_size=12))
def test_tasks_that_depend_on_each_other_keep_their_order(
    all_regions: list[list[Region]], kinds: list[tuple[str | None, int]]
) -> None:
    """According to the conflicts that the tasks report themselves."""
    tasks = [task(*kind, *some) for some, kind in zip(all_regions, kinds, strict=False)]
    launches = fuse(tasks)
    assert sorted(map(id, tasks)) == sorted(id(t) for g in launches for t in g.tasks)
    shared_out = [
        (at, next(p for p in enumerate_stages(launch) if p[-1] is t)[:-1])
        for t in tasks
        for at, launch in enumerate(launches)
        if t in launch.tasks
    ]
    found = phases([t for t in tasks if t.stage is not None])
    places = {
        id(t): (at, ("grid", "rows", "blocks", "last").index(t.stage), phase.by_rows)
        for at, phase in enumerate(found)
        for t in phase.tasks
    }
    for j, second in enumerate(tasks):
        for i, first in enumerate(tasks[:j]):
            conflict = first.conflict(second)
            if conflict is Conflict.NONE:
                continue
            (a, (x, k, _)), (b, (y, m, name)) = shared_out[i], shared_out[j]
            scopes = {"rows": Conflict.SAME_SLICE, "last": conflict}
            shared = conflict is scopes.get(name, Conflict.SAME_THREAD)
            assert a < b or (a == b and (x, k) < (y, m) and shared)
            if id(first) in places and id(second) in places:
                (a, x, _), (b, y, rows) = places[id(first)], places[id(second)]
                same = Conflict.SAME_SLICE if rows else Conflict.SAME_THREAD
                assert a < b or (a == b and conflict is same and (rows or x <= y))

"""Rows by the numbers of their places, on a card."""

from __future__ import annotations

from gpunn.backends.contract import Given

from .launch.codegen import BLOCK, WARP
from .launch.task_backend import TaskBackend

MANY_COLUMNS = 1 << 12  # keep the blocks of a card busy, with a thread for each


class CupyPlaces(TaskBackend):
    """Rows taken from places and put there; a part of `CupyBackend`."""

    def _take_rows(self, given: Given) -> None:
        sliced = given.outer if given.outer > 1 else given.count
        self._part("take_rows", given, given.out.size, sliced=sliced)

    def _scatter_rows(self, given: Given) -> None:
        if not (given.rows.size and given.n):
            return
        outer, functor = given.outer, given.merging
        lines = outer * given.inner
        if lines >= MANY_COLUMNS or given.count <= WARP:
            self._part("scatter_columns", given, lines, functor=functor, into=given.out)
            return
        groups = max(1, min(given.n, -(-self.kernels.blocks // outer)))
        threads = outer * groups * BLOCK
        self._part("scatter_rows", given, threads, functor=functor, groups=groups, into=given.out)

    def _check_range(self, given: Given) -> None:
        check, x = given.check, given.x
        self.note_check(check)
        self._each("check_range", given, x, low=check.low, high=check.high, found=check.found)

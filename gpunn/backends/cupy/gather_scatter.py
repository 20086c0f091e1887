"""Gather and scatter of rows by index on a GPU."""

from __future__ import annotations

from gpunn.backends.contract import OpCall

from .launch.codegen import BLOCK, WARP
from .launch.task_backend import TaskBackend

MANY_COLUMNS = 1 << 12  # keep the blocks of a GPU busy, with a thread for each


class CupyGatherScatter(TaskBackend):
    """Gather and scatter of rows; a part of `CupyBackend`."""

    def _take_rows(self, call: OpCall) -> None:
        sliced = call.outer if call.outer > 1 else call.count
        self._part("take_rows", call, call.out.size, sliced=sliced)

    def _scatter_rows(self, call: OpCall) -> None:
        if not (call.rows.size and call.n):
            return
        outer, functor = call.outer, call.merging
        lines = outer * call.inner
        if lines >= MANY_COLUMNS or call.count <= WARP:
            self._part("scatter_columns", call, lines, functor=functor, into=call.out)
            return
        groups = max(1, min(call.n, -(-self.kernels.blocks // outer)))
        threads = outer * groups * BLOCK
        self._part("scatter_rows", call, threads, functor=functor, groups=groups, into=call.out)

    def _check_range(self, call: OpCall) -> None:
        check, x = call.check, call.x
        self._each("check_range", call, x, low=check.low, high=check.high, found=check.found)

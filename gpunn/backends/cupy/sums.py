"""Column sums on a GPU."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array

from .launch.codegen import BLOCK
from .launch.task_backend import TaskBackend

COLUMN_TILE = 32  # as in reductions.cu
FEW_ROWS = 1024  # that the threads of one block sum alone
MANY_COLUMNS = 1 << 12  # keep the blocks of a GPU busy


class CupySums(TaskBackend):
    """Column sums; a part of `CupyBackend`."""

    def _column_sums(self, call: OpCall) -> None:
        x, out, rows, features = call.x, call.out, call.rows, call.features
        if not call.accumulate and self._as_epilogue("bias_gradient", x, out):
            return
        groups = min(rows // FEW_ROWS, -(-MANY_COLUMNS // max(features, 1)))
        if groups > 1:
            # Join adjacent rows to one wide row: its columns keep more blocks busy.
            even = rows // groups * groups
            sums = self.scratch((groups, features), out.dtype, "column sums")
            wide, into = x[:even].reshape(-1, groups * features), sums.reshape(-1)
            self._sums_of_columns(call, x=wide, out=into, accumulate=False)
            self._sums_of_columns(call, x=sums)
            if even < rows:
                self._sums_of_columns(call, x=x[even:], accumulate=True)
            return
        self._sums_of_columns(call, x=x)

    def _sums_of_columns(self, call: OpCall, *, x: Array, **values: Any) -> None:
        rows, features = x.shape
        threads = -(-features // COLUMN_TILE) * BLOCK
        self._part("column_sums", call, threads, x=x, rows=rows, features=features, **values)

"""Gather and scatter of rows by index as compiled operations."""

from __future__ import annotations

from functools import partial

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.gather_scatter import Check

from .operations import Arguments, CompiledOperations, compiled, name_of


class CompiledGatherScatter(CompiledOperations):
    """Gather and scatter of rows; a part of `CompiledBackend`."""

    @compiled(lambda call: (name_of(call.x.dtype),))
    def _take_rows(self, call: OpCall) -> Arguments:
        return (
            call.x, call.places, call.sets, call.outer, call.n, call.count, call.inner,
            call.wraps, call.out,
        )

    @compiled(lambda call: (name_of(call.rows.dtype), call.merging))
    def _scatter_rows(self, call: OpCall) -> Arguments:
        return (
            call.rows, call.places, call.sets, call.outer, call.count, call.n, call.inner,
            call.wraps, call.out,
        )

    @compiled(lambda call: (name_of(call.x.dtype),))
    def _check_range(self, call: OpCall) -> Arguments:
        x, check = call.x, call.check
        return x, x.size, check.low, check.high, check.found, partial(_complain, check)


def _complain(check: Check) -> None:
    found = check.found.copy()
    check.reset()
    raise check.error(found)

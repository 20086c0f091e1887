"""Rows by the numbers of their places, compiled."""

from __future__ import annotations

from functools import partial

from gpunn.backends.contract import Given
from gpunn.backends.contract.places import Check

from .operations import Arguments, CompiledOperations, compiled, name_of


class CompiledPlaces(CompiledOperations):
    """Rows taken from places and put there; a part of `CompiledBackend`."""

    @compiled(lambda given: (name_of(given.x.dtype),))
    def _take_rows(self, given: Given) -> Arguments:
        return (
            given.x, given.places, given.sets, given.outer, given.n, given.count, given.inner,
            given.wraps, given.out,
        )  # fmt: skip

    @compiled(lambda given: (name_of(given.rows.dtype), given.merging))
    def _scatter_rows(self, given: Given) -> Arguments:
        return (
            given.rows, given.places, given.sets, given.outer, given.count, given.n, given.inner,
            given.wraps, given.out,
        )  # fmt: skip

    @compiled(lambda given: (name_of(given.x.dtype),))
    def _check_range(self, given: Given) -> Arguments:
        x, check = given.x, given.check
        return x, x.size, check.low, check.high, check.found, partial(_complain, check)


def _complain(check: Check) -> None:
    found = check.found.copy()
    check.reset()
    raise check.error(found)

"""The ranks of a run: what each of several processes has, and what they tell each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.common.importing.light_dataclass import dataclass


@dataclass(frozen=True)
class Shard:
    """The rows of a batch that a rank processes.

    Attributes:
        first: The number of rows that other ranks process before these.
        rows: The number of these rows; there may be none.
    """

    ranks: Communicator
    first: int
    rows: int
    whole: int

    def of(self, entries: int, rows: int) -> Shard | None:
        """Return the shard of an array of so many rows, with so many entries for each row of the
        batch, such as steps; None if it has none."""
        if not entries:
            return None
        return Shard(self.ranks, self.first * entries, rows, self.whole * entries)


class Communicator:
    """A run of one process, and the interface of runs of several: this is the one of number
    ``rank``, from 0.

    The methods from `sum` on are collective: all ranks call them, in the same order.
    """

    rank = 0
    size = 1

    def __init__(self) -> None:
        self._user = threading.Lock()

    def shard(self, batch: int) -> Shard:
        """Return this rank's rows of a batch of this size.

        Rank r of R takes rows r b // R to (r + 1) b // R of b, so each row has one rank. There may
        be fewer rows than ranks.

        >>> shard = Communicator().shard(32)
        >>> shard.first, shard.rows
        (0, 32)
        """
        first, stop = (batch * rank // self.size for rank in (self.rank, self.rank + 1))
        return Shard(self, first, stop - first, batch)

    def reserve(self) -> None:
        """Reserve the ranks for one training, until `release`.

        Raises:
            RuntimeError: if another thread trains over them: their calls would mix.
        """
        if not self._user.acquire(blocking=False):
            raise RuntimeError(
                "Another thread of this process trains over the ranks: one training runs at a "
                "time. Call set_distribution(None) for trainings of each process alone."
            )

    def release(self) -> None:
        self._user.release()

    def abort(self) -> None:
        """End all other processes, and this one."""

    # Of one process, each of these is the identity.

    def sum(self, array: np.ndarray) -> None:
        """Replace the array by its sum over all ranks: the same bits on each."""

    def least(self, *numbers: int) -> list[int]:
        """Return the least of each number over all ranks."""
        return list(numbers)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, by rank; anything that can be pickled."""
        return [value]

    def first(self, value: Any) -> Any:
        """Return the value of rank 0."""
        return value

    def shard_of(self, rows: int) -> Shard:
        """Return the shard of a batch to which each rank brings its own rows."""
        sizes = self.gather(rows)
        return Shard(self, sum(sizes[: self.rank]), rows, sum(sizes))

    def meet(self) -> None:
        """Wait for all ranks, without keeping a core busy."""

    def compare_warnings(self) -> None:
        """Print the warnings that other ranks have and rank 0 has not, since the last call."""

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return self.least(-int(flag)) == [-1]


ALONE = Communicator()
"""Of computations that involve no other rank, and of a run of one process."""


class _Active(threading.local):
    shard: Shard | None = None


_active = _Active()


def active_shard() -> Shard | None:
    """Return the rows that this rank processes in the step that this thread runs or records; None
    if they are all rows."""
    return _active.shard


@contextmanager
def using_shard(shard: Shard | None) -> Iterator[None]:
    """Return a context in which this thread runs or records a step on a shard of the rows."""
    before, _active.shard = _active.shard, shard
    try:
        yield
    finally:
        _active.shard = before

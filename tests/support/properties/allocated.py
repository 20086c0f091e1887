"""Python's and NumPy's memory that work takes, and that it keeps.

The process has tables of its own (registries of weak references, say), and one that grows takes
up to a megabyte at once, whatever the work. So each measure is the least of several.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any


def peak(work: Callable[[], Any]) -> int:
    """Return the peak of memory during ``work``, in bytes beyond the start; it is done twice."""
    return min(_peak(work), _peak(work))


def _peak(work: Callable[[], Any]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def growth(
    work: Callable[[], Any], times: int, warm: int = 1, settle: Callable[[], Any] = gc.collect
) -> int:
    """Return how many more bytes are in use after ``times`` further runs than after ``warm``.

    ``settle`` waits for what ends later than the work. What each run leaves is left by either
    half of the runs: twice the lesser half is returned.
    """

    def used(runs: int) -> int:
        for _ in range(runs):
            work()
        settle()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first, second, third = used(warm), used(times // 2), used(times - times // 2)
        return 2 * min(second - first, third - second)
    finally:
        tracemalloc.stop()

"""Programs and arrays of a call, kept for the next call, never shared by two at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Context = TypeVar("Context")
Result = TypeVar("Result")

KEPT = max(8, 2 * (os.cpu_count() or 1))  # contexts; those of further calls are dropped


class ObjectPool(Generic[Context]):
    """Programs and arrays of calls that may run at the same time, each with its own.

    A call takes a free context, or a new one is made. If the call ends with an error, its
    context is dropped: an interrupt may have left it half done.

    Args:
        make: makes one.

    >>> lists = ObjectPool(list)
    >>> lists.call(lambda first: first is lists.call(lambda second: second))
    False
    >>> lists.call(list.append, 5), lists.call(lambda same: same)
    (None, [5])
    """

    def __init__(self, make: Callable[[], Context]) -> None:
        self._make = make
        self._free: list[Context] = []

    def call(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """What ``work(context, *arguments)`` returns, which has the context for itself."""
        free = self._free  # another list if these are forgotten meanwhile
        try:
            context = free.pop()  # the last that was used: still in the cache
        except IndexError:
            context = self._make()
        result = work(context, *arguments)
        if len(free) < KEPT:
            free.append(context)
        return result

    def clear(self) -> None:
        """Forget all of them; those in use are not kept either."""
        self._free = []

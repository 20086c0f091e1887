"""A pool of programs and arrays for calls that may run at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Context = TypeVar("Context")
Result = TypeVar("Result")

KEPT = max(8, 2 * (os.cpu_count() or 1))  # maximum number of free contexts


class ObjectPool(Generic[Context]):
    """A pool of contexts: programs and arrays that concurrent calls never share.

    A call takes a free context, or creates a new one. If the call ends with an error, its
    context is dropped: an interrupt may have left it in an inconsistent state.

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
        """Return ``work(context, *arguments)``, with exclusive use of the context."""
        free = self._free  # `clear` replaces the list
        try:
            context = free.pop()  # the most recently used: still in the cache
        except IndexError:
            context = self._make()
        result = work(context, *arguments)
        if len(free) < KEPT:
            free.append(context)
        return result

    def clear(self) -> None:
        """Drop all contexts; those in use are not kept afterwards either."""
        self._free = []

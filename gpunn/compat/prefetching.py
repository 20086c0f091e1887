"""Samples made by a thread while the consumer works on earlier ones."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any


def prefetched(begin: Callable[[], Iterator[Any]], ahead: int) -> Iterator[Any]:
    """Yield what ``begin()`` yields, from a thread that is at most ``ahead`` samples ahead.

    The thread has the settings of the consumer's. An error in it is raised here, after the
    samples before it. It ends soon after the consumer stops, be it by an error, by Ctrl-C, or by
    leaving the loop.

    >>> list(prefetched(lambda: iter("abc"), 1))
    ['a', 'b', 'c']
    """
    # Samples in lists, and at last None, or the error that ended them.
    made: queue.Queue[list[Any] | BaseException | None] = queue.Queue(ahead)
    stopped = threading.Event()

    def work() -> None:
        last: BaseException | None = None
        try:
            for sample in begin():
                made.put([sample])
                if stopped.is_set():
                    return
        except BaseException as error:  # all are raised in the consumer's thread
            last = error
        made.put(last)
        last = None  # its traceback has this frame, and others that hold iterators

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), daemon=True, name="prefetch").start()
    try:
        while isinstance(found := made.get(), list):
            yield found[0]
        if found is not None:
            raise found
    finally:
        found = None  # likewise: what an error has left is freed at once, and its threads end
        stopped.set()
        while not made.empty():  # room for the one that the thread may be putting
            made.get()

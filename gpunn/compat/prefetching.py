"""Samples made by a thread while the consumer works on earlier ones."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from gpunn.common.random import draw_seed, seeded

_END = object()


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(begin: Callable[[], Iterator[Any]], ahead: int) -> Iterator[Any]:
    """Yield what ``begin()`` yields, from a thread that is at most ``ahead`` samples ahead.

    The thread has the settings of the consumer's, and seeds of its own, drawn here: how far it
    is ahead changes no number. An error in it is raised here, after the samples before it. It
    ends soon after the consumer stops, be it by an error, by Ctrl-C, or by leaving the loop.

    >>> list(prefetched(lambda: iter("abc"), 1))
    ['a', 'b', 'c']
    """
    made: queue.Queue[Any] = queue.Queue(ahead)
    stopped = threading.Event()
    seed = draw_seed() % 2**32

    def work() -> None:
        last: Any = _END
        try:
            with seeded(seed):
                for sample in begin():
                    made.put(sample)
                    if stopped.is_set():
                        return
        except BaseException as error:  # all are raised in the consumer's thread
            last = _Raised(error)
        made.put(last)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), daemon=True, name="prefetch").start()
    try:
        while (sample := made.get()) is not _END:
            if isinstance(sample, _Raised):
                raise sample.error
            yield sample
    finally:
        stopped.set()
        while not made.empty():  # room for the one that the thread may be putting
            made.get()

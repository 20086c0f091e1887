"""Threads on the CPU: one for small products and updates, all of them for large ones.

BLAS's own threads wait for each other by spinning. Beside another busy process they take
many times as long, and for small products they never pay. So BLAS gets one thread, and
what is large is cut into parts for threads of our own, which sleep until they are asked.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np

# A product of fewer flops is as fast on one thread, counting what the passes after it lose
# because a part of the result is in another core's cache.
FLOPS_WORTH_THREADS = 30_000_000
SIZE_WORTH_THREADS = 1 << 20  # weights of an update


@functools.cache
def _blas() -> list[Any]:
    """The controls of BLAS's threads; none where a source tree is run without threadpoolctl."""
    try:
        import threadpoolctl
    except ImportError:
        return []
    return threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers


def worth_threads(m: int, n: int, k: int) -> bool:
    """Whether to cut the product (m, k) @ (k, n) into parts.

    >>> worth_threads(32, 128, 784), worth_threads(128, 1024, 1024)
    (False, True)
    """
    return m > 1 and 2 * m * n * k >= FLOPS_WORTH_THREADS


class Workers:
    """Threads that each do a part of what is asked for.

    Attributes:
        count: how many there may be just now.
    """

    def __init__(self) -> None:
        self.count = 1  # outside of a session BLAS's own threads are at work
        self._sharing = threading.Lock()
        self._tasks: list[SimpleQueue[Any]] = []
        self._answers: SimpleQueue[BaseException | None] = SimpleQueue()
        os.register_at_fork(after_in_child=self._forget) if hasattr(os, "fork") else None

    def _forget(self) -> None:
        # A fork has no threads but its own.
        self._tasks, self._answers, self._sharing = [], SimpleQueue(), threading.Lock()

    @contextmanager
    def session(self) -> Iterator[None]:
        """One BLAS thread, and as many of ours as BLAS was allowed to have."""
        libraries = _blas()
        before = [library.get_num_threads() for library in libraries]
        for library in libraries:
            library.set_num_threads(1)
        outer, self.count = self.count, max([self.count, *before])
        try:
            yield
        finally:
            self.count = outer
            for library, count in zip(libraries, before, strict=True):
                library.set_num_threads(count)

    def dot(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        """out = a @ b, each thread some of the rows, or of the columns if there are more.

        What is not cut, BLAS lays out anew for each part: so it had better be the smaller.
        """
        rows, columns = out.shape
        if rows >= columns:
            self.share(rows, lambda at: np.dot(a[at], b, out=out[at]))
        else:
            self.share(columns, lambda at: np.matmul(a, b[:, at], out=out[:, at]))

    def share(self, n: int, work: Callable[[slice], Any]) -> None:
        """``work(part)`` for parts that make up 0 to ``n``, one part a thread."""
        # Not free: this is a part of something shared, or another thread is at it.
        if not self._sharing.acquire(blocking=False):
            work(slice(0, n))
            return
        try:
            self._share(n, work)
        finally:
            self._sharing.release()

    def _share(self, n: int, work: Callable[[slice], Any]) -> None:
        parts = max(min(self.count, n), 1)
        while len(self._tasks) < parts - 1:
            self._start()
        cuts = [n * i // parts for i in range(parts + 1)]
        mine, *others = map(slice, cuts, cuts[1:])
        for tasks, part in zip(self._tasks, others, strict=False):
            tasks.put((work, part))
        try:
            work(mine)
        finally:
            errors = [self._answers.get() for _ in others]
        for error in filter(None, errors):
            raise error

    def _start(self) -> None:
        tasks: SimpleQueue[Any] = SimpleQueue()
        self._tasks.append(tasks)
        threading.Thread(
            target=_serve, args=(tasks, self._answers), name="gpunn worker", daemon=True
        ).start()


def _serve(tasks: SimpleQueue[Any], answers: SimpleQueue[BaseException | None]) -> None:
    while True:
        work, part = tasks.get()
        error = None
        try:
            with np.errstate(all="ignore"):  # as in the session, which is another thread's
                work(part)
        except BaseException as raised:
            error = raised
        work = None  # it holds arrays, and the next task may be long in coming
        answers.put(error)

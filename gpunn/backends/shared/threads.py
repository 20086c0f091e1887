"""Threads on the CPU: one for small products and updates, several for large ones.

The threads of a BLAS library wait for each other in busy loops. When another process needs a
core too, they take many times as long, and small products are never faster with them. So BLAS
uses one thread, and large work is split into pieces for our own threads, which sleep while
idle. The split depends only on the size of the work, so the results are the same for any
number of threads.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple

from numpy.linalg import _umath_linalg

from gpunn.common.holds import Exclusive, Hold

# A product of fewer flops is as fast on one thread: with two, the operations after it read a part
# of the result from the cache of another core, which takes longer.
FLOPS_WORTH_THREADS = 30_000_000
MOST_PIECES = 8  # of a product: for each of them BLAS copies the smaller factor into its own layout
SIZE_WORTH_THREADS = 1 << 20  # weights of an update


class _Library(NamedTuple):
    """The functions of a BLAS library that get and set its number of threads."""

    get: Callable[[], int]
    set: Callable[[int], Any]


def _openblas(library: Any) -> _Library | None:
    """Return the functions of a shared library that has an OpenBLAS without OpenMP, else None.

    threadpoolctl lets only the first thread that used it set the number, and ignores the others.
    `ParallelRegion` tracks all threads itself.
    """
    for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64")):
        name = f"{prefix}openblas_{{}}{suffix}".format
        if hasattr(library, name("set_num_threads")) and library[name("get_parallel")]() != 2:
            return _Library(library[name("get_num_threads")], library[name("set_num_threads")])
    return None


@functools.cache
def _libraries() -> list[_Library]:
    """Return the BLAS libraries of this process; none if threadpoolctl, which finds those that
    NumPy does not bring along, is not installed."""
    try:
        from ctypes import CDLL

        own = _openblas(CDLL(_umath_linalg.__file__)) if "scipy" not in sys.modules else None
        if own is not None:
            return [own]  # threadpoolctl would take longer than a small training
        import threadpoolctl
    except (ImportError, OSError):
        return []
    found = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    return [
        (one.internal_api == "openblas" and _openblas(one.dynlib))
        or _Library(one.get_num_threads, one.set_num_threads)
        for one in found
    ]


class ParallelRegion:
    """A ``with`` block around a run of steps, in which `Workers` divide loops among threads.

    The term is OpenMP's. In the block, BLAS uses one thread. This affects the whole process. When
    the last of several regions ends, the previous number of BLAS threads is restored. A region
    also ends if its call was interrupted before it could leave the block, see `Hold`.
    """

    _changing = Exclusive()
    _open: set[Hold] = set()  # noqa: RUF012 (for the whole process, as the threads of BLAS)
    _before: list[int] | None = None  # each library's threads before the first region

    def __enter__(self) -> None:
        self.begin(Hold(sys._getframe(1)))

    def begin(self, hold: Hold) -> None:
        self._hold = hold
        with ParallelRegion._changing:
            ParallelRegion._settle()
            if ParallelRegion._before is None:
                ParallelRegion._before = [library.get() for library in _libraries()]
            # A new set: another thread may read the old one.
            ParallelRegion._open = {*ParallelRegion._open, hold}
            for library in _libraries():
                library.set(1)
        workers.settle()

    def __exit__(self, *error: object) -> None:
        self._hold.release()
        with ParallelRegion._changing:
            ParallelRegion._settle()

    @staticmethod
    def _settle() -> None:
        """Forget ended regions; if none is left, restore the number of BLAS threads."""
        if ParallelRegion._open:
            ParallelRegion._open = {hold for hold in ParallelRegion._open if hold.alive}
        if not ParallelRegion._open and ParallelRegion._before is not None:
            for library, count in zip(_libraries(), ParallelRegion._before, strict=True):
                library.set(count)
            ParallelRegion._before = None

    @staticmethod
    def of_this_thread() -> bool:
        """Return whether this thread is in a region, or is a helper of one that is."""
        if _this_thread.helper:
            return True
        me = threading.get_ident()
        return any(hold.thread == me and hold.alive for hold in ParallelRegion._open)

    @staticmethod
    def threads() -> int:
        """Return how many threads a loop may use now: as many as BLAS had before the region.

        >>> ParallelRegion.threads()  # outside of a region: there BLAS uses its own threads
        1
        """
        return max(ParallelRegion._before or [1])


def pieces_of_product(m: int, n: int, k: int) -> int:
    """Return the number of pieces that the product (m, k) @ (k, n) is split into.

    >>> pieces_of_product(32, 128, 784), pieces_of_product(128, 1024, 1024)
    (1, 8)
    """
    return max(1, min(MOST_PIECES, 2 * m * n * k // FLOPS_WORTH_THREADS, max(m, n)))


class _ThisThread(threading.local):
    helper = 0
    """Number of this thread among the threads of `Workers`, from 1; 0 for every other thread."""
    parallel_for: Hold | None = None
    """The hold of the call of `Workers.parallel_for` that this thread is in."""


_this_thread = _ThisThread()


def helper_number() -> int:
    """Return this thread's number among the threads of `Workers`, from 1; 0 for other threads."""
    return _this_thread.helper


class _Job:
    """Numbered pieces of work. Several threads take the next number until all are done."""

    def __init__(self, pieces: int, work: Callable[[int], Any], hold: Hold) -> None:
        self.hold = hold
        self.error: BaseException | None = None
        self._pieces = pieces
        self._stopped = False  # no further number is taken; a piece whose number is taken is done
        self._work: Callable[[int], Any] | None = work
        self._numbers = itertools.count()
        self._inside: deque[None] = deque()  # an entry for each helper working on pieces
        self._finished: SimpleQueue[None] = SimpleQueue()

    def take_pieces(self, work: Callable[[int], Any]) -> None:
        """Do pieces until none is left."""
        while not self._stopped and (number := next(self._numbers)) < self._pieces:
            work(number)

    def help(self) -> None:
        """Do pieces in a helper thread; an exception is kept for the thread that waits."""
        self._inside.append(None)
        try:
            if (work := self._work) is not None:
                self.take_pieces(work)
        except BaseException as error:
            self.error = error
            self._stopped = True
        finally:
            self._inside.pop()
            self._finished.put(None)

    def finish(self) -> None:
        """Start no further piece, and wait for the pieces in progress in helpers."""
        self._stopped = True
        self._work = None  # it refers to arrays, and a helper may take this job late
        while self._inside:
            self._finished.get()
        self._finished.put(None)  # another thread may wait for the same job, after an interrupt


class Workers:
    """Helper threads that do pieces of work together with the thread that calls `parallel_for`."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}  # those that a call of `parallel_for` waits for
        self._queues: list[SimpleQueue[_Job]] = []  # of each thread
        self._starting = Exclusive()

    def parallel_for(self, pieces: int, work: Callable[[int], Any]) -> None:
        """Call ``work(piece)`` for each piece from 0 on; in a `ParallelRegion`, in several threads.

        Any thread may do any piece. A call inside of a piece is a plain loop on its thread.
        """
        helpers = min(ParallelRegion.threads(), pieces) - 1
        outer = _this_thread.parallel_for
        if helpers < 1 or _this_thread.helper or (outer is not None and outer.alive):
            for piece in range(pieces):
                work(piece)
            return
        self.settle()
        job = _Job(pieces, work, Hold(sys._getframe()))
        self._jobs[id(job)] = job
        _this_thread.parallel_for = job.hold
        try:
            for queue in self._first(helpers):
                queue.put(job)
            job.take_pieces(work)
        finally:
            job.finish()
            job.hold.release()
            self._jobs.pop(id(job), None)
        if job.error is not None:
            raise job.error

    def settle(self) -> None:
        """Wait for the pieces of calls of `parallel_for` that were interrupted."""
        for key, job in list(self._jobs.items()):
            if not job.hold.alive:
                job.finish()
                self._jobs.pop(key, None)

    def _first(self, count: int) -> list[SimpleQueue[_Job]]:
        if len(self._queues) < count:
            with self._starting:
                while len(self._queues) < count:
                    queue: SimpleQueue[_Job] = SimpleQueue()
                    threading.Thread(
                        target=_serve, args=(queue, len(self._queues) + 1),
                        name="gpunn worker", daemon=True,
                    ).start()
                    self._queues.append(queue)
        return self._queues[:count]


def _serve(jobs: SimpleQueue[_Job], number: int) -> None:
    _this_thread.helper = number
    while True:
        job = jobs.get()
        job.help()
        del job


workers = Workers()


def _after_fork() -> None:
    # A forked process has one thread: helper threads and holds do not exist there.
    workers.__init__()  # type: ignore[misc]
    ParallelRegion._changing = Exclusive()
    ParallelRegion._open = set()


if hasattr(os, "fork"):
    os.register_at_fork(after_in_child=_after_fork)

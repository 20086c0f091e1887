"""Threads on the CPU: one for small products and updates, all of them for large ones.

BLAS's own threads wait for each other by spinning. Beside another busy process they take
many times as long, and for small products they never pay. So BLAS gets one thread, and
what is large is cut into pieces for threads of our own, which sleep until they are asked.
How it is cut depends on its size alone: the results are the same for any number of threads.
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
from typing import Any

from gpunn.common.holds import Exclusive, Hold

# A product of fewer flops is as fast on one thread, counting what the passes after it lose
# because a part of the result is in another core's cache.
FLOPS_WORTH_THREADS = 30_000_000
MOST_PIECES = 8  # of a product: BLAS lays out its smaller factor anew for each of them
SIZE_WORTH_THREADS = 1 << 20  # weights of an update


class _Library:
    """Of a BLAS, the functions that say and set how many threads it takes.

    threadpoolctl finds the library. It lets only the first thread that asked it set the number
    of OpenBLAS, and ignores the others; `Session` knows of all of them, and asks OpenBLAS itself.
    """

    def __init__(self, controller: Any) -> None:
        self.get: Callable[[], int] = controller.get_num_threads
        self.set: Callable[[int], Any] = controller.set_num_threads
        if controller.internal_api == "openblas" and controller.threading_layer != "openmp":
            for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64")):
                if hasattr(controller.dynlib, f"{prefix}openblas_set_num_threads{suffix}"):
                    self.get = controller.dynlib[f"{prefix}openblas_get_num_threads{suffix}"]
                    self.set = controller.dynlib[f"{prefix}openblas_set_num_threads{suffix}"]


@functools.cache
def _libraries() -> list[_Library]:
    """Those there are; none where a source tree is run without threadpoolctl."""
    try:
        import threadpoolctl
    except ImportError:
        return []
    controller = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return [_Library(library) for library in controller.lib_controllers]


class Session:
    """Around a run of steps: one BLAS thread for the whole process.

    BLAS gets back the threads it had when the last of several sessions ends. That of a call
    which an interrupt ended before it could leave is over as well, see `Hold`.
    """

    _changing = Exclusive()
    _open: set[Hold] = set()  # noqa: RUF012 (BLAS's threads are the process's, so are these)
    _before: list[int] | None = None  # threads that the libraries had, while they have one

    def __enter__(self) -> None:
        self.begin(Hold(sys._getframe(1)))

    def begin(self, hold: Hold) -> None:
        self._hold = hold
        with Session._changing:
            Session._settle()
            if Session._before is None:
                Session._before = [library.get() for library in _libraries()]
            Session._open = {*Session._open, hold}  # others may be going over the set
            for library in _libraries():
                library.set(1)
        workers.settle()

    def __exit__(self, *error: object) -> None:
        self._hold.release()
        with Session._changing:
            Session._settle()

    @staticmethod
    def _settle() -> None:
        """Forget the sessions that are over; without any, BLAS gets back its threads."""
        if Session._open:
            Session._open = {hold for hold in Session._open if hold.alive}
        if not Session._open and Session._before is not None:
            for library, count in zip(_libraries(), Session._before, strict=True):
                library.set(count)
            Session._before = None

    @staticmethod
    def of_this_thread() -> bool:
        """Whether this thread is in one, or helps one that is."""
        if _this_thread.helper:
            return True
        me = threading.get_ident()
        return any(hold.thread == me and hold.alive for hold in Session._open)

    @staticmethod
    def threads() -> int:
        """How many threads of ours there may be just now: as many as BLAS had before.

        >>> Session.threads()  # outside of a session BLAS's own are at work
        1
        """
        return max(Session._before or [1])


def pieces_of_product(m: int, n: int, k: int) -> int:
    """Into how many pieces the product (m, k) @ (k, n) is cut.

    >>> pieces_of_product(32, 128, 784), pieces_of_product(128, 1024, 1024)
    (1, 8)
    """
    return max(1, min(MOST_PIECES, 2 * m * n * k // FLOPS_WORTH_THREADS, max(m, n)))


class _ThisThread(threading.local):
    helper = 0
    """Which of the workers' threads this is, counted from 1; 0 for every other thread."""
    share: Hold | None = None
    """Of the call of `Workers.share` that this thread is in."""


_this_thread = _ThisThread()


def helper_number() -> int:
    """Which of the workers' threads this is, counted from 1; 0 for the one that asks them."""
    return _this_thread.helper


class _Job:
    """Pieces of work that several threads take one after the other."""

    def __init__(self, pieces: int, work: Callable[[int], Any], hold: Hold) -> None:
        self.hold = hold
        self.error: BaseException | None = None
        self._pieces = pieces
        self._work: Callable[[int], Any] | None = work
        self._numbers = itertools.count()
        self._inside: deque[None] = deque()  # an entry for each helper that is at it
        self._left: SimpleQueue[None] = SimpleQueue()

    def take_pieces(self, work: Callable[[int], Any]) -> None:
        """Do pieces until none is left."""
        while (number := next(self._numbers)) < self._pieces:
            work(number)

    def help(self) -> None:
        """The same, in a thread that is not the one that waits for them."""
        self._inside.append(None)
        try:
            if (work := self._work) is not None:
                self.take_pieces(work)
        except BaseException as error:
            self.error = error
            self._pieces = 0
        finally:
            self._inside.pop()
            self._left.put(None)

    def finish(self) -> None:
        """No piece is begun any more; wait for those that helpers are at."""
        self._pieces = 0
        self._work = None  # it holds arrays, and a helper may be long in coming
        while self._inside:
            self._left.get()


class Workers:
    """Threads that take pieces of what is asked for, beside the one that asks."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}  # that somebody waits for
        self._queues: list[SimpleQueue[_Job]] = []  # of each thread
        self._starting = Exclusive()

    def share(self, pieces: int, work: Callable[[int], Any]) -> None:
        """``work(piece)`` for every piece from 0 on, by several threads in a `Session`.

        Which thread does which piece is left open. Inside of a piece it is a plain loop.
        """
        helpers = min(Session.threads(), pieces) - 1
        outer = _this_thread.share
        if helpers < 1 or _this_thread.helper or (outer is not None and outer.alive):
            for piece in range(pieces):
                work(piece)
            return
        self.settle()
        job = _Job(pieces, work, Hold(sys._getframe()))
        self._jobs[id(job)] = job
        _this_thread.share = job.hold
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
        """Wait for the pieces of calls that no longer run, which were interrupted."""
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
                    ).start()  # fmt: skip
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
    # A fork has no threads but its own, and nothing that they held.
    workers.__init__()  # type: ignore[misc]
    Session._changing = Exclusive()
    Session._open = set()


if hasattr(os, "fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Ranks by MPI, through mpi4py, and an end to waiting for a rank that does not come."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
from mpi4py import MPI

from .communicator import Communicator
from .deferred_warnings import DeferredWarnings

LONGEST_POLL = 1.0  # seconds


class Watchdog:
    """A thread that ends the process once it has waited too long, or waits in vain.

    Attributes:
        since: when the current wait began, by `time.monotonic`; None while nothing waits.

    Args:
        timeout: seconds that a wait may take.
        rank: how messages name this process.
        in_vain: returns why a wait can never end, or None.
    """

    def __init__(
        self, timeout: float, rank: str, in_vain: Callable[[], str | None], end: Callable[[], None]
    ) -> None:
        self.since: float | None = None
        self._timeout, self._rank, self._in_vain, self._end = timeout, rank, in_vain, end

    def start(self) -> None:
        threading.Thread(target=self._watch, name="gpunn watchdog", daemon=True).start()

    def _watch(self) -> None:
        never = threading.Event()
        while True:
            never.wait(min(LONGEST_POLL, self._timeout / 4))
            since = self.since
            if since is None:
                continue
            why = self._in_vain()
            if why is None and time.monotonic() - since > self._timeout:
                why = (
                    f"has waited {self._timeout:g} seconds for the others. One of them is frozen, "
                    f"or does not call what this one does, as below; initialize(timeout=...) sets "
                    f"how long to wait."
                )
            if why is not None:
                message = f"gpunn: {self._rank} {why} All processes end."
                print(message, file=sys.stderr, flush=True)
                faulthandler.dump_traceback(sys.__stderr__ or sys.stderr, all_threads=True)
                self._end()


POLL = 1e-3  # seconds
GRACE = 10.0  # seconds that MPI has to end all processes, before this one ends itself


class MPICommunicator(Communicator):
    """The processes that ``mpiexec`` started.

    MPI adds up in the same order on each rank. So a sum has the same bits on all ranks, and in
    each run with the same number of processes.

    Args:
        timeout: seconds that a rank waits for the others before it ends all of them.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._world = MPI.COMM_WORLD.Dup()  # messages of the program itself do not mix with ours
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()
        self._numbers: dict[int, np.ndarray] = {}
        self._calls = 0  # of MPI by all ranks, so far
        name = f"rank {self.rank} of {self.size}"
        self._watchdog = Watchdog(timeout, name, self._in_vain, self.abort)
        self._allreduce, self._in_place = self._world.Allreduce, MPI.IN_PLACE

    def local_ranks(self) -> list[int]:
        """Return the ranks on this machine."""
        here = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        try:
            return list(here.allgather(self.rank))
        finally:
            here.Free()

    def sum(self, array: np.ndarray) -> None:
        watchdog = self._watchdog
        self._calls += 1
        watchdog.since = time.monotonic()
        self._allreduce(self._in_place, array)
        watchdog.since = None

    def least(self, *numbers: int) -> list[int]:
        array = self._numbers.setdefault(len(numbers), np.empty(len(numbers), np.int64))
        array[:] = numbers
        with self._waiting():
            self._allreduce(self._in_place, array, MPI.MIN)
        return [int(number) for number in array]

    def gather(self, value: Any) -> list[Any]:
        with self._waiting():
            return list(self._world.allgather(value))

    def first(self, value: Any) -> Any:
        with self._waiting():
            return self._world.bcast(value)

    def meet(self) -> None:
        with self._waiting():
            _meet(self._world)

    def compare_warnings(self) -> None:
        self._warnings.compare()

    def _waiting(self) -> _Waiting:
        self._calls += 1
        return _Waiting(self._watchdog)

    # -- the end

    def abort(self) -> None:
        """End all processes."""
        self._warnings.print_rest()
        sys.stdout.flush()
        sys.stderr.flush()
        fallback = threading.Timer(GRACE, os._exit, (1,))  # mpiexec ends the others then
        fallback.daemon = True
        fallback.start()
        self._world.Abort(1)

    def end_together(self) -> None:
        """Let the end of this process end all that wait for it; an exception ends them at once."""
        self._ending = self._world.Dup()
        self._calls_before_end = np.zeros(1, np.int64)  # of the rank before this one in a ring
        self._end_before = self._world.Irecv(self._calls_before_end, (self.rank - 1) % self.size)
        self._testing = threading.Lock()  # one thread at a time may test a request
        self._warnings = DeferredWarnings(self)
        sys.excepthook = self._report
        atexit.register(self._end)
        self._watchdog.start()

    def _report(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        lines = "".join(traceback.format_exception(kind, error, trace))
        # One write: several ranks may fail at once.
        sys.stderr.write(f"gpunn: rank {self.rank} of {self.size} ends all:\n{lines}")
        self.abort()

    def _end(self) -> None:
        """Tell the next rank that this one ends, by ``sys.exit`` or with its program."""
        if MPI.Is_finalized():
            return
        told = self._world.Isend(np.array([self._calls]), (self.rank + 1) % self.size)
        _meet(self._ending)
        with self._testing:
            MPI.Request.Waitall([told, self._end_before])
            self._calls_before_end[:] = np.iinfo(np.int64).max  # all are here
        self.compare_warnings()

    def _in_vain(self) -> str | None:
        """Return why this process waits in vain, if it does.

        If some ranks have ended, one that has not is the next one of such a rank.
        """
        if MPI.Query_thread() != MPI.THREAD_MULTIPLE:
            return None  # only one thread may ask; the timeout remains
        with self._testing:
            if not self._end_before.Test() or self._calls <= self._calls_before_end[0]:
                return None
        return (
            f"waits for rank {(self.rank - 1) % self.size}, which has ended: by sys.exit, or "
            f"because its program is shorter."
        )


def _meet(world: MPI.Intracomm) -> None:
    request = world.Ibarrier()
    while not request.Test():  # Wait would look for messages all the time
        time.sleep(POLL)


class _Waiting:
    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog

    def __enter__(self) -> None:
        self._watchdog.since = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._watchdog.since = None

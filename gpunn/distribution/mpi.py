"""Ranks by MPI, through mpi4py."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any

import numpy as np
from mpi4py import MPI

from .communicator import Communicator
from .watchdog import Watchdog

POLL = 1e-3  # seconds
GRACE = 10.0  # seconds that MPI has to end all processes, before this one ends itself


class MPICommunicator(Communicator):
    """The processes that ``mpiexec`` started.

    MPI adds up in the same order on each rank, so a sum has the same bits on all of them, and in
    each run with the same number of processes.

    Args:
        timeout: seconds that a rank waits for the others before it ends all of them.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._world = MPI.COMM_WORLD.Dup()  # messages of the program itself do not mix with ours
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()
        self._numbers: dict[int, np.ndarray] = {}
        self._watchdog = Watchdog(timeout, f"rank {self.rank} of {self.size}", self.abort)
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
        request = self._world.Ibarrier()
        with self._waiting():
            while not request.Test():  # Wait would look for messages all the time
                time.sleep(POLL)

    def _waiting(self) -> _Waiting:
        return _Waiting(self._watchdog)

    # -- the end

    def abort(self) -> None:
        """End all processes."""
        sys.stdout.flush()
        sys.stderr.flush()
        fallback = threading.Timer(GRACE, os._exit, (1,))  # mpiexec ends the others then
        fallback.daemon = True
        fallback.start()
        self._world.Abort(1)

    def end_all_on_errors(self) -> None:
        """Let an exception that ends this process end all: the others would wait for it."""

        def report(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            lines = "".join(traceback.format_exception(kind, error, trace))
            # One write: several ranks may fail at once.
            sys.stderr.write(f"gpunn: rank {self.rank} of {self.size} ends all:\n{lines}")
            self.abort()

        sys.excepthook = report


class _Waiting:
    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog

    def __enter__(self) -> None:
        self._watchdog.since = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._watchdog.since = None

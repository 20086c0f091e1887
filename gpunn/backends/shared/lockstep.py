"""Lockstep: programs of several threads that run together.

Many small networks are trained by one thread each, in the usual loop. Where two of them run a
program, a backend may run both as one. The results of a program do not depend on the others.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

WAITING_SECONDS = 0.2  # for members that do something else, before the others run without them
# Steps of a run from which it waits for other threads, to run with theirs. Shorter ones are over by
# then, and what is left of a longer one is done at once: it would miss the others' next run. The
# number of steps of a run does not depend on other threads.
LEAST_STEPS = 256


class Run(ABC):
    """A run of a program.

    Attributes:
        key: Runs of equal keys may be performed together.
        steps: The steps that are not done yet.
        error: What ended the run, if it failed.
    """

    key: Hashable
    steps: int
    error: BaseException | None = None

    def __init__(self) -> None:
        self.over = threading.Lock()  # released when the run is over
        self.over.acquire()

    @abstractmethod
    def perform(self, others: Sequence[Run], steps: int, group: Lockstep) -> None:
        """Perform so many steps of this run and of others of the same key. Once the group is
        ``stopped``, the runs end after a step."""


class Lockstep:
    """A group of threads. Each waits with its run until all others have one, too.

    Args:
        members: The number of threads, each of which enters `member`.
        stopped: One bool, (1,), which may be set from elsewhere: all runs end after their running
            steps, and each raises KeyboardInterrupt in its thread.

    Attributes:
        kept: What runs make to be performed together, by what it is made of.
    """

    def __init__(self, members: int, stopped: np.ndarray | None = None) -> None:
        self._members = members
        self._waiting: list[Run] = []
        self._lock = threading.Lock()
        self.stopped = np.zeros(1, bool) if stopped is None else stopped
        self.kept: dict[Hashable, Any] = {}

    @contextmanager
    def member(self) -> Iterator[None]:
        """Return a ``with`` block in which the programs of this thread run in lockstep."""
        _of_thread.group = self
        try:
            yield
        finally:
            _of_thread.group = None
            with self._lock:
                self._members -= 1
                if self._waiting and len(self._waiting) >= self._members:
                    self._perform()

    def run(self, run: Run) -> None:
        """Perform a run, together with those of other members."""
        with self._lock:
            self._waiting.append(run)
            if len(self._waiting) >= self._members:
                self._perform()
        try:
            while not run.over.acquire(timeout=WAITING_SECONDS):
                with self._lock:
                    if run in self._waiting:
                        self._perform()
        except BaseException:  # an interrupt: the run ends where it is
            with self._lock:
                if run in self._waiting:
                    self._waiting.remove(run)
            raise
        if run.error is not None:
            raise run.error

    def _perform(self) -> None:
        """Perform what is waiting, as many steps as all runs of a key have."""
        waiting, self._waiting = self._waiting, []
        groups: dict[Hashable, list[Run]] = {}
        for run in waiting:
            groups.setdefault(run.key, []).append(run)
        for runs in groups.values():
            while runs:
                steps = min(run.steps for run in runs)
                try:
                    runs[0].perform(runs[1:], steps, self)
                except Exception as error:  # each of these threads raises it
                    for run in runs:
                        run.error = error
                for run in runs:
                    if self.stopped[0] and run.error is None:
                        run.error = KeyboardInterrupt()
                    run.steps -= steps
                    if run.steps <= 0 or run.error is not None:
                        run.over.release()
                    elif run.steps >= LEAST_STEPS:
                        self._waiting.append(run)
                runs = [run for run in runs if 0 < run.steps < LEAST_STEPS and run.error is None]


class _OfThread(threading.local):
    group: Lockstep | None = None


_of_thread = _OfThread()


def joint_of(program: Any) -> Any:
    """Return a program as one that runs together with those of other threads; None for one of a
    kind that never does, and for one that has to run by itself."""
    joint = getattr(program, "joint", None)
    return joint and joint()


def lockstep() -> Lockstep | None:
    """Return the group that this thread is a member of, if any."""
    return _of_thread.group

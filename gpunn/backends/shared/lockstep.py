"""Lockstep: programs of several threads that run together.

Many small networks are trained by one thread each, in the usual loop. Where two of them run a
program, a backend may run both as one. The results of a program do not depend on the others.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

WAITING_SECONDS = 0.2  # for members that do something else, before the others run without them


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

    @abstractmethod
    def perform(self, others: Sequence[Run], steps: int) -> None:
        """Perform so many steps of this run and of others of the same key."""


class Lockstep:
    """A group of threads. Each waits with its run until all others have one, too.

    Args:
        members: The number of threads, each of which enters `member`.
    """

    def __init__(self, members: int) -> None:
        self._members = members
        self._waiting: list[Run] = []
        self._changed = threading.Condition()

    @contextmanager
    def member(self) -> Iterator[None]:
        """Return a ``with`` block in which the programs of this thread run in lockstep."""
        _of_thread.group = self
        try:
            yield
        finally:
            _of_thread.group = None
            with self._changed:
                self._members -= 1
                if self._waiting and len(self._waiting) >= self._members:
                    self._perform()

    def run(self, run: Run) -> None:
        """Perform a run, together with those of other members."""
        with self._changed:
            self._waiting.append(run)
            try:
                while run.steps > 0 and run.error is None:
                    if len(self._waiting) >= self._members or not self._changed.wait(
                        WAITING_SECONDS
                    ):
                        self._perform()
            finally:
                if run in self._waiting:  # an interrupt
                    self._waiting.remove(run)
        if run.error is not None:
            raise run.error

    def _perform(self) -> None:
        """Perform what is waiting, as many steps as all runs of a key have."""
        groups: dict[Hashable, list[Run]] = {}
        for run in self._waiting:
            if run.steps > 0 and run.error is None:
                groups.setdefault(run.key, []).append(run)
        for runs in groups.values():
            steps = min(run.steps for run in runs)
            try:
                runs[0].perform(runs[1:], steps)
            except Exception as error:  # each of these threads raises it
                for run in runs:
                    run.error = error
            else:
                for run in runs:
                    run.steps -= steps
        self._waiting = [run for run in self._waiting if run.steps > 0 and run.error is None]
        self._changed.notify_all()


class _OfThread(threading.local):
    group: Lockstep | None = None


_of_thread = _OfThread()


def lockstep() -> Lockstep | None:
    """Return the group that this thread is a member of, if any."""
    return _of_thread.group

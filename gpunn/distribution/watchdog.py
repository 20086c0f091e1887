"""Ends a run whose ranks wait for one that does not come: frozen, or in other code."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Callable

LONGEST_POLL = 1.0  # seconds


class Watchdog:
    """A thread that ends the process once it has waited too long.

    Attributes:
        since: when the current wait began, by `time.monotonic`; None while nothing waits.

    Args:
        timeout: seconds that a wait may take.
        rank: how messages name this process.
        end: ends all processes.
    """

    def __init__(self, timeout: float, rank: str, end: Callable[[], None]) -> None:
        self.since: float | None = None
        self._timeout, self._rank, self._end = timeout, rank, end
        thread = threading.Thread(target=self._watch, name="gpunn watchdog", daemon=True)
        thread.start()

    def _watch(self) -> None:
        never = threading.Event()
        while True:
            never.wait(min(LONGEST_POLL, self._timeout / 4))
            since = self.since
            if since is not None and time.monotonic() - since > self._timeout:
                self._report()
                self._end()

    def _report(self) -> None:
        print(
            f"gpunn: {self._rank} has waited {self._timeout:g} seconds for the others. One of "
            f"them is frozen, or does not call what this one does, as below. All processes end; "
            f"initialize(timeout=...) sets how long to wait.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        faulthandler.dump_traceback(sys.__stderr__ or sys.stderr, all_threads=True)

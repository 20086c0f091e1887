"""Ends a run whose ranks wait for one that does not come: ended, frozen, or in other code."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Callable

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

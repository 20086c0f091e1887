"""One bar for many models."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from gpunn.callbacks import Callback
from gpunn.callbacks.callback import Logs
from gpunn.callbacks.streams import is_live
from gpunn.common.names import counted
from gpunn.distribution.launch import is_writer

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress:
    """A ``with`` block that counts what is done in it, and prints a line at its end.

    Args:
        count, what: how many things are worked on, and the noun for them.
        total, unit: how many parts they have, and the noun for these.
        verbose: 0 shows nothing; 1 shows a bar in a terminal or notebook.
    """

    def __init__(self, count: int, what: str, total: int, unit: str, verbose: int) -> None:
        self._lock = threading.Lock()
        self._head, self._total, self._unit = counted(count, what), total, unit
        self._verbose = verbose if is_writer() else 0
        self._bar: tqdm | None = None
        self._done = 0

    def count(self, settled: int = 1, done: int = 1) -> None:
        """Add to the parts that are settled, of which ``done`` were worked on."""
        with self._lock:
            self._done += done
            if self._bar is not None:
                self._bar.update(settled)

    def __enter__(self) -> Progress:
        self._began = time.perf_counter()
        if self._verbose == 1 and is_live(sys.stdout):
            from tqdm.auto import tqdm

            unit = f" {self._unit}s"
            self._bar = tqdm(
                total=self._total, desc=self._head, unit=unit, leave=False, file=sys.stdout
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._verbose:
            seconds = time.perf_counter() - self._began
            print(f"{self._head}: {counted(self._done, self._unit)} in {seconds:.1f} s")


class Counting(Callback):
    """Counts the epochs of a model; one that stops early has settled all."""

    _abstract = True  # not registered by name
    only_watches = True
    writes = True

    def __init__(self, progress: Progress, epochs: int) -> None:
        self._progress, self._left = progress, epochs

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._left -= 1
        self._progress.count()

    def release(self) -> None:
        self._progress.count(self._left, 0)
        self._left = 0

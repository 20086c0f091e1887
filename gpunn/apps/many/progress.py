"""One bar for many models: the epochs that are done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpunn.callbacks import Callback
from gpunn.callbacks.callback import Logs
from gpunn.callbacks.streams import is_live
from gpunn.common.names import counted
from gpunn.distribution.launch import is_writer

from .jobs import Job

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress:
    """A ``with`` block that counts the epochs of all models, and prints a line at its end.

    Args:
        jobs: each gets a callback that counts.
        verbose: 1 shows a bar in a terminal or notebook.
    """

    def __init__(self, jobs: Sequence[Job], verbose: int) -> None:
        self._lock = threading.Lock()
        self._shows = verbose == 1 and is_live(sys.stdout)
        self._bar: tqdm | None = None
        self._models, self.done = len(jobs), 0
        given = jobs[0].arguments
        each = max(0, given["epochs"] - given["initial_epoch"])
        self._total = each * len(jobs)
        for job in jobs:
            job.callbacks = [_Counting(self, each), *job.callbacks]

    def count(self, epochs: int, done: int) -> None:
        """Add to the epochs that are settled: ``done`` of them were trained."""
        with self._lock:
            self.done += done
            if self._bar is not None:
                self._bar.update(epochs)

    def __enter__(self) -> None:
        self._began = time.perf_counter()
        if self._shows and is_writer():
            from tqdm.auto import tqdm

            what = counted(self._models, "model")
            self._bar = tqdm(total=self._total, desc=what, unit=" epochs", leave=False)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if is_writer():
            seconds = time.perf_counter() - self._began
            print(
                f"{counted(self._models, 'model')}: {counted(self.done, 'epoch')} in "
                f"{seconds:.1f} s"
            )


class _Counting(Callback):
    """Counts the epochs of a model; one that stops early has settled all."""

    _abstract = True  # not registered by name
    only_watches = True
    writes = True

    def __init__(self, progress: Progress, epochs: int) -> None:
        self._progress, self._left = progress, epochs

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._left -= 1
        self._progress.count(1, 1)

    def release(self) -> None:
        self._progress.count(self._left, 0)
        self._left = 0

    def __deepcopy__(self, memo: Any) -> _Counting:
        return self

"""Worker processes of ``make gpu``, which communicate in lines of text."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from benchmarks import ROOT
from benchmarks.race.processes import end_group


@contextmanager
def started(
    module: str, until: float, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """Run a module in a process, and yield the process with its input and output.

    The process ends with the block, or at the time ``until``: then the closed pipe raises
    OSError or ValueError in the block.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    left = min(until - time.monotonic(), threading.TIMEOUT_MAX)
    timer = threading.Timer(left, end_group, [process])
    timer.start()
    try:
        yield process, process.stdin, process.stdout
    finally:
        timer.cancel()
        end_group(process)

"""Exclusive use of a GPU's stream by one thread at a time."""

from __future__ import annotations

import sys
import threading
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Protocol

from gpunn.backends.contract.device import Sending
from gpunn.common.holds import Exclusive


class Current(AbstractContextManager[Any], Protocol):
    """An object that is current in this thread within its ``with`` block."""

    def is_current(self) -> bool:
        """Return whether it is current now."""


class _ThisThread(threading.local):
    def __init__(self) -> None:
        # The function call of each block, the innermost last, and whether it entered the stream.
        self.blocks: list[tuple[FrameType, bool]] = []


class StreamLock:
    """A ``with`` block in which only this thread submits work to the backend's stream, and its
    array functions use this stream.

    CuPy's current stream differs from thread to thread, and its user may choose another: array
    functions would not wait for the backend's kernels, nor be captured with them. Work of other
    threads must not be captured meanwhile.

    Ctrl-C can come between any two lines, even after the stream was entered and before the block
    begins. So a thread's outermost block also leaves a stream that was already current.
    """

    def __init__(self, stream: Current) -> None:
        self._lock = Exclusive()
        self._stream = stream
        self._this_thread = _ThisThread()

    def __enter__(self) -> None:
        frame, blocks = sys._getframe(1), self._this_thread.blocks
        outermost = self._lock.enter(frame)
        try:
            if outermost:
                blocks.clear()
            enters = not self._stream.is_current()
            if enters:
                self._stream.__enter__()
            blocks.append((frame, enters or outermost))
        except BaseException:  # let other threads enter
            self._lock.__exit__()
            raise

    def __exit__(self, *error: Any) -> None:
        frame, blocks = sys._getframe(1), self._this_thread.blocks
        try:
            while blocks:
                of_block, leaves = blocks.pop()  # possibly of an interrupted inner block
                if leaves:
                    self._stream.__exit__(*error)
                if of_block is frame:
                    break
        finally:
            self._lock.__exit__()


class Sent(Sending):
    """Copies that are joined under the stream lock."""

    def __init__(self, sending: Sending, stream_lock: AbstractContextManager[None]) -> None:
        self._sending, self._stream_lock = sending, stream_lock

    def join(self) -> None:
        with self._stream_lock:
            self._sending.join()

    def wait(self) -> None:
        self._sending.wait()

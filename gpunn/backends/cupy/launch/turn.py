"""Whose turn it is to use the stream of a card."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

from gpunn.backends.contract.device import Sending
from gpunn.common.holds import Exclusive


class Turn:
    """A ``with`` block in which only this thread gives work to the backend's stream, and its array
    functions go there.

    CuPy's current stream is each thread's own, and its user may choose another: array functions
    would not wait for the backend's kernels, nor be captured with them. What other threads ask
    for meanwhile must not be captured.
    """

    def __init__(self, stream: AbstractContextManager[Any]) -> None:
        self._lock = Exclusive()
        self._stream = stream

    def __enter__(self) -> None:
        self._lock.enter(sys._getframe(1))
        self._stream.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)
        self._lock.__exit__()


class Sent(Sending):
    """Copies that are joined when it is this thread's turn."""

    def __init__(self, sending: Sending, turn: AbstractContextManager[None]) -> None:
        self._sending, self._turn = sending, turn

    def join(self) -> None:
        with self._turn:
            self._sending.join()

    def wait(self) -> None:
        self._sending.wait()

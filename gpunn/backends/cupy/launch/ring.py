"""Copies from the host to the device through page-locked memory, while both go on.

A GPU reads ordinary memory only while the host waits, and after all earlier work. Page-locked
memory it reads by itself: the host writes one buffer while the GPU copies another.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from gpunn.backends.contract.device import Array, Fill, Sending

from .protocols import Stream

BUFFERS = 3
SIZE = 1 << 21  # bytes of a buffer: copies take ten times as long as starting them, or longer


class Ring:
    """Page-locked buffers of a stream, used in turn. One thread at a time uses them.

    A buffer is written again when the copy from it has ended.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        unused = np.empty(0, np.uint8), Sending()
        self._buffers = deque([unused] * BUFFERS)  # each with the latest copy from it

    def send(self, copies: Sequence[tuple[Array, Fill]]) -> Sending:
        """See `Device.send`."""
        sending = Sending()
        try:
            for target, fill in copies:
                rows = max(1, SIZE // max(1, target.dtype.itemsize * math.prod(target.shape[1:])))
                for start in range(0, len(target) if target.size else 0, rows):
                    piece = slice(start, min(start + rows, len(target)))
                    sending = self._send(target[piece], fill, piece)
            return sending  # the last one
        except BaseException:  # the memory of the arrays may be used for others now
            self._stream.send([]).wait()
            raise

    def _send(self, target: Array, fill: Fill, rows: slice) -> Sending:
        memory, before = self._buffers[0]
        before.wait()
        if memory.nbytes < target.nbytes:
            memory = self._stream.pinned((max(SIZE, target.nbytes),), np.uint8)
        values = memory[: target.nbytes].view(target.dtype).reshape(target.shape)
        fill(rows, values)
        sending = self._stream.send([(target, values)])
        self._buffers[0] = memory, sending
        self._buffers.rotate(-1)
        return sending

"""Streaming: data too large for the device's memory are sent in pieces while it computes."""

from __future__ import annotations

import math
from collections import deque
from functools import partial

import numpy as np

from gpunn.backends.contract.control import Control
from gpunn.backends.contract.device import Sending
from gpunn.backends.shared.order import Order
from gpunn.common.importing.light_dataclass import dataclass

from .arrays import CHUNK, stored_dtype
from .rows import Rows

CHUNK_BYTES = 1 << 26  # of a piece; there are two on the device
CHUNK_FRACTION = 16  # a piece takes at most this fraction (1/16) of the free memory


@dataclass
class _Piece:
    """Rows from ``start`` to ``stop`` of a pass, on their way to one half of the arrays."""

    half: int
    start: int
    stop: int
    sending: Sending


class Chunks:
    """Streams the rows of each pass through device arrays that hold two pieces.

    The host gathers the rows of a piece in the order of the pass, while those before are copied.
    The last copies end while the steps work on the piece before.

    A piece of the rows, which are on the host, holds a whole number of batches.

    Attributes:
        rows: The two pieces, for `Trainer.program`.
        order: Their order.
        batch_size: Rows of the batches.
    """

    def __init__(self, rows: Rows, order: Order, batch_size: int, dtype: str) -> None:
        assert rows.device is not None
        self._backend = rows.device
        self._pass, self._chosen, self._count = order, rows.chosen, len(rows)
        self.batch_size = batch_size
        dtypes = {name: stored_dtype(a, dtype) for name, a in rows.arrays.items()}
        shapes = {name: a.shape[1:] for name, a in rows.arrays.items()}
        self._size = self._rows_of_a_piece(
            batch_size * sum(math.prod(shapes[name]) * dtypes[name].itemsize for name in shapes),
            batch_size,
        )
        capacity = 2 * self._size
        self._sources = {name: np.asarray(a) for name, a in rows.arrays.items()}
        self.rows = Rows(
            {n: self._backend.empty((capacity, *shapes[n]), dtypes[n]) for n in shapes}
        )
        self.order = Order(capacity, None)
        self._pieces: deque[_Piece] = deque()  # the steps read the first
        self._next = 0  # first row of the pass that is in no piece yet
        self._number = -1  # of the pass
        self._work: dict[str, np.ndarray] = {}

    def _rows_of_a_piece(self, batch_bytes: int, batch_size: int) -> int:
        free = self._backend.free_bytes()
        limit = CHUNK_BYTES if free is None else min(CHUNK_BYTES, free // CHUNK_FRACTION)
        batches = min(max(1, limit // max(1, batch_bytes)), -(-self._count // batch_size))
        return batches * batch_size

    def bring(self, row: int, pass_number: int, control: Control) -> int:
        """Make the row at this position of the pass the next one for steps with this control.

        Everything before ``row`` must have been requested.

        Returns:
            The position in the pass at which the steps must stop and call this again.
        """
        pieces = self._pieces
        if pass_number != self._number:
            self.settle()
            pieces.clear()
            self._number = pass_number
        if pieces and row == pieces[0].stop:
            self._load(pieces.popleft().half, pass_number)
        elif not pieces or not pieces[0].start <= row < pieces[0].stop:
            pieces.clear()
            self._next = row
            self._load(0, pass_number)
            self._load(1, pass_number)
        piece = pieces[0]
        piece.sending.join()
        control.place(row, piece.half * self._size + row - piece.start)
        return piece.stop

    def settle(self) -> None:
        """Wait for pending transfers."""
        for piece in self._pieces:
            piece.sending.wait()

    def _load(self, half: int, pass_number: int) -> None:
        """Gather the next rows of the pass and send them; nothing if there are none."""
        start, stop = self._next, min(self._next + self._size, self._count)
        if start == stop:
            return
        rows: slice | np.ndarray = slice(start, stop)
        if self._pass.seed is not None:
            rows = self._pass.indices(pass_number)[rows]
        if self._chosen is not None:
            rows = self._chosen[rows]
        here = slice(half * self._size, half * self._size + stop - start)
        sending = self._backend.send([
            (self.rows.arrays[name][here], partial(self._gather, name, rows))
            for name in self._sources
        ])
        self._pieces.append(_Piece(half, start, stop, sending))
        self._next = stop

    def _gather(
        self, name: str, rows: slice | np.ndarray, some: slice, out: np.ndarray
    ) -> None:
        """Write some of these rows of a source."""
        source = self._sources[name]
        if isinstance(rows, slice):
            np.copyto(out, source[rows][some], casting="unsafe")
            return
        rows = rows[some]
        if source.dtype == out.dtype:
            # mode="clip" because "raise" would buffer the output; the rows are in range.
            source.take(rows, axis=0, out=out, mode="clip")
        else:
            work = self._work.get(name)
            if work is None:
                length = min(self._size, max(1, CHUNK // math.prod(source.shape[1:])))
                work = self._work[name] = np.empty((length, *source.shape[1:]), source.dtype)
            for at in range(0, len(rows), len(work)):
                part = rows[at : at + len(work)]
                source.take(part, axis=0, out=work[: len(part)], mode="clip")
                np.copyto(out[at : at + len(part)], work[: len(part)], casting="unsafe")

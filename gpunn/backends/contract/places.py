"""Rows taken from places along an axis, and put where others may be; numbers that are checked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .declaration import reads, rewrites, writes
from .device import Array, Device
from .operation import Operations, operation

Complaint = Callable[[int, float, float], Exception]
"""Makes the error: of how many numbers are not within the bounds, the least and the largest of
these."""

NOTHING = (0, 2**63 - 1, -(2**63))
"""What `Check.found` holds before any was found: a count, the least and the largest rank."""


class Check:
    """What is looked for in each step: numbers that are not within two bounds.

    It belongs to the one computation whose numbers it is about.

    Args:
        backend: of the computation.
        low, high: the bounds, both of them within.
        complaint: makes the error.

    Attributes:
        found: on the device, how many there were since it last complained, the least and the
            largest of them, as `rank_of` in ``kernels/formulas/places.cuh`` has these.

    >>> from gpunn.backends import get_backend
    >>> backend = get_backend("numpy")
    >>> check = Check(backend, 0, 2, lambda count, least, largest: ValueError(f"{largest:g}"))
    >>> backend.check_range(np.float32([0, 2]), check)
    >>> backend.check_range(np.float32([0, 3]), check)
    Traceback (most recent call last):
    ValueError: 3
    """

    def __init__(self, backend: Device, low: float, high: float, complaint: Complaint) -> None:
        self.low, self.high, self.complaint = low, high, complaint
        self._backend = backend
        self.found: Array = backend.empty((3,), np.int64)
        self.reset()

    def reset(self) -> None:
        self._backend.write(self.found, np.array(NOTHING, np.int64))

    def error(self, found: np.ndarray) -> Exception:
        """The error for what ``found`` holds."""
        return self.complaint(int(found[0]), *map(number_of_rank, found[1:].tolist()))


def number_of_rank(rank: int) -> float:
    """The number that `rank_of` in ``kernels/formulas/places.cuh`` gives a rank.

    >>> [number_of_rank(rank) for rank in (0, 4607182418800017408, -1, 2**63 - 1)]
    [0.0, 1.0, -0.0, nan]
    """
    bits = rank ^ (2**63 - 1) if rank < 0 else rank
    return float(np.array(bits, np.int64).view(np.float64))


class Places(Operations):
    """Rows by the numbers of their places.

    An array has the shape (outer, n, inner); its places are those along the axis in the middle.
    Their numbers are (sets, count): of each of ``outer`` a set of its own, or one for all. With
    ``wraps`` those below 0 count from the end. A number may come more than once, and may be that of
    no place.
    """

    @operation(
        x=reads("outer n inner", "tensor"),
        places=reads("sets count", "int32"),
        out=writes("outer count inner", "tensor"),
        where=("sets in (1, outer)", "x.dtype == out.dtype"),
    )
    def take_rows(self, x: Array, places: Array, out: Array, wraps: bool = True) -> None:
        """out[o, k] = x[o, place k], and 0 where there is no such place."""

    @operation(
        rows=reads("outer count inner", "float or int32"),
        places=reads("sets count", "int32"),
        out=rewrites("outer n inner", "float or int32"),
        where=("sets in (1, outer)", "rows.dtype == out.dtype", "merging in ('Sum', 'Largest')"),
    )
    def scatter_rows(
        self, merging: str, rows: Array, places: Array, out: Array, wraps: bool = True
    ) -> None:
        """out[o, place k] = out[o, place k] + rows[o, k], or the larger of both, for k in turn.

        The order is that of the rows, whatever their places are, so that the same data give the
        same bits. Rows of no place are left out.
        """

    @operation(
        x=reads("*shape", "float or int32"),
        found=rewrites("3", "int64", of=lambda call: call.check.found, counted=False),
    )
    def check_range(self, x: Array, check: Check) -> None:
        """Look for numbers that are not from ``check.low`` to ``check.high``; NaN is none.

        Where there are some, host backends raise ``check``'s error, and a program ends there, in
        the middle of its step. A card counts them in ``check.found``, and the error is raised when
        its user waits for it next.
        """

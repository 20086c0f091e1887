"""Gather and scatter of rows by index along an axis, and range checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .declaration import reads, rewrites, writes
from .device import Array, Device
from .operation import Operations, operation

Complaint = Callable[[int, float, float], Exception]
"""Makes the error from the number of values out of bounds, and the least and largest of them."""

NOTHING = (0, 2**63 - 1, -(2**63))
"""The initial value of `Check.found`: a count, the least and the largest rank."""


class Check:
    """A range check performed in each step: finds values outside of two bounds.

    It belongs to the one computation whose values it checks.

    Args:
        low, high: the bounds, both inclusive.
        complaint: makes the error.
        of: the tensor whose values it checks, for whoever knows them.

    Attributes:
        found: on the device, the number of values out of bounds since the last error, and the
            ranks of the least and the largest of them, by `rank_of` in
            ``kernels/formulas/places.cuh``.

    >>> from gpunn.backends import get_backend
    >>> backend = get_backend("numpy")
    >>> check = Check(backend, 0, 2, lambda count, least, largest: ValueError(f"{largest:g}"))
    >>> backend.check_range(np.float32([0, 2]), check)
    >>> backend.check_range(np.float32([0, 3]), check)
    Traceback (most recent call last):
    ValueError: 3
    """

    def __init__(
        self, backend: Device, low: float, high: float, complaint: Complaint, of: Any = None
    ) -> None:
        self.low, self.high, self.complaint, self.of = low, high, complaint, of
        self._backend = backend
        self.found: Array = backend.empty((3,), np.int64)
        self.reset()
        backend.record_check(self)

    def reset(self) -> None:
        self._backend.write(self.found, np.array(NOTHING, np.int64))

    def error(self, found: np.ndarray) -> Exception:
        """Return the error for the contents of ``found``."""
        return self.complaint(int(found[0]), *map(number_of_rank, found[1:].tolist()))


def number_of_rank(rank: int) -> float:
    """Return the number whose rank, by `rank_of` in ``kernels/formulas/places.cuh``, this is.

    >>> [number_of_rank(rank) for rank in (0, 4607182418800017408, -1, 2**63 - 1)]
    [0.0, 1.0, -0.0, nan]
    """
    bits = rank ^ (2**63 - 1) if rank < 0 else rank
    return float(np.array(bits, np.int64).view(np.float64))


class GatherScatter(Operations):
    """Gather and scatter of rows by index.

    An array has the shape (outer, n, inner); ``places`` are indices along the middle axis.
    Their shape is (sets, count): one set for each element of ``outer``, or one for all. With
    ``wraps``, negative indices count from the end. Indices may repeat, and may be out of range.
    """

    @operation(
        x=reads("outer n inner", "tensor"),
        places=reads("sets count", "int32"),
        out=writes("outer count inner", "tensor"),
        where=("sets in (1, outer)", "x.dtype == out.dtype"),
    )
    def take_rows(self, x: Array, places: Array, out: Array, wraps: bool = True) -> None:
        """out[o, k] = x[o, places[k]], and 0 where the index is out of range."""

    @operation(
        rows=reads("outer count inner", "float or int32"),
        places=reads("sets count", "int32"),
        out=rewrites("outer n inner", "float or int32"),
        where=(
            "sets in (1, outer)", "rows.dtype == out.dtype",
            "merging in ('Sum', 'Largest', 'Last')",
        ),
    )
    def scatter_rows(
        self, merging: str, rows: Array, places: Array, out: Array, wraps: bool = True
    ) -> None:
        """out[o, places[k]] += rows[o, k], or the larger or last of both, for each k in order.

        The rows are added in their order, whatever their indices, so that the same data give the
        same bits. Rows whose index is out of range are ignored.
        """

    @operation(
        x=reads("*shape", "float or int32"),
        found=rewrites("3", "int64", of=lambda call: call.check.found, counted=False),
    )
    def check_range(self, x: Array, check: Check) -> None:
        """Find values of x that are not between ``check.low`` and ``check.high``; NaN is not.

        If there are any, host backends raise ``check``'s error, which ends a program in
        the middle of its step. A GPU counts them in ``check.found``, and the error is raised when
        the host next waits for the device.
        """

"""Data sets that steps can read: on the device, or streamed there from the host.

A program contains the addresses of the rows that it reads, and serves any rows in the same place.
For each kind of call (fit, evaluate, validation data) the backend therefore keeps the copies that a
thread's last call made, and refills them for a call with data of the same shapes and dtypes.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import field, replace
from functools import cached_property
from typing import Any
from weakref import WeakSet

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.device import place_of
from gpunn.backends.shared.order import Order
from gpunn.common.importing.light_dataclass import dataclass

from .arrays import Windows, is_ready, map_under, on_device, stored_dtype, windows_of
from .memory import kept_data, lacking, readable
from .spec import Spec

# A data set on a GPU is kept for the next call up to this size, in bytes. For a larger one it
# matters little that programs are captured again: the steps on it take much longer.
KEPT_BYTES = 1 << 28
KEPT_FRACTION = 8  # it is kept if this many times its size is still free
KEPT_ON_HOST = 1 << 20  # up to this size also where the free memory is unknown


@dataclass
class Copies:
    """Copies of a user's arrays, which are kept for the next call.

    Attributes:
        arrays: By name, see `Rows`.
        readers: Objects that read them now: they must not be overwritten.
    """

    arrays: dict[str, Array]
    readers: WeakSet[Any] = field(default_factory=WeakSet)

    def fit(self, given: Mapping[str, Array], stored: Mapping[str, np.dtype]) -> bool:
        """Whether nothing reads them any more, and these arrays fit into them."""
        return not self.readers and all(
            array.shape == given[name].shape and array.dtype == stored[name]
            for name, array in self.arrays.items()
        )


def name_of(kind: str, number: int = 0) -> str:
    """Return the name in `Rows` of an input ("x"), target ("y") or their weights ("weights").

    >>> name_of("x"), name_of("x", 2)
    ('x', 'x_2')
    """
    return f"{kind}_{number}" if number else kind


@dataclass(eq=False)
class Rows:
    """A data set on the device, or on the host if it does not fit in the device's memory.

    Attributes:
        arrays: By the names of `name_of`: inputs (rows, ...) in their given dtype
            (float64 as the model's, on the device; of overlapping windows a view of their
            series, in the model's dtype), targets (rows, ...), and weights (rows,),
            or (rows, rows per sample) if there are several.
        device: Device that host rows are streamed to; None for rows on the device.
        chosen: For host rows, the indices of the selected rows; None for all.
        copies: The copies among the arrays that the next call may overwrite; else None.
    """

    arrays: dict[str, Array]
    device: Backend | None = None
    chosen: np.ndarray | None = None
    copies: Copies | None = None

    @property
    def x(self) -> Array:
        """The first input."""
        return self.arrays["x"]

    @cached_property
    def locations(self) -> frozenset[Any]:
        """The location and layout of each array in memory."""
        return frozenset((name, place_of(array)) for name, array in self.arrays.items())

    @cached_property
    def mapped(self) -> list[tuple[str, Array]]:
        """The names and arrays that are mapped from files."""
        return [(name, a) for name, a in self.arrays.items() if map_under(a) is not None]

    def __len__(self) -> int:
        return len(self.arrays["x"] if self.chosen is None else self.chosen)

    def order(self, seed: int | None) -> Order:
        return Order(len(self), seed)

    def part(self, start: int, stop: int) -> Rows:
        """Return rows ``start`` to ``stop`` without a copy."""
        return replace(self._rows(slice(start, stop)), copies=self.copies)

    def read(self, backend: Backend, name: str, most: int | None = None) -> np.ndarray:
        """Return the rows of an array as NumPy, or at most this many, evenly spaced ones."""
        array = self.arrays[name]
        some = slice(None) if most is None else slice(None, None, -(-len(self) // most) or 1)
        chosen = array[some] if self.chosen is None else array[self.chosen[some]]
        return backend.read(chosen) if backend.owns(chosen) else np.asarray(chosen)

    def unweighted(self) -> Rows:
        """Return the rows without weights and without a copy."""
        arrays = {name: a for name, a in self.arrays.items() if not name.startswith("weights")}
        return replace(self, arrays=arrays)

    def take(self, numbers: Array) -> Rows:
        """Return the rows with these indices; copied if they are on the device."""
        return self._rows(numbers) if self.device is None else replace(self, chosen=numbers)

    def _rows(self, rows: slice | Array) -> Rows:
        return Rows({name: array[rows] for name, array in self.arrays.items()}, self.device)


def place(
    spec: Spec, given: dict[str, Array], made: set[str], call: str | None, arguments: dict[str, str]
) -> Rows:
    """Place checked arrays where steps can read them, or where they can be streamed from.

    Args:
        given: Arrays by their names in `Rows`, on the host or the device.
        made: Names of the arrays that the user has no reference to.
        call: Purpose of the arrays; None for a single batch, which is neither kept nor streamed.
        arguments: Names of the arrays in messages.
    """
    backend = spec.backend
    stored = {name: stored_dtype(array, spec.dtype_of(name)) for name, array in given.items()}
    windows: dict[str, Windows] = {}
    for name in given if call is not None else ():
        found = windows_of(given[name], backend) if name[0] == "x" else None
        if found is not None:
            windows[name], stored[name] = found, np.dtype(spec.dtype_of(name))
    arrays = given | {name: found.series for name, found in windows.items()}
    if call is None:
        return Rows({n: on_device(backend, a, stored[n], arguments[n]) for n, a in arrays.items()})
    placed = sent(backend, arrays, stored, made, call, arguments)
    if placed is None:
        host = {name: backend.read(a) if backend.owns(a) else a for name, a in given.items()}
        for name in host:  # floats are streamed as floats of the model
            if spec.dtype_of(name) == "int32" and host[name].dtype.kind == "f":
                host[name] = host[name].astype(np.int32)
        return Rows(host, backend)
    arrays, copies = placed
    laid = {n: w.of(backend, arrays[n], given[n].shape) for n, w in windows.items()}
    return Rows(arrays | laid, copies=copies)


def sent(
    backend: Backend, given: Mapping[str, Array], stored: Mapping[str, np.dtype],
    made: Collection[str], call: str, arguments: Mapping[str, str],
) -> tuple[dict[str, Array], Copies | None] | None:
    """Return arrays where steps read them, and the copies among them that the next call may
    overwrite, if any; None if they do not fit on the device, with a notice.

    Args:
        given: arrays by name, on the host or the device.
        stored: the `stored_dtype` of each.
        made, call, arguments: as in `place`.
    """

    def put(name: str, into: Array | None = None) -> Array:
        return on_device(backend, given[name], stored[name], arguments[name], into)

    own = {n for n, a in given.items() if n in made or not is_ready(backend, a, stored[n])}
    kept = kept_data(backend)
    copies = kept.get(call)
    if copies is not None and copies.arrays.keys() == own and copies.fit(given, stored):
        return {name: put(name, copies.arrays.get(name)) for name in given}, copies
    del copies
    kept.pop(call, None)
    size = sum(given[name].size * stored[name].itemsize for name in own)
    if _lack(backend, size, call):
        return None
    placed = {name: put(name) for name in given}
    if own and _keeps(backend, size):
        kept[call] = Copies({name: placed[name] for name in own})
    return placed, kept.get(call)


def _lack(backend: Backend, size: int, call: str) -> bool:
    """Whether arrays of ``size`` bytes do not fit on the device; if so, print a notice."""
    if lacking(size, backend) is None:
        return False
    kept_data(backend).clear()
    free = lacking(size, backend)
    if free is not None:
        what = "validation data" if call == "validation_data" else "data"
        print(
            f"gpunn: {readable(size)} of {what}, {readable(free)} free on {backend.name}: "
            f"streamed in chunks.",
            file=sys.stderr,
        )
    return free is not None


def _keeps(backend: Backend, size: int) -> bool:
    """Whether copies of ``size`` bytes are kept."""
    if size <= KEPT_ON_HOST:
        return True
    if size > KEPT_BYTES:
        return False
    free = backend.free_bytes()
    return free is not None and size * KEPT_FRACTION <= free

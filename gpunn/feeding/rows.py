"""Data sets that steps can read: on the device, or streamed there from the host.

For each kind of call (fit, evaluate, validation data) the backend keeps the arrays of a thread's
last call. A call with data of the same shapes and dtypes reuses and refills them, so that programs
made for them, which contain addresses, stay valid: a trainer keeps programs for as long as the
`Rows` that they read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from weakref import WeakSet

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.shared.order import Order

from .arrays import is_ready, map_under, on_device, stored_dtype
from .memory import kept_data, lacking, readable
from .spec import Spec

# A data set on a GPU is kept for the next call up to this size, in bytes. For a larger one it
# matters little that programs are captured again: the steps on it take much longer.
KEPT_BYTES = 1 << 28
KEPT_SHARE = 8  # it is kept if this many times its size is still free
# Host memory, or memory of the user's arrays, is kept alive up to this size, in bytes.
HELD_BYTES = 1 << 20


@dataclass
class KeptRows:
    """Data about rows whose arrays are kept for the next call.

    Attributes:
        own: Names of the arrays that the user has no reference to: they may be overwritten.
        readers: Objects that read the rows now.
        parts: Parts of the rows, and the rows without weights, by key.
    """

    own: set[str]
    readers: WeakSet[Any] = field(default_factory=WeakSet)
    parts: dict[Any, Rows] = field(default_factory=dict)


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
            (float64 as the model's, on the device), targets (rows, ...), and weights (rows,),
            or (rows, rows per sample) if there are several.
        device: Device that host rows are streamed to; None for rows on the device.
        chosen: For host rows, the indices of the selected rows; None for all.
        kept: For rows that the next call may reuse; else None.
    """

    arrays: dict[str, Array]
    device: Backend | None = None
    chosen: np.ndarray | None = None
    kept: KeptRows | None = None

    @property
    def x(self) -> Array:
        """The first input."""
        return self.arrays["x"]

    @cached_property
    def mapped(self) -> list[tuple[str, Array]]:
        """The names and arrays that are mapped from files."""
        return [(name, a) for name, a in self.arrays.items() if map_under(a) is not None]

    def __len__(self) -> int:
        return len(self.arrays["x"] if self.chosen is None else self.chosen)

    def order(self, seed: int | None) -> Order:
        return Order(len(self), seed)

    def part(self, start: int, stop: int) -> Rows:
        """Return rows ``start`` to ``stop`` without a copy; for kept rows, always the same."""
        return self._part((start, stop), lambda: self._rows(slice(start, stop)))

    def unweighted(self) -> Rows:
        """Return the rows without weights and without a copy; for kept rows, always the same."""
        arrays = {name: a for name, a in self.arrays.items() if not name.startswith("weights")}
        return self._part("unweighted", lambda: replace(self, arrays=arrays, kept=None))

    def _part(self, key: Any, made: Callable[[], Rows]) -> Rows:
        if self.kept is None:
            return made()
        parts = self.kept.parts
        if key not in parts:
            part = parts[key] = made()
            part.kept = KeptRows(self.kept.own, self.kept.readers)
        return parts[key]

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
        spec: Spec of the model.
        given: Arrays by their names in `Rows`, on the host or the device.
        made: Names of the arrays that the user has no reference to.
        call: Purpose of the arrays; None for a single batch, which is neither kept nor streamed.
        arguments: Names of the arrays in messages.
    """
    backend = spec.backend
    stored = {name: stored_dtype(array, spec.dtype_of(name)) for name, array in given.items()}

    def put(name: str, into: Array | None = None) -> Array:
        return on_device(backend, given[name], stored[name], arguments[name], into)

    if call is None:
        return Rows({name: put(name) for name in given})
    own = {n for n, a in given.items() if n in made or not is_ready(backend, a, stored[n])}
    left = kept_data(backend)
    last = left.get(call)
    if last is not None and _found(last, given, own, stored):
        for name in own:
            put(name, last.arrays[name])
        return last
    del last
    left.pop(call, None)
    sizes = {name: array.size * stored[name].itemsize for name, array in given.items()}
    if _lack(backend, sum(sizes[name] for name in own), call):
        host = {name: backend.read(a) if backend.owns(a) else a for name, a in given.items()}
        for name in host:  # floats are streamed as floats of the model
            if spec.dtype_of(name) == "int32" and host[name].dtype.kind == "f":
                host[name] = host[name].astype(np.int32)
        return Rows(host, backend)
    rows = Rows({name: put(name) for name in given})
    if _keeps(backend, given, own, sizes):
        rows.kept = KeptRows(own)
        left[call] = rows
    return rows


def _found(
    last: Rows, given: Mapping[str, Array], own: set[str], stored: Mapping[str, np.dtype]
) -> bool:
    """Whether these arrays fit into those of the last call, which nothing reads any more."""
    assert last.kept is not None
    if last.kept.readers or last.kept.own != own or last.arrays.keys() != given.keys():
        return False
    for name, array in last.arrays.items():
        new = given[name]
        if array.shape != new.shape or array.dtype != stored[name]:
            return False
        if name not in own and array is not new and _address(array) != _address(new):
            return False
    return True


def _address(array: Any) -> Any:
    interface = getattr(array, "__cuda_array_interface__", None)
    return (interface or array.__array_interface__)["data"]


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


def _keeps(
    backend: Backend, given: Mapping[str, Array], own: set[str], sizes: Mapping[str, int]
) -> bool:
    if any(isinstance(given[name], np.memmap) for name in given.keys() - own):
        return False  # its file would stay open
    if sum(sizes.values()) <= HELD_BYTES:
        return True
    copies = sum(sizes[name] for name in own)
    if sum(sizes.values()) - copies > HELD_BYTES or copies > KEPT_BYTES:
        return False
    free = backend.free_bytes()
    return free is not None and copies * KEPT_SHARE <= free

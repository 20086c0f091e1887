"""Small arrays of a GPU in one block of memory: one copy takes them all, in either direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from gpunn.backends.contract.device import Array, Device, Kinds, Parcel

ALIGNED = 256  # bytes, as CUDA aligns the memory of arrays
MOST = 1 << 20
"""Bytes that are copied on the device until someone looks at them; more would fill it."""


class PackedParcel(Parcel):
    """Such arrays. A copy from ordinary memory does not wait for the device up to ``staged``
    bytes."""

    def __init__(self, backend: Device, kinds: Kinds, staged: int) -> None:
        self._backend = backend
        size = sum(map(_size, kinds))
        self._block = backend.zeros((size,), np.uint8)
        with backend.stream_lock:
            self.arrays = _cut(self._block, kinds)
        self._staged = np.zeros(size if size <= staged else 0, np.uint8)
        self._host = _cut(self._staged, kinds) if size <= staged else []
        self._kinds = kinds

    def write(self, sources: Sequence[Any]) -> None:
        if not (self._host and all(type(source) is np.ndarray for source in sources)):
            for into, source in zip(self.arrays, sources, strict=True):
                self._backend.write(into, source)
            return
        for host, source in zip(self._host, sources, strict=True):
            np.copyto(host, source, casting="unsafe")
        self._backend.write(self._block, self._staged)

    def read(self) -> list[np.ndarray]:
        return _cut(self._backend.read(self._block), self._kinds) if self.arrays else []

    def read_later(self) -> list[Callable[[], np.ndarray]]:
        if self._block.nbytes > MOST:
            return super().read_later()
        copy = self._backend.empty(self._block.shape, np.uint8)
        self._backend.write(copy, self._block)
        unread = _Unread(self._backend, copy, self._kinds)
        return [partial(unread.read, k) for k in range(len(self.arrays))]


class _Unread:
    """Values of a parcel, which are read once."""

    def __init__(self, backend: Device, block: Array, kinds: Kinds) -> None:
        self._backend, self._block, self._kinds = backend, block, kinds
        self._values: list[np.ndarray] = []
        self._lock = Lock()

    def read(self, number: int) -> np.ndarray:
        with self._lock:
            if self._block is not None:
                self._values = _cut(self._backend.read(self._block), self._kinds)
                self._block = None
            return self._values[number]


def _size(kind: tuple[tuple[int, ...], Any]) -> int:
    shape, dtype = kind
    return -(-math.prod(shape) * np.dtype(dtype).itemsize // ALIGNED) * ALIGNED


def _cut(block: Array, kinds: Kinds) -> list[Array]:
    """Return arrays of these shapes and dtypes in a block of bytes."""
    found, at = [], 0
    for shape, dtype in kinds:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        found.append(block[at : at + size].view(dtype).reshape(shape))
        at += _size((shape, dtype))
    return found

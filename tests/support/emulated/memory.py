"""CuPy's memory pool, with chunks that own no memory; and the host's page-locked memory."""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator

import numpy as np

from .streams import Stream, current_gpu, current_stream


class Chunk:
    """A part of a block that the pool has taken from the GPU, linked to its neighbours there."""

    def __init__(self, size: int, stream: Stream) -> None:
        self.size, self.stream, self.idle = size, stream, False
        self.left: Chunk | None = None
        self.right: Chunk | None = None

    def split(self, size: int) -> Chunk:
        """Keep ``size`` bytes and return the rest."""
        rest = Chunk(self.size - size, self.stream)
        rest.left, rest.right, self.size = self, self.right, size
        if rest.right is not None:
            rest.right.left = rest
        self.right = rest
        return rest

    def merge(self) -> None:
        """Merge the right neighbour into this chunk."""
        other = self.right
        assert other is not None
        self.size, self.right = self.size + other.size, other.right
        if self.right is not None:
            self.right.left = self


class IdleChunks:
    """Free chunks, sorted by size for each stream: a long run leaves thousands."""

    def __init__(self) -> None:
        self._by_size: dict[Stream, list[tuple[int, int, Chunk]]] = defaultdict(list)

    def __iter__(self) -> Iterator[Chunk]:
        return (chunk for those in self._by_size.values() for _, _, chunk in those)

    def smallest(self, size: int, stream: Stream) -> Chunk | None:
        """Take this stream's smallest chunk with at least this many bytes."""
        those = self._by_size[stream]
        place = bisect_left(those, (size,))
        return those[place][2] if place < len(those) else None

    def add(self, chunk: Chunk) -> None:
        chunk.idle = True
        insort(self._by_size[chunk.stream], (chunk.size, id(chunk), chunk))

    def remove(self, chunk: Chunk) -> None:
        chunk.idle = False
        those = self._by_size[chunk.stream]
        del those[bisect_left(those, (chunk.size, id(chunk)))]


class Memory:
    """CuPy's memory pool: allocates chunks in units of 512 bytes, and keeps those it gets back.

    An array gets the smallest free chunk of its stream that has room for it, which is split, or
    else memory from the GPU. Only a chunk that is whole again is returned to the GPU.
    """

    UNIT = 512

    def __init__(self) -> None:
        self._limit = self._total = self._used = 0
        self._idle = IdleChunks()
        self._returned: deque[Chunk] = deque()  # an array may be freed at any moment
        self._arrays: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
        self._gpus: dict[int, int] = {}  # by address
        self._lock = threading.Lock()

    def used_bytes(self) -> int:
        with self._lock:
            self._put_back()
            return self._used

    def total_bytes(self) -> int:
        return self._total

    def get_limit(self) -> int:
        return self._limit

    def set_limit(self, size: int) -> None:
        self._limit = size

    def free_all_blocks(self) -> None:
        with self._lock:
            self._free_whole()

    def free(self) -> int:
        """The number of bytes that the GPU still has."""
        self.free_all_blocks()
        return (self._limit or 1 << 60) - self._total

    def take(self, size: int) -> Chunk:
        size = -(-size // self.UNIT) * self.UNIT
        with self._lock:
            self._put_back()
            stream = current_stream()
            chunk = self._idle.smallest(size, stream) if size else None
            if chunk is not None:
                self._idle.remove(chunk)
                if chunk.size > size:
                    self._idle.add(chunk.split(size))
            else:
                if self._limit and self._total + size > self._limit:
                    self._free_whole()
                if self._limit and self._total + size > self._limit:
                    raise MemoryError(f"Out of memory allocating {size:,} bytes")
                chunk = Chunk(size, stream)
                self._total += size
            self._used += size
            return chunk

    def hold(self, array: np.ndarray, chunk: Chunk) -> None:
        """Take the chunk back when nothing refers to the array any more."""
        current_stream().keep(array)
        self._arrays[array.ctypes.data] = array
        self._gpus[array.ctypes.data] = current_gpu()
        weakref.finalize(array, self._returned.append, chunk).atexit = False

    def gpu_of(self, array: np.ndarray) -> int:
        """The number of the GPU with an array's memory; 0 if it was not allocated here."""
        return self._gpus.get(array.ctypes.data, 0)

    def at(self, addresses: Iterable[int]) -> list[np.ndarray]:
        """Return the arrays that contain these addresses; others are numbers."""
        arrays = dict(self._arrays)
        starts = sorted(arrays)
        found = {}
        for address in addresses:
            place = bisect_right(starts, address)
            array = arrays[starts[place - 1]] if place else None
            if array is not None and address < array.ctypes.data + array.nbytes:
                found[array.ctypes.data] = array
        return list(found.values())

    def _put_back(self) -> None:
        while self._returned:
            chunk = self._returned.popleft()
            self._used -= chunk.size
            if chunk.right is not None and chunk.right.idle:
                self._idle.remove(chunk.right)
                chunk.merge()
            if chunk.left is not None and chunk.left.idle:
                chunk = chunk.left
                self._idle.remove(chunk)
                chunk.merge()
            self._idle.add(chunk)

    def _free_whole(self) -> None:
        self._put_back()
        for chunk in [c for c in self._idle if c.left is c.right is None]:
            self._idle.remove(chunk)
            self._total -= chunk.size


MEMORY = Memory()


class PageLocked:
    """The host's page-locked memory: a copy from it returns before it is done."""

    def __init__(self) -> None:
        self._arrays: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()

    def allocate(self, size: int) -> np.ndarray:
        memory = np.empty(size, np.uint8)
        self._arrays[memory.ctypes.data] = memory
        return memory

    def has(self, address: int) -> bool:
        """Return whether there is such memory at this address."""
        arrays = list(self._arrays.items())
        return any(start <= address < start + memory.nbytes for start, memory in arrays)


PAGE_LOCKED = PageLocked()

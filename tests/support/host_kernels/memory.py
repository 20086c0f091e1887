"""The memory of a kernel launch: its contents before the first write, and guards around arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

POISON = np.uint32(0xFFF5A5A5)  # as in the header: NaN, not a valid boolean, not a valid index
GUARD = 4096  # bytes around each array


def poison(array: np.ndarray) -> None:
    """Fill a contiguous array with values that show if they are not overwritten."""
    memory = array.view(np.ndarray).reshape(-1).view(np.uint8)
    whole = memory.size // POISON.nbytes * POISON.nbytes
    memory[:whole].view(POISON.dtype)[:] = POISON
    memory[whole:] = np.atleast_1d(POISON).view(np.uint8)[: memory.size - whole]


class Copies:
    """Copy a launch's arrays, with guards around the copies; overlapping arrays still overlap."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.places: dict[str, int] = {}
        start = stop = 0  # of the memory being copied
        place = end = GUARD
        for name, array in sorted(arrays.items(), key=lambda item: item[1].ctypes.data):
            address = array.ctypes.data
            if address >= stop:
                start = stop = address
                place = -(-end // 64) * 64 + GUARD
            stop = max(stop, address + array.nbytes)
            end = place + stop - start
            self.places[name] = place + address - start
        self.original = np.empty(-(-end // 64) * 64 + GUARD, np.uint8)
        poison(self.original)
        self.guards = np.ones(self.original.shape, np.bool_)
        for name, array in arrays.items():
            self.part(self.original, name)[:] = array.view(np.ndarray).reshape(-1).view(np.uint8)
            self.part(self.guards, name)[:] = False

    def part(self, memory: np.ndarray, name: str) -> np.ndarray:
        return memory[self.places[name] : self.places[name] + self.arrays[name].nbytes]

    def array(self, memory: np.ndarray, name: str) -> np.ndarray:
        return self.part(memory, name).view(self.arrays[name].dtype)

    def moved(self, memory: np.ndarray, table: np.ndarray) -> np.ndarray:
        """Return this table of addresses and numbers, with addresses in the copies."""
        table = np.array(table)
        moved = table.copy()
        for name, array in self.arrays.items():
            start = array.ctypes.data
            inside = (table >= start) & (table < start + array.nbytes)
            moved[inside] = table[inside] - start + self.part(memory, name).ctypes.data
        return moved

    def write_back(self, memory: np.ndarray, names: Iterable[str]) -> None:
        for name in names:
            flat = self.arrays[name].view(np.ndarray).reshape(-1)
            flat[:] = self.array(memory, name)

    def overrun_array(self, memory: np.ndarray) -> str | None:
        """Return the array whose guard was overwritten."""
        written = self.guards & (memory != self.original)
        if not written.any():
            return None
        place = int(written.argmax())
        return min(
            self.arrays,
            key=lambda name: min(
                abs(self.places[name] - place),
                abs(self.places[name] + self.arrays[name].nbytes - place),
            ),
        )

"""Record the compiled operations that `compiled_digests.py` performs, for host/replay.cpp.

    python recorded_calls.py file

The file holds programs: the memory before and after, and the calls with places in that memory.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import types
from collections.abc import Sequence
from typing import Any, BinaryIO

import compiled_digests
import numpy as np

from gpunn.apps.web.program import TYPES
from gpunn.backends.compiled import cpu_kernels

MOST_BYTES, MOST_STEPS = 1 << 22, 50
MASK64 = (1 << 64) - 1


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


class Recorder(types.ModuleType):
    """An extension module that performs what another one does, and writes it to a file."""

    def __init__(self, module: Any, file: BinaryIO) -> None:
        super().__init__(module.__name__)
        self.file, self.module = file, module
        self.within, self.set_threads = module.within, module.set_threads
        # Without "next_pass", epochs begin in Python: a program that is recorded is of steps alone.
        self.operations = {
            key: Operation(self, key) for key in module.operations if key != ("next_pass",)
        }
        self.Bound = Call

    def Program(self, calls: Sequence[Call], last: Program | None = None) -> Program:
        return Program(self, calls, last)


class Operation:
    def __init__(self, recorder: Recorder, key: tuple[str, ...]) -> None:
        self.recorder, self.key = recorder, key

    def bind(self, *arguments: Any) -> Call:
        return Call(self, arguments)

    def __call__(self, *arguments: Any) -> None:
        self.bind(*arguments)()


class Call:
    def __init__(self, operation: Operation, arguments: tuple[Any, ...]) -> None:
        self.operation, self.arguments = operation, arguments
        self.key = operation.key
        self.bound = operation.recorder.module.operations[operation.key].bind(*arguments)
        self.arrays: list[np.ndarray] = self.bound.arrays
        self.written: list[np.ndarray] = self.bound.written

    def __call__(self) -> None:
        Program(self.operation.recorder, [self]).run(1)


class Program:
    def __init__(
        self, recorder: Recorder, calls: Sequence[Call], last: Program | None = None
    ) -> None:
        self.recorder, self.calls, self.last = recorder, tuple(calls), last
        self.program = recorder.module.Program([call.bound for call in self.calls])

    def run(self, steps: int) -> None:
        if self.last is not None and steps > 0:
            last, self.last = self.last, None
            self.run(steps - 1)
            last.run(1)
            self.last = last
            return
        self.pieces: list[list[int]] = []  # of memory: where they begin and end
        arrays = [array for call in self.calls for array in call.arrays]
        for start, stop in sorted((address(a), address(a) + a.nbytes) for a in arrays):
            if self.pieces and start < self.pieces[-1][1]:
                self.pieces[-1][1] = max(stop, self.pieces[-1][1])
            else:
                self.pieces.append([start, stop])
        before = self.memory()
        self.program.run(steps)
        if steps <= MOST_STEPS and sum(map(len, before)) <= MOST_BYTES:
            self.record(steps, before)

    def memory(self) -> list[bytes]:
        return [ctypes.string_at(start, stop - start) for start, stop in self.pieces]

    def record(self, steps: int, before: list[bytes]) -> None:
        found = words(len(self.pieces))
        for (start, _), old, new in zip(self.pieces, before, self.memory(), strict=True):
            found += words(len(old), start % 64) + old + new
        found += words(steps, len(self.calls))
        for call in self.calls:
            name = " ".join(call.operation.key).encode()
            values = [value for value in call.arguments if not callable(value)]
            found += words(len(name)) + name + words(len(values))
            found += b"".join(map(self.word, values))
        self.recorder.file.write(found)

    def word(self, value: Any) -> bytes:
        if value is None:
            return words(0)
        if isinstance(value, np.ndarray):
            return words(1, *self.place(value), value.nbytes)
        if isinstance(value, tuple):
            listed = (
                words(*self.place(a), TYPES.index(a.dtype.name), a.size, a.nbytes) for a in value
            )
            return words(3, len(value)) + b"".join(listed)
        whole = int(value) & MASK64 if np.isfinite(float(value)) else 0
        return words(2, whole) + struct.pack("<d", float(value))

    def place(self, array: np.ndarray) -> tuple[int, int]:
        """Return the number of the piece that an array is in, and where it begins there."""
        start, stop = address(array), address(array) + array.nbytes
        for number, (first, last) in enumerate(self.pieces):
            if first <= start and stop <= last:
                return number, start - first
        raise AssertionError("an array is in no piece")


def main(path: str) -> None:
    module = cpu_kernels.library()
    with open(path, "wb") as file:
        sys.modules[module.__name__] = Recorder(module, file)
        cpu_kernels.load.cache_clear()
        compiled_digests.main()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The kernels for web pages, gpunn.wasm, as a backend that runs in wasmtime, not in a browser.

Arrays are in the module's memory, which NumPy can access too. NumPy therefore computes what the
module has no operation for, such as float64, on the same arrays. `Library.Program.run` runs in the
module what a page would.
"""

from __future__ import annotations

import base64
import ctypes
import functools
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn.apps.web
from gpunn.apps.web.program import TYPES
from gpunn.backends import get_backend, register_backend
from gpunn.backends.compiled.backend import CompiledBackend

MODULE = Path(gpunn.apps.web.__file__).parent / "gpunn.wasm"
WORD = 8


class Library:
    """The functions that the compiled backend needs of an extension module."""

    def __init__(self) -> None:
        import wasmtime

        engine = wasmtime.Engine()
        self.store = wasmtime.Store(engine)
        self.store.set_wasi(wasmtime.WasiConfig())
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        module = wasmtime.Module.from_file(engine, str(MODULE))
        self.exports: Any = linker.instantiate(self.store, module).exports(self.store)
        self.call("_initialize")
        self.memory = self._memory()
        self.start = ctypes.addressof(self.memory.data_ptr(self.store).contents)
        self.operations: dict[tuple[str, ...], OpDeclaration] = {}
        for number in range(self.call("operation_count")):
            at = self.call("operation_text", number)
            text = ctypes.string_at(self.start + at).decode()
            names, kinds = text.split(": ")
            key = tuple(names.split(" "))
            self.operations[key] = OpDeclaration(self, key, number, kinds)
        self.Bound, self.Program = Call, functools.partial(Program, self)

    def _memory(self) -> Any:
        return self.exports["memory"]

    def call(self, name: str, *arguments: int) -> Any:
        return self.exports[name](self.store, *arguments)

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        dtype = np.dtype(dtype)
        n = int(np.prod(shape, dtype=np.int64))
        at = self.call("allocate", n * dtype.itemsize) & 0xFFFFFFFF
        assert at, "the module has no memory left"
        assert ctypes.addressof(self.memory.data_ptr(self.store).contents) == self.start
        held = (ctypes.c_ubyte * max(n * dtype.itemsize, 1)).from_address(self.start + at)
        return np.frombuffer(held, dtype, n).reshape(shape)

    def place(self, array: np.ndarray | None) -> int:
        """Return an array's address in the module's memory; host constants are copied there."""
        if array is None or not array.size:
            return 0
        assert array.flags.c_contiguous
        place = array.__array_interface__["data"][0] - self.start
        if 0 < place < self.memory.data_len(self.store):
            return place
        copy = self.array(array.shape, array.dtype)
        copy[...] = array
        return self.place(copy)

    def listed(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Pack several arrays of any dtypes as an operation takes them."""
        table = b"".join(
            struct.pack("<Iiq", self.place(a), TYPES.index(a.dtype.name), a.size) for a in arrays
        )
        kept = self.array((len(table),), np.uint8)
        kept[:] = np.frombuffer(table, np.uint8)
        return kept

    def within(self, array: np.ndarray, limit: float) -> bool:
        return bool((np.abs(array) <= limit).all())

    def set_threads(self, count: int) -> None:
        """A page has one thread."""


class OpDeclaration:
    def __init__(self, library: Library, key: tuple[str, ...], number: int, kinds: str) -> None:
        self.library, self.key, self.number, self.kinds = library, key, number, kinds

    def bind(self, *arguments: Any) -> Call:
        return Call(self, arguments)

    def __call__(self, *arguments: Any) -> None:
        self.library.Program([self.bind(*arguments)]).run(1)


class Call:
    """An operation and its arguments."""

    def __init__(self, operation: OpDeclaration, arguments: tuple[Any, ...]) -> None:
        assert len(arguments) == len(operation.kinds), operation.key
        self.operation, self.arguments, self.key = operation, arguments, operation.key

    def __call__(self) -> None:
        self.operation(*self.arguments)

    def words(self) -> bytes:
        found = b""
        for kind, value in zip(self.operation.kinds, self.arguments, strict=True):
            if kind == "l":
                value = self.operation.library.listed(value)
            if kind in "al":
                found += struct.pack("<Q", self.operation.library.place(value))
            elif kind == "n":
                found += struct.pack("<d", value)
            else:
                found += struct.pack("<Q", int(value) & (1 << 64) - 1)
        return found


class Program:
    """A list of calls in the module's memory."""

    def __init__(self, library: Library, calls: Sequence[Call]) -> None:
        self.library, self.calls = library, [*calls]
        words = [call.words() for call in self.calls]
        self.memory = library.array((sum(map(len, words)) + WORD * len(words),), np.uint8)
        at = library.place(self.memory) + WORD * len(words)
        table = b""
        for call, own in zip(self.calls, words, strict=True):
            table += struct.pack("<II", call.operation.number, at)
            at += len(own)
        self.memory[:] = np.frombuffer(table + b"".join(words), np.uint8)

    def run(self, steps: int) -> None:
        self.library.call("run", self.library.place(self.memory), len(self.calls), steps)


class BrowserBackend(CompiledBackend):
    """The compiled backend with the operations of gpunn.wasm and arrays in its memory."""

    name = "browser"

    def __init__(self) -> None:
        super().__init__((Library(), "wasm"))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return self.library.array(shape, dtype)

    zeros = empty

    def upload(self, source: Any) -> np.ndarray:
        array = super().upload(source)
        if self.owns(array):
            return array
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def owns(self, array: Any) -> bool:
        if not isinstance(array, np.ndarray):
            return False
        place = array.__array_interface__["data"][0] - self.library.start
        return 0 <= place < self.library.memory.data_len(self.library.store)


def run_document(document: dict[str, Any], *inputs: np.ndarray, by: Any = None) -> list[np.ndarray]:
    """Compute the outputs of a `forward_program` in the module, or, given gradients ``by`` the
    outputs, the gradients of the inputs."""
    library = get_backend("browser").library  # type: ignore[attr-defined]
    memory = library.array((document["bytes"],), np.uint8)
    constants = base64.b64decode(document["constants"])
    memory[: len(constants)] = np.frombuffer(constants, np.uint8)

    def array(place: dict[str, Any]) -> np.ndarray:
        size = math.prod(place["shape"])
        return memory[place["at"] :][: 4 * size].view(np.float32).reshape(place["shape"])

    def call(name: str, *values: Any) -> Call:
        operation = library.operations[tuple(name.split(" "))]
        arguments = [
            tuple(
                memory[at:][: size * np.dtype(TYPES[number]).itemsize].view(TYPES[number])
                for at, number, size in value
            ) if kind == "l" else
            memory[value:] if kind == "a" and value is not None else
            value if kind == "a" else (float if kind == "n" else int)(value)
            for kind, value in zip(operation.kinds, values, strict=True)
        ]  # fmt: skip
        return operation.bind(*arguments)

    def run(calls: Any, given: Any, numbers: Any, wanted: Any) -> list[np.ndarray]:
        for place, x in zip(given, numbers, strict=True):
            array(place)[...] = x
        library.Program([call(*values) for values in calls]).run(1)
        return [array(place).copy() for place in wanted]

    outputs = run(document["calls"], document["inputs"], inputs, document["outputs"])
    if by is None:
        return outputs
    back = document["gradient"]
    return run(back["calls"], back["by"], by, back["inputs"])


@functools.cache
def why_not() -> str | None:
    """Return in one line why this backend is not available, or None if it is."""
    try:
        import wasmtime  # noqa: F401
    except ImportError:
        return "the kernels of pages are run by wasmtime: pip install 'gpunn[test]'"
    return None


def missing(what: str) -> None:
    """Fail a test that lacks its tool where all tools are required; skip it elsewhere."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def needed() -> None:
    """Skip the test if wasmtime is missing; fail where tests must not be skipped."""
    if reason := why_not():
        missing(reason)


register_backend("browser", BrowserBackend)

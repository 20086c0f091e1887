"""CuPy's part of the CuPy backend: kernels, streams, graphs and the binding of cuBLAS.

What it asks of CuPy and CUDA takes a card, so this file is kept small: the rest is in
`cupy_backend`. It has not been run on a card yet, only on stand-ins for CuPy and cuBLAS.
CuPy is imported when a backend is made, not before.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Array, Step
from .card import cublas_library, why_not
from .cupy_backend import CupyBackend
from .device import Replay, Run, column_major
from .kernel_source import OPTIONS, Kernel, source

__all__ = ["make_backend", "why_not"]


def make_backend() -> CupyBackend:
    """The backend on the current card.

    Raises:
        RuntimeError: if there is no usable card; the line says what is missing.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(f"The CuPy backend cannot be used. {reason}")
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)  # others cannot be captured
    stream.use()

    def free() -> int:
        pool = cupy.get_default_memory_pool()
        pool.free_all_blocks()
        there = cupy.cuda.runtime.memGetInfo()[0]
        limit = pool.get_limit()
        return min(there, limit - pool.total_bytes()) if limit else there

    blas, queue = _Cublas(cupy, stream), _Stream(cupy, stream)
    return CupyBackend(cupy, _Kernels(cupy), blas, queue, free=free)


class _Kernels:
    """Kernels compiled by NVRTC at their first use, and kept on disk by CuPy."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.blocks = 8 * cupy.cuda.Device().attributes["MultiProcessorCount"]

    def prepare(self, entry: str, kernel: Kernel) -> Run:
        module = self._cupy.RawModule(
            code=source(kernel.file), options=OPTIONS, name_expressions=(entry,)
        )
        return module.get_function(entry)


class _Stream:
    """The one stream; programs on it are CUDA graphs."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy = cupy
        self._stream = stream

    def synchronize(self) -> None:
        self._stream.synchronize()

    def read(self, array: Array) -> np.ndarray:
        return self._cupy.asnumpy(array, stream=self._stream)

    def record(self, step: Step, times: int) -> Replay:
        # Arrays that live only within the step come from a pool of their own, which the
        # replay keeps: nobody else gets the memory that the graph uses.
        pool = self._cupy.cuda.MemoryPool()
        with self._cupy.cuda.using_allocator(pool.malloc):
            self._stream.begin_capture()
            try:
                for _ in range(times):
                    step()
            except BaseException:
                with suppress(Exception):  # what went wrong in the step is the news
                    self._stream.end_capture()
                raise
            graph = self._stream.end_capture()
        return _Graph(graph, self._stream, pool).launch


@dataclass(frozen=True)
class _Graph:
    graph: Any
    stream: Any
    pool: Any

    def launch(self) -> None:
        self.graph.launch(stream=self.stream)


class _Cublas:
    """Matrix products by cuBLAS itself: CuPy's own calls refuse to be recorded."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._library = cublas_library()
        self._handle = ctypes.c_void_p()
        self._check("Create_v2", ctypes.byref(self._handle))
        self._check("SetStream_v2", self._handle, ctypes.c_void_p(stream.ptr))
        # After the stream, which resets it. A work space of cuBLAS's own would be allocated
        # during a recording; 32 MiB is what it takes on Hopper, 4 elsewhere.
        newer = int(cupy.cuda.Device().compute_capability) >= 90
        self._workspace = cupy.empty(((32 if newer else 4) << 20,), np.uint8)
        self._check(
            "SetWorkspace_v2", self._handle, ctypes.c_void_p(self._workspace.data.ptr),
            ctypes.c_size_t(self._workspace.nbytes),
        )

    def _check(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, f"cublas{function}")(*arguments)
        if status:
            raise RuntimeError(f"cublas{function} failed with status {status}.")

    def __call__(
        self, a: Array, b: Array, out: Array, transpose_a: bool, transpose_b: bool, accumulate: bool
    ) -> None:
        name, real = _GEMM[out.dtype.itemsize]
        layout = column_major(a.shape, b.shape, transpose_a, transpose_b)
        one, beta = real(1.0), real(1.0 if accumulate else 0.0)
        self._check(
            name, self._handle, layout.transpose_first, layout.transpose_second,
            *map(ctypes.c_int64, (layout.m, layout.n, layout.k)), ctypes.byref(one),
            ctypes.c_void_p(b.data.ptr), ctypes.c_int64(layout.first_stride),
            ctypes.c_void_p(a.data.ptr), ctypes.c_int64(layout.second_stride),
            ctypes.byref(beta), ctypes.c_void_p(out.data.ptr), ctypes.c_int64(layout.m),
        )


_GEMM = {4: ("Sgemm_v2_64", ctypes.c_float), 8: ("Dgemm_v2_64", ctypes.c_double)}

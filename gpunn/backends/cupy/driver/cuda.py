"""CuPy's part of the CuPy backend: kernels, streams and graphs.

Its calls of CuPy and CUDA need a GPU, so this file is kept small: the rest is in
`gpunn.backends.cupy`, the products in `cublas`. The tests run it with substitutes for CuPy and
cuBLAS, `make gpu` runs it on a GPU.
CuPy is imported when a backend is created, not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Step
from gpunn.backends.contract.device import Sending
from gpunn.backends.contract.ranks import Ranks
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch.codegen import BLOCK, RESIDENT_BLOCKS, Kernel
from gpunn.backends.cupy.launch.known_gpus import describe_gpu
from gpunn.backends.cupy.launch.measured_modes import measured_modes
from gpunn.backends.cupy.launch.modes import LaunchModeError
from gpunn.backends.cupy.launch.protocols import KernelLauncher, RankSum, Replay

from .cublas import Cublas
from .gpu import why_not
from .nccl import NcclSum
from .nvrtc import load_code
from .nvtx import nvtx_of

__all__ = ["make_backend", "why_not"]

UNREGISTERED = 0  # cudaMemoryTypeUnregistered: pageable memory of the host


def make_backend(number: int | None = None) -> CupyBackend:
    """Return the backend of a GPU.

    Args:
        number: Of the GPU, from 0 on; by default it is the current one.

    Raises:
        RuntimeError: if no GPU can be used, or there is none of this number; the message names
            what is missing.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(f"The CuPy backend cannot be used. {reason}")
    import cupy

    if number is None:
        return _of_current(cupy, "cupy")
    if number >= (count := cupy.cuda.runtime.getDeviceCount()):
        raise RuntimeError(
            f"The backend 'cupy:{number}' cannot be used. GPUs are numbered from 0, and there are "
            f"{count}: see nvidia-smi and CUDA_VISIBLE_DEVICES."
        )
    with cupy.cuda.Device(number):
        return _of_current(cupy, f"cupy:{number}")


def _of_current(cupy: Any, name: str) -> CupyBackend:
    stream = cupy.cuda.Stream(non_blocking=True)  # others cannot be captured

    def free() -> int:
        # Free parts of chunks in use are not counted: arrays of the same stream that fit can use
        # them, but CuPy does not report their sizes.
        pool = cupy.get_default_memory_pool()
        pool.free_all_blocks()
        there = cupy.cuda.runtime.memGetInfo()[0]
        limit = pool.get_limit()
        return min(there, limit - pool.total_bytes()) if limit else there

    queue = CupyStream(cupy, stream)
    with queue:
        blas = Cublas(cupy, stream)
    kernels = _Kernels(cupy, stream)
    measured = measured_modes(kernels.gpu.name)
    nvtx = nvtx_of(cupy)
    return CupyBackend(cupy, kernels, blas, queue, name, free, measured=measured, nvtx=nvtx)


class _Kernels:
    """Kernels compiled by NVRTC at their first use, and cached on disk."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy, self._stream = cupy, stream
        device = cupy.cuda.Device()
        self._capability, attributes = int(device.compute_capability), device.attributes
        processors = attributes["MultiProcessorCount"]
        self.blocks = 8 * processors
        cooperative = attributes.get("CooperativeLaunch")
        self.resident = RESIDENT_BLOCKS * processors if cooperative else 0
        name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
        self.gpu = describe_gpu(name, divmod(self._capability, 10), attributes)

    def prepare(self, kernel: Kernel) -> KernelLauncher:
        module = self._cupy.cuda.Module()
        module.load(load_code(kernel.text, self._capability))
        function = module.get_function(kernel.name)
        found = partial(function, stream=self._stream)
        if not kernel.repeats:
            return found
        # Its shared memory decides: a multiprocessor of some GPUs has little more than a block.
        resident = self._cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            function.ptr, BLOCK, 0
        )
        if resident < RESIDENT_BLOCKS:
            raise LaunchModeError(
                f"a multiprocessor of this GPU holds {resident} of its blocks at once, "
                f"not {RESIDENT_BLOCKS}"
            )
        return partial(found, enable_cooperative_groups=True)


class CupyStream:
    """The stream of the backend; programs on it are CUDA graphs."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy = cupy
        self._stream = stream
        self._sums: dict[Ranks, RankSum] = {}
        self._copies = cupy.cuda.Stream(non_blocking=True)
        self._device = cupy.cuda.Device()  # the current device is also set for each thread

    def __enter__(self) -> None:
        self._device.__enter__()
        self._stream.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)
        self._device.__exit__(*error)

    def is_current(self) -> bool:
        return bool(self._cupy.cuda.get_current_stream() == self._stream)

    def reaches(self, array: Array) -> bool:
        return bool(array.device.id == self._device.id)

    def current(self) -> Sending:
        if self.is_current():
            return Sending()
        return _Sending(self._cupy.cuda.get_current_stream().record(), self._stream)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def read(self, array: Array) -> np.ndarray:
        return self._cupy.asnumpy(array, stream=self._stream)

    def write(self, array: Array, values: np.ndarray) -> None:
        if not values.size:
            return
        array.set(values, stream=self._stream)
        if self.is_pinned(values):  # the copy may not even have begun
            self._stream.synchronize()

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return np.ndarray(shape, dtype, self._cupy.cuda.alloc_pinned_memory(size))

    def is_pinned(self, values: np.ndarray) -> bool:
        memory = self._cupy.cuda.runtime.pointerGetAttributes(values.ctypes.data)
        return bool(memory.type != UNREGISTERED)

    def send(self, copies: Sequence[tuple[Array, np.ndarray]]) -> Sending:
        self._copies.wait_event(self._stream.record())
        for target, values in copies:
            target.set(values, stream=self._copies)
        return _Sending(self._copies.record(), self._stream)

    def sum_over(self, ranks: Ranks) -> RankSum:
        if ranks.size == 1:
            return lambda array: None
        if ranks not in self._sums:
            self._sums[ranks] = NcclSum(self._cupy, self._stream, ranks)
        return self._sums[ranks]

    def capture(self, step: Step, times: int) -> Replay:
        # Arrays that exist only within the step come from a separate memory pool, which the
        # replay keeps alive: no other array gets the memory that the graph uses.
        pool = self._cupy.cuda.MemoryPool()
        with self._cupy.cuda.using_allocator(pool.malloc):
            try:  # an interrupt may come as soon as the capture has begun
                self._stream.begin_capture()
                for _ in range(times):
                    step()
                graph = self._stream.end_capture()
            except BaseException:
                self._abandon_capture()
                raise
        return _Graph(graph, self._stream, pool).launch

    def _abandon_capture(self) -> None:
        """End a capture, if there is one; the error that led here is the one to report."""
        try:
            capturing = self._stream.is_capturing()
        except RuntimeError:  # the capture has become invalid, and still has to be ended
            capturing = True
        if capturing:
            with suppress(Exception):
                self._stream.end_capture()


@dataclass(frozen=True)
class _Sending(Sending):
    event: Any
    stream: Any

    def join(self) -> None:
        self.stream.wait_event(self.event)

    def wait(self) -> None:
        self.event.synchronize()


@dataclass(frozen=True)
class _Graph:
    graph: Any
    stream: Any
    pool: Any

    def launch(self) -> None:
        self.graph.launch(stream=self.stream)

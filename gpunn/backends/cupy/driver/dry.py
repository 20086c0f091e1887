"""A substitute for a GPU that computes nothing: it shows what a step would launch."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Step
from gpunn.backends.contract.device import Sending
from gpunn.backends.contract.ranks import Ranks
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch.codegen import RESIDENT_BLOCKS, Kernel
from gpunn.backends.cupy.launch.known_gpus import GPU, known_gpu
from gpunn.backends.cupy.launch.protocols import KernelLauncher, Matmul, RankSum, Replay
from gpunn.backends.shared.precision import PRECISIONS


def make_backend(gpu: GPU | None = None) -> DryBackend:
    """Return the CuPy backend with arrays in host memory, and without kernels and products.

    The arrays hold zeros. The operations, the types of their arguments, and the number of kernel
    launches are the same as on the GPU: by default a GTX 1060 without cooperative launches, which
    persistent kernels need.

    >>> backend = make_backend()
    >>> with backend.profile() as operations:
    ...     backend.column_sums(backend.zeros((5, 3), "float32"), backend.zeros((3,), "float32"))
    >>> operations[0].name, operations[0].launches
    ('column_sums', 1)
    """
    made = DryBackend(np, _Kernels(gpu), _Products(), _Stream(), name="dry")
    made.allocated = Allocated()
    made.launch_mode = None  # GPUNN_LAUNCH_MODE applies to real GPUs only
    return made


class Allocated:
    """The number of bytes of arrays in existence."""

    def __init__(self) -> None:
        self.bytes = 0

    def add(self, array: np.ndarray) -> np.ndarray:
        self.bytes += array.nbytes
        weakref.finalize(array, self._subtract, array.nbytes).atexit = False
        return array

    def _subtract(self, size: int) -> None:
        self.bytes -= size


class DryBackend(CupyBackend):
    """The CuPy backend with arrays of zeros in host memory.

    Attributes:
        allocated: What CuPy's memory pool would hold, which rounds each array up to 512 bytes.
    """

    allocated: Allocated

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.zeros(shape, dtype)  # labels are used as indices: they must be valid

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.allocated.add(super().zeros(shape, dtype))


class _Kernels:
    def __init__(self, gpu: GPU | None) -> None:
        self.gpu = gpu or known_gpu("GTX 1060 6GB")
        self.blocks = 8 * self.gpu.multiprocessors
        self.resident = RESIDENT_BLOCKS * gpu.multiprocessors if gpu else 0

    def prepare(self, kernel: Kernel) -> KernelLauncher:
        return lambda grid, block, arguments: None


class _Products:
    """Does no products, of any precision; offers no epilogue, which a GPU may lack."""

    precisions = PRECISIONS

    def __call__(self, product: Matmul) -> None:
        """Nothing to do."""

    def offers(self, product: Matmul) -> bool:
        return False


class _Stream(nullcontext[None]):
    def is_current(self) -> bool:
        return True

    def reaches(self, array: Array) -> bool:
        return True

    def current(self) -> Sending:
        return Sending()

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def read(self, array: Array) -> np.ndarray:
        return np.array(array)

    def write(self, array: Array, values: np.ndarray) -> None:
        np.copyto(array, values)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def is_pinned(self, values: np.ndarray) -> bool:
        return False

    def send(self, copies: Sequence[tuple[Array, np.ndarray]]) -> Sending:
        for target, source in copies:
            target[...] = source
        return Sending()

    def sum_over(self, ranks: Ranks) -> RankSum:
        return lambda array: None

    def capture(self, step: Step, times: int) -> Replay:
        return lambda: None

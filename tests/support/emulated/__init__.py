"""The CuPy backend without a GPU: the real class, over substitutes for what only a GPU has.

- `arrays`: the array module is NumPy with its own array class, which tells host and device apart
  and behaves like CuPy's where it matters.
- `memory`: a pool of chunks like CuPy's, of a size that a test chooses; page-locked memory.
- `streams`: each thread has a current stream, as in CuPy, which runs array functions. At first it
  is the null stream, which is not ordered with the backend's and so takes no work here.
- `device`: during a capture, the backend's stream records work without doing it, and replays it
  later. The kernels are those of ``kernels/``, compiled for the CPU (see `host_kernels`).
  The matrix product reads flat memory column by column, as cuBLAS does.

Importing this package registers ``"emulated"`` for ``gpunn.use_backend``.
"""

from __future__ import annotations

import os

import gpunn.backends
from gpunn.backends.cupy.backend import CupyBackend

from .arrays import ArrayElsewhere, ArrayModule
from .device import STREAM, EmulatedKernels, Products, Sending, launched
from .memory import MEMORY, PAGE_LOCKED
from .streams import NULL, Gpu, Stream, current_gpu, current_stream, use

__all__ = [
    "MEMORY",
    "NULL",
    "PAGE_LOCKED",
    "STREAM",
    "ArrayElsewhere",
    "ArrayModule",
    "EmulatedKernels",
    "Gpu",
    "Products",
    "Sending",
    "Stream",
    "current_gpu",
    "current_stream",
    "launched",
    "make_backend",
    "use",
]


def make_backend(mode: str = "plain") -> CupyBackend:
    """A CuPy backend on the CPU.

    Its steps are not traced unless GPUNN_LAUNCH_MODE or ``mode`` requests it, because each trace
    would be compiled again. `test_launch_modes.py` tests traced steps.
    """
    return CupyBackend(
        ArrayModule(), EmulatedKernels(), Products(), STREAM, "emulated", MEMORY.free,
        os.environ.get("GPUNN_LAUNCH_MODE") or mode,
    )  # fmt: skip


gpunn.backends.register_backend("emulated", make_backend)

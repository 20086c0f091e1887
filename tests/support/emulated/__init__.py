"""The CuPy backend without a card: its own class, over stand-ins for what only a card has.

- `arrays`: the array module is NumPy with arrays of a class of their own, so that host and device
  are told apart, and that behaves where it matters as CuPy's do.
- `memory`: a pool of chunks as CuPy's, which ends where a test says so.
- `streams`: each thread has a current stream, as in CuPy, and array functions go there: at first to
  the null stream, which nothing orders with the backend's, so that it takes no work here.
- `card`: the backend's stream notes what is asked of it during a capture, without doing it, and
  replays that. The kernels are those of ``kernels/``, compiled for the CPU (see `host_kernels`).
  The matrix product reads flat memory column by column, as cuBLAS does.

Importing this package makes ``"emulated"`` known to ``gpunn.use_backend``.
"""

from __future__ import annotations

import os

import gpunn.backends
from gpunn.backends.cupy.backend import CupyBackend

from .arrays import ArrayModule
from .card import STREAM, EmulatedKernels, Products, Sending, launched
from .memory import MEMORY
from .streams import NULL, Stream, current_stream, use

__all__ = [
    "MEMORY",
    "NULL",
    "STREAM",
    "ArrayModule",
    "EmulatedKernels",
    "Products",
    "Sending",
    "Stream",
    "current_stream",
    "launched",
    "make_backend",
    "use",
]


def make_backend(mode: str = "plain") -> CupyBackend:
    """A CuPy backend on the CPU.

    Unless GPUNN_LAUNCH_MODE or ``mode`` says otherwise, its steps are not traced: each trace would
    be compiled anew. `test_launch_modes.py` is about those that are.
    """
    return CupyBackend(
        ArrayModule(), EmulatedKernels(), Products(), STREAM, "emulated", MEMORY.free,
        os.environ.get("GPUNN_LAUNCH_MODE") or mode,
    )  # fmt: skip


gpunn.backends.register_backend("emulated", make_backend)

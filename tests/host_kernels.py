"""The kernels on the CPU: the text that NVRTC gets, compiled by g++ and called through ctypes.

``tests/host/cuda_on_cpu.h`` stands in for CUDA. The libraries are kept in ``build/host``
under a name made of their text, so that an unchanged kernel is compiled once.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.backends import kernel_source
from gpunn.backends.kernel_source import Kernel

HEADER = Path(__file__).parent / "host" / "cuda_on_cpu.h"
CACHE = Path(__file__).parent.parent / "build" / "host"
COMPILER = ("g++", "-std=c++17", "-O1", "-ffp-contract=off", "-fno-gnu-unique", "-shared", "-fPIC")


def compile_text(source: str, entries: Sequence[str]) -> dict[str, Any]:
    """Kernels by name, as functions (grid, block, arguments) that launch them."""
    text = HEADER.read_text() + source
    for number, entry in enumerate(entries):
        text += (
            f'\nextern "C" const char* launch_{number}(const unsigned* grid, '
            f"const unsigned* block, void** arguments) "
            f"{{ return cpu::launch({entry}, grid, block, arguments); }}\n"
        )
    name = hashlib.sha256("\0".join((*COMPILER, text)).encode()).hexdigest()[:24]
    path = CACHE / f"{name}.so"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        command = [*COMPILER, "-x", "c++", "-", "-o", str(unfinished)]
        subprocess.run(command, input=text, text=True, check=True)
        unfinished.replace(path)
    library = ctypes.CDLL(str(path))
    return {
        entry: _launcher(library, f"launch_{number}", entry) for number, entry in enumerate(entries)
    }


def _launcher(library: ctypes.CDLL, symbol: str, entry: str) -> Any:
    function = getattr(library, symbol)
    function.restype = ctypes.c_char_p

    def launch(grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any]) -> None:
        values = [np.asarray(a if np.isscalar(a) else a.ctypes.data) for a in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        error = function(_three(grid), _three(block), pointers)
        if error:
            raise RuntimeError(f"{entry}: {error.decode()}")

    return launch


def _three(size: Sequence[int]) -> Any:
    return (ctypes.c_uint * 3)(*size, *(1,) * (3 - len(size)))


@cache
def compile_file(file: str) -> dict[str, Any]:
    """One ``.cu`` file with all its instantiations."""
    kernels = [kernel for kernel in kernel_source.kernels().values() if kernel.file == file]
    entries = [entry for kernel in kernels for entry in kernel.entries()]
    return compile_text(kernel_source.source(file), entries)


class HostKernels:
    """A kernel set, as the CuPy backend takes it, that runs on the CPU."""

    blocks = 2  # of a grid-stride launch: few, since each of their threads is a fiber

    def prepare(self, entry: str, kernel: Kernel) -> Any:
        """The function that runs this instantiation: f(grid, block, arguments)."""
        return compile_file(kernel.file)[entry]

"""NVRTC, NVIDIA's runtime compiler, called directly: compiling needs no GPU and no CuPy.

CuPy would add ``-ftz=true`` to the options, which flushes subnormal values to 0.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from gpunn.backends.cupy.launch.kernel_source import OPTIONS
from gpunn.backends.cupy.launch.modes import LaunchModeError
from gpunn.common.cache import cache_folder, cached

from .gpu import nvidia_library


class CompileError(RuntimeError):
    """Compilation failed; the message is the compiler's log."""


class SharedMemoryError(CompileError, LaunchModeError):
    """A kernel needs more shared memory than a block of the GPU has."""


_TOO_MUCH = re.compile(r"uses too much shared data \(0x(\w+) bytes, 0x(\w+) max\)")


class Compiled(NamedTuple):
    """What the compiler returns: machine code, or virtual assembly (PTX) for a virtual
    architecture, and a log of warnings and what the options request, such as the registers of each
    kernel."""

    code: bytes
    log: str


def version() -> str:
    """Return the version of NVRTC, such as "12.9"."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def load_code(text: str, capability: int) -> bytes:
    """Return a source's code for GPUs of a compute capability, from the cache or the compiler.

    A cached file serves the same source, options and version of NVRTC.

    Args:
        capability: such as 61 for 6.1. For one that this NVRTC does not know, the code is PTX,
            which the GPU's driver compiles.

    Raises:
        CompileError: with the compiler's log.
    """
    architecture = architecture_for(capability)
    key = version(), *OPTIONS, architecture, text
    folder = cache_folder() / "kernels"
    return cached(folder, key, lambda: compile_source(text, architecture).code)


def architecture_for(capability: int) -> str:
    """Return the architecture to compile for: the GPU's, or the newest virtual one below it."""
    known = _architectures()
    if capability in known:
        return f"sm_{capability}"
    older = [each for each in known if each < capability]
    if not older:
        raise CompileError(
            f"NVRTC {version()} does not compile for compute capability {capability / 10}, only "
            f"for {min(known) / 10} and newer."
        )
    return f"compute_{max(older)}"


def compile_source(text: str, architecture: str, more: Sequence[str] = ()) -> Compiled:
    """Compile a source with the options of all kernels.

    Args:
        architecture: ``sm_61`` for machine code, ``compute_61`` for PTX.
        more: further options, which do not change the code.

    Raises:
        SharedMemoryError: if a kernel needs too much of it.
        CompileError: with the compiler's log.
    """
    program = ctypes.c_void_p()
    source = text.encode(), b"kernels.cu"
    _call("nvrtcCreateProgram", ctypes.byref(program), *source, 0, None, None)
    try:
        flags = [*OPTIONS, f"--gpu-architecture={architecture}", *more]
        array = (ctypes.c_char_p * len(flags))(*map(str.encode, flags))
        status = _library().nvrtcCompileProgram(program, len(flags), array)
        log = _output(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if status:
            raise _compile_error(log.strip() or _message(status))
        return Compiled(_output(program, "CUBIN" if architecture.startswith("sm_") else "PTX"), log)
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


@cache
def _library() -> ctypes.CDLL:
    library = nvidia_library("nvrtc")
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


@cache
def _architectures() -> tuple[int, ...]:
    """Return the compute capabilities that this NVRTC knows."""
    number = ctypes.c_int()
    _call("nvrtcGetNumSupportedArchs", ctypes.byref(number))
    known = (ctypes.c_int * number.value)()
    _call("nvrtcGetSupportedArchs", known)
    return tuple(known)


def _output(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, buffer)
    return buffer.raw


def _call(name: str, *arguments: Any) -> None:
    if status := getattr(_library(), name)(*arguments):
        raise CompileError(f"{name}: {_message(status)}")


def _compile_error(log: str) -> CompileError:
    if too_much := _TOO_MUCH.search(log):
        needed, most = (int(number, 16) for number in too_much.groups())
        return SharedMemoryError(
            f"its kernel needs {needed:,} bytes of shared memory; a block has {most:,}"
        )
    return CompileError(log)


def _message(status: int) -> str:
    return str(_library().nvrtcGetErrorString(status).decode())

"""NVRTC, NVIDIA's runtime compiler, called directly: it needs no GPU, no driver and no CuPy.

The library comes from the wheel ``nvidia-cuda-nvrtc-cu12``.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

CACHE: Path | None = None  # the folder of cached results, named by a hash of their inputs


class CompileError(Exception):
    """Compilation failed; the message is the compiler's log."""


@dataclass(frozen=True)
class Resources:
    """The GPU resources of a kernel, as ptxas reports them (bytes, except registers)."""

    registers: int
    shared: int
    stack: int
    spills: int


@cache
def library() -> ctypes.CDLL:
    """Return the NVRTC 12 library."""
    spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("NVRTC is missing: pip install nvidia-cuda-nvrtc-cu12")
    folder = Path(next(iter(spec.submodule_search_locations))) / "lib"
    return ctypes.CDLL(str(folder / "libnvrtc.so.12"))


def version() -> str:
    """Return the version of NVRTC, such as "12.9"."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value}"


def compile_kernels(
    source: str, architecture: int, names: Sequence[str], options: Sequence[str] = ()
) -> dict[str, Resources]:
    """Compile the named kernels to machine code for ``sm_<architecture>``.

    Returns the resources of each; raises `CompileError` with the log.
    """
    flags = [*options, f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v"]

    def make() -> dict[str, dict[str, int]]:
        with _compiled(source, names, flags) as program:
            log = _text(program, "ProgramLog")
            return {name: asdict(_resources(log, _lowered(program, name))) for name in names}

    return {name: Resources(**used) for name, used in _kept(make, source, names, flags).items()}


def assembly(source: str, name: str, options: Sequence[str] = (), architecture: int = 61) -> str:
    """Return the virtual assembly (PTX) of a kernel, by default for the oldest GPU generation."""
    flags = [*options, f"--gpu-architecture=compute_{architecture}"]

    def make() -> str:
        with _compiled(source, [name], flags) as program:
            return _text(program, "PTX")

    return _kept(make, source, [name], flags)


def _kept(make: Callable[[], Any], source: str, names: Sequence[str], flags: Sequence[str]) -> Any:
    """Return the JSON-compatible result of ``make``, cached for the same source and flags."""
    if CACHE is None:
        return make()
    key = json.dumps([version(), Path(__file__).read_text(), source, [*names], [*flags]])
    path = CACHE / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(make()))
        unfinished.replace(path)
    return json.loads(path.read_text())


@contextmanager
def _compiled(source: str, names: Sequence[str], flags: Sequence[str]) -> Iterator[Any]:
    nvrtc = library()
    program = ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
        )
    )
    try:
        for name in names:
            _check(nvrtc.nvrtcAddNameExpression(program, name.encode()))
        array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        if nvrtc.nvrtcCompileProgram(program, len(flags), array):
            raise CompileError(_text(program, "ProgramLog"))
        yield program
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _resources(log: str, symbol: str) -> Resources:
    start = log.index(f"Compiling entry function '{symbol}'")
    end = log.find("Compiling entry function", start + 1)
    report = log[start : end if end > 0 else None]

    def figure(pattern: str) -> int:
        found = re.search(pattern, report)
        return int(found[1]) if found else 0

    return Resources(
        registers=figure(r"Used (\d+) registers"),
        shared=figure(r"(\d+) bytes smem"),
        stack=figure(r"(\d+) bytes stack frame"),
        spills=figure(r"(\d+) bytes spill stores") + figure(r"(\d+) bytes spill loads"),
    )


def _lowered(program: Any, name: str) -> str:
    symbol = ctypes.c_char_p()
    _check(library().nvrtcGetLoweredName(program, name.encode(), ctypes.byref(symbol)))
    assert symbol.value
    return symbol.value.decode()


def _text(program: Any, what: str) -> str:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.value.decode(errors="replace")


def _check(status: int) -> None:
    if status:
        library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise CompileError(library().nvrtcGetErrorString(status).decode())

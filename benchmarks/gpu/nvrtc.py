"""What NVRTC reports of kernels: their resources, and their virtual assembly.

It needs the wheels ``nvidia-cuda-nvrtc-cu12`` and ``cuda-pathfinder``, but no GPU and no CuPy.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gpunn.backends.cupy.driver.nvrtc import compile_source, version
from gpunn.backends.cupy.launch.kernel_source import OPTIONS
from gpunn.common.cache import cached

CACHE: Path | None = None  # the folder of cached results
VERBOSE = "--ptxas-options=-v"  # reports resources in the log


@dataclass(frozen=True)
class Resources:
    """The GPU resources of a kernel, as ptxas reports them (bytes, except registers)."""

    registers: int
    shared: int
    stack: int
    spills: int


class MachineCode(NamedTuple):
    """The machine code of a source, what ptxas says of it, and how long compiling took."""

    code: bytes
    log: str
    seconds: float


def keep_in(folder: Path | None) -> None:
    """Keep results in a folder, also in a process that is started for some of them."""
    global CACHE
    CACHE = folder


def machine_code(text: str, architecture: int) -> MachineCode:
    """Compile a source for ``sm_<architecture>``; what was kept has the seconds of its time."""

    def make() -> tuple[str, str, float]:
        start = time.perf_counter()
        code, log = compile_source(text, f"sm_{architecture}", [VERBOSE])
        return code.hex(), log, time.perf_counter() - start

    code, log, seconds = _cached(make, "machine code", str(architecture), text)
    return MachineCode(bytes.fromhex(code), log, seconds)


def compile_kernels(text: str, architecture: int, names: Sequence[str]) -> dict[str, Resources]:
    """Compile a source to machine code for ``sm_<architecture>``.

    Returns the resources of the named kernels, which are ``extern "C"``; raises `CompileError`
    of `gpunn.backends.cupy.driver.nvrtc` with the log.
    """

    def make() -> dict[str, dict[str, int]]:
        log = compile_source(text, f"sm_{architecture}", [VERBOSE]).log
        return {name: asdict(resources_of(log, name)) for name in names}

    found = _cached(make, "resources", str(architecture), *names, text)
    return {name: Resources(**used) for name, used in found.items()}


def assembly(text: str, architecture: int = 61) -> str:
    """Return the virtual assembly (PTX) of a source, by default for GTX 10xx."""

    def make() -> str:
        return compile_source(text, f"compute_{architecture}").code.rstrip(b"\0").decode()

    return str(_cached(make, "assembly", str(architecture), text))


def digest(inputs: Iterable[str]) -> str:
    """Return the digest of what a page of results is made from, which stands in the page.

    It includes the options of the compiler, but not its version: the page states that, and is not
    stale because somebody has another.

    >>> digest(["__global__ void f() {}"]) == digest(["__global__ void g() {}"])
    False
    """
    return hashlib.sha256(repr([OPTIONS, *inputs]).encode()).hexdigest()[:16]


def _cached(make: Callable[[], Any], *key: str) -> Any:
    """Return the JSON-compatible result of ``make``, cached for the same key and options."""
    if CACHE is None:
        return make()
    key = version(), *OPTIONS, Path(__file__).read_text(), *key
    return json.loads(cached(CACHE, key, lambda: json.dumps(make()).encode()))


def resources_of(log: str, name: str) -> Resources:
    """Return a kernel's resources, from the log of ptxas."""
    start = log.index(f"Compiling entry function '{name}'")
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

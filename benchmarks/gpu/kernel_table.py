"""Registers and shared memory of every kernel on every GPU generation, as the compiler reports.

``make kernels`` writes it into results/kernels.md. It needs NVRTC, but neither a GPU nor
CuPy: the kernels are compiled as in the tests.
"""

from __future__ import annotations

from functools import cache

from benchmarks import RESULTS
from gpunn.backends.cupy.launch import kernel_source
from gpunn.backends.cupy.launch.codegen import every_kernel

from . import nvrtc

ARCHITECTURES = (52, 61, 75, 86, 89, 90)
RESULT = RESULTS / "kernels.md"

_HEAD = """\
# Registers and shared memory of the kernels

Compiled by NVRTC {version} (`make kernels`) from sources of digest {digest}. A cell: registers of
a thread / bytes of static shared memory of a block; then bytes spilled to memory, if any.

- sm_52: GTX 9xx; sm_61: GTX 10xx; sm_75: GTX 16xx, RTX 20xx; sm_86: RTX 30xx; sm_89: RTX 40xx;
  sm_90: H100.

"""


@cache
def resources(file: str, architecture: int) -> dict[str, nvrtc.Resources]:
    """Return the resources of each part's kernel in a ``.cu`` file, on ``sm_<architecture>``."""
    kernels = every_kernel(file)
    names = [kernel.name for kernel in kernels]
    used = nvrtc.compile_kernels(_source(file), architecture, names)
    return {kernel.calls[0].entry: used[kernel.name] for kernel in kernels}


def _source(file: str) -> str:
    functions = "".join(kernel.function for kernel in every_kernel(file))
    return kernel_source.source(file) + functions


def digest() -> str:
    """The digest of the kernels in the page."""
    return nvrtc.digest([repr(ARCHITECTURES), *map(_source, kernel_source.files(".cu"))])


def text() -> str:
    """The page."""
    titles = " | ".join(f"sm_{a}" for a in ARCHITECTURES)
    rows = [f"| kernel | {titles} |", f"| --- |{' ---: |' * len(ARCHITECTURES)}"]
    for file in kernel_source.files(".cu"):
        columns = [resources(file, architecture) for architecture in ARCHITECTURES]
        for entry in columns[0]:
            cells = " | ".join(_cell(column[entry]) for column in columns)
            rows.append(f"| `{entry}` | {cells} |")
    return _HEAD.format(version=nvrtc.version(), digest=digest()) + "\n".join(rows) + "\n"


def _cell(used: nvrtc.Resources) -> str:
    spills = f" / {used.spills} spilled" if used.spills else ""
    return f"{used.registers} / {used.shared}{spills}"


if __name__ == "__main__":
    RESULT.write_text(text())
    print(RESULT)

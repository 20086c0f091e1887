"""What the compiler gains from the constants in the kernels of the workloads' steps.

Each kernel is compiled with its sizes as arguments, then with its sizes as constants.
``make kernels`` writes it into results/constants.md. It needs NVRTC, but neither a GPU nor CuPy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from benchmarks import RESULTS
from gpunn.backends.cupy.launch.codegen import Kernel

from . import nvrtc
from .hot_kernels import launches, table
from .kernel_table import ARCHITECTURES

RESULT = RESULTS / "constants.md"
COMPARED = (61, 90)
DIVISION = re.compile(r"\b(?:div|rem)\.[su]64\b")

_HEAD = """\
# The sizes of a step as constants of its kernels

Compiled by NVRTC {version} (`make kernels`) from kernels of digest {digest}. **Nothing here ran on
a GPU.** A cell: with the sizes as arguments -> with the sizes as constants. *Registers*: of a
thread, the most in any of the step's kernels. *Code*: bytes of the compiled kernels. *Divisions*:
of 64 bits, in PTX. *Seconds*: to compile all kernels one after the other, the faster of two times.

The steps of W3 and W4 are not persistent: one launch would take too long.
"""


class Step(NamedTuple):
    """A step's compiled kernels, all together; the registers are the most in any of them."""

    registers: int
    spills: int
    code: int
    divisions: int
    seconds: float


def steps() -> dict[str, list[Kernel]]:
    """Return the kernels of each workload's step in each mode, by title."""
    found: dict[str, list[Kernel]] = {}
    for hot in launches():
        found.setdefault(hot.title.partition(":")[0], []).append(hot.kernel)
    return found


def compiled(kernels: Iterable[Kernel], architecture: int) -> Step:
    """Compile kernels, one by one."""
    alone = [_compiled(kernel, architecture) for kernel in kernels]
    most, *sums = zip(*alone, strict=True)
    return Step(max(most), *map(sum, sums))


@cache
def _compiled(kernel: Kernel, architecture: int) -> Step:
    (code, log, first), (*_, second) = (
        nvrtc.machine_code(kernel.text, architecture) for _ in range(2)
    )
    used = nvrtc.resources_of(log, kernel.name)
    divisions = len(DIVISION.findall(nvrtc.assembly(kernel.text, architecture)))
    return Step(used.registers, used.spills, len(code), divisions, min(first, second))


def digest() -> str:
    """The digest of the kernels in the page."""
    architectures = repr([COMPARED, ARCHITECTURES])
    return nvrtc.digest([architectures, *(hot.kernel.text for hot in launches())])


def text() -> str:
    """The page."""
    pages = [_HEAD.format(version=nvrtc.version(), digest=digest())]
    columns = ["step", "kernels", "registers", "spilled", "code", "divisions", "seconds"]
    for architecture in COMPARED:
        rows = []
        for title, kernels in steps().items():
            general = [replace(kernel, constants=()) for kernel in kernels]
            before, after = (compiled(each, architecture) for each in (general, kernels))
            cells = [f"{a:,} -> {b:,}" for a, b in zip(before[:-1], after[:-1], strict=True)]
            cells.append(f"{before.seconds:.2f} -> {after.seconds:.2f}")
            rows.append([title, str(len(kernels)), *cells])
        pages += [f"## sm_{architecture}\n", table(columns, rows)]
    rows = [
        [title, *(_resources(compiled(kernels, architecture)) for architecture in ARCHITECTURES)]
        for title, kernels in steps().items()
    ]
    pages += [
        "## Every GPU generation\n\nWith constants: registers / bytes spilled to memory.\n",
        table(["step", *(f"sm_{a}" for a in ARCHITECTURES)], rows),
    ]
    return "\n".join(pages)


def _resources(step: Step) -> str:
    return f"{step.registers} / {step.spills}"


if __name__ == "__main__":
    RESULT.write_text(text())
    print(RESULT)

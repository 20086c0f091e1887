"""Registers and shared memory of every kernel on every GPU generation, as the compiler reports.

``make kernels`` writes it into results/kernels.md. It needs NVRTC, but neither a GPU nor
CuPy: the kernels are compiled as in the tests.
"""

from __future__ import annotations

import datetime
import re
from functools import cache
from typing import NamedTuple

from benchmarks import RESULTS
from gpunn.backends.cupy.driver.nvrtc import version
from gpunn.backends.cupy.launch import kernel_source
from gpunn.backends.cupy.launch.codegen import every_kernel

from . import nvrtc

ARCHITECTURES = (52, 61, 75, 86, 89, 90)
RESULT = RESULTS / "kernels.md"

_HEAD = """\
# Registers and shared memory of the kernels

Compiled by NVRTC {version} on {date} (`make kernels`). A cell: registers of a thread /
bytes of static shared memory of a block; then bytes spilled to memory, if any.

- sm_52: GTX 9xx; sm_61: GTX 10xx; sm_75: GTX 16xx, RTX 20xx; sm_86: RTX 30xx; sm_89: RTX 40xx;
  sm_90: H100.

"""
_VERSION = re.compile(r"NVRTC (\d+\.\d+)")
_ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)

Figures = dict[str, dict[int, str]]
"""For each kernel, the cells of the table by architecture."""


class Table(NamedTuple):
    """The file: its NVRTC version, and its contents."""

    version: str
    figures: Figures


@cache
def resources(file: str, architecture: int) -> dict[str, nvrtc.Resources]:
    """Return the resources of each part's kernel in a ``.cu`` file, on ``sm_<architecture>``."""
    kernels = every_kernel(file)
    source = kernel_source.source(file) + "".join(kernel.function for kernel in kernels)
    names = [kernel.name for kernel in kernels]
    used = nvrtc.compile_kernels(source, architecture, names)
    return {kernel.calls[0].entry: used[kernel.name] for kernel in kernels}


def figures() -> Figures:
    """Return the table of the current kernels."""
    found: Figures = {}
    for file in kernel_source.files(".cu"):
        for architecture in ARCHITECTURES:
            for entry, used in resources(file, architecture).items():
                spills = f" / {used.spills} spilled" if used.spills else ""
                cell = f"{used.registers} / {used.shared}{spills}"
                found.setdefault(entry, {})[architecture] = cell
    return found


def text() -> str:
    """Return the table as Markdown."""
    head = _HEAD.format(version=version(), date=datetime.date.today())
    titles = " | ".join(f"sm_{a}" for a in ARCHITECTURES)
    rows = [f"| kernel | {titles} |", f"| --- |{' ---: |' * len(ARCHITECTURES)}"]
    rows += [f"| `{entry}` | {' | '.join(cells.values())} |" for entry, cells in figures().items()]
    return head + "\n".join(rows) + "\n"


def read() -> Table:
    """Read the table from its file."""
    written = RESULT.read_text()
    version = _VERSION.search(written)
    title = re.search(r"^\| kernel \| (.*) \|$", written, re.MULTILINE)
    assert version and title, f"{RESULT} is not a table of kernels"
    columns = [int(name.removeprefix("sm_")) for name in title[1].split(" | ")]
    rows = {
        entry: dict(zip(columns, cells.split(" | "), strict=True))
        for entry, cells in _ROW.findall(written)
    }
    return Table(version[1], rows)


if __name__ == "__main__":
    RESULT.write_text(text())
    print(RESULT)

"""GPU resources that the kernels of the workloads' steps use, from their compiled code.

``make kernels`` writes it into results/hot-kernels.md. It needs NVRTC, but neither a GPU nor
CuPy. The microseconds are predictions, from the model of `roofline`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks import RESULTS
from benchmarks.common.workloads import ALL_WORKLOADS
from benchmarks.contestants.gpunn_fit import network
from gpunn.apps.roofline import step_profile
from gpunn.backends.cupy import images
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.codegen import BLOCK, WARP, Kernel, PartCall, by_itself
from gpunn.backends.cupy.launch.kernel_source import part_named
from gpunn.backends.cupy.launch.known_gpus import GPU, GPUS, find_gpu, known_gpu
from gpunn.backends.cupy.launch.tasks import Launch, Product, Task

from . import nvrtc

RESULT = RESULTS / "hot-kernels.md"
GPU_NAMES = {61: "GTX 1080 Ti", 86: "RTX 3060", 90: "H200"}
MODES = {"fused": ALL_WORKLOADS, "persistent": ("W1", "W2")}


class Limits(NamedTuple):
    """The limits of a multiprocessor, from the compute capabilities in NVIDIA's CUDA Guide."""

    threads: int
    blocks: int
    shared: int  # bytes
    reserved: int  # bytes of these for each block


LIMITS = {
    61: Limits(2048, 32, 96 << 10, 0),
    86: Limits(1536, 16, 100 << 10, 1 << 10),
    90: Limits(2048, 32, 228 << 10, 1 << 10),
}
REGISTERS, REGISTERS_AT_ONCE = 65536, 256  # of a multiprocessor; the unit of allocation to a warp

_HEAD = """\
# The kernels of the workloads' steps

Compiled by NVRTC {version} (`make kernels`) from kernels of digest {digest}, for {gpus}.
**Nothing here ran on a card.** Not listed is what libraries do, as products in the mode *fused*.
The kernels of launches have the step's sizes as constants (`constants.md` compares); parts do not.
"""
_LAUNCHES = """\
## Launches

*Bytes*: each array that a launch reads or writes, once; what it has written itself is in a cache
when it reads it. *Barriers*: of a block, as they stand in
the compiled text; of the grid. A cell of a card: registers of a thread / bytes of static shared
memory of a block / the share of a multiprocessor's threads that fit at once by these. *us*:
**predicted**, the bytes at the bandwidth of L2 (of the memory, where they are more than L2 holds)
or the arithmetic of a convolution, and what a kernel in a graph, or each barrier of the grid, costs
on that card. A persistent launch is given for one step. The launches are those of a GTX 1060.
"""
_PATCHES = """\
## Convolution without patches in memory

**Predicted**, as above, for a step of W4 in the mode *fused*, products included: with all patches
in memory and the library's products, and as it is launched on that card. There a product of patches
that are never written is chosen where it is predicted to be faster; it is assumed to reach
{rate:.0%} of the rate of the library's.
"""
_PARTS = """\
## Parts

Instructions of PTX for an element, in the innermost loop that moves most: its instructions,
divided by its stores to global memory (by its loads, if it stores nothing there). PTX is what the
card's own assembler begins with, so this compares kernels, and is not what a card counts: of the
disassemblers that pip has (nvidia-cuda-nvdisasm, from CUDA 13.2 on) none knows sm_61. "-": no such
loop.
"""


class Hot(NamedTuple):
    """A launch of a workload's step.

    Attributes:
        title: the title of the row: workload, mode, and operation.
        bytes: the bytes that it moves.
        kernel: its kernel.
        tasks: what it does.
    """

    title: str
    bytes: int
    kernel: Kernel
    tasks: Sequence[Task]

    @property
    def grid_barriers(self) -> int:
        return sum(stage.name == "barrier" for stage in self.kernel.stages)


@cache
def launches() -> tuple[Hot, ...]:
    """Return the launches of a step of each workload except products, without using a GPU."""
    found = []
    for mode, workloads in MODES.items():
        for workload in workloads:
            for launch in _launches(workload, mode, known_gpu("GTX 1060 6GB")):
                if launch.kernel:
                    names = " + ".join(call.part for call in launch.kernel.calls)
                    if mode == "persistent":
                        names = f"all {len(launch.kernel.calls)} parts"
                    title = f"{workload} {mode}: {names}"
                    found.append(Hot(title, _bytes(launch.tasks), launch.kernel, launch.tasks))
    return tuple(found)


def _launches(workload: str, mode: str, gpu: GPU) -> Sequence[Launch]:
    """Return the launches of a step on this GPU."""
    work: dict[str, Any] = ALL_WORKLOADS[workload]
    backend: Any = dry.make_backend(gpu)
    backend.launch_mode = mode
    model = step_profile.copied(network(work, "numpy"), backend)
    program: Any = step_profile.step_program(model, work["batch"], 1)
    program.run(1)
    launches: Sequence[Launch] = program.launches
    return launches


def _bytes(tasks: Sequence[Task]) -> int:
    read: set[tuple[int, int]] = set()
    written: set[tuple[int, int]] = set()
    for task in tasks:
        read |= {(r.start, r.stop) for r in task.regions if not r.written} - written
        written |= {(r.start, r.stop) for r in task.regions if r.written}
    return sum(stop - start for places in (read, written) for start, stop in places)


def parts() -> list[PartCall]:
    """Return the parts of these launches, each once."""
    calls = (call for hot in launches() for call in hot.kernel.calls)
    return sorted({PartCall(c.part, c.choices) for c in calls}, key=lambda call: call.entry)


def occupancy(used: nvrtc.Resources, architecture: int) -> float:
    """Return the fraction of a multiprocessor's threads that are resident in blocks of `BLOCK`.

    >>> occupancy(nvrtc.Resources(registers=32, shared=0, stack=0, spills=0), 61)
    1.0
    >>> occupancy(nvrtc.Resources(registers=65, shared=0, stack=0, spills=0), 61)
    0.375
    """
    limits = LIMITS[architecture]
    each = -(-used.registers * WARP // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE  # per warp
    blocks = min(
        limits.threads // BLOCK, limits.blocks, REGISTERS // (each * (BLOCK // WARP)),
        limits.shared // max(used.shared + limits.reserved, 1),
    )  # fmt: skip
    return blocks * BLOCK / limits.threads


def instructions(ptx: str) -> list[str]:
    """Return the instructions of a kernel's PTX, including labels."""
    lines = (line.strip() for line in ptx[ptx.index("{") :].splitlines())
    return [x for x in lines if re.match(r"(@!?%p\d+ )?[a-z]\S*( .*)?;$|\$\w+:$", x)]


def per_element(ptx: str) -> float | None:
    """Return instructions per element in the innermost loop that moves most; None without one."""
    lines = instructions(ptx)
    labels = {line[:-1]: at for at, line in enumerate(lines) if line.endswith(":")}
    loops = []
    for at, line in enumerate(lines):
        target = re.search(r"\bbra\S*\s+(\$\w+);", line)
        if target and labels.get(target[1], at) < at:
            loops.append((labels[target[1]], at))
    best, most = None, 0
    for first, last in loops:
        if any(first <= a and b <= last and (a, b) != (first, last) for a, b in loops):
            continue  # it contains another loop
        body = [line for line in lines[first : last + 1] if not line.endswith(":")]
        stores, loads = (sum(f"{how}.global" in x for x in body) for how in ("st", "ld"))
        if stores + loads > most:
            best, most = len(body) / (stores or loads), stores + loads
    return best


def seconds(hot: Hot, gpu: GPU) -> float:
    """Predict the seconds of a launch."""
    fixed = hot.grid_barriers * gpu.barrier if hot.kernel.repeats else gpu.kernel
    return fixed + work_seconds(hot.tasks, gpu)


def work_seconds(tasks: Sequence[Task], gpu: GPU) -> float:
    """Predict the seconds of a launch's traffic or of its products, whichever is longer."""
    size = _bytes(tasks)
    memory = roofline.MEMORY_EFFICIENCY * gpu.bandwidth
    moving = size / (max(gpu.l2_bandwidth, memory) if size <= gpu.l2 else memory)
    return max(moving, sum(_product_seconds(task, gpu) for task in tasks))


def _product_seconds(task: Task, gpu: GPU) -> float:
    """Predict the seconds of the arithmetic of a library's product, or one in convolution.cu."""
    if isinstance(task, Product):
        m, n = task.matmul.out.shape
        return roofline.product_seconds(m, n, task.matmul.flops // (2 * m * n), gpu)
    if task.name not in ("convolution", "kernel_gradient"):
        return 0.0
    names = (parameter.name for parameter in part_named(task.name).parameters)
    values: dict[str, Any] = dict(zip(names, task.arguments, strict=True))
    _, _, *counts = values["geometry"].tolist()[:6]
    windows = int(values["samples"]) * counts[0] * counts[1]
    width = counts[2] * counts[3] * int(values["channels"])
    rows, terms = (windows, width) if task.name == "convolution" else (width, windows)
    sizes = rows, int(values["filters"]), terms, int(values.get("pieces", 1))
    return images.cost(*sizes, gpu.multiprocessors) / (roofline.PRODUCT_EFFICIENCY * gpu.flops)


def patches_row(gpu: GPU) -> list[str]:
    """Return the row of a GPU in the table of W4 with and without patches in memory."""
    with patch.object(images, "RATE", 1e-30):
        before = _launches("W4", "fused", gpu)
    steps = before, _launches("W4", "fused", gpu)
    times = [sum(gpu.kernel + work_seconds(each.tasks, gpu) for each in step) for step in steps]
    return [
        gpu.name,
        *(f"{len(step)}" for step in steps),
        *(f"{sum(_bytes(each.tasks) for each in step) / 1e6:,.1f}" for step in steps),
        *(f"{time * 1e6:,.1f}" for time in times),
        f"{times[1] / times[0] - 1:+.1%}",
    ]


def digest() -> str:
    """The digest of the kernels in the page, and of what its predictions need besides them."""
    moved = (f"{hot.title}: {hot.bytes} bytes\n{hot.kernel.text}" for hot in launches())
    return nvrtc.digest([repr(GPUS), *moved, *(by_itself(call).text for call in parts())])


def text() -> str:
    """The page."""
    gpus = {a: gpu for a, name in GPU_NAMES.items() if (gpu := find_gpu(name))}
    names = ", ".join(f"sm_{a} ({gpu.name})" for a, gpu in gpus.items())
    head = _HEAD.format(version=nvrtc.version(), digest=digest(), gpus=names)
    columns = ["launch", "bytes", "barriers", *(f"sm_{a}" for a in gpus)]
    columns += [f"us, {gpu.name}" for gpu in gpus.values()]
    rows = [_launch_row(hot, gpus) for hot in launches()]
    titles = ("launches", "MB", "us")
    both = [f"{title}, {how}" for title in titles for how in ("with patches", "as launched")]
    of_parts = [[f"`{call.entry}`", *(_cell(call, a) for a in gpus)] for call in parts()]
    return "\n".join(
        (
            head, _LAUNCHES, table(columns, rows), _PATCHES.format(rate=images.RATE),
            table(["card", *both, "difference"], [patches_row(gpu) for gpu in GPUS]), _PARTS,
            table(["part", *(f"sm_{a}" for a in gpus)], of_parts),
        )
    )  # fmt: skip


def _launch_row(hot: Hot, gpus: dict[int, GPU]) -> list[str]:
    kernel = hot.kernel
    ptx = nvrtc.assembly(kernel.text)
    blocks = sum("bar.sync" in line or "barrier.sync" in line for line in instructions(ptx))
    cells = [hot.title, f"{hot.bytes:,}", f"{blocks}, {hot.grid_barriers}"]
    for architecture in gpus:
        used = nvrtc.compile_kernels(kernel.text, architecture, [kernel.name])[kernel.name]
        share = occupancy(used, architecture)
        cells.append(f"{used.registers} / {used.shared} / {share:.0%}")
    return [*cells, *(f"{seconds(hot, gpu) * 1e6:.2f}" for gpu in gpus.values())]


def _cell(call: PartCall, architecture: int) -> str:
    found = per_element(nvrtc.assembly(by_itself(call).text, architecture))
    return "-" if found is None else f"{found:.1f}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    RESULT.write_text(text())
    print(RESULT)

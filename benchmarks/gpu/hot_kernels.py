"""GPU resources that the kernels of the workloads' steps use, and their predicted times.

``make kernels`` writes it into results/hot-kernels.md, from machine code: it needs NVRTC and
``nvdisasm`` (the extra ``sass``), but neither a GPU nor CuPy. The microseconds are predictions,
from the models of `roofline` and of `critical_path`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks import RESULTS
from benchmarks.common.workloads import ALL_WORKLOADS
from gpunn.backends.cupy import convolution
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.codegen import BLOCK, WARP
from gpunn.backends.cupy.launch.kernel_source import part_named
from gpunn.backends.cupy.launch.known_gpus import GPU, GPUS, find_gpu
from gpunn.backends.cupy.launch.tasks import Product, Task

from . import critical_path, nvrtc
from .critical_path import Launched
from .latencies import LATENCIES, SOURCES, Latencies
from .thread import Time

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
The kernels of launches have the step's sizes as constants.

A predicted time is a range. Its low end counts bytes, arithmetic and the cost of a launch; at its
high end a launch takes at least as long as the longest chain of dependent instructions of one of
its threads.
"""
_LAUNCHES = """\
## Launches

*Bytes*: each array that a launch reads or writes, once; what it has written itself is in a cache
when it reads it. *Barriers*: of a block, as they stand in
the machine code; of the grid. A cell of a card: registers of a thread / bytes of static shared
memory of a block / the share of a multiprocessor's threads that fit at once by these. *us*:
**predicted**. Low: the bytes at the bandwidth of L2 (of the memory, where they are more than L2
holds) or the arithmetic of a convolution, and what a kernel in a graph, or each barrier of the
grid, costs on that card. High: in the place of the bytes, if that is longer, the chain below, once
for each time that the card is filled with blocks; or the issue of all instructions, of {issue}
warps in a cycle. A persistent launch is given for one step. The launches are those of a GTX 1060;
"-": that card has another one in this place.
"""
_THREADS = """\
## Threads

A thread of the first block (or the last one, if it takes longer) is followed through the machine
code: cycles until its last result is ready / instructions that it executes. Loops turn as often as
their sizes say, since integers are computed. A condition on data that are unknown holds, if that
does something; a loop ends there. Conditions of subnormal quotients and roots do not hold. Each
read of an array comes from L2, or from memory where a launch moves more than L2 holds. What is left
out makes a card slower: conflicts of banks, fetching of instructions, turns at branches. What a
cache in the multiprocessor holds makes it faster.
"""
_LATENCIES = """\
Cycles until a result can be used, of each generation:
"""
_STEPS = """\
## Steps

**Predicted** us of a whole step, products of the library included (these with one time).
"""
_CONSTANTS = """\
## What sizes as constants save

The high end of a step, **predicted** us: with the sizes as arguments of its kernels -> as
constants. The low end, which counts no instructions, is the same.
"""
_PATCHES = """\
## Convolution without patches in memory

**Predicted**, low end, for a step of W4 in the mode *fused*, products included: with all patches
in memory and the library's products, and as it is launched on that card. There a product of patches
that are never written is chosen where it is predicted to be faster; it is assumed to reach
{rate:.0%} of the rate of the library's.
"""
_PATCHES_HIGH = """\
Both ends of these times, us:
"""


class Hot(NamedTuple):
    """A launch of a workload's step.

    Attributes:
        title: the title of the row: workload, mode, and operation.
        bytes: the bytes that it moves.
        launched: it.
    """

    title: str
    bytes: int
    launched: Launched

    @property
    def kernel(self) -> Any:
        return self.launched.kernel


@cache
def launches() -> tuple[Hot, ...]:
    """Return the launches of a step of each workload except products, without using a GPU."""
    found = []
    for title, workload, mode in steps():
        for launched in step(workload, mode):
            if launched.kernel:
                calls = launched.kernel.calls
                names = " + ".join(call.part for call in calls)
                if mode == "persistent":
                    names = f"all {len(calls)} parts"
                found.append(Hot(f"{title}: {names}", _bytes(launched.tasks), launched))
    return tuple(found)


def steps() -> list[tuple[str, str, str]]:
    """Return the steps of the page: title, workload and launch mode of each."""
    return [(f"{w} {mode}", w, mode) for mode, workloads in MODES.items() for w in workloads]


@cache
def step(workload: str, mode: str, gpu: GPU | None = None) -> list[Launched]:
    """Return the launches of a step, see `critical_path.step`."""
    return critical_path.step(workload, mode, gpu)


def _with_patches(gpu: GPU) -> list[Launched]:
    """Return the launches of a step of W4 if all patches are in memory."""
    with patch.multiple(convolution, RATE=1e-30, FEW=0):
        return critical_path.step("W4", "fused", gpu)


def _bytes(tasks: Sequence[Task]) -> int:
    read: set[tuple[int, int]] = set()
    written: set[tuple[int, int]] = set()
    for task in tasks:
        read |= {(r.start, r.stop) for r in task.regions if not r.written} - written
        written |= {(r.start, r.stop) for r in task.regions if r.written}
    return sum(stop - start for places in (read, written) for start, stop in places)


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


def seconds(launched: Launched, gpu: GPU) -> tuple[float, float]:
    """Predict the seconds of a launch: the low and the high end."""
    kernel, work = launched.kernel, work_seconds(launched.tasks, gpu)
    if kernel is None:
        return gpu.kernel + work, gpu.kernel + work
    barriers = sum(stage.name == "barrier" for stage in kernel.stages)
    fixed = barriers * gpu.barrier if kernel.repeats else gpu.kernel
    return fixed + work, fixed + max(work, _path_seconds(launched, gpu))


def _path_seconds(launched: Launched, gpu: GPU) -> float:
    assert launched.kernel is not None
    architecture = _architecture(gpu)
    _, used = critical_path.compiled(launched.kernel, architecture)
    share = occupancy(used, architecture)
    resident = round(share * LIMITS[architecture].threads / BLOCK)
    return critical_path.seconds(launched, _time(launched, gpu), gpu, resident)


@cache
def _time(launched: Launched, gpu: GPU) -> Time:
    far = _bytes(launched.tasks) > gpu.l2
    return critical_path.thread_time(launched, _architecture(gpu), far)


def _architecture(gpu: GPU) -> int:
    major, minor = gpu.capability
    return 10 * major + minor


def work_seconds(tasks: Sequence[Task], gpu: GPU) -> float:
    """Predict the seconds of a launch's traffic or of its products, whichever is longer."""
    size = _bytes(tasks)
    memory = roofline.MEMORY_EFFICIENCY * gpu.bandwidth
    moving = size / (max(gpu.l2_bandwidth, memory) if size <= gpu.l2 else memory)
    return max(moving, sum(_product_seconds(task, gpu) for task in tasks))


def _product_seconds(task: Task, gpu: GPU) -> float:
    """Predict the seconds of the arithmetic of a library's product, or one in convolution.cu."""
    if isinstance(task, Product):
        m, n, k, *_ = task.matmul.sizes
        return roofline.product_seconds(m, n, k, gpu)
    name = task.name.removeprefix("pooled_")
    if name not in ("convolution", "kernel_gradient", "few_rows_gradient"):
        return 0.0
    names = (parameter.name for parameter in part_named(task.name).parameters)
    values: dict[str, Any] = dict(zip(names, task.arguments, strict=True))
    _, _, *counts = values["geometry"].tolist()[:6]
    windows = int(values["samples"]) * counts[0] * counts[1]
    if "pooling" in values:
        _, _, *pools = values["pooling"].tolist()[:6]
        cells = pools[2] * pools[3] if name == "convolution" else 1  # of others one has a gradient
        windows = int(values["samples"]) * pools[0] * pools[1] * cells
    width = counts[2] * counts[3] * int(values["channels"])
    if name == "few_rows_gradient":
        return roofline.few_rows_seconds(width, int(values["filters"]), windows, gpu)
    rows, terms = (windows, width) if name == "convolution" else (width, windows)
    sizes = rows, int(values["filters"]), terms, int(values.get("pieces", 1))
    return convolution.cost(*sizes, gpu.multiprocessors) / (roofline.PRODUCT_EFFICIENCY * gpu.flops)


def patches_row(gpu: GPU) -> list[str]:
    """Return the row of a GPU in the table of W4 with and without patches in memory."""
    both = _with_patches(gpu), step("W4", "fused", gpu)
    times = [sum(gpu.kernel + work_seconds(each.tasks, gpu) for each in step) for step in both]
    return [
        gpu.name,
        *(f"{len(step)}" for step in both),
        *(f"{sum(_bytes(each.tasks) for each in step) / 1e6:,.1f}" for step in both),
        *(f"{time * 1e6:,.1f}" for time in times),
        f"{times[1] / times[0] - 1:+.1%}",
    ]


def step_seconds(launches: Sequence[Launched], gpu: GPU) -> tuple[float, float]:
    """Predict the seconds of a step: the low and the high end."""
    low, high = zip(*(seconds(launched, gpu) for launched in launches), strict=True)
    return sum(low), sum(high)


def digest() -> str:
    """The digest of the kernels in the page, and of what its predictions need besides them."""
    moved = (f"{hot.title}: {hot.bytes} bytes\n{hot.kernel.text}" for hot in launches())
    return nvrtc.digest([repr(GPUS), repr(LATENCIES), *moved])


def text() -> str:
    """The page; the columns of each GPU are made in a process of their own."""
    gpus = [gpu for name in GPU_NAMES.values() if (gpu := find_gpu(name))]
    spawn, kept = multiprocessing.get_context("spawn"), (nvrtc.CACHE,)
    with ProcessPoolExecutor(len(gpus), spawn, nvrtc.keep_in, kept) as pool:
        columns = list(pool.map(column, gpus))
    names = [gpu.name for gpu in gpus]
    cards = [f"sm_{architecture} ({name})" for architecture, name in GPU_NAMES.items()]
    counted = columns[0]["barriers"]  # of the oldest
    hot = [(h.title, f"{h.bytes:,}", n) for h, n in zip(launches(), counted, strict=True)]
    titles = ("launches", "MB", "us")
    both = [f"{title}, {how}" for title in titles for how in ("with patches", "as launched")]

    def by_gpu(title: str, rows: Iterable[Sequence[str]], *parts: str) -> str:
        cells = zip(*(each[part] for part in parts for each in columns), strict=True)
        made = [[*row, *more] for row, more in zip(rows, cells, strict=True)]
        return table([*title.split(", "), *(names if len(parts) == 1 else cards + us)], made)

    us = [f"us, {name}" for name in names]
    step_rows = [[title] for title, _, _ in steps()]
    latencies = [
        [f"{generation}.x", *map(str, cycles[:-1]), cycles.sources]
        for generation, cycles in LATENCIES.items()
    ]
    sources = [f"- {letter}: {source}" for letter, source in SOURCES.items()]
    return "\n".join(
        (
            _HEAD.format(version=nvrtc.version(), digest=digest(), gpus=", ".join(cards)),
            _STEPS, by_gpu("step", step_rows, "steps"),
            _CONSTANTS, by_gpu("step", step_rows, "constants"),
            _PATCHES.format(rate=convolution.RATE),
            table(["card", *both, "difference"], [patches_row(gpu) for gpu in GPUS]),
            _PATCHES_HIGH, by_gpu("step", [["with patches"], ["as launched"]], "patches"),
            _LAUNCHES.format(issue=critical_path.WARPS_ISSUE),
            by_gpu("launch, bytes, barriers", hot, "resources", "launches"),
            _THREADS, by_gpu("launch", [row[:1] for row in hot], "threads"),
            _LATENCIES, table(["generation", *Latencies._fields], latencies),
            "\n".join(sources) + "\n",
        )
    )  # fmt: skip


def barriers(hot: Hot, architecture: int) -> str:
    """Return the barriers of a launch: of a block, in its machine code, and of the grid."""
    code, _ = critical_path.compiled(hot.kernel, architecture)
    blocks = sum(instruction.name == "BAR" for instruction in code.instructions)
    return f"{blocks}, {sum(stage.name == 'barrier' for stage in hot.kernel.stages)}"


def column(gpu: GPU) -> dict[str, list[str]]:
    """Return the cells of a GPU in each table of the page."""
    found = [_on(hot, gpu) for hot in launches()]
    of_steps = [step(workload, mode, gpu) for _, workload, mode in steps()]
    return {
        "steps": [_range(step_seconds(each, gpu)) for each in of_steps],
        "constants": [_saved(each, gpu) for each in of_steps],
        "patches": [
            _range(step_seconds(each, gpu))
            for each in (_with_patches(gpu), step("W4", "fused", gpu))
        ],
        "barriers": [barriers(hot, _architecture(gpu)) for hot in launches()],
        "resources": [_resources(hot, _architecture(gpu)) for hot in launches()],
        "launches": [_range(seconds(each, gpu)) if each else "-" for each in found],
        "threads": [_thread(_time(each, gpu)) if each else "-" for each in found],
    }


def _range(times: tuple[float, float]) -> str:
    return " - ".join(f"{time * 1e6:,.2f}" for time in times)


def _saved(launched: Sequence[Launched], gpu: GPU) -> str:
    general = [each.without_constants if each.kernel else each for each in launched]
    before, after = (step_seconds(each, gpu)[1] for each in (general, launched))
    return f"{before * 1e6:,.2f} -> {after * 1e6:,.2f} ({after / before - 1:+.0%})"


def _resources(hot: Hot, architecture: int) -> str:
    _, used = critical_path.compiled(hot.kernel, architecture)
    return f"{used.registers} / {used.shared} / {occupancy(used, architecture):.0%}"


def _thread(time: Time) -> str:
    return f"{time.cycles:,} / {time.instructions:,}"


def _on(hot: Hot, gpu: GPU) -> Launched | None:
    """Return the launch of the same kernel on this GPU, with its blocks; None if it has none."""
    workload, mode = hot.title.partition(":")[0].split()
    same = (each for each in step(workload, mode, gpu) if each.kernel == hot.kernel)
    return next(same, None)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    RESULT.write_text(text())
    print(RESULT)

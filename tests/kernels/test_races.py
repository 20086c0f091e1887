"""Races between blocks, which the order of threads on a CPU hides. The detector finds planted races
that nothing else would reveal, and none in the actual kernels."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparisons import COMPARISONS
from comparisons.samples import DTYPES, Sample, make_gpu
from host_kernels import compile_text

from gpunn.backends.cupy.launch import kernel_source, persistent
from gpunn.backends.cupy.launch.codegen import BLOCK

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kernels run on the CPU as on Linux"),
    pytest.mark.skipif(shutil.which("addr2line") is None, reason="there is no addr2line"),
]

BLOCKS, THREADS = 3, BLOCK

# The patterns of threads.cuh, each in the smallest kernel that needs all of it. Data shared between
# blocks are written by more than the first thread of each block.
PATTERNS = """
__global__ void sum(uint32* arrivals, float* parts, float* total) {
    parts[thread_number()] = 1;
    if (!last_block(arrivals)) return;
    float sum = 0;
    for (int64 i = threadIdx.x; i < thread_count(); i += blockDim.x)
        sum += const_cast<volatile float*>(parts)[i];
    total[threadIdx.x] = sum;
}
__global__ void steps(uint32* barrier, float* x, float* totals) {
    for (int step = 0; step < 3; ++step) {
        x[thread_number()] = step;
        grid_barrier(barrier, [&] { totals[threadIdx.x] += x[threadIdx.x]; });
        const float next = x[(thread_number() + blockDim.x) % thread_count()] + totals[threadIdx.x];
        grid_barrier(barrier, [] {});
        x[thread_number()] = next;
    }
}
__global__ void waits(uint32* barrier, float* x, float*) {
    for (int step = 0; step < 3; ++step) {
        x[thread_number()] = step;
        grid_barrier(barrier);
        const float next = x[(thread_number() + blockDim.x) % thread_count()];
        grid_barrier(barrier);
        x[thread_number()] = next;
    }
}
"""
KERNELS = ["sum", "steps", "waits"]
COUNTED = "        last = atomicAdd(arrivals, 1u) == gridDim.x - 1;\n"
ARRIVED = "        is_last = atomicAdd(barrier, 1u) == gridDim.x - 1;\n"
FENCE = "        __threadfence();\n"
OPENED = "        *opened = before + 1;\n"
RESET = "        barrier[0] = 0;\n"
READ = "        before = *opened;  // it cannot open before this block has arrived\n"
ADDED = "        const uint32 before = atomicAdd(barrier + 2, mine);\n"
MINE = "        const uint32 mine = blockIdx.x == 0 ? 0x80000000u - (gridDim.x - 1) : 1u;\n"
WAITED = "        while (!((*arrived ^ before) & 0x80000000u)) spin_wait();\n"
SPUN = "        while (!is_last && *opened == before) spin_wait();\n"
LAST = "    __shared__ bool last;\n"

# name: (kernel, the text in threads.cuh, its replacement)
PLANTED = {
    "last block, no fence before it arrives": (
        "sum", f"{LAST}    __threadfence();\n", LAST,
    ),
    "last block, no fence after it has arrived": (
        "sum", "    __threadfence();\n    return last;", "    return last;",
    ),
    "last block, no barrier before it arrives": (
        "sum", "    __syncthreads();\n    if (threadIdx.x == 0) {\n" + COUNTED,
        "    if (threadIdx.x == 0) {\n" + COUNTED,
    ),
    "last block, no barrier after it has arrived": (
        "sum", "    __syncthreads();\n    __threadfence();\n    return last;",
        "    __threadfence();\n    return last;",
    ),
    "last block, counted without an atomic": (
        "sum", "atomicAdd(arrivals, 1u)", "(*arrivals)++",
    ),
    "grid, no barrier before it arrives": (
        "steps", "    __syncthreads();  // all of this block's work is done\n", "",
    ),
    "grid, no barrier behind the gate": (
        "steps", f"{SPUN}{FENCE}    }}\n    __syncthreads();\n", f"{SPUN}{FENCE}    }}\n",
    ),
    "grid, no barrier after the last block's work": (
        "steps", "    __syncthreads();  // all of that is done\n", "",
    ),
    "grid, no fence before it arrives": ("steps", READ + FENCE, READ),
    "grid, no fence behind the gate": ("steps", SPUN + FENCE, SPUN),
    "grid, no fence before the gate opens": ("steps", RESET + FENCE + OPENED, RESET + OPENED),
    "grid, the gate opens before its counter is reset": (
        "steps", RESET + FENCE + OPENED, OPENED + FENCE + RESET,
    ),
    "grid, counted without an atomic": ("steps", "atomicAdd(barrier, 1u)", "(*barrier)++"),
    "grid, an ordinary look at the gate": (
        "steps", "volatile uint32* opened = barrier", "uint32* opened = barrier",
    ),
    "wait, no barrier before it arrives": (
        "waits", "    __syncthreads();  // this block has done its work\n", "",
    ),
    "wait, no barrier behind the gate": (
        "waits", "    __syncthreads();  // the gate is open\n", "",
    ),
    "wait, no fence before it arrives": ("waits", FENCE + MINE, MINE),
    "wait, no fence behind the gate": ("waits", WAITED + FENCE, WAITED),
    "wait, counted without an atomic": (
        "waits", ADDED, "        const uint32 before = barrier[2];\n        barrier[2] += mine;\n",
    ),
    "wait, an ordinary look at the gate": (
        "waits", "volatile uint32* arrived = barrier", "uint32* arrived = barrier",
    ),
}  # fmt: skip


def launch(kernel: str, header: str, architecture: int | None = None) -> None:
    """Raise RuntimeError if a race is found, in the text or in its PTX for an architecture."""
    text = header + PATTERNS.replace("__global__", 'extern "C" __global__')
    run = compile_text(text, KERNELS, True, architecture)[kernel]
    arrays = np.zeros(3, "u4"), np.zeros(BLOCKS * THREADS, "f"), np.zeros(THREADS, "f")
    for order in range(4):
        run((BLOCKS,), (THREADS,), arrays, order)


def header() -> str:
    return kernel_source.source("threads.cuh")


by_ptx = pytest.mark.parametrize(
    "architecture", [None, *(pytest.param(each, marks=[pytest.mark.more]) for each in (61, 90))]
)


@by_ptx
@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_is_found_in_the_patterns_as_they_are(
    kernel: str, architecture: int | None
) -> None:
    launch(kernel, header(), architecture)


def case(name: str) -> Any:
    """Return a test's parameter; every run plants every third one."""
    number = list(PLANTED).index(name)
    return pytest.param(*PLANTED[name], id=name, marks=[pytest.mark.more] if number % 3 else [])


@by_ptx
@pytest.mark.parametrize(("kernel", "old", "new"), [case(name) for name in PLANTED])
def test_what_is_planted_is_found(
    kernel: str, old: str, new: str, architecture: int | None
) -> None:
    assert header().count(old) == 1
    if architecture and old.startswith("volatile"):
        pytest.skip("NVRTC makes one look of it, and then waits forever")
    with pytest.raises(RuntimeError, match="a race between blocks: thread"):
        launch(kernel, header().replace(old, new), architecture)


def test_a_race_is_reported_with_its_array_its_lines_and_both_blocks() -> None:
    source = """
    __global__ void race(const float* x, float* y) {
        y[2] += x[threadIdx.x];
    }
    """
    race = compile_text(source, ["race"], find_races=True)["race"]
    message = (
        "race, thread order 0: a race between blocks: thread 0 of block 1 reads byte 8 of y at "
        "kernel:3, what thread 3 of block 0 writes at kernel:3, and nothing orders the two"
    )
    with pytest.raises(RuntimeError, match=message):
        race((2,), (4,), [np.ones(4, "f"), np.ones(4, "f")], names=["x", "y"])


@pytest.mark.parametrize(
    ("orders", "found"), [("__syncwarp();", False), ("", True)], ids=["it waits", "it does not"]
)
def test_a_lane_that_tells_others_of_its_warp_s_work(orders: str, found: bool) -> None:
    source = """
    __global__ void lanes(int* x, int* y, unsigned* ready) {
        if (blockIdx.x == 0) {
            x[threadIdx.x] = 1;
            ORDERS
            if (threadIdx.x == 0) { __threadfence(); atomicAdd(ready, 1u); }
            return;
        }
        while (*const_cast<volatile unsigned*>(ready) == 0) spin_wait();
        __threadfence();
        y[threadIdx.x] = x[31 - threadIdx.x];
    }
    """.replace("ORDERS", orders)
    lanes = compile_text(source, ["lanes"], find_races=True)["lanes"]
    complaints = []
    for order in range(4):
        x, y = np.zeros((2, 32), np.int32)
        try:
            lanes((2,), (32,), [x, y, np.zeros(1, np.uint32)], order)
        except RuntimeError as error:
            complaints.append(str(error))
    assert bool(complaints) == found
    assert all("a race between blocks" in complaint for complaint in complaints)


SAMPLES = [Sample(33, 10), Sample(7, 257), Sample(200, 3), Sample(1, 1)]


def races(name: str, samples: Sequence[Sample] = SAMPLES) -> None:
    """Raise RuntimeError if this comparison has a race."""
    gpu = make_gpu(orders=(2,), find_races=True)
    gpu.kernels.blocks = 3  # type: ignore[attr-defined]
    for sample in samples:
        COMPARISONS[name](gpu, replace(sample))


@pytest.mark.more(2)
@pytest.mark.parametrize("name", COMPARISONS)
def test_nothing_is_found_in_the_kernels(name: str) -> None:
    for dtype in DTYPES:
        races(name, [replace(sample, dtype=dtype) for sample in SAMPLES])


@pytest.mark.more
@pytest.mark.parametrize(
    ("name", "number"),
    [("persistent_steps", 0), ("persistent_steps", -1), ("persistent_updates", 0), ("products", 0)],
)
def test_a_barrier_of_the_grid_that_is_dropped_is_missed(
    name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first stage of a persistent kernel, and between two steps."""
    stages_of = persistent.stages_of

    def without(phases: Any) -> Any:
        stages = stages_of(phases)
        del stages[[i for i, stage in enumerate(stages) if stage == ("barrier", [])][number]]
        return stages

    monkeypatch.setattr(persistent, "stages_of", without)
    with pytest.raises(RuntimeError, match="a race between blocks"):
        races(name)

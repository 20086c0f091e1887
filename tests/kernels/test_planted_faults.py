"""Tests of the kernel tests: a fault in a copy of the kernels' text is detected.

Each fault is planted alone and compared with NumPy as in `test_kernels_on_cpu.py`. This happens in
a separate process, since a faulty kernel may do anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from comparisons import COMPARISONS
from comparisons.formulas import label
from comparisons.huge import HUGE
from comparisons.samples import Sample, make_gpu

from gpunn.backends.cupy.launch import kernel_source
from gpunn.losses import SparseCategoricalCrossentropy
from gpunn.optimizers import Adam, Lamb

SAMPLES = [
    Sample(*shape, "float32", values, seed)
    for seed, (shape, values) in enumerate(
        [
            ((1, 1), "normal"), ((33, 10), "huge"), ((7, 1000), "normal"), ((200, 3), "normal"),
            ((1, 31), "infinite"), ((97, 32), "equal"), ((1023, 2), "normal"), ((33, 257), "huge"),
        ]
    )
]  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A piece of a file's text, its replacement, and the comparisons that run it."""

    name: str
    file: str
    old: str
    new: str
    comparisons: tuple[str, ...]


LOSS = f"loss {label(SparseCategoricalCrossentropy(from_logits=True))}"
ADAM = f"optimizer {label(Adam())}"
LAMB = f"optimizer {label(Lamb())}"
NORM = "constraint MinMaxNorm(min_value=0.0, max_value=1.0, rate=0.5, axis=-1)"
WITH_BARRIERS = {
    "bins.cu": ("metric R2Score()",),
    "convolution.cu": ("convolution_without_patches", "pooled_convolution"),
    "constraints.cu": ("constraint UnitNorm(axis=0)",),
    "normalization.cu": ("batch_normalization",),
    "places.cu": ("rows_of_places",),
    "reductions.cu": ("column_sums",),
    "products.cu": ("products",),
    "threads.cuh": (
        LOSS, "shared_launch", "persistent_steps", "persistent_updates", "persistent_evaluation",
    ),
    "updates.cu": (ADAM, LAMB, "clip by norm", "clip by global_norm"),
}


def _without_barriers() -> Iterator[Fault]:
    """Return one fault for each barrier, which removes it."""
    for file in (*kernel_source.files(".cu"), *kernel_source.files(".cuh")):
        text = kernel_source.text(file)
        for found in re.finditer(r"^ *__syncthreads\(\);.*\n(.*\n)", text, re.MULTILINE):
            line = text[: found.start()].count("\n") + 1
            yield Fault(
                f"barrier removed, {file}:{line}", file, found[0], found[1], WITH_BARRIERS[file]
            )


BARRIERS = list(_without_barriers())
FAULTS = [
    *BARRIERS,
    Fault(
        "barrier of a warp removed", "threads.cuh", "            __syncwarp();\n", "",
        ("shared_launch",),
    ),
    Fault(
        "slices cut wrongly", "threads.cuh",
        "n / slices * slice_end", "n / slices * slice + 1",
        ("shared_launch",),
    ),
    Fault(
        "gate opened by the first", "threads.cuh",
        "is_last = atomicAdd(barrier, 1u) == gridDim.x - 1",
        "is_last = atomicAdd(barrier, 1u) == 0",
        ("persistent_evaluation",),
    ),
    Fault(
        "one block counted too few", "threads.cuh",
        "0x80000000u - (gridDim.x - 1) : 1u", "0x80000000u - (gridDim.x - 2) : 1u",
        ("persistent_steps",),
    ),
    Fault(
        "a turn's first argument for all", "threads.cuh",
        "reinterpret_cast<const T*>(row + place)", "reinterpret_cast<const T*>(row + 0 * place)",
        ("persistent_scan",),
    ),
    Fault(
        "given to other threads", "updates.cu",
        "threads.strided(group.start, group.stop)",
        "(Range{int64(group.start) + threads.grid_rank(), int64(group.stop), threads.grid_size()})",
        ("persistent_updates",),
    ),
    Fault(
        "arrivals not counted anew", "threads.cuh", "        barrier[0] = 0;\n", "",
        ("persistent_evaluation",),
    ),
    Fault(
        "tail of the rows lost", "products.cu",
        "product_rows<3, N>(", "product_rows<2, N>(",
        ("products",),
    ),
    Fault(
        "bound off by one, writing", "elementwise.cu",
        "threads.elements(n)) {\n        const T z",
        "threads.elements(n + 1)) {\n        const T z",
        ("activation Sigmoid()",),
    ),
    Fault(
        "bound off by one, reading", "reductions.cu",
        "for (int64 r = down; r < rows;", "for (int64 r = down; r <= rows;",
        ("column_sums",),
    ),
    Fault(
        "bound off by one, too early", "elementwise.cu",
        "threads.elements(n)) {\n        const T dx = f",
        "threads.elements(n - 1)) {\n        const T dx = f",
        ("activation Sigmoid()",),
    ),
    Fault(
        "index beyond shared memory", "reductions.cu",
        "partial[down + half][across]", "partial[down + half + 1][across]",
        ("column_sums",),
    ),
    Fault(
        "arguments swapped", "updates.cu",
        "weights, slot_0, slot_1, slot_2);", "weights, slot_1, slot_0, slot_2);",
        (ADAM,),
    ),
    Fault(
        "maximum not subtracted, loss", "loss.cu",
        "row.maximum = answer.value;", "row.maximum = T(0);",
        (LOSS,),
    ),
    Fault(
        "maximum not subtracted, softmax", "reductions.cu",
        "maximum = warp_largest(Placed<T>{maximum, 0}).value;", "maximum = T(0);",
        ("activation Softmax()",),
    ),
    Fault(
        "tail lost, elements", "elementwise.cu",
        "drawn >= begin && drawn < end", "block * 8 + 8 <= end",
        ("dropout",),
    ),
    Fault(
        "tail lost, rows of a sum", "loss.cu",
        "for (int64 r : threads.across(0, rows)) {",
        "for (int64 r : threads.across(0, rows > 1 ? rows - 1 : rows)) {",
        (LOSS,),
    ),
    Fault(
        "pixel below the image", "windows.cuh",
        "return y >= 0 && y < height &&", "return y >= 0 && y <= height &&",
        ("convolution",),
    ),
    Fault(
        "windows between the strides", "windows.cuh",
        "start >= 0 && start % stride == 0 &&", "start >= 0 &&",
        ("convolution",),
    ),
    Fault(
        "last terms of a piece lost", "convolution.cu",
        "term < stop; term += DEPTH", "term + 1 < stop; term += DEPTH",
        ("convolution_without_patches",),
    ),
    Fault(
        "last window of a piece lost", "convolution.cu",
        "window < stop; ++window)\n            add",
        "window + 1 < stop; ++window)\n            add",
        ("convolution_with_few_rows",),
    ),
    Fault(
        "last window of a pass lost", "convolution.cu",
        "i < tall / pools.cells * broad;", "i < (tall / pools.cells - 1) * broad;",
        ("pooled_convolution",),
    ),
    Fault(
        "the last of equal pixels", "convolution.cu",
        "if (value > largest || value != value)", "if (!(value < largest))",
        ("pooled_convolution",),
    ),
    Fault(
        "a gradient where relu is 0", "convolution.cu",
        "relu ? largest > T(0) : largest == largest", "largest == largest",
        ("pooled_convolution",),
    ),
    Fault(
        "windows beside the image", "images.cu",
        "if (row < w.rows && column < w.columns) {", "if (row < w.rows) {",
        ("pooled_convolution",),
    ),
    Fault(
        "cells not reversed", "convolution.cu",
        "patches.w.cells() - 1 - term / channels", "term / channels",
        ("convolution_without_patches",),
    ),
    Fault(
        "every largest pixel, not the first", "images.cu",
        "bool first = value == y[window * channels + at.channel];",
        "bool first = false; if (value == y[window * channels + at.channel])\n"
        "                    sum += dy[window * channels + at.channel];",
        ("pooling",),
    ),
    Fault(
        "turned back to front", "images.cu",
        "x[(at.sample * a + at.x) * b + at.y]", "x[(at.sample * a + at.y) * b + at.x]",
        ("layout",),
    ),
    Fault(
        "features mixed up", "normalization.cu",
        "return (k / inner * features + f) * inner + k % inner;",
        "return (k / inner * features + f) * inner;",
        ("batch_normalization",),
    ),
    Fault(
        "mean of a row from its first number alone", "normalization.cu",
        "middle = row[0] + warp_sum(sum) / T(features);", "middle = row[0];",
        ("layer_normalization",),
    ),
    Fault(
        "weights of other rows", "bins.cu",
        "double(weights[i / width])", "double(weights[i % rows])",
        ("metric F1Score(1, 0, -1, 1, 0, 0, 0.5)",),
    ),
    Fault(
        "one place less for all penalties", "penalties.cu",
        "threads.across(0, segments)) mine", "threads.across(0, segments - 1)) mine",
        ("regularize",),
    ),
    Fault(
        "half of the square's slope", "generated_weights.cuh",
        "+ twice_l2 * w", "+ l2 * w",
        ("regularize",),
    ),
    Fault(
        "all the way at once", "generated_weights.cuh",
        "return wanted / (norm + p[EPSILON])",
        "return elements::clip(norm, p[LOW], p[HIGH]) / (norm + p[EPSILON])",
        (NORM,),
    ),
    Fault(
        "the boundary counted as passed", "schedules.cuh",
        "step > boundaries[passed]", "step >= boundaries[passed]",
        ("schedule PiecewiseConstantDecay(3, 2, 3, 7, 1, 0.1, 0.5)",),
    ),
    Fault(
        "the rate of the step after this one", "schedules.cu",
        "double(counters[UPDATES])", "double(counters[UPDATES] + 1)",
        ("schedule InverseTimeDecay(0.1, 3, 0.7, 0)",),
    ),
    Fault(
        "tail lost, noise", "noise.cu",
        "block * 8 < end;", "block * 8 + 8 <= end;",
        ("noise",),
    ),
    Fault(
        "columns copied to the start of the row", "elementwise.cu",
        "T* target = into + i * into_columns + at;", "T* target = into + i * into_columns;",
        ("columns",),
    ),
    Fault(
        "the row not carried along", "expressions.cuh", "            ++row;\n", "",
        ("expression of each extent",),
    ),
    Fault(
        "the largest of two lanes", "expressions.cuh",
        "elements::maximum(x, __shfl_xor_sync(ALL_LANES, x, distance))",
        "elements::maximum(x, __shfl_xor_sync(ALL_LANES, x, 1))",
        ("expression of sums",),
    ),
    Fault(
        "a wide number converted by the processor", "types.cuh",
        "if (x >= 2147483647.0) return 2147483647;", "",
        ("expression of conversions of wide values",),
    ),
    Fault(
        "another row at a place", "places.cu", "noted_row[at] = rank", "noted_row[at] = rank / 2",
        ("rows_of_places",),
    ),
    Fault(
        "order of the list lost", "places.cu", "if (w < warp) at +=", "if (w > warp) at +=",
        ("rows_of_places",),
    ),
    Fault(
        "place found by 32 bits", "places.cu",
        "x[(o * n + place - row) * inner + i]", "x[uint32((o * n + place - row) * inner + i)]",
        ("huge places",),
    ),
    Fault(
        "row found by 32 bits", "gather.cu",
        "source[row * width + c]", "source[uint32(row * width + c)]",
        ("huge gather",),
    ),
    Fault(
        "pixel found by 32 bits", "images.cu",
        "x[pixel * channels + channel]", "x[uint32(pixel * channels + channel)]",
        ("huge convolution",),
    ),
    Fault(
        "pixels of an image in 32 bits", "windows.cuh",
        "return int64(height) * width;", "return height * width;",
        ("huge pooling",),
    ),
    Fault(
        "place cropped in 32 bits", "images.cu",
        "const int64 pixel = (at.sample * height + y)",
        "const int32 pixel = (at.sample * height + y)",
        ("huge crop",),
    ),
    Fault(
        "row of columns found by 32 bits", "elementwise.cu",
        "x + i * x_columns + start", "x + uint32(i * x_columns + start)",
        ("huge columns",),
    ),
]  # fmt: skip


NONE = Fault("", "", "", "", tuple(COMPARISONS))
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g1"


def complaint(comparisons: Iterable[str], grids: Sequence[int] = (1, 2, 4), **how: Any) -> str:
    """Return the first failure of these comparisons on so many blocks, or "" if there is none."""
    gpu = make_gpu(**how)
    for sample in SAMPLES:  # most faults show in one of the first few, on some grid
        for blocks in grids:
            gpu.kernels.blocks = blocks
            for comparison in comparisons:
                try:
                    compare = COMPARISONS.get(comparison) or HUGE[comparison]
                    compare(gpu, replace(sample))
                except (AssertionError, RuntimeError) as error:
                    return f"{comparison}, {sample.shape}: {' '.join(str(error).split())}"
    return ""


def attempt(fault: Fault, sanitized: bool = False) -> subprocess.CompletedProcess[str]:
    """Plant a fault in another process, which prints the complaint."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if sanitized:
        libraries = [
            subprocess.run(
                ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        environment |= {
            "LD_PRELOAD": " ".join(libraries),
            "ASAN_OPTIONS": "detect_leaks=0",
            "GPUNN_HOST_OPTIONS": SANITIZERS,
        }
    return subprocess.run(
        [sys.executable, __file__, fault.name],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault: Fault) -> None:
    assert kernel_source.text(fault.file).count(fault.old) == 1
    assert {*fault.comparisons} <= {*COMPARISONS, *HUGE}


@pytest.mark.more(2)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_noticed(fault: Fault) -> None:
    run = attempt(fault)
    crashed = run.returncode < 0  # a test would crash as well
    assert crashed or run.returncode == 0, run.stderr
    assert crashed or run.stdout.strip()


@pytest.mark.more
def test_without_a_fault_there_is_no_complaint() -> None:
    assert not complaint(
        dict.fromkeys(n for f in FAULTS for n in f.comparisons if n in COMPARISONS), grids=(3,)
    )


@pytest.mark.more
@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("bound off by one, writing", r"AddressSanitizer: heap-buffer-overflow \S*elementwise.cu"),
        ("index beyond shared memory", r"reductions.cu:\d+:\d+: runtime error: index 8 out of b"),
    ],
)
def test_sanitizers_notice(name: str, report: str) -> None:
    run = attempt(next(fault for fault in FAULTS if fault.name == name), sanitized=True)
    assert run.returncode != 0 and re.search(report, run.stderr), run.stderr


@pytest.mark.in_turn(2)
@pytest.mark.more
def test_sanitizers_have_nothing_to_say_of_the_kernels() -> None:
    run = attempt(NONE, sanitized=True)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stdout + run.stderr


if __name__ == "__main__":
    (planted,) = (fault for fault in (NONE, *FAULTS) if fault.name == sys.argv[1])
    how: dict[str, Any] = {"replace": (planted.old, planted.new)} if planted.old else {}
    if "GPUNN_HOST_OPTIONS" in os.environ:
        how["grids"] = (2,)
        SAMPLES[:] = SAMPLES[:3]
    if "GPUNN_HOST_OPTIONS" in os.environ or planted.comparisons[0] in HUGE:
        how["orders"] = (2,)  # one order: on the arrays themselves, not on copies
    print(complaint(planted.comparisons, **how))

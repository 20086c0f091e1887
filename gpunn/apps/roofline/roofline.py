"""A lower bound of a step's time, from its profile.

A launch takes as long as its traffic at the bandwidth of the memory, or its arithmetic at
the rate of the processor, whichever is longer (Williams, Waterman and Patterson, "Roofline",
2009). On a GPU each kernel has an additional cost, on a CPU each Python operation.

The result is a prediction. It ignores bank conflicts, clock drops, and the addition of a product's
partial sums, so a GPU may be slower; nothing here was measured on one.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.launch.modes import GRAPH_STEPS, PERSISTENT_WIDTH

from .known_gpus import GPU

# Operations whose arithmetic is matrix products.
PRODUCTS = ("matmul", "batched_matmul", "convolution", "convolution_gradient")

MEMORY_EFFICIENCY = 0.85
"""Fraction of the published memory bandwidth that kernels reach: 0.71 to 0.94 on the H200, A100,
L40 and A40, in the last lines of the files that `known_gpus` names."""

PRODUCT_EFFICIENCY = 0.6
"""Fraction of the published FP32 rate that a product reaches: cuBLAS 23.3 of the RTX A6000's 38.7
TFLOP/s at 4096 x 4096 (https://www.abhik.ai/articles/cuda-matrix-multiplication-optimization)."""

TILE = 32
"""Rows and columns of the output that one block of a product computes. ASSUMED."""

LEAST_DEPTH = 64
"""Minimum number of terms per block when a sum is split among blocks. ASSUMED."""

GRAPH_LAUNCH = 15e-6
"""Seconds to launch a graph of `GRAPH_STEPS` steps, besides its kernels: 15 us under WSL2
(https://github.com/ahrefs/ocannl/issues/488)."""

BARRIERS = 2
"""Barriers of a step in a persistent kernel: after the batch's rows, and after the update."""

ROWS_AT_ONCE = 4
"""Rows of the batch for which a block of a persistent kernel reads a weight once (products.cu)."""

PORT = 64
"""Bytes that a multiprocessor reads from L2 per clock. ASSUMED."""


def product_seconds(m: int, n: int, k: int, gpu: GPU) -> float:
    """Return the arithmetic time of a product (m, k) @ (k, n); small ones keep few blocks busy.

    One block computes a tile of the output. With fewer tiles than multiprocessors, the sum
    over k is split among blocks as well, down to pieces of `LEAST_DEPTH` terms.
    """
    tiles = math.ceil(m / TILE) * math.ceil(n / TILE)
    busy = tiles / gpu.multiprocessors
    depth = k if busy >= 1 else min(k, max(LEAST_DEPTH, k * busy))
    rate = PRODUCT_EFFICIENCY * gpu.flops / gpu.multiprocessors  # of one block
    return max(1.0, busy) * depth * 2 * TILE * TILE / rate


def working_set(operations: Sequence[ProfiledOperation]) -> int:
    """Return an upper bound of the bytes that a step reuses.

    These are the arrays of the update and the outputs of the operations other than weight
    gradients, which the update includes. The bound is at least the size of any one operation.
    """
    weights = {x.shapes["b"] for x in operations if x.name == "matmul"}
    elements = largest = 0
    for operation in operations:
        sizes = {name: math.prod(shape) for name, shape in operation.shapes.items()}
        largest = max(largest, sum(sizes.values()))
        if operation.name == "update":
            elements += sum(sizes.values())
        elif operation.name != "matmul" or operation.shapes["out"] not in weights:
            elements += sum(size for name, size in sizes.items() if name in _WRITTEN)
    return max(elements, largest) * _item_size(operations)


_WRITTEN = {"out", "gradient", "mask"}


def _item_size(operations: Sequence[ProfiledOperation]) -> int:
    """Return the bytes per element, from the first product: 4, or 8 in float64."""
    for operation in operations:
        if operation.name == "matmul":
            elements = sum(math.prod(shape) for shape in operation.shapes.values())
            return 8 if operation.bytes >= 8 * elements else 4
    return 4


def gpu_bandwidth(operations: Sequence[ProfiledOperation], gpu: GPU) -> float:
    """Return the bandwidth in bytes per second; that of L2 if the step's working set fits."""
    fits = working_set(operations) <= gpu.l2
    return max(gpu.l2_bandwidth if fits else 0.0, MEMORY_EFFICIENCY * gpu.bandwidth)


def operation_seconds(operation: ProfiledOperation, gpu: GPU, bandwidth: float) -> float:
    """Return the time of one operation's traffic or arithmetic on a GPU, whichever is longer."""
    if operation.name == "matmul":
        m, n = operation.shapes["out"]
        k = operation.flops // (2 * m * n) if m * n else 0
        return max(operation.bytes / bandwidth, product_seconds(m, n, k, gpu))
    return max(operation.bytes / bandwidth, operation.flops / gpu.flops)


def work_seconds(operations: Sequence[ProfiledOperation], gpu: GPU) -> float:
    """Return the time of a step's traffic and arithmetic on a GPU, without launch costs."""
    bandwidth = gpu_bandwidth(operations, gpu)
    return sum(operation_seconds(operation, gpu, bandwidth) for operation in operations)


def graph_step_seconds(
    operations: Sequence[ProfiledOperation], gpu: GPU, kernels: int | None = None
) -> float:
    """Return the predicted time of a step that is replayed in a CUDA graph.

    Args:
        operations: the step's operations.
        gpu: the GPU.
        kernels: number of kernels that the step launches; by default that of its profile.
    """
    if kernels is None:
        kernels = sum(operation.launches for operation in operations)
    fixed = kernels * gpu.kernel + GRAPH_LAUNCH / GRAPH_STEPS
    return fixed + work_seconds(operations, gpu)


def is_narrow(operations: Sequence[ProfiledOperation]) -> bool:
    """Whether no layer is wider than `PERSISTENT_WIDTH`, so that a persistent kernel can run."""
    widths = [x.shapes["out"][-1] for x in operations if x.name == "matmul"]
    return bool(widths) and max(widths) <= PERSISTENT_WIDTH


def persistent_step_seconds(operations: Sequence[ProfiledOperation], gpu: GPU) -> float:
    """Return the predicted time of a step in a persistent kernel, which runs many steps.

    A block computes all layers for some rows of the batch, so each block reads all weights.
    """
    bandwidth = gpu_bandwidth(operations, gpu)
    batch = next((x.shapes["out"][0] for x in operations if x.name == "gather"), 1)
    fixed = BARRIERS * gpu.barrier + GRAPH_LAUNCH / GRAPH_STEPS
    return fixed + sum(
        max(operation_seconds(x, gpu, bandwidth), _own_rows_seconds(x, batch, gpu, bandwidth))
        for x in operations
    )


def _own_rows_seconds(
    operation: ProfiledOperation, batch: int, gpu: GPU, bandwidth: float
) -> float:
    """Return the time to move a product's weights to all blocks, if it is over the batch's rows."""
    if operation.name != "matmul" or operation.shapes["out"][0] != batch:
        return 0.0
    blocks = min(batch, gpu.multiprocessors)
    rows = math.ceil(batch / gpu.multiprocessors)
    elements = math.prod(operation.shapes["b"]) * math.ceil(rows / ROWS_AT_ONCE)
    size = elements * _item_size([operation])
    return max(size / (PORT * gpu.clock), blocks * size / bandwidth)


# -- the CPU


@dataclass(frozen=True)
class Cpu:
    """The result of `measure_cpu`.

    Attributes:
        cores: number of cores.
        product_one: float32 operations per second of a matrix product on one thread.
        product_all: the same on all threads.
        copies: (bytes read and written, bytes per second) of copies, from small to large.
    """

    cores: int
    product_one: float
    product_all: float
    copies: tuple[tuple[int, float], ...]

    def bandwidth(self, size: int) -> float:
        """Return bytes per second, read and written, for repeated passes over ``size`` bytes."""
        return next((rate for up_to, rate in self.copies if size <= up_to), self.copies[-1][1])


COPY_SIZES = tuple(1 << power for power in range(18, 28))  # 256 KiB to 128 MiB
PRODUCT_SIZE = 768


def measure_cpu(seconds: float = 1.0) -> Cpu:
    """Measure this machine's rates with NumPy: matrix products and copies, each the best of many.

    Args:
        seconds: approximate total duration.

    >>> cpu = measure_cpu(0.05)
    >>> cpu.product_all > 0 and cpu.bandwidth(10**5) >= cpu.bandwidth(10**9) > 0
    True
    """
    share = seconds / (len(COPY_SIZES) + 4)
    a = np.ones((PRODUCT_SIZE, PRODUCT_SIZE), np.float32)
    out = np.empty_like(a)
    flops = 2 * PRODUCT_SIZE**3
    rates = []
    for threads in (1, None):
        with _threads(threads):
            rates.append(flops / _best(lambda: np.dot(a, a, out=out), 2 * share))
    source, target = (np.ones(COPY_SIZES[-1] // 2, np.uint8) for _ in range(2))
    copies: list[tuple[int, float]] = []
    for size in COPY_SIZES:
        pieces = target[: size // 2], source[: size // 2]
        rate = size / _best(lambda pieces=pieces: np.copyto(*pieces), share)  # type: ignore[misc]
        # A larger copy is never faster: if it seems so, the smaller one was disturbed.
        copies = [(of, max(known, rate)) for of, known in copies] + [(size, rate)]
    return Cpu(os.cpu_count() or 1, rates[0], max(rates), tuple(copies))


def _threads(limit: int | None) -> contextlib.AbstractContextManager[Any]:
    import threadpoolctl

    return threadpoolctl.threadpool_limits(limit, user_api="blas")


def _best(work: Callable[[], Any], seconds: float) -> float:
    """Return the shortest run time of ``work`` within ``seconds``, of at least two runs."""
    work()
    best, end, times = math.inf, time.perf_counter() + seconds, 0
    while times < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best, times = min(best, time.perf_counter() - start), times + 1
    return best


def cpu_seconds(operations: Sequence[ProfiledOperation], cpu: Cpu, python: float = 0.0) -> float:
    """Return the lower bound of a step's time on a CPU.

    Each operation passes over its arrays once, at the speed of a copy that fits into the same
    cache as the step; a product uses all threads. NumPy needs several passes for most operations
    and is slower.

    Args:
        operations: the step's operations.
        cpu: the CPU's rates.
        python: seconds of Python overhead per operation; 0 gives the bound of compiled code.
    """
    bandwidth = cpu.bandwidth(working_set(operations))
    return sum(
        python
        + max(
            operation.bytes / bandwidth,
            operation.flops / cpu.product_all if operation.name in PRODUCTS else 0.0,
        )
        for operation in operations
    )

"""The predicted time of a step on a GPU, from its profile.

An operation takes as long as its traffic at the bandwidth of the memory, or its arithmetic at
the rate of the processor, whichever is longer (Williams, Waterman and Patterson, "Roofline",
2009). To that come the cost of each kernel or barrier, and what a small operation waits for:
latencies, which were measured on an H200. Without these, steps of W1 and W2 were predicted to be
2 to 3.5 times as fast as they are there.

The result is a prediction. It ignores bank conflicts, clock drops, and the addition of a product's
partial sums. It depends on nothing but the step and the GPU, so that a launch mode can be chosen
by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunn.backends.contract.profiling import ProfiledOperation

from .codegen import RESIDENT_BLOCKS
from .known_gpus import GPU
from .modes import GRAPH_STEPS, PERSISTENT_WIDTH

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

PORT = 41
"""Bytes that a multiprocessor reads from L2 per clock: the 401 KB of W2's first weights in 9,780
cycles (`benchmarks/results/nvidia-h200-2026-11-26-012323`, "Inside the steps")."""

PART_CYCLES = 900
"""Clock cycles that an operation takes at least, since its instructions wait for each other: the
mean of the small parts of W1's and W2's persistent steps (the same page)."""

LIBRARY = 2.8e-6
"""Seconds that a small product of the library takes, besides a kernel's: 13 of them took 2.1 to
7.4 us in the fused steps of W1 and W2 (the same page)."""


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
        kernels: number of kernels that the step launches; by default that of its profile.
    """
    if kernels is None:
        kernels = sum(operation.launches for operation in operations)
    products = sum(operation.name == "matmul" for operation in operations)
    fixed = kernels * gpu.kernel + GRAPH_LAUNCH / GRAPH_STEPS + products * LIBRARY
    return fixed + latency(operations, gpu) + work_seconds(operations, gpu)


def latency(operations: Sequence[ProfiledOperation], gpu: GPU) -> float:
    """Return the time that the operations of a step take however small their arrays are."""
    return len(operations) * PART_CYCLES / gpu.clock


def is_narrow(operations: Sequence[ProfiledOperation]) -> bool:
    """Whether no layer is wider than `PERSISTENT_WIDTH`, so that a persistent kernel can run."""
    widths = [x.shapes["out"][-1] for x in operations if x.name == "matmul"]
    return bool(widths) and max(widths) <= PERSISTENT_WIDTH


def persistent_step_seconds(
    operations: Sequence[ProfiledOperation], gpu: GPU, batch: int | None = None
) -> float:
    """Return the predicted time of a step in a persistent kernel, which runs many steps.

    A block computes all layers for some rows of the batch, by default of those that the step
    gathers, so each block reads all weights.
    """
    bandwidth = gpu_bandwidth(operations, gpu)
    if batch is None:
        batch = next((x.shapes["out"][0] for x in operations if x.name == "gather"), 1)
    fixed = BARRIERS * gpu.barrier + GRAPH_LAUNCH / GRAPH_STEPS + latency(operations, gpu)
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
    rows = math.ceil(batch / (RESIDENT_BLOCKS * gpu.multiprocessors))  # of a block
    blocks = math.ceil(batch / rows)
    elements = math.prod(operation.shapes["b"]) * math.ceil(rows / ROWS_AT_ONCE)
    size = elements * _item_size([operation])
    busiest = math.ceil(blocks / gpu.multiprocessors)  # blocks of one multiprocessor
    return max(busiest * size / (PORT * gpu.clock), blocks * size / bandwidth)

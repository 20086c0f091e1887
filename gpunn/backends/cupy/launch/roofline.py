"""The predicted time of a step on a GPU, from its profile.

An operation takes as long as its traffic at the bandwidth of the memory, or its arithmetic at
the rate of the processor, whichever is longer. This is the roofline model of Williams, Waterman and
Patterson (2009). The cost of each kernel or barrier is added, and what a small operation waits for:
latencies, which were measured on an H200. Without these, steps of W1 and W2 were predicted to be
2 to 3.5 times as fast as they are there.

The result is a prediction. It ignores bank conflicts, clock drops, and the addition of a product's
partial sums. It depends on nothing but the step and the GPU, so that a launch mode can be chosen
by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunn.backends.contract.declaration import MatrixProduct
from gpunn.backends.contract.profiling import ProfiledOperation

from .codegen import BLOCK, RESIDENT_BLOCKS, WARP
from .known_gpus import GPU
from .modes import GRAPH_STEPS, PERSISTENT_WIDTH, is_small

MEMORY_EFFICIENCY = 0.85
"""Fraction of the published memory bandwidth that kernels reach: 0.71 to 0.94 on the H200, A100,
L40 and A40, in the last lines of the files that `known_gpus` names."""

PRODUCT_EFFICIENCY = 0.6
"""Fraction of the published FP32 rate that a product reaches: cuBLAS 23.3 of the RTX A6000's 38.7
TFLOP/s at 4096 x 4096 (https://www.abhik.ai/articles/cuda-matrix-multiplication-optimization)."""

TILE = 32
"""Rows and columns of the output that one block of a product computes. ASSUMED."""

LEAST_DEPTH = 512
"""Minimum number of terms of a block when the library splits a sum among blocks. Like the next one,
chosen for its products in the fused steps of W1 to W4 (`INSIDE`)."""

MOST_PIECES = 8
"""Most pieces that it splits a sum into: 9 x 32 sums of 86,528 terms take 73 us."""

GRAPH_LAUNCH = 15e-6
"""Seconds to launch a graph of `GRAPH_STEPS` steps, besides its kernels: 15 us under WSL2
(https://github.com/ahrefs/ocannl/issues/488)."""

BARRIERS = 2
"""Barriers of a step in a persistent kernel: after the batch's rows, and after the update."""

PORT = 41
"""Bytes that a multiprocessor reads from L2 per clock: the 401 KB of W2's first weights in 9,780
cycles (`INSIDE`)."""

PART_CYCLES = 900
"""Clock cycles that an operation takes at least, since its instructions wait for each other: the
mean of the small parts of W1's and W2's persistent steps (`INSIDE`)."""

PASS_CYCLES = 350
"""Clock cycles for each further element that a thread computes: 87 to 1,500 in W4 (`INSIDE`)."""

READ_CYCLES = 750
"""Clock cycles that a thread of a product waits for the numbers it has asked for at once. This and
the next two are fitted to the products of four persistent steps (`INSIDE`), the longest of which
took 5.1 million cycles; `tests/performance/test_predictions.py` compares them."""

ROWS_CYCLES = 1400
"""Clock cycles of a block for each few rows of a product, besides its reads: it adds up sums in
shared memory, and all of its threads wait for each other."""

COLUMNS_CYCLES = 225
"""Clock cycles for each few columns of a product with a transposed second factor, likewise."""

ROWS_AT_ONCE, READS_AT_ONCE, QUAD = 4, 16, 4  # see products.cu

FEW = 32  # rows of a convolution's gradient that a thread adds up in registers, see convolution.cu

ROW_CYCLES = 2, 12
"""Clock cycles of a warp there for each row and window, with constant sizes and without. ASSUMED:
`INSIDE` is older than this kernel, and has what it replaces, 9 x 32 sums of the library."""

INSIDE = "benchmarks/results/nvidia-h200-2026-11-26-012323/inside.json"
"""Where launches of fused steps and clock cycles of persistent steps are from. Clock cycles are
taken to be the same on other GPUs."""

LIBRARY = 1.7e-6
"""Seconds that a small product of the library takes, besides a kernel's: the mean of what 13 of
them took in the fused steps of W1 and W2, besides their predicted arithmetic (`INSIDE`)."""


def product_seconds(m: int, n: int, k: int, gpu: GPU) -> float:
    """Return the arithmetic time of a product (m, k) @ (k, n); small ones keep few blocks busy.

    One block computes a tile of the output. With fewer tiles than multiprocessors, the sum
    over k is split among blocks as well, into `MOST_PIECES`, each of `LEAST_DEPTH` terms or more.
    """
    tiles = math.ceil(m / TILE) * math.ceil(n / TILE)
    busy = tiles / gpu.multiprocessors
    depth = min(k, max(LEAST_DEPTH, k * busy, k / MOST_PIECES)) if busy < 1 else k
    rate = PRODUCT_EFFICIENCY * gpu.flops / gpu.multiprocessors  # of one block
    return max(1.0, busy) * depth * 2 * TILE * TILE / rate


def few_rows_seconds(
    rows: int, filters: int, windows: int, gpu: GPU, constants: bool = True
) -> float:
    """Return the predicted time of a convolution's gradient with few rows, without its last sum."""
    warps, cycles = windows * -(-filters // WARP), ROW_CYCLES[0 if constants else 1]
    return warps * (rows + 1) * cycles / (gpu.multiprocessors * gpu.clock)


def takes_few_rows(
    rows: int, filters: int, windows: int, gpu: GPU, patches: int, constants: bool = True
) -> bool:
    """Return whether that kernel is predicted to be faster than the library, which keeps few blocks
    busy and has ``patches`` bytes written and read first."""
    library = product_seconds(rows, filters, windows, gpu) + patches / gpu.bandwidth
    few_rows = few_rows_seconds(rows, filters, windows, gpu, constants)
    return rows <= FEW and few_rows + 2 * gpu.kernel < library


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
    """Return the bandwidth in bytes per second, of L2 if the step's working set fits there."""
    fits = working_set(operations) <= gpu.l2
    return max(gpu.l2_bandwidth if fits else 0.0, MEMORY_EFFICIENCY * gpu.bandwidth)


def operation_seconds(
    operation: ProfiledOperation, gpu: GPU, bandwidth: float, parts: bool = True
) -> float:
    """Return the time of one operation's traffic or arithmetic on a GPU, whichever is longer; of
    both for a convolution, whose patches are written before its products. ``parts``: whether small
    products are parts of launches, and gradients with few rows have their kernel; else they are the
    library's."""
    size = _item_size([operation])
    patches = _patches(operation)
    few = [
        parts and operation.name == "convolution_gradient" and x.transposed == "a"
        and takes_few_rows(x.m, x.n, x.k, gpu, 2 * size * elements)
        for x, elements in zip(operation.products, patches, strict=True)
    ]
    arithmetic = sum(
        few_rows_seconds(x.m, x.n, x.k, gpu) if by_rows
        else product_cycles(x, x.m, gpu) / gpu.clock if parts and is_small(x)
        else product_seconds(x.m, x.n, x.k, gpu) * x.stack
        for x, by_rows in zip(operation.products, few, strict=True)
    )
    written = sum(elements for elements, by_rows in zip(patches, few, strict=True) if not by_rows)
    if written:
        return (operation.bytes + 2 * written * size) / bandwidth + arithmetic
    return max(operation.bytes / bandwidth, arithmetic or operation.flops / gpu.flops)


def _patches(operation: ProfiledOperation) -> list[int]:
    """Return for each product of a convolution how many elements its patches have, which are
    written and read; 0 for those of other operations."""
    if "kernel" not in operation.shapes:
        return [0] * len(operation.products)
    sizes = [x.m * (x.n if x.transposed == "b" else x.k) for x in operation.products]
    alone = math.prod(operation.shapes["x"])  # of an image whose patches are its pixels
    return [size if size > alone else 0 for size in sizes]


def work_seconds(
    operations: Sequence[ProfiledOperation], gpu: GPU, parts: bool = True
) -> float:
    """Return the time of a step's traffic and arithmetic on a GPU, without launch costs."""
    bandwidth = gpu_bandwidth(operations, gpu)
    return sum(operation_seconds(operation, gpu, bandwidth, parts) for operation in operations)


def graph_step_seconds(
    operations: Sequence[ProfiledOperation], gpu: GPU, kernels: int | None = None,
    parts: bool = True,
) -> float:
    """Return the predicted time of a step that is replayed in a CUDA graph.

    Args:
        kernels: number of kernels that the step launches; by default as in its profile.
        parts: whether small products are parts of these, as in the mode "fused".
    """
    if kernels is None:
        kernels = sum(operation.launches for operation in operations)
    products = [x for operation in operations for x in operation.products]
    library = sum(not (parts and is_small(x)) for x in products)
    fixed = kernels * gpu.kernel + GRAPH_LAUNCH / GRAPH_STEPS + library * LIBRARY
    fixed += len(operations) * PART_CYCLES / gpu.clock  # however small their arrays are
    return fixed + work_seconds(operations, gpu, parts)


def is_narrow(operations: Sequence[ProfiledOperation]) -> bool:
    """Whether no layer is wider than `PERSISTENT_WIDTH`, so that a persistent kernel can run."""
    widths = [product.n for operation in operations for product in operation.products]
    return bool(widths) and max(widths) <= PERSISTENT_WIDTH


def persistent_step_seconds(
    operations: Sequence[ProfiledOperation], gpu: GPU, batch: int | None = None
) -> float:
    """Return the predicted time of a step in a persistent kernel, which runs many steps.

    A block computes all layers for some rows of the batch, by default of those that the step
    gathers, so each block reads all weights. The gradients of weights all blocks compute together,
    each element in one thread.
    """
    bandwidth = gpu_bandwidth(operations, gpu)
    if batch is None:
        batch = next((x.shapes["out"][0] for x in operations if x.name == "gather"), 1)
    return (
        BARRIERS * gpu.barrier
        + GRAPH_LAUNCH / GRAPH_STEPS
        + sum(
            max(x.bytes / bandwidth, x.flops / gpu.flops, _cycles(x, batch, gpu) / gpu.clock)
            for x in operations
        )
    )


def product_cycles(product: MatrixProduct, batch: int, gpu: GPU) -> float:
    """Return the clock cycles of a product in a persistent kernel (products.cu), with some rows for
    each row of the batch."""
    m, n, k, transposed, _ = product
    if not m * n * k * batch:  # a rank may have no rows
        return 0.0
    resident = RESIDENT_BLOCKS * gpu.multiprocessors
    read = READ_CYCLES / READS_AT_ONCE
    if transposed == "a":
        return math.ceil(m * n / (resident * BLOCK)) * k * read
    of_batch = math.ceil(batch / resident)  # rows of the batch that a block has
    rows = of_batch * math.ceil(m / batch)
    if transposed == "b":
        lanes = min(_power_of_two(k / 8), WARP)  # that share a column
        times, columns = rows, math.ceil(n / (BLOCK / lanes))
        cycles = rows * columns * (COLUMNS_CYCLES + math.ceil(k / lanes) * read)
    else:
        width = QUAD if n % QUAD == 0 else 1  # columns of a thread
        across = min(_power_of_two(n / width), BLOCK)  # threads with columns of their own
        times, columns = math.ceil(rows / ROWS_AT_ONCE), math.ceil(n / width / across)
        # Four numbers for each of several rows take as many registers as there are.
        at_once = READS_AT_ONCE / (2 if width > 1 else 1) / min(rows, ROWS_AT_ONCE)
        terms = math.ceil(k / (BLOCK / across))
        cycles = times * columns * (ROWS_CYCLES + terms * READ_CYCLES / at_once)
    blocks = math.ceil(batch / of_batch)
    size = times * n * k * 4  # bytes that each of them reads
    shared = blocks * size / gpu.l2_reads * gpu.clock
    return max(cycles, math.ceil(blocks / gpu.multiprocessors) * size / PORT, shared)


def _power_of_two(least: float) -> int:
    """Return the smallest power of two that is not below a number."""
    return 1 << max(0, math.ceil(math.log2(least))) if least > 0 else 1


def _cycles(operation: ProfiledOperation, batch: int, gpu: GPU) -> float:
    """Return the clock cycles of an operation's parts in a persistent kernel."""
    products = sum(product_cycles(x, batch, gpu) for x in operation.products if x.stack == 1)
    if operation.name == "matmul":
        return products
    resident = RESIDENT_BLOCKS * gpu.multiprocessors
    shapes = operation.shapes.values()
    by_rows = any(shape and shape[0] == batch for shape in shapes)
    most = max((math.prod(shape) for shape in shapes), default=0)
    rows = math.ceil(batch / resident) / batch if by_rows else 1 / resident  # of one block
    passes = [math.ceil(size * rows / BLOCK) for size in (most, sum(_patches(operation)))]
    return products + PART_CYCLES + PASS_CYCLES * (max(passes[0] - 1, 0) + passes[1])

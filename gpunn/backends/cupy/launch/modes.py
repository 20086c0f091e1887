"""Launch modes: how the steps of a program are launched on the GPU.

==============  ==================================================================
``plain``       each operation launches its own kernels
``fused``       the step is traced; tasks that need not wait for each other, and small
                matrix products, share a launch (`fuse`), or become the epilogue of a
                large product
``persistent``  the step is traced; one kernel does all of it, including its matrix
                products, and continues with the next step (`persistent`)
==============  ==================================================================

A launch takes some microseconds, and a small network computes a step in no more than a few of
them. So in the modes ``plain`` and ``fused`` the launches of a step are captured in a CUDA
graph, which is replayed; in the mode ``persistent`` one launch does many steps.

The mode of a step is chosen by these rules, the first that applies:

- A step takes the mode that it had before in the same training, since modes agree only within
  rounding.
- A setting for this step and GPU overrules the prediction. ``gpunn doctor --step --keep-mode``
  measures the modes and writes it (`measured_modes`).
- A step that cannot be traced is ``plain``: one with a custom layer or formula with handwritten
  passes, or one that uses array functions. A custom `call` becomes expressions (`expressions`),
  and these are traced.
- A traced step is ``persistent`` if `roofline` predicts that this takes less time on this GPU than
  ``fused``. It must fit in one kernel, with at most `PERSISTENT_WIDTH` outputs in a layer and
  `PERSISTENT_BATCH` rows in the batch.
- Any other traced step is ``fused``: there the products of NVIDIA's library gain more than
  launches cost.

No time is measured to choose a mode: the same program would give other bits by chance.

The environment variable ``GPUNN_LAUNCH_MODE`` comes before these rules. A step that cannot be
launched in the mode that it names raises an error with the reason.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence

from gpunn.backends.contract.backend import LAUNCH_MODES
from gpunn.backends.contract.declaration import MatrixProduct
from gpunn.backends.contract.profiling import ProfiledOperation

GRAPH_STEPS = 64
"""Steps of the largest CUDA graph, which training uses most."""

GRAPH_SIZES = (GRAPH_STEPS, GRAPH_STEPS // 8, 1)
"""Steps that a graph may hold. A run of n steps replays as many of the largest as fit into n, then
of the next: 600 steps are 9 x 64 and 3 x 8. Larger graphs would save less than their capture costs:
it takes Python time for each launch of each step, before the first of them runs."""

GRAPH_LAUNCHES = 1 << 13
"""The most launches of a graph of several steps. A step of a long scan has thousands by itself: it
gains little from larger graphs, whose capture takes seconds."""

# With more outputs of a layer, or more rows, a library's product keeps the GPU busy.
PERSISTENT_WIDTH = 128
PERSISTENT_BATCH = 128

MOST_OUTPUTS = 32
"""The most outputs of a layer whose products are parts of a fused step's launches: with more, the
library's are faster."""

MOST_TERMS = 1 << 21
"""The most terms of all sums of such a product: more keep the library's busy too. An output layer
of 10 classes after 1,600 numbers has 2,048,000 for 128 rows."""

MOST_SUMMED = 192
"""The most rows that a thread of such a launch adds up, for the gradients of weights: 128 take 3.7
us on an H200, where the library's product of as many takes 5.7
(`benchmarks/results/nvidia-h200-2026-11-26-012323`, "Inside the steps", W4)."""


def is_small(product: MatrixProduct) -> bool:
    """Return whether a product is a part of a launch in the mode ``fused``."""
    m, n, k, transposed, stack = product
    outputs = {"": n, "b": k, "a": n}.get(transposed, math.inf)
    summed = k if transposed == "a" else 0
    few = outputs <= MOST_OUTPUTS and summed <= MOST_SUMMED
    return few and stack == 1 and 0 < m * n * k <= MOST_TERMS


# The driver of a GPU with a display ends a kernel that runs for seconds, and the screen
# freezes while one runs. So a launch does only as many steps as take `LAUNCH_SECONDS` on a
# multiprocessor of `LEAST_FLOPS` operations a second: a hundredth of the peak of real ones, or
# less (two for each of 128 cores and clock; GTX 1050 Ti 3.6e11); or as `roofline` predicts to take
# that long on this GPU.
LEAST_FLOPS = 2e9
LAUNCH_SECONDS = 0.025

PART_SECONDS = 2e-6
"""Seconds that a part of a persistent kernel takes on a slow GPU, however small it is: its
instructions wait for each other. On an H200 they are 0.5 us, see `roofline.PART_CYCLES`. A scan has
parts for each of its steps."""


class LaunchModeError(RuntimeError):
    """A step cannot, or should not, be launched in this mode."""


def step_key(operations: Sequence[ProfiledOperation]) -> str:
    """Return a digest of what a step does, whatever its launches and the type of its data."""
    parts = [
        [x.name, x.formula, sorted(x.shapes.items()), x.flops, x.name != "gather" and x.bytes]
        for x in operations
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def forced_mode(mode: str | None) -> str | None:
    """Return ``mode``, or else ``GPUNN_LAUNCH_MODE``, or raise a ValueError if there is no such
    mode; None if the rules decide."""
    mode = mode or os.environ.get("GPUNN_LAUNCH_MODE") or None
    if mode is not None and mode not in LAUNCH_MODES:
        raise ValueError(
            f"GPUNN_LAUNCH_MODE must be one of {', '.join(LAUNCH_MODES)}; got {mode!r}."
        )
    return mode

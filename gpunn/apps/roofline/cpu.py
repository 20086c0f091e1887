"""A lower bound of a step's time on this CPU, from its profile and measured rates."""

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
from gpunn.backends.cupy.launch.roofline import working_set


@dataclass(frozen=True)
class Cpu:
    """The result of `measure_cpu`.

    Attributes:
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
    """Measure this machine's rates with NumPy, in about so many seconds: matrix products and
    copies, each the best of many.

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

    Each operation passes over its arrays once, at the speed of a copy that fits into the same cache
    as the step; a product uses all threads. NumPy needs several passes for most operations and is
    slower. ``python`` seconds are added for each operation; 0 gives the bound of compiled code.
    """
    bandwidth = cpu.bandwidth(working_set(operations))
    return sum(
        python
        + max(
            operation.bytes / bandwidth,
            operation.flops / cpu.product_all if operation.products else 0.0,
        )
        for operation in operations
    )

"""``gpunn doctor --ranks``: what a step and the sum of its gradients cost, and when ranks pay."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl

from gpunn.distribution import set_distribution
from gpunn.distribution.communicator import Communicator
from gpunn.distribution.launch import initialize_if_launched, world
from gpunn.layers import Dense, Input
from gpunn.models import Sequential

SIZES = (784, 128, 10)
ROWS = 8192
BATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
PREDICTED = (2, 4, 16, 64, 256, 1024)  # ranks
STEPS = 16  # of a measurement, at least
REPEATS = 5


class Network(NamedTuple):
    """A simple model of the sum over ranks.

    With P ranks a sum of n bytes takes 2 log2(P) latency + 2 (P - 1) / P n / bandwidth: as many
    messages as in a tree, and as many bytes as in a ring.
    """

    latency: float  # seconds
    bandwidth: float  # bytes per second

    @staticmethod
    def of(ranks: int, small: float, large: float, size: int) -> Network:
        """Return the one that explains the seconds of a sum of one number, and of ``size`` bytes.

        >>> net = Network.of(2, 20e-6, 120e-6, 400_000)
        >>> round(net.latency * 1e6), round(net.bandwidth / 1e9)
        (10, 4)
        """
        volume = 2 * (ranks - 1) / ranks * size
        return Network(small / (2 * math.log2(ranks)), volume / max(large - small, 1e-9))

    def seconds(self, ranks: int, size: int) -> float:
        if ranks == 1:
            return 0.0
        volume = 2 * (ranks - 1) / ranks * size
        return 2 * math.log2(ranks) * self.latency + volume / self.bandwidth


def run() -> int:
    """Measure, and print the report on rank 0."""
    initialize_if_launched()  # it says nothing else of one process
    ranks = world()
    if ranks.size == 1:
        raise ValueError(
            "doctor --ranks needs several processes: mpiexec -n 2 gpunn doctor --ranks"
        )
    set_distribution(None)
    model = _model()
    size = 4 * model.count_params()
    sums = {count: _median(partial(_sum, ranks, count)) for count in (1, size // 4)}
    shared = {batch: _step(model, batch) for batch in BATCHES}  # all ranks at once
    alone = _alone(ranks, model)
    if ranks.rank == 0:
        net = Network.of(ranks.size, sums[1], sums[size // 4], size)
        print("\n".join(_report(ranks.size, model, size, sums, shared, alone, net)))
    return 0


def _model() -> Any:
    model = Sequential(
        [
            Input((SIZES[0],)),
            *(Dense(units, activation="relu") for units in SIZES[1:-1]),
            Dense(SIZES[-1], activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def _sum(ranks: Communicator, count: int) -> float:
    """Return the seconds of a sum of this many float32 numbers."""
    array = np.zeros(count, np.float32)
    ranks.sum(array)
    begun = time.perf_counter()
    for _ in range(STEPS):
        ranks.sum(array)
    return (time.perf_counter() - begun) / STEPS


def _step(model: Any, batch: int) -> float:
    """Return the seconds of a step of this process alone."""
    x = np.zeros((ROWS, SIZES[0]), np.float32)
    y = np.arange(ROWS) % SIZES[-1]
    epochs = -(-STEPS * batch // ROWS)

    def fit() -> float:
        begun = time.perf_counter()
        model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
        return (time.perf_counter() - begun) / (epochs * ROWS / batch)

    fit()
    return _median(fit)


def _alone(ranks: Communicator, model: Any) -> dict[int, float]:
    """Return the seconds of steps of one process with all cores, while the others wait."""
    cores = sum(ranks.gather(_threads()))
    found: dict[int, float] = {}
    if ranks.rank == 0:
        with threadpoolctl.threadpool_limits(cores, "blas"):
            found = {batch: _step(model, batch) for batch in BATCHES}
    ranks.meet()
    return found


def _threads() -> int:
    pools = threadpoolctl.threadpool_info()
    return max((pool["num_threads"] for pool in pools if pool["user_api"] == "blas"), default=1)


def _median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(REPEATS))


def _report(
    count: int,
    model: Any,
    size: int,
    sums: dict[int, float],
    shared: dict[int, float],
    alone: dict[int, float],
    net: Network,
) -> list[str]:
    name, total = "-".join(map(str, SIZES)), sums[size // 4]
    lines = [
        f"{name} with Adam, {count} ranks, backend {model.backend.name}",
        f"The sum over ranks takes {sums[1] * 1e6:.0f} us for one number, {total * 1e6:.0f} us for "
        f"the {size // 4:,} gradients.",
        "",
        f"Measured, in us a step: one process with all cores, and {count} ranks (the step of a "
        f"share, and the sum)",
        f"{'batch':>8}{'one process':>14}{f'{count} ranks':>12}",
    ]
    together = {
        batch: shared[max(BATCHES[0], batch // count)] + total
        for batch in BATCHES
        if batch // count in BATCHES
    }
    lines += [
        f"{batch:>8}{alone[batch] * 1e6:>14.0f}{seconds * 1e6:>12.0f}"
        for batch, seconds in together.items()
    ]
    pays = [batch for batch, seconds in together.items() if seconds < alone[batch]]
    lines.append(
        f"{count} ranks pay from a batch of {pays[0]} on."
        if pays
        else f"{count} ranks do not pay on this machine, up to a batch of {max(together)}."
    )
    lines += [
        "",
        f"Predicted for more such ranks, from a latency of {net.latency * 1e6:.1f} us and "
        f"{net.bandwidth / 1e9:.2f} GB/s: us a step",
        f"{'ranks':>8}{'the sum':>12}{'batch 32 each':>16}{'batch 1024 each':>18}",
    ]
    for ranks in PREDICTED:
        added = net.seconds(ranks, size)
        steps = [(shared[batch] + added) * 1e6 for batch in (32, 1024)]
        lines.append(f"{ranks:>8}{added * 1e6:>12.0f}{steps[0]:>16.0f}{steps[1]:>18.0f}")
    return lines

"""One network on two processes of one thread, beside one process with two threads.

    python -m benchmarks.studies.ranks [--rounds 15]

It starts itself with mpiexec. In each round, rank 0 trains alone with both cores while the other
waits, and then both train together. The sum over ranks is timed beside MPI's own call.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

import gpunn as keras
from benchmarks import RESULTS
from benchmarks.common import machine, samples
from gpunn.distribution import DataParallel, set_distribution
from gpunn.distribution.launch import world

RANKS = 2
SIZES, BATCH, ROWS = (784, 1024, 1024, 10), 1024, 8192
GOAL = 0.85  # times as fast as one process with as many threads
CALLS = 200  # of a sum, for one time of it
COUNTS = (1, 1000, 101_770, 1_863_690)  # numbers that are summed; the last are W3's weights
MOST_ADDED = 1.0  # microseconds


def network() -> Any:
    hidden = [keras.layers.Dense(units, "relu") for units in SIZES[1:-1]]
    model = keras.Sequential(
        [keras.Input((SIZES[0],)), *hidden, keras.layers.Dense(SIZES[-1], "softmax")]
    )
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def measure(rounds: int) -> dict[str, Any]:
    keras.distribution.initialize()
    ranks = world()
    random = np.random.default_rng(0)
    x, y = random.random((ROWS, SIZES[0]), np.float32), random.integers(0, SIZES[-1], ROWS)
    together, alone = network(), network()

    def epoch(model: Any) -> float:
        begun = time.perf_counter()
        model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
        return (time.perf_counter() - begun) / (ROWS / BATCH)

    found: dict[str, Any] = {"alone": [], "together": [], "sums": {n: [] for n in COUNTS}}
    others, begun, used = machine.Others(), time.perf_counter(), time.process_time()
    for number in range(rounds + 1):
        set_distribution(None)
        if ranks.rank == 0:
            with threadpoolctl.threadpool_limits(RANKS, "blas"):
                seconds = epoch(alone)
        ranks.meet()
        set_distribution(DataParallel())
        shared = epoch(together)
        if number and ranks.rank == 0:  # the first round prepares
            found["alone"].append(seconds)
            found["together"].append(shared)
        for count, taken in found["sums"].items():
            times = sum_times(ranks, count)
            if number:
                taken.append(times)
    rank_times = ranks.gather(time.process_time() - used)
    busy = (others.cores() or 0.0) - sum(rank_times[1:]) / (time.perf_counter() - begun)
    return {"others": max(busy, 0.0), **found}


def sum_times(ranks: Any, count: int) -> tuple[float, float]:
    """Return the seconds of a sum by gpunn, and by MPI's call alone, in turns."""
    from mpi4py import MPI

    array, both = np.zeros(count, np.float32), [0.0, 0.0]
    for _ in range(CALLS):
        for k, call in enumerate(
            (ranks.sum, lambda a: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, a))
        ):
            begun = time.perf_counter()
            call(array)
            both[k] += time.perf_counter() - begun
    return both[0] / CALLS, both[1] / CALLS


def table(result: dict[str, Any]) -> str:
    alone, together = (samples.quartiles(result[name]) for name in ("alone", "together"))
    ratios = samples.ratios(result["alone"], result["together"])
    low, middle, high = samples.quartiles(ratios)
    network_name = "-".join(map(str, SIZES))
    lines = [
        "# One network on two processes",
        "",
        f"{network_name}, SGD with momentum, batch {BATCH:,}, compiled kernels: two ranks of one",
        "thread each, and one process with two threads, in turns (`benchmarks/studies/ranks.py`).",
        "Milliseconds a step are medians; the ratio is that within each round, with quartiles.",
        "",
        "| one process, two threads | two ranks | two ranks: times as fast | goal |",
        "| --- | --- | --- | --- |",
        f"| {alone.middle * 1e3:.2f} | {together.middle * 1e3:.2f} | {middle:.2f} ({low:.2f} - "
        f"{high:.2f}) | {GOAL} |",
        "",
        f"The sum over the ranks, in microseconds, beside MPI's call alone. The goal is at most "
        f"{MOST_ADDED:g} us more.",
        "",
        "| float32 numbers | gpunn | MPI | difference |",
        "| --- | --- | --- | --- |",
    ]
    for count, times in result["sums"].items():
        ours, bare = (samples.quartiles([pair[k] for pair in times]).middle * 1e6 for k in (0, 1))
        more = samples.quartiles([(a - b) * 1e6 for a, b in times]).middle
        lines.append(f"| {int(count):,} | {ours:.2f} | {bare:.2f} | {more:.2f} |")
    complaint = machine.complaint(None, result["others"])
    notes = [complaint, ""] if complaint else []
    return "\n".join([*lines, "", *notes, machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.as_rank:
        command = [
            Path(sys.executable).with_name("mpiexec"), "--allow-run-as-root", "--oversubscribe",
            "-n", str(RANKS), sys.executable, "-m", "benchmarks.studies.ranks", "--as-rank",
            "--rounds", str(args.rounds),
        ]  # fmt: skip
        sys.exit(subprocess.run(command).returncode)
    measured = measure(args.rounds)
    if world().rank == 0:
        result = {"machine": machine.describe(), **measured}
        (RESULTS / "ranks.json").write_text(json.dumps(result, indent=1) + "\n")
        text = table(json.loads(json.dumps(result)))
        (RESULTS / "ranks.md").write_text(text)
        print(text)


if __name__ == "__main__":
    main()

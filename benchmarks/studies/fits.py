"""Many fits at a time: by one thread, by as many threads as there are cores, and by processes.

    python -m benchmarks.studies.fits [--rounds 15]

Each fit makes, compiles and trains a network. In each round, the same fits run one after the
other, in threads, and in processes that have imported gpunn already. Rounds in which other
processes kept the machine busy are repeated.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

import gpunn as keras
from benchmarks import RESULTS
from benchmarks.common import machine, samples

GOAL = 1.8  # times as fast, by two threads
MOST_ROUNDS = 6  # tried, for each that is wanted


class Fit(NamedTuple):
    """What a fit trains on, and how many fits a thread makes in a round."""

    sizes: tuple[int, ...]
    rows: int
    batch: int
    epochs: int
    count: int

    @property
    def title(self) -> str:
        network = "-".join(map(str, self.sizes))
        return f"{network}, {self.rows:,} rows, batch {self.batch}, {self.epochs} epochs"


FITS = (
    Fit((784, 128, 10), 10_000, 128, 5, 2),
    Fit((16, 64, 3), 2_000, 32, 40, 8),
    Fit((4, 16, 3), 150, 32, 200, 20),
)


def train(job: tuple[Fit, int]) -> float:
    """Train a network; return its last loss."""
    fit, seed = job
    random = np.random.default_rng(0)
    x = random.random((fit.rows, fit.sizes[0]), np.float32)
    y = random.integers(0, fit.sizes[-1], fit.rows)
    with keras.utils.seeded(seed):
        hidden = [keras.layers.Dense(units, "relu") for units in fit.sizes[1:-1]]
        model = keras.Sequential(
            [keras.Input((fit.sizes[0],)), *hidden, keras.layers.Dense(fit.sizes[-1], "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(x, y, batch_size=fit.batch, epochs=fit.epochs, verbose=0)
    return float(history.history["loss"][-1])


class Times(NamedTuple):
    """Seconds of a run: by the clock, and of processor time of this process."""

    wall: float
    cpu: float


def timed(run: Callable[..., Iterable[float]], jobs: list[Any]) -> tuple[Times, list[float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    losses = list(run(train, jobs))
    return Times(time.perf_counter() - wall, time.process_time() - cpu), losses


def rounds_of(fit: Fit, wanted: int, threads: Executor, processes: Executor, workers: int) -> Any:
    """Return the times of each round, and the cores that other processes kept busy in it."""
    jobs = [(fit, seed) for seed in range(fit.count * workers)]
    found: list[dict[str, Any]] = []
    quiet = 0
    for executor in (threads, processes):
        list(executor.map(train, jobs))
    while quiet < wanted and len(found) < MOST_ROUNDS * wanted:
        others = machine.Others()
        one, losses = timed(map, jobs)
        several, same = timed(threads.map, jobs)
        busy = others.cores() or 0.0
        apart, also = timed(processes.map, jobs)
        assert losses == same == also, "the engines give different losses"
        found.append({"one": one, "threads": several, "processes": apart, "others": busy})
        quiet += busy <= machine.BUSY
    return found


def measure(rounds: int) -> dict[str, Any]:
    workers = os.cpu_count() or 1
    spawn = multiprocessing.get_context("spawn")
    with (
        ThreadPoolExecutor(workers) as threads,
        ProcessPoolExecutor(workers, mp_context=spawn) as processes,
    ):
        found = {fit.title: rounds_of(fit, rounds, threads, processes, workers) for fit in FITS}
    return {"workers": workers, "rounds": found}


def table(result: dict[str, Any]) -> str:
    workers = result["workers"]
    lines = [
        "# Many fits at a time",
        "",
        f"The same fits one after the other, by {workers} threads, and by {workers} processes that",
        "have imported gpunn already (`benchmarks/studies/fits.py`). Milliseconds a fit are",
        "medians; ratios are those within each round, with quartiles. Processor time is that of",
        f"all threads over that of one. The goal for two threads is {GOAL} times as fast.",
        "",
        "| fit | ms, one thread | threads: times as fast | best | processor time | "
        "processes: times as fast |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    loads = []
    for fit in FITS:
        taken = result["rounds"][fit.title]
        quiet = [one for one in taken if one["others"] <= machine.BUSY] or taken
        loads += [one["others"] for one in quiet]
        wall = {name: [one[name][0] for one in quiet] for name in ("one", "threads", "processes")}
        cpu = [one["threads"][1] / one["one"][1] for one in quiet]
        single = samples.quartiles(wall["one"]).middle / (fit.count * workers) * 1e3
        faster = samples.ratios(wall["one"], wall["threads"])
        cells = [
            fit.title, f"{single:.3g}", spread(faster), f"{max(faster):.2f}", spread(cpu),
            spread(samples.ratios(wall["one"], wall["processes"])),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    complaint = machine.complaint(None, max(loads))
    notes = [complaint, ""] if complaint else []
    return "\n".join([*lines, "", *notes, machine.line(result["machine"]), ""])


def spread(values: list[float]) -> str:
    low, middle, high = samples.quartiles(values)
    return f"{middle:.2f} ({low:.2f} - {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    result = {"machine": machine.describe(), **measure(parser.parse_args().rounds)}
    (RESULTS / "fits.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "fits.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

"""The throughput of threads: predictions of one model by one thread and by two.

    python -m benchmarks.studies.threads [--rounds 15]

W2's network, 784-128-dropout 0.2-10, repeatedly predicts batches of 256 with
``predict_on_batch``: by one thread, and by two at the same time, in turns. With two free cores,
two threads should nearly double the throughput.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from typing import Any

import numpy as np

from benchmarks import RESULTS
from benchmarks.common import machine, samples
from benchmarks.common.workloads import WORKLOADS
from benchmarks.contestants.gpunn_fit import network

BATCH = 256
SECONDS = 0.3
GOAL = 1.6


def rate(model: Any, x: np.ndarray, threads: int) -> float:
    """Return the rows per second of that many threads together."""
    counts = [0] * threads
    start, stop = threading.Barrier(threads + 1), threading.Event()

    def ask(number: int) -> None:
        start.wait()
        while not stop.is_set():
            model.predict_on_batch(x)
            counts[number] += len(x)

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
    for thread in asking:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    stop.wait(SECONDS)
    stop.set()
    for thread in asking:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun)


def measure(rounds: int) -> dict[str, Any]:
    x = np.random.default_rng(0).random((BATCH, 784), np.float32)
    found: dict[str, dict[str, list[float]]] = {}
    for backend in ("compiled", "numpy"):
        model = network(WORKLOADS["W2"], backend, bytes_in=False)
        rate(model, x, 2)
        taken = found[backend] = {"1": [], "2": []}
        for _ in range(rounds):
            for threads in (1, 2):
                taken[str(threads)].append(rate(model, x, threads))
    return {"batch": BATCH, "seconds": SECONDS, "rows_a_second": found}


def table(result: dict[str, Any]) -> str:
    lines = [
        "# Predictions by several threads",
        "",
        f"W2's network, batches of {result['batch']}, by `benchmarks/studies/threads.py`:",
        "thousands of rows a second, medians; the ratio within each round, with its quartiles. The",
        f"goal on two cores is {GOAL}.",
        "",
        "| backend | one thread | two threads | two / one |",
        "| --- | --- | --- | --- |",
    ]
    for backend, taken in result["rows_a_second"].items():
        one, two = (samples.quartiles(taken[n]).middle / 1e3 for n in ("1", "2"))
        low, middle, high = samples.quartiles(samples.ratios(taken["2"], taken["1"]))
        lines.append(
            f"| {backend} | {one:.0f} | {two:.0f} | {middle:.2f} ({low:.2f} - {high:.2f}) |"
        )
    return "\n".join([*lines, "", machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    result = {"machine": machine.describe(), **measure(parser.parse_args().rounds)}
    (RESULTS / "threads.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "threads.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

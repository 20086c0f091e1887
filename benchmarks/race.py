"""Runs contestants in turn, each in a process of its own, and writes what was measured.

A contestant is a script in ``contestants/`` that defines ``prepare(data) -> (work,
accuracy)``: ``work()`` does what is timed, ``accuracy()`` returns the share of the test
images that is right. ``data`` holds the arrays of MNIST, the initial weights and the workload.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import math
import os
import platform
import runpy
import statistics
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LEAST = 3  # counted rounds, however late it is
GRACE = 60.0  # seconds for the round that is under way when the time is over
WORKLOAD = {
    "sizes": (784, 128, 10),
    "dropout": 0.2,
    "optimizer": "adam",
    "batch": 32,
    "times": 1,  # what one call of work() does so often; the time is that of one
    "predicts": False,  # instead of training
    "rows": None,  # that many of the data, or all
    "generated": False,  # data, for machines without MNIST
}


def initial_weights(seed: int, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Glorot-uniform kernels and zero biases, float32, for every contestant alike."""
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = []
    for n_in, n_out in itertools.pairwise(sizes):
        limit = (6.0 / (n_in + n_out)) ** 0.5
        weights.append(generator.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, np.float32))
    return weights


def generated_digits() -> tuple[tuple[np.ndarray, ...], ...]:
    """Noisy images of ten patterns, in MNIST's shapes and types."""
    generator = np.random.Generator(np.random.PCG64(0))
    patterns = generator.integers(0, 128, (10, 28, 28), np.uint8)
    labels = [generator.integers(0, 10, rows).astype(np.uint8) for rows in (60_000, 10_000)]
    return tuple(
        (patterns[y] + generator.integers(0, 128, (len(y), 28, 28), np.uint8), y) for y in labels
    )


def contest(script: str, threads: int, workload: dict[str, Any]) -> None:
    """The inside of a contestant's process: some work for each line on stdin."""
    from gpunn.datasets import mnist

    (x, y), (x_test, y_test) = generated_digits() if workload["generated"] else mnist.load_data()
    rows = workload["rows"]
    data = {
        "x": x[:rows], "y": y[:rows], "x_test": x_test[:rows], "y_test": y_test[:rows],
        "threads": threads, "workload": workload,
        "weights": initial_weights(0, tuple(workload["sizes"])),
    }
    work, accuracy = runpy.run_path(script)["prepare"](data)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "accuracy":
            print(json.dumps(float(accuracy())), flush=True)
            continue
        started = time.perf_counter()
        work()
        print(json.dumps((time.perf_counter() - started) / workload["times"]), flush=True)


def race(
    contestants: dict[str, tuple[str, int]],
    rounds: int,
    workload: dict[str, Any] | None = None,
    until: float = math.inf,
) -> dict[str, Any]:
    """Seconds of each contestant (name: script, threads), in interleaved rounds.

    A contestant that breaks is left out and named in ``failed``. After ``until`` (by
    ``time.monotonic``) no round begins, but for the least number; a contestant that is
    still at work a minute later is ended.
    """
    workload = WORKLOAD | (workload or {})
    processes = {}
    for name, (script, threads) in contestants.items():
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
        environment.pop("OPENBLAS_NUM_THREADS", None)
        command = [sys.executable, __file__, "--contest", str(HERE / "contestants" / script)]
        command += ["--threads", str(threads), "--workload", json.dumps(workload)]
        processes[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    accuracy: dict[str, float] = {}
    failed: dict[str, str] = {}
    watchdog = threading.Timer(
        min(max(until - time.monotonic(), 0) + GRACE, threading.TIMEOUT_MAX),
        lambda: [process.kill() for process in processes.values()],
    )
    watchdog.daemon = True
    watchdog.start()
    try:
        for name, process in processes.items():
            if _line(process) != "ready":
                failed[name] = "did not start"
        for number in range(rounds + 1):
            if number > LEAST and time.monotonic() > until:
                break
            for name, process in processes.items():
                taken = None if name in failed else _ask(process, "work")
                if taken is None:
                    failed.setdefault(name, f"broke in round {number}")
                elif number:
                    seconds[name].append(taken)
        for name, process in processes.items():
            reached = None if name in failed else _ask(process, "accuracy")
            if reached is None:
                failed.setdefault(name, "broke when its accuracy was asked")
            else:
                accuracy[name] = reached
    finally:
        watchdog.cancel()
        for process in processes.values():
            process.kill()
            process.communicate()
    for name in failed:
        del seconds[name]
    return {"seconds": seconds, "accuracy": accuracy, "failed": failed, "workload": workload}


def _line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _ask(process: subprocess.Popen, question: str) -> float | None:
    """The number that the contestant answers, or None if it is gone."""
    assert process.stdin is not None
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    except OSError:
        return None
    answer = _line(process)
    return float(answer) if answer else None


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, systems, versions, commit."""
    versions = {}
    for package in ("numpy", "torch", "jax", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line),
        platform.processor(),
    )
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE
    ).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "avx512": "avx512f" in flags,
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit or None,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def table(result: dict[str, Any], reference: str, form: str = ".3f") -> str:
    """Markdown: median and quartiles of each, ratio to ``reference`` within rounds."""
    base = result["seconds"][reference]
    rows = [
        "| contestant | median s | quartiles | times as long as gpunn | test accuracy |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, taken in result["seconds"].items():
        low, middle, high = statistics.quantiles(taken, n=4)
        ratios = [a / b for a, b in zip(taken, base, strict=True)]
        rows.append(
            f"| {name} | {middle:{form}} | {low:{form}} - {high:{form}} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f}) | "
            f"{result['accuracy'][name]:.4f} |"
        )
    return "\n".join(rows)


def write(name: str, title: str, result: dict[str, Any], reference: str) -> None:
    """``results/<name>.json`` with everything, ``results/<name>.md`` with the table.

    Raises:
        RuntimeError: if a contestant broke: what it lacks would be missing in the table.
    """
    if result["failed"]:
        raise RuntimeError(f"nothing is written: {result['failed']}")
    RESULTS.mkdir(exist_ok=True)
    result["machine"] = machine()
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    m = result["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items() if v)
    rounds = len(result["seconds"][reference])
    text = (
        f"# {title}\n\n{table(result, reference)}\n\n"
        f"{rounds} interleaved rounds of one epoch each, after one of warm-up. Test accuracy is "
        f"after {rounds + 1} epochs.\n\n{m['cpu']}, {m['cores']} cores, Python {m['python']}, "
        f"{versions}, {m['date']}, commit {m['commit']}.\n"
        f"Not installed: {', '.join(k for k, v in m['versions'].items() if not v) or 'nothing'}.\n"
    )
    (RESULTS / f"{name}.md").write_text(text)
    readme = HERE.parent / "README.md"
    readme.write_text(with_table(readme.read_text(), name, table(result, reference)))
    print(text)


def with_table(text: str, name: str, new: str) -> str:
    """``text`` with ``new`` between the marks of the table of ``results/<name>.md``."""
    begin, end = f"<!-- table of benchmarks/results/{name}.md -->\n", "<!-- end of table -->"
    head, rest = text.split(begin)
    return f"{head}{begin}{new}\n{end}{rest.split(end, 1)[1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--contest", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", type=json.loads, default=WORKLOAD)
    arguments = parser.parse_args()
    contest(arguments.contest, arguments.threads, arguments.workload)

"""Runs contestants in turn, each in a process of its own, and writes what was measured.

A contestant is a script in ``contestants/`` that defines ``prepare(data) -> (epoch,
accuracy)``: ``epoch()`` trains one epoch, ``accuracy()`` returns the share of the
test images that is right. ``data`` holds the arrays of MNIST and the initial weights.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import runpy
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def initial_weights(seed: int, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Glorot-uniform kernels and zero biases, float32, for every contestant alike."""
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = []
    for n_in, n_out in itertools.pairwise(sizes):
        limit = (6.0 / (n_in + n_out)) ** 0.5
        weights.append(generator.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, np.float32))
    return weights


def contest(script: str, threads: int) -> None:
    """The inside of a contestant's process: an epoch for each line on stdin."""
    from gpunn.datasets import mnist

    (x, y), (x_test, y_test) = mnist.load_data()
    data = {
        "x": x, "y": y, "x_test": x_test, "y_test": y_test, "threads": threads,
        "weights": initial_weights(0, (784, 128, 10)),
    }
    epoch, accuracy = runpy.run_path(script)["prepare"](data)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "accuracy":
            print(json.dumps(float(accuracy())), flush=True)
            continue
        started = time.perf_counter()
        epoch()
        print(json.dumps(time.perf_counter() - started), flush=True)


def race(contestants: dict[str, tuple[str, int]], rounds: int) -> dict[str, Any]:
    """Seconds an epoch of each contestant (name: script, threads), in interleaved rounds."""
    processes = {}
    for name, (script, threads) in contestants.items():
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
        environment.pop("OPENBLAS_NUM_THREADS", None)
        command = [sys.executable, __file__, "--contest", str(HERE / "contestants" / script)]
        processes[name] = subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
    for name, process in processes.items():
        if _line(process) != "ready":
            raise RuntimeError(f"{name} did not start")
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(rounds + 1):
        for name, process in processes.items():
            taken = float(_ask(process, "epoch"))
            if number:
                seconds[name].append(taken)
    accuracy = {name: float(_ask(process, "accuracy")) for name, process in processes.items()}
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    return {"seconds": seconds, "accuracy": accuracy}


def _line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _ask(process: subprocess.Popen, question: str) -> str:
    assert process.stdin is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return _line(process)


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, systems, versions, commit."""
    versions = {}
    for package in ("numpy", "torch", "cupy-cuda12x", "cupy-cuda13x"):
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


def table(result: dict[str, Any], reference: str) -> str:
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
            f"| {name} | {middle:.3f} | {low:.3f} - {high:.3f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f}) | "
            f"{result['accuracy'][name]:.4f} |"
        )
    return "\n".join(rows)


def write(name: str, title: str, result: dict[str, Any], reference: str) -> None:
    """``results/<name>.json`` with everything, ``results/<name>.md`` with the table."""
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
    arguments = parser.parse_args()
    contest(arguments.contest, arguments.threads)

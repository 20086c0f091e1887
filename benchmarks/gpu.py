"""What only a card can show: its tests, and quick benchmarks; the answer to ``make gpu``.

    GPUNN_BACKEND=cupy python benchmarks/gpu.py

Writes ``results/<card>-<date>.json`` with everything and a Markdown file with the tables. It
asks for NumPy, CuPy, tqdm, safetensors and pytest; a neighbour that is not installed is
reported as missing. With ``GPUNN_BACKEND=emulated`` everything runs but the card: a few rows,
results in ``runs/gpu``, to see that the command itself is in order.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import race

ROOT = Path(__file__).parents[1]
TESTS = ("tests/test_gpu.py", "tests/test_parity.py", "tests/test_emulated_training.py")
SECONDS = 450.0  # of all, so that starting and writing end within 8 minutes
TEST_SECONDS = 300.0
GPUNN, GRAPH = "gpunn", "PyTorch CUDA graph"  # the latter trains only
CONTESTANTS = {
    GPUNN: "card_gpunn.py",
    "PyTorch eager": "card_torch.py",
    GRAPH: "card_torch_graph.py",
    "JAX": "card_jax.py",
}
SMALL, DROPOUT, WIDE = (
    {"sizes": (784, 16, 16, 10), "dropout": 0.0, "optimizer": "sgd", "batch": 10},
    {"sizes": (784, 128, 10), "dropout": 0.2, "optimizer": "adam", "batch": 32},
    {"sizes": (784, 1024, 1024, 10), "dropout": 0.0, "optimizer": "momentum", "batch": 128},
)
WORKLOADS: dict[str, dict[str, Any]] = {
    "784-16-16-10, SGD, batch 10: an epoch": {**SMALL, "times": 3},
    "784-128-dropout 0.2-10, Adam, batch 32: an epoch": {**DROPOUT, "times": 3},
    "784-1024-1024-10, SGD with momentum, batch 128: an epoch": {**WIDE, "times": 3},
    "784-128-10: predict 10,000 images": {**DROPOUT, "times": 20, "predicts": True},
}
# Says what a neighbour is and whether it finds the card, without a context in this process.
ASK = {
    "PyTorch": "import torch as m; found = m.cuda.is_available()",
    "JAX": "import jax as m; found = m.default_backend() == 'gpu'",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--rounds", type=int, help="counted rounds of each benchmark")
    parser.add_argument("--rows", type=int, help="of the data; all, or 120 when emulated")
    parser.add_argument("--no-tests", action="store_true", help="benchmarks only")
    arguments = parser.parse_args()
    begun = time.monotonic()
    backend = os.environ.setdefault("GPUNN_BACKEND", "cupy")
    emulated = backend == "emulated"
    # Without a network nobody should wait for one.
    os.environ.setdefault("GPUNN_OFFLINE", "1")
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    sys.path[:0] = paths[:2]

    report: dict[str, Any] = {"card": describe_card(backend), "emulated": emulated}
    report["machine"] = race.machine()
    print(f"{report['card']['name']}: tests, then benchmarks; 8 minutes at most.", flush=True)
    report["tests"] = None if arguments.no_tests else run_tests(emulated)
    report["missing"] = missing = missing_neighbours()
    options: dict[str, Any] = {"generated": not has_mnist(missing)}
    rounds, rows = arguments.rounds or (2 if emulated else 7), arguments.rows
    if emulated:
        options |= {"times": 1, "rows": rows or 120}
    elif rows:
        options["rows"] = rows
    contestants = {
        name: (script, os.cpu_count() or 1)
        for name, script in CONTESTANTS.items()
        if name.split()[0] not in missing
    }
    report["benchmarks"] = {}
    for number, (title, workload) in enumerate(WORKLOADS.items()):
        left = SECONDS - (time.monotonic() - begun)
        print(f"{title} ...", flush=True)
        report["benchmarks"][title] = race.race(
            {n: c for n, c in contestants.items() if n != GRAPH or "predicts" not in workload},
            rounds,
            {**workload, **options},
            time.monotonic() + left / (len(WORKLOADS) - number),
        )
    report["seconds"] = time.monotonic() - begun
    write(report, arguments.out or (ROOT / "runs" / "gpu" if emulated else race.RESULTS))
    return 0 if in_order(report) else 1


def describe_card(backend: str) -> dict[str, Any]:
    """The card's name and what it can do; ends the program where there is none."""
    if backend == "emulated":
        return {"name": "emulated"}
    if backend != "cupy":
        sys.exit(f"GPUNN_BACKEND={backend}: a card's backend is expected, cupy or emulated.")
    from gpunn.backends.card import why_not

    reason = why_not()
    if reason is not None:
        sys.exit(f"make gpu needs an NVIDIA card and CuPy. {reason}")
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_bytes": properties["totalGlobalMem"],
        "driver_cuda": runtime.driverGetVersion(),
        "cupy_cuda": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }


def run_tests(emulated: bool) -> dict[str, Any]:
    """Run the tests marked ``gpu``, or their emulated form; which failed, and the time."""
    files = [file for file in TESTS if (ROOT / file).exists()]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "tests.xml"
        # CuPy warns of what is no fault of ours: its warnings are shown, not errors.
        command = [
            sys.executable, "-m", "pytest", "-q", "-W", "default", "--junitxml", str(record),
            *(("-k", "[emulated") if emulated else ("-m", "gpu")), *files,
        ]  # fmt: skip
        try:
            status = subprocess.run(command, cwd=ROOT, timeout=TEST_SECONDS).returncode
        except subprocess.TimeoutExpired:
            status = -1
        cases = list(ElementTree.parse(record).iter("testcase")) if record.exists() else []
    broken = {
        f"{case.get('classname')}::{case.get('name')}": (found.get("message") or "")[:500]
        for case in cases
        for found in case
        if found.tag in ("failure", "error")
    }
    return {
        "status": "stopped: out of time" if status == -1 else status,
        "passed": sum(1 for case in cases if not len(case)),
        "failed": broken,
        "skipped": sum(1 for case in cases if case.find("skipped") is not None),
        "seconds": time.monotonic() - begun,
    }


def missing_neighbours() -> dict[str, str]:
    """What there is nothing to compare with, and why."""
    missing = {}
    for name, question in ASK.items():
        package = {"PyTorch": "torch"}.get(name, name.lower())
        if importlib.util.find_spec(package) is None:
            missing[name] = "not installed"
            continue
        command = [sys.executable, "-c", f"{question}; print(m.__version__, found)"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        except subprocess.SubprocessError as error:
            missing[name] = f"does not start: {error}"
            continue
        version, _, found = done.stdout.strip().rpartition(" ")
        if found != "True":
            missing[name] = f"{version} finds no card"
    return missing


def has_mnist(missing: dict[str, str]) -> bool:
    from gpunn.datasets import mnist

    try:
        mnist.load_data()
    except FileNotFoundError:
        missing["MNIST"] = "set GPUNN_DATA to its folder; the data are generated instead"
        return False
    return True


def in_order(report: dict[str, Any]) -> bool:
    """Whether the tests passed and gpunn took part in every benchmark."""
    tests = report["tests"]
    tested = tests is None or (tests["status"] == 0 and tests["passed"] > 0)
    return tested and all(GPUNN in r["seconds"] for r in report["benchmarks"].values())


def write(report: dict[str, Any], folder: Path) -> None:
    """``<card>-<date>.json`` and ``.md`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    card = re.sub(r"[^a-z0-9]+", "-", report["card"]["name"].lower()).strip("-")
    path = folder / f"{card}-{report['machine']['date']}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    text = describe(report)
    path.with_suffix(".md").write_text(text)
    print(f"\n{text}\nWritten: {path} and {path.with_suffix('.md').name}")


def describe(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    card, m, tests = report["card"], report["machine"], report["tests"]
    parts = [f"# {card['name']}, {m['date']}: `make gpu`"]
    if report["emulated"]:
        parts.append(
            "**Emulated on the CPU: there was no card.** That everything ran is true of the "
            "emulation only, and its times say nothing about a card."
        )
    if tests is None:
        parts.append("Tests: not run.")
    else:
        parts.append(
            f"Tests: {tests['passed']} passed, {len(tests['failed'])} failed, "
            f"{tests['skipped']} skipped in {tests['seconds']:.0f} s"
            f"{'' if tests['status'] in (0, 1) else ' (' + str(tests['status']) + ')'}."
        )
        parts += [f"- {name}: {message.splitlines()[0] if message else ''}"
                  for name, message in tests["failed"].items()]
    for title, result in report["benchmarks"].items():
        parts.append(f"## {title}")
        if GPUNN in result["seconds"]:
            work = result["workload"]
            rounds = len(result["seconds"][GPUNN])
            rows = f"{work['rows']} rows" if work["rows"] else "all rows"
            source = "generated data" if work["generated"] else "MNIST"
            parts.append(race.table(result, GPUNN, ".3g"))
            parts.append(
                f"{rounds} interleaved rounds of {work['times']}, after one of warm-up; "
                f"{rows} of {source}."
            )
        parts += [f"Failed: {name} {how}." for name, how in result["failed"].items()]
    missing = "; ".join(f"{name} ({why})" for name, why in report["missing"].items())
    parts.append(f"Missing: {missing or 'nothing'}.")
    details = ", ".join(f"{key} {value}" for key, value in card.items() if key != "name")
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items() if v)
    parts.append(
        f"{details + '; ' if details else ''}{m['cpu']}, {m['cores']} cores, Python "
        f"{m['python']}, {versions}, commit {m['commit']}; {report['seconds']:.0f} s in all."
    )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())

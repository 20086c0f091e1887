"""What only a card can show: its tests, and quick benchmarks; the answer to ``make gpu``.

    GPUNN_BACKEND=cupy python -m benchmarks.card.gpu

Writes ``results/<card>-<date>.json`` with everything and a Markdown file with the tables. It
asks for NumPy, CuPy, tqdm, safetensors and pytest; a neighbour that is not installed is
reported as missing. With ``GPUNN_BACKEND=emulated`` everything runs but the card: a few rows,
results in ``runs/gpu``, to see that the command itself is in order.
"""

from __future__ import annotations

import argparse
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

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine
from benchmarks.common.workloads import WORKLOADS, lay_out_data
from benchmarks.race import catalog, page
from benchmarks.race.rounds import EPOCH, Program, Race, predict
from benchmarks.race.tiers import race_entry

TESTS = (
    "tests/backends/test_gpu.py",
    "tests/backends/test_parity.py",
    "tests/backends/test_emulated_training.py",
)
SECONDS = 450.0  # of all, so that starting and writing end within 8 minutes
TEST_SECONDS = 300.0
ROUNDS, EMULATED_ROUNDS, EMULATED_ROWS = 7, 2, 120
OURS = f"gpunn {catalog.ON_CARD}"  # in the mode that the rule chooses
NEIGHBOURS = (
    catalog.EAGER, catalog.FUSED, "PyTorch, torch.compile with CUDA graphs",
    "PyTorch, CUDA graph of 25 steps", catalog.JIT, catalog.SCAN,
)  # fmt: skip


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
    paths = [str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    sys.path[:0] = paths[:2]

    report: dict[str, Any] = {"card": describe_card(backend), "emulated": emulated}
    report["machine"] = machine.describe()
    print(f"{report['card']['name']}: tests, then benchmarks; 8 minutes at most.", flush=True)
    report["tests"] = None if arguments.no_tests else run_tests(emulated)
    programs, report["missing"] = contestants()
    rounds = arguments.rounds or (EMULATED_ROUNDS if emulated else ROUNDS)
    rows = arguments.rows or (EMULATED_ROWS if emulated else None)
    report["benchmarks"] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report["data"] = lay_out_data(folder)
        for number, workload in enumerate(WORKLOADS):
            left = SECONDS - (time.monotonic() - begun)
            until = time.monotonic() + left / (len(WORKLOADS) - number)
            report["benchmarks"] += benchmark(programs, workload, rows, folder, rounds, until)
    report["seconds"] = time.monotonic() - begun
    write(report, arguments.out or (ROOT / "runs" / "gpu" if emulated else RESULTS))
    return 0 if in_order(report) else 1


def contestants() -> tuple[list[Program], dict[str, str]]:
    """gpunn in each launch mode, the neighbours, and what there is none of."""
    from gpunn.backends.cupy.launch.modes import MODES

    programs, missing = [], {}
    for variant in catalog.variants():
        if variant.name == OURS:
            programs.append(catalog.program(variant))
            for mode in MODES:
                one = catalog.program(variant, GPUNN_LAUNCH_MODE=mode)
                programs.append(Program(f"gpunn, {mode}", one.file, OURS, one.environment, True))
        elif variant.name in [f"{name} {catalog.ON_CARD}" for name in NEIGHBOURS]:
            reason = catalog.why_absent(variant.requires, on_card=True)
            if reason is None:
                programs.append(catalog.program(variant))
            else:
                missing[variant.name] = reason
    return programs, missing


def benchmark(
    programs: list[Program], workload: str, rows: int | None, folder: Path, rounds: int,
    until: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Epochs of one workload; of W2's network predictions too."""
    print(f"{workload} ...", flush=True)
    images = predict(min(rows or 10_000, 10_000))
    measures = {f"{workload} epoch": EPOCH} | ({"W5a": images} if workload == "W2" else {})
    with Race(programs, workload, rows or 60_000, folder, rows) as race:
        race.warm_up(list(measures.values()), until, lambda text: None)
        found = {
            key: race.run([measure], rounds, until, lambda text: None)
            for key, measure in measures.items()
        }
        return [race_entry(race, k, [m], found[k], ["step", "epoch"]) for k, m in measures.items()]


def describe_card(backend: str) -> dict[str, Any]:
    """The card's name and what it can do; ends the program where there is none."""
    if backend == "emulated":
        return {"name": "emulated"}
    if backend != "cupy":
        sys.exit(f"GPUNN_BACKEND={backend}: a card's backend is expected, cupy or emulated.")
    from gpunn.backends.cupy.driver.card import why_not

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


def in_order(report: dict[str, Any]) -> bool:
    """Whether the tests passed and gpunn took part in every benchmark."""
    tests = report["tests"]
    tested = tests is None or (tests["status"] == 0 and tests["passed"] > 0)
    return tested and all(OURS not in e["failed"] for e in report["benchmarks"])


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
        for name, message in tests["failed"].items():
            parts.append(f"- {name}: {message.splitlines()[0] if message else ''}")
    for e in report["benchmarks"]:
        parts += page.section(e, OURS)
    missing = "; ".join(f"{name} ({why})" for name, why in report["missing"].items())
    parts.append(f"Missing: {missing or 'nothing'}.")
    details = ", ".join(f"{key} {value}" for key, value in card.items() if key != "name")
    parts.append(
        f"{details + '; ' if details else ''}{report['data']}; {report['seconds']:.0f} s in all."
    )
    parts.append(machine.line(report["machine"]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())

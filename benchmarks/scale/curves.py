"""How time and memory grow with width, depth, batch and rows: measurements, charts, a page.

    python -m benchmarks.scale.curves            under 25 minutes on two cores, into results/
    python -m benchmarks.scale.curves --quick    under a minute, into runs/scale
    python -m benchmarks.scale.curves --page     rewrites the page from earlier measurements

Each point runs in a separate process (`point`), on the CPU and, if there is one, on the GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine

from . import page

SECONDS, QUICK_SECONDS = 1_440.0, 55.0  # of all points
POINT_SECONDS = 240.0  # time limit of one point
ROW = 64  # bytes
BLOCK = 1 << 24  # bytes written at a time


@dataclass(frozen=True)
class Axis:
    """The varied setting, and the fixed ones.

    Attributes:
        key, title: for files, and for readers.
        network: description of the network.
        label: of the horizontal axis.
        timed: the unit of work that is timed.
        slope: the expected slope of time if arithmetic dominates, and why.
        points: settings of `point` by x.
        quick: the x of a quick run.
        series: name and settings of each curve; one without a name by default.
        note: further remarks.
    """

    key: str
    title: str
    network: str
    label: str
    timed: str
    slope: tuple[float, str]
    points: dict[int, dict[str, Any]]
    quick: tuple[int, ...]
    series: dict[str, dict[str, Any]] = field(default_factory=lambda: {"": {}})
    note: str = ""


SOURCES = {name: {"source": name} for name in ("memory", "map", "stream")}
AXES = (
    Axis(
        "width",
        "Width",
        "784-n-n-10, Adam, batch 32",
        "n, units of each hidden layer",
        "a step",
        (2, "the weights between the hidden layers grow with the square of the width"),
        {n: {"sizes": [784, n, n, 10]} for n in (2**k for k in range(4, 14))},
        (16, 128, 1024),
    ),
    Axis(
        "depth",
        "Depth",
        "784, n layers of 128 units, 10; Adam, batch 32",
        "n, hidden layers",
        "a step",
        (1, "each layer costs as much as the one before"),
        {n: {"sizes": [784, *[128] * n, 10]} for n in (1, 2, 4, 8, 16, 32, 64)},
        (1, 4, 16),
    ),
    Axis(
        "batch",
        "Batch",
        "784-128-dropout 0.2-10, Adam",
        "rows of a batch",
        "a step",
        (1, "all but the update is done for each row"),
        {n: {"batch": n, "dropout": 0.2} for n in (1, 4, 16, 64, 256, 1024, 4096, 16384, 60_000)},
        (1, 64, 4096),
    ),
    Axis(
        "rows",
        "Data set",
        f"{ROW}-32-10, SGD, batch 128, rows of {ROW} random bytes",
        "rows of the data set",
        "an epoch",
        (1, "each batch costs as much as the one before"),
        {
            n: {"rows": n, "sizes": [ROW, 32, 10], "batch": 128, "optimizer": "sgd"}
            for n in (1_000, 10_000, 100_000, 300_000, 1_000_000, 2_000_000, 5_000_000)
        },
        (1_000, 100_000),
        SOURCES,
        "5 million of them are 320 MB, on disk as in memory; as float32 they would be 1.3 GB.",
    ),
)


def run(quick: bool = False, out: Path | None = None, axes: tuple[str, ...] = ()) -> Path:
    """Measure all points, write the results and the page; return the page's path.

    Args:
        quick: a few points, in less than a minute.
        out: folder of the results. By default ``results/`` for all points in a source tree,
            else ``runs/scale``.
        axes: keys of `AXES`; all by default.
    """
    begun = time.monotonic()
    chosen = [axis for axis in AXES if not axes or axis.key in axes]
    whole = not quick and len(chosen) == len(AXES) and (ROOT / "pyproject.toml").exists()
    out = out or (RESULTS if whole else Path("runs") / "scale")
    backends = ["numpy", *(["cupy"] if machine.gpus() else [])]
    others = machine.Others()
    report: dict[str, Any] = {
        "machine": machine.describe(),
        "caches": caches(),
        "load_before": others.before,
        "quick": quick,
        "axes": {},
    }
    work = [
        (axis, backend, name, x)
        for axis in chosen
        for x in (axis.quick if quick else axis.points)
        for backend in backends
        for name in axis.series
    ]
    options = {"seconds": 0.1, "samples": 3} if quick else {}
    with tempfile.TemporaryDirectory(prefix="gpunn-scale-") as folder:
        write_rows(Path(folder), max((x for a, _, _, x in work if a.key == "rows"), default=0))
        end = begun + (QUICK_SECONDS if quick else SECONDS)
        for number, (axis, backend, name, x) in enumerate(work, 1):
            entry = report["axes"].setdefault(axis.key, {"points": [], "failed": []})
            where = {"backend": backend, "series": name, "x": x}
            setting = {**options, **axis.points[x], **axis.series[name], "backend": backend}
            label = " ".join(filter(None, (axis.key, f"{x:,}", name, backend)))
            print(f"{number:3d} of {len(work)}  {label}", flush=True)
            left = end - time.monotonic()
            if left < 5:
                entry["failed"].append({**where, "reason": "no time was left"})
                continue
            taken, reason = ask({**setting, "folder": folder}, min(POINT_SECONDS, left))
            if taken is None:
                entry["failed"].append({**where, "reason": reason})
                print(f"    left out: {reason}")
            else:
                entry["points"].append({**where, **taken})
    report["seconds"] = time.monotonic() - begun
    report["others_cores"] = others.cores()
    out.mkdir(parents=True, exist_ok=True)
    (out / "scale.json").write_text(json.dumps(report, indent=1) + "\n")
    return page.write(report, AXES, out)


def ask(setting: dict[str, Any], seconds: float) -> tuple[dict[str, Any] | None, str]:
    """Return the measurement of `point`, or None and the reason."""
    environment = dict(os.environ)
    # As for users: gpunn chooses the number of threads.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.pop(name, None)
    command = [sys.executable, str(Path(__file__).with_name("point.py")), json.dumps(setting)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=environment
        )
    except subprocess.TimeoutExpired:
        return None, f"it took more than {seconds:.0f} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return None, f"exit status {done.returncode}: {lines[-1]}"
    return json.loads(done.stdout.splitlines()[-1]), ""


def write_rows(folder: Path, rows: int) -> None:
    """Write random bytes to ``folder/x``, and a class from 0 to 9 per row to ``folder/y``."""
    classes = bytes(i % 10 for i in range(256))
    for name, size in (("x", rows * ROW), ("y", rows)):
        with (folder / name).open("wb") as file:
            for start in range(0, size, BLOCK):
                block = os.urandom(min(BLOCK, size - start))
                file.write(block.translate(classes) if name == "y" else block)


def caches() -> dict[str, int]:
    """Return the size in bytes of the first core's data caches, by name; empty if unknown."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size = (
                (index / name).read_text().strip() for name in ("type", "level", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}"] = int(size.rstrip("KM")) << (20 if size.endswith("M") else 10)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few points, under a minute")
    parser.add_argument("--axis", action="append", choices=[a.key for a in AXES], default=[])
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--page", action="store_true", help="rewrite the page, measure nothing")
    arguments = parser.parse_args()
    if arguments.page:
        out = arguments.out or RESULTS
        written = page.write(json.loads((out / "scale.json").read_text()), AXES, out)
    else:
        written = run(arguments.quick, arguments.out, tuple(arguments.axis))
    print(f"Written: {os.path.relpath(written)}")


if __name__ == "__main__":
    main()

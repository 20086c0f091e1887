"""The README's table: gpunn and the best of the others, on AVX2 and on AVX-512."""

from __future__ import annotations

import json
import tomllib

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine
from benchmarks.common.samples import quartiles

from . import catalog
from .goals import Report, entry
from .one_point_a_step import IN_ORDER, TEN_ROWS
from .sections import table

README = ROOT / "README.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = f"{PROJECT['urls']['Source']}/blob/main/benchmarks/results"  # absolute: PyPI shows it too
BEGIN, END = "<!-- figures of benchmarks/results/bench.json -->", "<!-- end of figures -->"
NO_FIGURES = "No run has been recorded yet: `make bench` writes one."
RUNS = tuple(RESULTS / name for name in ("bench-avx2.json", "bench.json"))
NAMES = {"avx2": "AVX2", "avx512": "AVX-512", "baseline": "SSE2"}
ROWS = {
    "W1 epoch": "W1, 784-16-16-10, SGD, batch 10",
    "W2 epoch": "W2, 784-128-10 with dropout, Adam, batch 32",
    "W3 epoch": "W3, 784-1024-1024-10, momentum, batch 128",
    "W4 epoch": "W4, Keras's small convolutional network, Adam, batch 128",
    "W5a": "W5, predict 10,000 images (W2's network)",
    "W6 epoch": "W6, 2-2-3-2, SGD, one point a step",
}


def text() -> str:
    """Return the README with the figures of the recorded runs."""
    return with_figures(README.read_text(), figures(recorded()))


def recorded() -> list[Report]:
    """Return the committed runs, one an instruction set."""
    return [json.loads(path.read_text()) for path in RUNS if path.exists()]


def with_figures(text: str, new: str) -> str:
    """Return ``text`` with ``new`` between the markers of the figures."""
    head, rest = text.split(f"{BEGIN}\n")
    return f"{head}{BEGIN}\n{new}\n{rest[rest.index(END) :]}"


def figures(reports: list[Report]) -> str:
    """Return the README's table: our medians beside the best other framework's, for each run."""
    if not reports:
        return NO_FIGURES
    headers, rows = ["ms"], {key: [title] for key, title in ROWS.items()}
    for report in reports:
        name = _instructions(report)
        headers += [f"gpunn, {name}", f"the best other, {name}"]
        for key, cells in rows.items():
            cells += _pair(entry(report, key), report["reference"])
    pages = [f"[{_instructions(r)}]({PAGES}/{_stem(r)}.md)" for r in reports]
    source = f"{machine.line(reports[-1]['machine'])} Whole pages: {', '.join(pages)}."
    return "\n\n".join([table(headers, rows.values()), source])


def _stem(report: Report) -> str:
    return "-".join(filter(None, ["bench", report.get("instructions")]))


def _instructions(report: Report) -> str:
    return NAMES.get(report["machine"].get("compiled"), "NumPy")


def _pair(e: Report, ours: str) -> list[str]:
    """Return the cells of an entry: our milliseconds, and the best other framework's."""
    own = ("gpunn", *catalog.YARDSTICKS)
    steps = e.get("steps") or 1
    medians = {
        name: quartiles(values).middle / steps * 1e3
        for name, values in e.get("samples", {}).items()
        if any(values)
    }
    others = {
        name: middle
        for name, middle in medians.items()
        if not name.startswith(own) and not name.endswith((IN_ORDER, TEN_ROWS))
    }
    best = min(others, key=others.__getitem__, default=None)
    return [
        f"{medians[ours]:.3g}" if ours in medians else "",
        f"{others[best]:.3g} ({best})" if best else "",
    ]

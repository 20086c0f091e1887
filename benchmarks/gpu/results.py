"""The results of ``make gpu``: a folder with a file for each stage, and a page made from these.

Each file is rewritten atomically whenever its stage has new findings: a run that is interrupted
leaves its findings so far, and a page that lists what is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.race import page

PAGE = "page.md"
UNDER_WAY, DONE, NOT_MEASURED = "under way", "done", "not measured"
Report = dict[str, Any]


def atomic_write(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically: readers find the old file or the new one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)


class Results:
    """The folder of one run.

    Args:
        folder: created if it does not exist.
        titles: the titles of this run's stages, by name, in order.
        about: the contents of every file: which GPU, and whether it was emulated.
        ours: the baseline contestant.
    """

    def __init__(self, folder: Path, titles: Mapping[str, str], about: Report, ours: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.titles, self.about, self.ours = folder, titles, about, ours
        self.reports: dict[str, Report] = {}

    def write(self, stage: str, state: str, seconds: float, found: Report) -> None:
        """Write the findings of a stage so far."""
        report = {**self.about, "stage": stage, "state": state, "seconds": seconds, **found}
        self.reports[stage] = report
        atomic_write(self.folder / f"{stage}.json", json.dumps(report, indent=1) + "\n")
        atomic_write(self.folder / PAGE, self.text())

    def text(self) -> str:
        """The page."""
        gpu, m = self.about["card"], self.about["machine"]
        parts = [f"# {gpu['name']}, {m['date']}: `make gpu`"]
        if self.about["emulated"]:
            parts.append(
                "**Emulated on the CPU: there was no GPU.** That everything ran is true of the "
                "emulation only, and its times say nothing about a GPU."
            )
        parts.append(_stages(self.titles, self.reports))
        for name, report in self.reports.items():
            parts += [f"## {self.titles[name]}", *_described(report, self.ours)]
        details = ", ".join(f"{key} {value}" for key, value in gpu.items() if key != "name")
        parts += [f"{details}."] if details else []
        parts.append(machine.line(m))
        return "\n\n".join(parts) + "\n"


def _stages(titles: Mapping[str, str], reports: Mapping[str, Report]) -> str:
    rows = ["| stage | state | seconds |", "| --- | --- | ---: |"]
    for name, title in titles.items():
        report = reports.get(name)
        state = report["state"] if report else "**missing**: not begun"
        if state == UNDER_WAY:
            state = "**incomplete**: under way when this page was written"
        rows.append(f"| {title} | {state} | {report['seconds']:.0f} |" if report else
                    f"| {title} | {state} | |")  # fmt: skip
    return "\n".join(rows)


def _described(report: Report, ours: str) -> Sequence[str]:
    parts = []
    if "doctor" in report:
        parts.append(f"```\n{report['doctor'].strip()}\n```")
        parts += [f"Failed: exit status {report['status']}."] if report["status"] else []
    if "kernels" in report:
        parts.append(
            f"{report['compiled']} of {report['kernels']} kernels compiled by "
            f"{report['processes']} processes."
        )
        parts += [f"- {name}: {_first(how)}" for name, how in report["refused"].items()]
    if "cases" in report:
        outcomes = [case["outcome"] for case in report["cases"].values()]
        counts = (f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "skipped"))
        parts.append(f"Tests: {', '.join(counts)}, of {report['collected']}.")
        parts += [
            f"- {name}: {_first(case['message'])}"
            for name, case in report["cases"].items() if case["outcome"] == "failed"
        ]  # fmt: skip
    if "left_out" in report:
        files = "; ".join(f"{name} ({_first(why)})" for name, why in report["left_out"].items())
        parts.append(f"Left out: {files}.")
    if "not_measured" in report:
        parts.append(f"Not measured: {report['not_measured']}.")
    for entry in report.get("benchmarks", ()):
        parts += [text.replace("## ", "### ", 1) if text.startswith("## ") else text
                  for text in page.section(entry, ours)]  # fmt: skip
    parts += _inside(report)
    if "missing" in report:
        missing = "; ".join(f"{name} ({why})" for name, why in report["missing"].items())
        parts.append(f"Missing: {missing or 'nothing'}.")
    if "data" in report:
        parts.append(f"Trained on {report['data']}.")
    return parts


def _inside(report: Report) -> Sequence[str]:
    """The tables of the stage that looks inside the steps."""
    tables = []
    for workload, launches in report.get("launches", {}).items():
        tables.append(
            "\n".join([
                f"### {workload}, fused: each launch of a step, repeated in a graph", "",
                "| parts | us |", "| --- | ---: |",
                *(f"| {', '.join(e['parts'])} | {1e6 * e['seconds']:.2f} |" for e in launches),
            ])
        )  # fmt: skip
        *parts, step = report["parts"].get(workload, [None])
        if step is not None:
            rows = (f"| {e['part']} | {e['first']:,.0f} | {e['last']:,.0f} |" for e in parts)
            tables.append(
                "\n".join([
                    f"### {workload}, persistent: clock cycles of each part of a step of "
                    f"{1e6 * step['seconds']:.1f} us", "",
                    "| part | in the first block | in the last block |",
                    "| --- | ---: | ---: |", *rows,
                ])
            )  # fmt: skip
    return tables


def _first(message: str) -> str:
    return (message.strip().splitlines() or [""])[0][:300]


def now() -> str:
    """Return the date and time, for the name of a folder."""
    return time.strftime("%Y-%m-%d-%H%M%S")

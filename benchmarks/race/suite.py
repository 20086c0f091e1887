"""The suite: which tiers run, their time limits, and where the results go."""

from __future__ import annotations

import datetime
import shutil
import signal
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from benchmarks.common import machine
from benchmarks.common.workloads import ROWS, lay_out_data

from . import catalog, cold, loaded, page, shapes, tiers
from .tiers import TIERS, Entry, Setting

RUNS = Path("runs") / "bench"  # results of partial runs, in the working directory
ROUNDS, QUICK_ROUNDS = 7, 3
QUICK_ROWS = {"W1": 2_000, "W2": 3_200, "W3": 640, "W4": 640, "W6": 1_000}
FULL_ROUNDS = 11
# Seconds of a run, after which no more than the fewest rounds are begun.
SECONDS = 1_500.0
QUICK_SECONDS, FULL_SECONDS = 55.0, 5_100.0
# The tiers that are measured by default with every library held to an instruction set.
HELD_TIERS = ("step", "epoch", "inference", "together", "shapes")
SEEDS = 10
WIDTH = 79


class Progress:
    """Show progress: one line, rewritten, on a terminal; elsewhere a line for each stage."""

    def __init__(self, plan: dict[str, float]) -> None:
        self._remaining = dict(plan)  # seconds expected, by stage
        self._stage, self._begun = "", time.monotonic()
        self._shown = ""

    def begin(self, stage: str) -> None:
        self.end()
        self._stage, self._begun = stage, time.monotonic()
        if not sys.stdout.isatty():
            self._print(f"{stage} ...")

    def end(self) -> None:
        """End the stage; the expected times of the others stay."""
        self._remaining.pop(self._stage, None)
        self._stage = ""
        if sys.stdout.isatty() and self._shown:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
            self._shown = ""

    def tell(self, text: str) -> None:
        if sys.stdout.isatty():
            self._shown = f"{self._clock()} left  {text}"[:WIDTH]
            sys.stdout.write(f"\r\x1b[K{self._shown}")
            sys.stdout.flush()

    def _print(self, text: str) -> None:
        print(f"{self._clock()} left  {text}"[:WIDTH], flush=True)

    def _clock(self) -> str:
        left = sum(self._remaining.values()) - (time.monotonic() - self._begun)
        minutes, seconds = divmod(max(0, round(left)), 60)
        return f"{minutes:2d}:{seconds:02d}"


@dataclass
class Stage:
    """A part of the run: its measurement, its tiers, and its time limit."""

    name: str
    serves: set[str]
    seconds: float  # 0: not in this kind of run
    work: Callable[[], Iterable[Entry]]


def run(
    wanted: Collection[str] = (),
    against: Collection[str] = (),
    quick: bool = False,
    full: bool = False,
    json_file: Path | None = None,
    rows: int | None = None,
    instructions: str | None = None,
) -> int:
    """Measure, write the results, print the table; the exit status is 0 if gpunn ran.

    Args:
        wanted: tiers; all by default, or with ``instructions`` those of `HELD_TIERS`.
        against: frameworks to compare with; all by default.
        quick, full: a run of two minutes, or of an hour and more.
        json_file: where the results go; the page is written beside it.
        rows: at most this many per pass, to check that everything works.
        instructions: the instruction set that every library is held to; see `machine.INSTRUCTIONS`.

    Raises:
        ValueError: for an unknown framework.
        KeyboardInterrupt: with the results so far, after ending every process.
    """
    with machine.limited_to(instructions):
        return _run(wanted, against, quick, full, json_file, rows, instructions)


def _run(
    wanted: Collection[str],
    against: Collection[str],
    quick: bool,
    full: bool,
    json_file: Path | None,
    rows: int | None,
    instructions: str | None,
) -> int:
    begun = time.monotonic()
    chosen = wanted or (HELD_TIERS if instructions else TIERS)
    tiers_wanted = [tier for tier in TIERS if tier in chosen]
    gpu = catalog.has_gpu()
    programs, absent = catalog.choose(against, quick, full, gpu)
    limit = QUICK_SECONDS if quick else FULL_SECONDS if full else SECONDS
    report: dict[str, Any] = {
        "machine": machine.describe_for_children(),
        "instructions": instructions,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "mode": "quick" if quick else "full" if full else "default",
        "tiers": tiers_wanted,
        "against": sorted(against),
        "reference": catalog.reference(),
        "absent": absent,
        "left_out": [],
        "broken": {},
        "results": [],
    }
    others = machine.Others()
    report["load_before"] = others.before
    if busy := machine.complaint(others.before, None):
        print(textwrap.fill(busy, WIDTH))
    path = json_file or _place(report, complete=not (quick or wanted or against or rows))
    given = QUICK_ROWS if quick else ROWS
    folder = Path(tempfile.mkdtemp(prefix="gpunn-bench-"))
    interrupted = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # treat termination as an interrupt
    try:
        report["data"] = lay_out_data(folder)
        setting = Setting(
            [p for p in programs if not catalog.only(p)],
            folder,
            QUICK_ROUNDS if quick else FULL_ROUNDS if full else ROUNDS,
            {name: min(number, rows or number) for name, number in given.items()},
            tell=lambda text: None,
            until=begun + limit,
            seeds=SEEDS,
            quick=quick,
            full=full or bool(against),
            special=[p for p in programs if catalog.only(p)],
        )
        run_stages(all_stages(setting, report, gpu), tiers_wanted, setting, report, begun + limit)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report["others_cores"] = others.cores()
    report["seconds"] = time.monotonic() - begun
    report["interrupted"] = interrupted
    if interrupted:
        path = json_file or RUNS / "interrupted.json"
    written = page.write(report, path)
    print(page.terminal(report))
    print(f"\nWritten: {_short(written[1])}, made from {written[0].name} beside it")
    if interrupted:
        done = ", ".join(entry["key"] for entry in report["results"]) or "nothing"
        raise KeyboardInterrupt(f"Done so far: {done}.")
    return 0 if _in_order(report) else 1


def run_stages(
    stages: list[Stage], wanted: list[str], setting: Setting, report: dict, end: float
) -> None:
    """Run the stages of the ``wanted`` tiers, and add their findings to the report."""
    stages = [stage for stage in stages if stage.seconds and stage.serves & set(wanted)]
    progress = Progress({stage.name: stage.seconds for stage in stages})
    setting.tell = progress.tell
    for number, stage in enumerate(stages):
        left = end - time.monotonic()
        if left < stage.seconds / 2 and stage.name == LAST:
            report["left_out"].append(stage.name)
            continue
        # The time that later stages need is reserved for them.
        later = sum(s.seconds for s in stages[number + 1 :] if s.name != LAST)
        setting.until = time.monotonic() + max(stage.seconds, left - later)
        progress.begin(stage.name)
        try:
            for entry in stage.work():
                report["results"].append(entry)
        except Exception as error:  # our own error: keep the findings of the others
            traceback.print_exc()
            report["broken"][stage.name] = f"{type(error).__name__}: {error}"
        finally:
            progress.end()


LAST = "time to accuracy"  # skipped if the run is late


def all_stages(setting: Setting, report: dict[str, Any], gpu: bool) -> list[Stage]:
    """Return the stages of a run, in order, with their time limits in its mode."""
    wanted = report["tiers"]
    mode = report["mode"]

    def race(workload: str) -> Callable[[], Iterable[Entry]]:
        return lambda: tiers.race_workload(setting, workload, wanted)

    def seconds(quick: float, default: float, full: float) -> float:
        return {"quick": quick, "default": default, "full": full}[mode]

    def accuracy() -> Iterable[Entry]:
        chosen = _entry(report, "W2 epoch").get("threads", {})
        return tiers.accuracy(setting, chosen)

    backends = [v.options["backend"] for v in catalog.ours(gpu)]
    trained = {"step", "epoch", "inference", "memory"}
    return [
        Stage("W2", trained, seconds(10, 240, 900), race("W2")),
        Stage("W2 dense", {"step"}, seconds(0, 80, 200), lambda: tiers.without_zeros(setting)),
        Stage("W1", {"step"}, seconds(7, 130, 600), race("W1")),
        Stage("W3", {"step"}, seconds(7, 180, 600), race("W3")),
        Stage("W4", {"step"}, seconds(7, 120, 600), race("W4")),
        Stage("W6", {"step"}, seconds(6, 50, 90), lambda: tiers.ten_points(setting)),
        Stage("five epochs", {"epoch"}, seconds(3, 30, 60), lambda: tiers.five_epochs(setting)),
        Stage("operations", {"operation"}, seconds(6, 20, 40),
              lambda: tiers.operations(setting, backends)),
        Stage("callbacks", {"callbacks"}, seconds(4, 20, 40), lambda: tiers.callbacks(setting)),
        Stage("cold start", {"cold"}, seconds(5, 95, 900), lambda: cold.cold_start(setting)),
        Stage("first fit", {"cold"}, seconds(3, 20, 40), lambda: cold.first_fit(setting)),
        Stage("two at once", {"together"}, seconds(5, 60, 600), lambda: loaded.together(setting)),
        Stage("busy", {"together"}, seconds(3, 20, 60), lambda: loaded.beside_busy(setting)),
        Stage("shapes", {"shapes"}, seconds(10, 300, 600), lambda: shapes.shapes(setting)),
        Stage(LAST, {"accuracy"}, seconds(0, 70, 1_500), accuracy),
    ]  # fmt: skip


def _entry(report: dict[str, Any], key: str) -> Entry:
    return next((entry for entry in report["results"] if entry["key"] == key), {})


def _place(report: dict[str, Any], complete: bool) -> Path:
    """Return results/ for a complete run, else runs/bench."""
    gpus = report["machine"]["cards"]
    words = ["bench", *(gpus[0]["name"].lower().split() if gpus else ())]
    stem = "-".join([*words, *filter(None, [report["instructions"]])])
    if complete:
        return RESULTS / f"{stem}.json"
    return RUNS / f"{stem}.json"


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _in_order(report: dict[str, Any]) -> bool:
    """Whether something was measured, and gpunn did not fail."""
    ours = {v.name for v in catalog.ours(gpu=True)}
    broken = {name for entry in report["results"] for name in entry.get("failed", ())}
    return bool(report["results"]) and not report["broken"] and not broken & ours

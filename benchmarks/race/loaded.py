"""Trainings on a machine that does something else, too: another training, or a busy process."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
from collections.abc import Iterable, Iterator

from benchmarks.common.workloads import TITLES, steps

from . import catalog
from .processes import BrokenError, Process, end_group
from .rounds import FIRST_SECONDS, Race
from .tiers import Entry, Setting

BUSY = "print(flush=True)\nwhile True: pass"  # says when it begins


def together(setting: Setting) -> Iterable[Entry]:
    """Compare two simultaneous copies of one training with one alone, with default threads."""
    rows = {"W2": min(setting.rows["W2"], 19_200), "W3": min(setting.rows["W3"], 3_840)}
    neighbours = () if setting.quick else (catalog.FUSED, catalog.SCAN)
    programs = [p for p in setting.pick(*neighbours) if catalog.ON_GPU not in p.name]
    for workload in rows:
        alone: dict[str, list[float]] = {}
        both: dict[str, list[list[float]]] = {}
        failed: dict[str, str] = {}
        for program in programs:
            name = program.name
            setting.tell(f"two at once: {workload}, {name}")
            with Race([program], workload, rows[workload], setting.folder) as race:
                try:
                    pair = race.start(program, [None, None])
                    alone[name], both[name] = _pair(pair, setting.rounds)
                except BrokenError as error:
                    failed[name] = str(error)
        yield {
            "key": f"together {workload}", "tiers": ["together"], "title": TITLES[workload],
            "workload": workload, "rows": rows[workload], "alone": alone, "both": both,
            "failed": failed,
        }  # fmt: skip


def beside_busy(setting: Setting) -> Iterable[Entry]:
    """Compare epochs of W2 beside a process that keeps a core busy with epochs alone."""
    rows = min(setting.rows["W2"], 19_200)
    neighbours = () if setting.quick else (catalog.FUSED, catalog.SCAN)
    programs = [p for p in setting.pick(*neighbours) if catalog.ON_GPU not in p.name]
    alone: dict[str, list[float]] = {p.name: [] for p in programs}
    beside: dict[str, list[float]] = {p.name: [] for p in programs}
    with Race(programs, "W2", rows, setting.folder) as race:
        for program in programs:
            with race.failing(program.name):
                (process,) = race.start(program, [None])
                process.ask("epoch", FIRST_SECONDS)
        for number in range(setting.rounds):
            for name in race.names:
                setting.tell(f"beside a busy process: round {number + 1}, {name}")
                with race.failing(name):
                    (process,) = race.running[name]
                    alone[name].append(process.ask("epoch"))
                    with _busy_process():
                        beside[name].append(process.ask("epoch"))
    yield {
        "key": "busy W2", "tiers": ["together"], "title": TITLES["W2"], "rows": rows,
        "steps": steps("W2", rows), "alone": alone, "beside": beside, "failed": race.failed,
    }  # fmt: skip


@contextlib.contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        end_group(process)


def _pair(pair: list[Process], rounds: int) -> tuple[list[float], list[list[float]]]:
    for process in pair:
        process.ask("epoch", FIRST_SECONDS)
    once = pair[0].ask("epoch")
    times = max(1, math.ceil(0.3 / max(once, 1e-6)))  # long enough to overlap
    alone, both = [], []
    for _ in range(rounds):
        alone.append(pair[0].ask("epoch", times=times))
        for process in pair:
            process.send("epoch", times=times)
        both.append([process.receive(FIRST_SECONDS) for process in pair])
    return alone, both

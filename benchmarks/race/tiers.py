"""The measurements of each tier; each function yields entries for the report.

An entry has a ``key`` and its tiers; times are seconds in ``samples``, a list
per contestant with one value per round.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.workloads import IMAGE_WORKLOADS, TITLES, generated_digits, lay_out, steps

from . import catalog, one_point_a_step
from .one_point_a_step import IN_ORDER, TEN_ROWS
from .processes import HERE, BrokenError, Program, environment, run_to_end
from .rounds import EPOCH, FIRST_SECONDS, Measure, Race, Tell, predict

TIERS = (
    "operation", "step", "epoch", "accuracy", "inference", "cold", "memory", "callbacks",
    "together", "shapes",
)  # fmt: skip
TARGETS = (0.975, 0.98)  # test accuracies to reach
MOST_EPOCHS = 30  # the limit of an attempt
ALL_IMAGES, ONE, ONE_ON_BATCH = predict(10_000), predict(1), predict(1, "predict_on_batch")
Entry = dict[str, Any]


@dataclass
class Setting:
    """The settings of every tier.

    Attributes:
        programs: the contestants.
        folder: the folder of the data and the logs.
        rounds: counted rounds.
        rows: of a pass, by workload.
        until: the time (by ``time.monotonic``) after which only the first three rounds begin.
        seeds: attempts at the target accuracies.
        quick: whether to repeat only what is necessary.
        full: whether every contestant takes part in every tier, also the slow ones.
        tell: reports progress.
        special: contestants of one workload only.
        most_seconds: the time limit of the operations of a backend.
    """

    programs: list[Program]
    folder: Path
    rounds: int
    rows: dict[str, int]
    tell: Tell
    until: float = math.inf
    seeds: int = 10
    quick: bool = False
    full: bool = False
    special: list[Program] = field(default_factory=list)
    most_seconds: float = FIRST_SECONDS

    def pick(self, *names: str) -> list[Program]:
        """Return our programs and those with these names; all of them in a full run."""
        ours = [p for p in self.programs if p.file == catalog.OURS]
        return ours + [
            p for p in self.programs if p not in ours and (self.full or base_name(p.name) in names)
        ]


def base_name(name: str) -> str:
    """Return the name of the CPU variant of a GPU variant."""
    return name.replace(f" {catalog.ON_GPU}", "")


def race_workload(setting: Setting, workload: str, wanted: Iterable[str]) -> Iterable[Entry]:
    """Measure epochs of one workload; for W2 also predictions and memory."""
    wanted, rows = set(wanted), setting.rows[workload]
    epochs = sorted(wanted & ({"step", "epoch"} if workload == "W2" else {"step"}))
    runs = {f"{workload} epoch": [EPOCH]} if epochs else {}
    if workload == "W2" and "inference" in wanted:
        runs |= {"W5a": [ALL_IMAGES], "W5b": [ONE, ONE_ON_BATCH]}
    measures = [measure for together in runs.values() for measure in together]
    programs = setting.programs
    if workload in IMAGE_WORKLOADS:
        # XLA's convolutions inside a scan take seconds a step.
        programs = [
            program for program in programs if catalog.convolves(program)
            and (setting.full or base_name(program.name) != catalog.SCAN)
        ]  # fmt: skip
        # Some take minutes to warm up: they start first, so that there is time for them.
        programs.sort(key=lambda p: p.file != catalog.OURS and base_name(p.name) not in FIRST)
    with Race(programs, workload, rows, setting.folder) as race:
        # The warm-up and the memory measurement use epochs, too.
        race.warm_up(measures or [EPOCH], setting.until, setting.tell)
        for key, interleaved in runs.items():
            found = race.run(interleaved, setting.rounds, setting.until, setting.tell)
            yield race_entry(race, key, interleaved, found, epochs)
        if workload == "W2" and "memory" in wanted:
            yield {
                "key": "memory", "tiers": ["memory"], "title": TITLES[workload], "rows": rows,
                "passes": 1, "bytes": race.memory, "failed": race.failed,
            }  # fmt: skip


FIRST = (catalog.EAGER, catalog.FUSED)


def without_zeros(setting: Setting) -> Iterable[Entry]:
    """Measure W2's epochs and predictions on images none of whose pixels are 0."""
    programs = setting.pick(catalog.EAGER, catalog.FUSED, catalog.JIT, catalog.SCAN)
    folder = setting.folder / "dense"
    lay_out(folder, generated_digits())
    with Race(programs, "W2", setting.rows["W2"], folder) as race:
        race.warm_up([EPOCH, ALL_IMAGES], setting.until, setting.tell)
        for key, measure in (("W2 dense", EPOCH), ("W5a dense", ALL_IMAGES)):
            found = race.run([measure], setting.rounds, setting.until, setting.tell)
            yield race_entry(race, key, [measure], found, ["step"])


def ten_points(setting: Setting) -> Iterable[Entry]:
    """Measure the classic network of ten points, one per step, in passes of many or of ten."""
    file, rows = HERE / "one_point_a_step.py", setting.rows["W6"]
    brought = [*setting.pick(catalog.NUMPY, catalog.EAGER, catalog.SCAN), *setting.special]
    choose = {p.name: p.chooses_threads for p in brought}
    programs = [
        Program(name, file, name, chooses_threads=choose[base])
        for name in one_point_a_step.VARIANTS
        if (base := name.removesuffix(IN_ORDER).removesuffix(TEN_ROWS)) in choose
    ]
    with Race(programs, "W2", rows, setting.folder) as race:  # W2 except for the number of rows
        race.warm_up([EPOCH], setting.until, setting.tell)
        found = race.run([EPOCH], setting.rounds, setting.until, setting.tell)
        entry = race_entry(race, "W6 epoch", [EPOCH], found, ["step"])
    yield entry | {"title": TITLES["W6"], "steps": rows, "accuracy": {}}


def race_entry(
    race: Race, key: str, measures: list[Measure], found: dict[str, Any], epochs: Iterable[str]
) -> Entry:
    """Yield the results of measures in rounds; ``epochs`` are the tiers of training."""
    trains = measures == [EPOCH]
    samples, threads, tried = {}, {}, {}
    for measure in measures:
        # A second way of asking is listed beside the first under a separate name.
        addition = "" if measure == measures[0] else f", {measure.question['how']}"
        for name, values in found[measure.name].items():
            samples[name + addition] = values
            threads[name + addition] = race.threads[measure.name][name]
            tried[name + addition] = race.tried[measure.name][name]
    return {
        "key": key,
        "tiers": list(epochs) if trains else ["inference"],
        "title": TITLES[race.workload],
        "rows": race.rows if trains else measures[0].question["rows"],
        "steps": steps(race.workload, race.rows) if trains else None,
        "samples": samples,
        "first": race.first if trains else {},
        "threads": threads,
        "tried": tried,
        "accuracy": race.accuracy if trains else {},
        "passes": race.passes,
        "failed": dict(race.failed),
    }


def callbacks(setting: Setting) -> Iterable[Entry]:
    """Compare fit with the progress bar and with TensorBoard with bare fit."""
    file = HERE / "watched.py"
    programs = [
        Program(v, file, v, chooses_threads=True)
        for v in ("bare fit", "progress bar", "TensorBoard, histograms each epoch")
    ]
    with Race(programs, "W2", setting.rows["W2"], setting.folder) as race:
        race.warm_up([EPOCH], setting.until, setting.tell)
        found = race.run([EPOCH], setting.rounds, setting.until, setting.tell)
        yield race_entry(race, "callbacks", [EPOCH], found, ["callbacks"])


def accuracy(setting: Setting, threads: dict[str, int | None]) -> Iterable[Entry]:
    """Measure seconds of training to the target accuracies; every seed's history is kept."""
    programs = [p for p in setting.pick() if base_name(p.name) not in SLOW_LEARNERS]
    runs: dict[str, list[Entry]] = {p.name: [] for p in programs}
    with Race(programs, "W2", setting.rows["W2"], setting.folder) as race:
        for seed in range(setting.seeds):
            for program in programs:
                if program.name in race.failed or time.monotonic() > setting.until:
                    continue
                setting.tell(f"to {TARGETS[-1]:.0%}: seed {seed}, {program.name}")
                with race.failing(program.name):
                    runs[program.name].append(_attempt(race, program, seed, threads))
        failed = race.failed
    yield {
        "key": "accuracy", "tiers": ["accuracy"], "title": TITLES["W2"], "targets": TARGETS,
        "most_epochs": MOST_EPOCHS, "seeds": setting.seeds, "runs": runs, "failed": failed,
    }  # fmt: skip


def five_epochs(setting: Setting) -> Iterable[Entry]:
    """Time gpunn on five epochs of W2 from the initial weights; a round is a seed."""
    programs = [p for p in setting.programs if p.file == catalog.OURS]
    runs: dict[str, list[Entry]] = {p.name: [] for p in programs}
    with Race(programs, "W2", setting.rows["W2"], setting.folder) as race:
        for number in range(setting.rounds):
            for program in programs:
                if program.name not in race.failed:
                    setting.tell(f"five epochs: round {number + 1}, {program.name}")
                    with race.failing(program.name):
                        runs[program.name].append(_attempt(race, program, number, {}, 2.0, 5))
        failed = race.failed
    yield {
        "key": "five epochs", "tiers": ["epoch"], "rows": setting.rows["W2"], "passes": 5,
        "samples": {name: [sum(run["seconds"]) for run in its] for name, its in runs.items()},
        "accuracy": {
            name: float(np.median([run["accuracy"][-1] for run in its]))
            for name, its in runs.items() if its
        },
        "failed": failed,
    }  # fmt: skip


# They do not train, or take minutes per seed for the same results as a faster variant.
SLOW_LEARNERS = (catalog.PRODUCTS, "PyTorch, DataLoader", "Keras 3 on PyTorch")


def _attempt(
    race: Race,
    program: Program,
    seed: int,
    threads: dict[str, int | None],
    target: float = TARGETS[-1],
    most: int = MOST_EPOCHS,
) -> Entry:
    if not race.running.get(program.name):
        race.start(program, [threads.get(program.name)])
    (process,) = race.running[program.name]
    race.prepare(process, seed)
    seconds: list[float] = []
    reached: list[float] = []
    while len(seconds) < most and max(reached, default=0.0) < target:
        seconds.append(process.ask("epoch", FIRST_SECONDS))
        reached.append(process.ask("accuracy"))
    return {"seed": seed, "seconds": seconds, "accuracy": reached}


def operations(setting: Setting, backends: Iterable[str]) -> Iterable[Entry]:
    """Time each operation of the contract on the workloads' shapes, compared with its bound."""
    for backend in backends:
        setting.tell(f"operations on {backend}")
        program = Program(backend, HERE / "operations.py", backend)
        entry: Entry = {"key": f"operation {backend}", "tiers": ["operation"], "backend": backend}
        command = [str(program.file), backend, str(setting.rounds)]
        try:
            _, output = run_to_end(command, environment(program), setting.most_seconds)
            entry |= json.loads(output.splitlines()[-1])
        except BrokenError as error:
            entry["failed"] = {backend: str(error)}
        yield entry

"""Runs the contestants, one at a time, and writes each result at once, one line each.

A later line of the same table, split and contestant replaces an earlier one. A line that was cut
off, as by a lost machine, is dropped.
"""

from __future__ import annotations

import datetime
import json
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import machine
from benchmarks.studies.tables import scores, sets
from benchmarks.studies.tables.contestants import CONTESTANTS, SEARCHING
from benchmarks.studies.tables.rivals import Request, cpu_seconds, scored

TOLERANCE = 0.1  # of the CPU seconds that are given: they differ a little from run to run


class Key(NamedTuple):
    """What a result is of."""

    table: str
    split: int
    contestant: str


class Results:
    """Results in a file, by key, and the sessions that they were measured in.

    Args:
        path: a file of JSON Lines; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[Key, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        for line in lines[:-1]:
            record = json.loads(line)
            if "machine" in record:
                self.sessions[record["session"]] = record["machine"]
            else:
                self.found[key_of(record)] = record

    def begin(self) -> None:
        """Begin a session: drop lines that were replaced or cut off, and describe the machine."""
        self.session = datetime.datetime.now().isoformat(timespec="seconds")
        self.sessions[self.session] = machine.describe()
        used = {record["session"] for record in self.found.values()} | {self.session}
        kept = [{"session": at, "machine": m} for at, m in self.sessions.items() if at in used]
        new = self.path.with_suffix(".new")
        new.write_text("".join(map(in_a_line, [*kept, *self.found.values()])))
        new.replace(self.path)

    def add(self, record: dict[str, Any]) -> None:
        record = {**record, "session": self.session}
        self.found[key_of(record)] = record
        with self.path.open("a") as file:
            file.write(in_a_line(record))


def key_of(record: dict[str, Any]) -> Key:
    return Key(record["table"], record["split"], record["contestant"])


def in_a_line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"


def wanted(
    results: Results, tables: Iterable[str], contestants: Iterable[str], again: bool = False,
    splits: Iterable[int] = sets.SPLITS,
) -> Iterator[tuple[Key, float]]:  # fmt: skip
    """Yield what is to be measured, and the CPU seconds that are given for it.

    That is what has no result yet, and contestants that search where gpunn's time has changed by
    more than `TOLERANCE`. They wait for gpunn's.
    """
    for table in tables:
        for split in splits:
            for contestant in contestants:
                key, seconds = Key(table, split, contestant), 0.0
                if contestant in SEARCHING:
                    ours = results.found.get(Key(table, split, "gpunn"))
                    if ours is None:
                        continue
                    seconds = ours["cpu"]["fit"]
                known = results.found.get(key)
                if (
                    again or known is None or abs(known["given"] - seconds) > TOLERANCE * seconds
                ):
                    yield key, seconds


def measure(key: Key, seconds: float) -> dict[str, Any]:
    """Fit a contestant on a split of a table; return its scores and times."""
    columns, targets = sets.load(key.table)
    task = sets.TABLES[key.table].task
    train, test = sets.split(key.table, targets, key.split)
    model = CONTESTANTS[key.contestant](Request(task, columns, key.split, seconds))
    others = machine.Others()
    clocks = [(cpu_seconds(), time.perf_counter())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as of a network that has not converged in 200 epochs
        model.fit(columns.iloc[train], targets[train])
        clocks.append((cpu_seconds(), time.perf_counter()))
        found, losses = scored(task, model, columns.iloc[test], targets[test])
        clocks.append((cpu_seconds(), time.perf_counter()))
    (fit_cpu, fit_wall), (predict_cpu, predict_wall) = np.diff(clocks, axis=0).round(3).tolist()
    return {
        **key._asdict(),
        "scores": found,
        "cpu": {"fit": fit_cpu, "predict": predict_cpu},
        "wall": {"fit": fit_wall, "predict": predict_wall},
        "given": seconds,
        **({"candidates": model.candidates} if hasattr(model, "candidates") else {}),
        "others": others.cores(),
        "blocks": scores.in_blocks(test, losses),
    }


def warm_up(contestants: Iterable[str]) -> None:
    """Fit each contestant once on a few rows: imports take no time later."""
    import pandas as pd

    columns = pd.DataFrame({"number": np.arange(40.0), "letter": ["a", "b"] * 20})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for task, targets in (
            ("classification", np.array(["no", "yes"] * 20, dtype=object)),
            ("regression", np.arange(40.0)),
        ):
            for contestant in contestants:
                model = CONTESTANTS[contestant](Request(task, columns, 0, 0.0)).fit(
                    columns, targets
                )
                scored(task, model, columns, targets)


def run(
    results: Results, tables: Iterable[str], contestants: Iterable[str], again: bool = False,
    splits: Iterable[int] = sets.SPLITS,
) -> None:  # fmt: skip
    """Measure what is wanted; print a line for each."""
    tables, contestants, splits = list(tables), list(contestants), list(splits)
    if not any(True for _ in wanted(results, tables, contestants, again, splits)):
        return
    warm_up(contestants)
    results.begin()
    for key, seconds in wanted(results, tables, contestants, again, splits):
        record = measure(key, seconds)
        results.add(record)
        primary = scores.PRIMARY[sets.TABLES[key.table].task]
        print(
            f"{key.table} {key.split} {key.contestant}: {primary} "
            f"{record['scores'][primary]:.4g}, {record['cpu']['fit']:.2f} CPU s",
            flush=True,
        )

"""Run contestants in turn, each in its own process, in interleaved rounds."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.workloads import ALL_WORKLOADS, initial_weights

from .processes import BrokenError, Process, Program, all_threads

START_SECONDS = 120.0  # to import a framework and to prepare
FIRST_SECONDS = 240.0  # for the first epoch, which compiles
LEAST = 3  # rounds, however late it is
ALIKE = 1.25  # thread counts whose times differ by less are tried again ...
SHORT_SECONDS = 1.5  # ... unless that takes longer than this
LONG_SECONDS = 5.0  # a contestant with longer samples gives the fewest

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Measure:
    """Something to time in rounds: an epoch, or a prediction of some rows.

    ``seconds`` is the duration of a sample: faster measures are repeated within it.
    """

    name: str
    question: dict[str, Any]
    seconds: float = 0.2


EPOCH = Measure("epoch", {"do": "epoch"})


def predict(rows: int, how: str = "predict") -> Measure:
    return Measure(f"{how} {rows}", {"do": "predict", "rows": rows, "how": how}, 0.1)


class Race:
    """Contestants prepared for one workload, and their measurements.

    ``with Race(...) as race``: on exit, even with an error, every process is ended.

    Attributes:
        work: the workload. After a change, `warm_up` prepares the same processes for it.
        first: seconds of the first epoch, compilation included, by contestant.
        tried: by measure and contestant, seconds by number of threads in the warm-up.
        threads: by measure and contestant, the better number; None if the
            contestant chooses by itself.
        accuracy: after ``passes`` passes over the data.
        memory: peak bytes after these.
        failed: contestants that failed, and how.
        running: the processes of each contestant.
    """

    def __init__(
        self,
        programs: Iterable[Program],
        workload: str,
        rows: int,
        folder: Path,
        test_rows: int | None = None,
        deadline: float = math.inf,
        tests: bool = True,  # whether accuracies and memory are requested
    ) -> None:
        self.programs = list(programs)
        self.tests = tests
        self.work = ALL_WORKLOADS[workload]
        self.workload, self.rows, self.test_rows = workload, rows, test_rows
        self.passes = 2
        self.first: dict[str, float] = {}
        self.tried: dict[str, dict[str, dict[int, float]]] = {}
        self.threads: dict[str, dict[str, int | None]] = {}
        self.accuracy: dict[str, float | None] = {}
        self.memory: dict[str, dict[str, int | None]] = {}
        self.failed: dict[str, str] = {}
        self._folder, self._deadline = folder, deadline
        self.running: dict[str, list[Process]] = {}
        self._chosen: dict[tuple[str, str], tuple[Process, int]] = {}

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        for processes in self.running.values():
            for process in processes:
                process.end()

    @property
    def names(self) -> list[str]:
        """Return the contestants that are still running."""
        return [program.name for program in self.programs if program.name not in self.failed]

    def warm_up(
        self,
        measures: list[Measure],
        until: float = math.inf,
        tell: Tell = print,
        keep: bool = False,
    ) -> None:
        """Start each contestant, let it compile, and find its better number of threads.

        The accuracy is requested after the second pass, the same for all. After ``until`` (by
        ``time.monotonic``) only the first is started. Processes with other numbers of threads
        are ended, unless ``keep`` says that they will warm up for other work.
        """
        for program in self.programs:
            tell(f"{self.workload}: {program.name} warms up")
            if program.name in self.failed:
                continue
            with self.failing(program.name):
                if time.monotonic() > until and program is not self.programs[0]:
                    raise BrokenError("there was no time left to start it")
                self._warm_up(program, measures)
        if not keep:
            self._end_unused()

    @contextlib.contextmanager
    def failing(self, name: str) -> Iterator[None]:
        """If the contestant fails in the block, end it and record the error."""
        try:
            yield
        except BrokenError as error:
            self.failed[name] = str(error)
            for process in self.running.pop(name, ()):
                process.end()

    def start_all(self) -> None:
        """Start one process of each contestant in parallel: importing takes long. It serves every
        workload, see `warm_up`; it is for contestants that choose their number of threads."""
        for program in self.programs:
            process = Process(program, None, self._folder, self._deadline)
            self.running[program.name] = [process]
        for program in self.programs:
            with self.failing(program.name):
                self.running[program.name][0].receive(START_SECONDS)

    def turn_to(self, workload: str, rows: int) -> None:
        """Forget what was found, and race on another workload with the same processes."""
        self.workload, self.work, self.rows = workload, ALL_WORKLOADS[workload], rows
        self.first, self.accuracy, self.memory = {}, {}, {}
        self.tried, self.threads = {}, {}

    def start(self, program: Program, threads: Iterable[int | None]) -> list[Process]:
        """Start processes of one contestant in parallel, with the data prepared."""
        processes = self.running.setdefault(program.name, [])
        begun = []
        for number in threads:
            processes.append(Process(program, number, self._folder, self._deadline))
            begun.append(processes[-1])
        for process in begun:
            process.receive(START_SECONDS)
        for process in begun:
            self.prepare(process)
        return begun

    def prepare(self, process: Process, seed: int = 0) -> None:
        work, names = self.work, []
        weights = initial_weights(seed, work["sizes"], work.get("convolutions", ()))
        for number, array in enumerate(weights):
            names.append(f"{self.workload}-{seed}-{number}.npy")
            np.save(self._folder / names[-1], array)
        rows = {"rows": self.rows, "test_rows": self.test_rows}
        process.ask("prepare", START_SECONDS, workload=work, seed=seed, weights=names, **rows)

    def _warm_up(self, program: Program, measures: list[Measure]) -> None:
        name, most = program.name, all_threads()
        alone = program.chooses_threads or most == 1
        processes = self.running.get(name, [])
        for process in processes:
            self.prepare(process)
        processes = processes or self.start(program, [None] if alone else [1, most])
        first = {p: p.ask("epoch", FIRST_SECONDS) for p in processes}
        tested = processes if self.tests else []
        memory = {p: p.ask("memory") for p in tested}
        second = {p: p.ask("epoch") for p in processes}
        accuracy = {p: p.ask("accuracy") for p in tested}
        for measure in measures:
            # The second pass was the first timed epoch; a first prediction is not timed.
            known = second if measure.question == EPOCH.question else None
            best = self._choose(program, measure, processes, known)
            if best is not None and name not in self.first:
                self.first[name] = first[best]
                if tested:
                    self.accuracy[name], self.memory[name] = accuracy[best], memory[best]

    def _end_unused(self) -> None:
        """End the processes with a number of threads that was not chosen for any measure."""
        used = {process for process, _ in self._chosen.values()}
        for name, processes in self.running.items():
            self.running[name] = [p for p in processes if p in used]
            for process in set(processes) - used:
                process.end()

    def _choose(
        self,
        program: Program,
        measure: Measure,
        processes: list[Process],
        known: dict[Process, float] | None,
    ) -> Process | None:
        def once() -> dict[Process, float]:
            return {p: p.ask(**measure.question) for p in processes}

        if known is None:
            once()
            known = once()
        if any(seconds is None for seconds in known.values()):
            return None  # not offered
        tries = [known]
        fastest, slowest = min(known.values()), max(known.values())
        if len(processes) > 1 and slowest < min(ALIKE * fastest, SHORT_SECONDS):
            tries += [once(), once()]
        seconds = {p: min(t[p] for t in tries) for p in processes}
        best = min(processes, key=seconds.__getitem__)
        times = max(1, min(10_000, math.ceil(measure.seconds / max(seconds[best], 1e-9))))
        self._chosen[program.name, measure.name] = best, times
        self.threads.setdefault(measure.name, {})[program.name] = (
            None if program.chooses_threads else best.threads
        )
        self.tried.setdefault(measure.name, {})[program.name] = {
            p.threads: seconds[p] for p in processes
        }
        return best

    def run(
        self, measures: list[Measure], rounds: int, until: float = math.inf, tell: Tell = print
    ) -> dict[str, dict[str, list[float | None]]]:
        """Return, by measure, each contestant's seconds per round; None after a failure.

        A round is every measure of every contestant once. After ``until`` (by
        ``time.monotonic``) only the first three begin. Very slow contestants skip later
        rounds (None), so that the others need not wait.
        """
        samples: dict[str, dict[str, list[float | None]]] = {
            measure.name: {n: [] for n in self.names if (n, measure.name) in self._chosen}
            for measure in measures
        }
        for number in range(1, rounds + 1):
            if number > LEAST and time.monotonic() > until:
                break
            for measure in measures:
                tell(f"{self.workload}: {measure.name}, round {number} of {rounds}")
                for name, values in samples[measure.name].items():
                    rests = number > LEAST and min(filter(None, values), default=0) > LONG_SECONDS
                    values.append(None if rests else self._sample(name, measure))
        return samples

    def _sample(self, name: str, measure: Measure) -> float | None:
        if name not in self.failed:
            process, times = self._chosen[name, measure.name]
            with self.failing(name):
                return process.ask(**measure.question, times=times)
        return None

"""Run contestants in turn, each in its own process, in interleaved rounds."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.workloads import ALL_WORKLOADS, initial_weights

HERE = Path(__file__).parent
START_SECONDS = 120.0  # to import a framework and to prepare
FIRST_SECONDS = 240.0  # for the first epoch, which compiles
ROUND_SECONDS = 90.0
LEAST = 3  # rounds, however late it is
ALIKE = 1.25  # thread counts whose times differ by less are tried again ...
SHORT_SECONDS = 1.5  # ... unless that takes longer than this
LONG_SECONDS = 5.0  # a contestant with longer samples gives the fewest
# Environment variables that set the libraries' number of threads; NPROC is XLA's.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")

Tell = Callable[[str], None]


class BrokenError(Exception):
    """A contestant that raised, ended or hung; the message says which."""


@dataclass(frozen=True)
class Program:
    """How to start a contestant.

    Attributes:
        name: for display.
        file, variant: its file, and which of its ``VARIANTS``.
        environment: variables in addition to those of this process.
        chooses_threads: whether it chooses its threads; others are tried with one and all.
    """

    name: str
    file: Path
    variant: str
    environment: dict[str, str] = field(default_factory=dict)
    chooses_threads: bool = False


def all_threads() -> int:
    """Return the number of cores that this process may use, limited by OMP_NUM_THREADS."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(given)) if given.isdigit() and int(given) else cores


def environment(program: Program, threads: int | None = None) -> dict[str, str]:
    """Return a contestant's environment: ours, its own, and ``threads`` for every library."""
    import gpunn

    # Modules are compiled once, as on a user's machine, whatever this process was told.
    own = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    root = str(Path(gpunn.__file__).parents[1])
    own["PYTHONPATH"] = os.pathsep.join(filter(None, (root, own.get("PYTHONPATH"))))
    if threads is not None:
        own |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    return own | program.environment


class Process:
    """A running contestant, which answers questions until it is ended."""

    def __init__(
        self, program: Program, threads: int | None, folder: Path, deadline: float = math.inf
    ) -> None:
        self.program = program
        self.deadline = deadline  # by `time.monotonic`: the time to stop waiting for answers
        self.threads = all_threads() if threads is None else threads
        # It has its own compilation cache, which is deleted with the folder.
        own = Path(tempfile.mkdtemp(dir=folder))
        self._log = open(own / "log.txt", "w+")  # noqa: SIM115 (closed by end)
        command = [sys.executable, str(HERE / "worker.py"), str(program.file), program.variant]
        self._process = subprocess.Popen(
            [*command, str(folder), str(self.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=environment(program, threads) | {"TMPDIR": str(own)}, start_new_session=True,
        )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed by end()
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put("")

    def send(self, do: str, **given: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone: receive() says so
            self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self._process.stdin.flush()

    def receive(self, seconds: float) -> Any:
        """Return the next answer.

        Raises:
            BrokenError: if it raised, ended, or did not answer within ``seconds``.
        """
        seconds = max(0.0, min(seconds, self.deadline - time.monotonic()))
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise BrokenError(f"hung: no answer in {seconds:.0f} s") from None
        if not line:
            code = self._process.wait()
            raise BrokenError(f"ended with status {code}: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise BrokenError(str(answer["error"]).strip().splitlines()[0][:300])
        return answer["answer"]

    def ask(self, do: str, seconds: float | None = None, **given: Any) -> Any:
        self.send(do, **given)
        return self.receive(ROUND_SECONDS if seconds is None else seconds)

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        end_group(self._process)
        self._log.close()


def run_to_end(command: list[str], own: dict[str, str], most: float) -> tuple[float, str]:
    """Run a command of Python in a new process; return the seconds that it took, and its output.

    Raises:
        BrokenError: if it fails, or takes more than ``most`` seconds.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=own, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=most)
        seconds = time.perf_counter() - started
    except subprocess.TimeoutExpired:
        raise BrokenError(f"hung: no end in {most:.0f} s") from None
    finally:
        end_group(process)
    if process.returncode:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        raise BrokenError(f"ended with status {process.returncode}: {last[:300]}")
    return seconds, output.strip()


def end_group(process: subprocess.Popen) -> None:
    """Kill a process and its children; it was started in a separate session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


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

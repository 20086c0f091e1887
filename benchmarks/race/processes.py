"""The processes of contestants: started with their own environment, asked questions, ended."""

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ANSWER_SECONDS = 90.0  # for an answer, unless the question says otherwise
# Environment variables that set the libraries' number of threads; NPROC is XLA's.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")


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
        return self.receive(ANSWER_SECONDS if seconds is None else seconds)

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

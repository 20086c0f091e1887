"""How tests start programs on several ranks: one mpiexec at a time, however many run tests.

A start takes seconds, so one runs many cases, see `several_ranks`. The process that needs them
first starts it, and the others read what it has left.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from several_ranks import PROGRAMS, STARTS, Ran

OPTIONS = ("--allow-run-as-root", "--oversubscribe", "--mca", "mpi_yield_when_idle", "true")
TAGGED = ("--output", "tag")  # each line tells which rank has printed it
TIMEOUT = 240

Started = subprocess.CompletedProcess[str]
Run = Callable[..., Started]


@pytest.fixture(scope="session")
def mpiexec() -> list[str]:
    """The command that starts ranks, of the MPI that mpi4py uses."""
    pytest.importorskip("mpi4py")
    return [str(Path(sys.executable).with_name("mpiexec")), *OPTIONS]


@pytest.fixture(scope="session")
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp().parent / "mpiexec.lock"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this run of the tests."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "starts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def run_ranks(mpiexec: list[str], one_at_a_time: Path) -> Iterator[Run]:
    """Return a function that runs a program of this folder on some ranks."""

    def run(
        ranks: int, program: str, *arguments: object, backend: str = "numpy", tagged: bool = False,
        **variables: str | None,
    ) -> Started:  # fmt: skip
        start = [*mpiexec, *(TAGGED if tagged else ()), "-n", str(ranks)] if ranks > 1 else []
        command = [*start, sys.executable, str(PROGRAMS / program), *map(str, arguments)]
        given = {**os.environ, "GPUNN_BACKEND": backend, **variables}
        environment = {name: value for name, value in given.items() if value is not None}
        with one_at_a_time.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=TIMEOUT
            )

    yield run


@pytest.fixture(scope="session")
def ran(run_ranks: Run, shared_folder: Path) -> Callable[[str], Ran]:
    """Return a function that gives what a start of `STARTS` has left, and starts it if need be."""

    def ran(name: str) -> Ran:
        start, left = STARTS[name], shared_folder / f"{name}.json"
        for earlier in start.after:
            ran(earlier)
        with (shared_folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not left.exists():
                start.prepare(shared_folder)
                cases = json.dumps(start.in_folder(shared_folder))
                report = shared_folder / f"{name} report"
                try:
                    done = run_ranks(
                        start.ranks, "cases.py", report, cases, tagged=True, **start.variables
                    )
                    ended = [done.returncode, done.stdout, done.stderr]
                except subprocess.TimeoutExpired as error:  # each test of it fails, and waits once
                    ended = [-1, "", f"{name}: {error}"]
                left.write_text(json.dumps(ended))
        return Ran(name, shared_folder, *json.loads(left.read_text()))

    return ran

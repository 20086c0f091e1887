"""How tests start programs on several ranks: one mpiexec at a time, however many run tests."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
OPTIONS = ("--allow-run-as-root", "--oversubscribe", "--mca", "mpi_yield_when_idle", "true")
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
def run_ranks(mpiexec: list[str], one_at_a_time: Path) -> Iterator[Run]:
    """Return a function that runs a program of this folder on some ranks."""

    def run(
        ranks: int, program: str, *arguments: object, backend: str = "numpy", **variables: str
    ) -> Started:
        start = [*mpiexec, "-n", str(ranks)] if ranks > 1 else []
        command = [*start, sys.executable, str(PROGRAMS / program), *map(str, arguments)]
        environment = {**os.environ, "GPUNN_BACKEND": backend, **variables}
        with one_at_a_time.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=TIMEOUT
            )

    yield run

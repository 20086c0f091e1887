"""What ends one rank ends all, soon, and says why; files are whole."""

from __future__ import annotations

import inspect
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpunn
from gpunn.distribution.communicator import Communicator


def test_an_exception_on_one_rank_ends_all(ran: Any) -> None:
    done = ran("two ranks that end")
    _, error = done.of_case("failing")
    assert done.returncode != 0
    assert "gpunn: rank 1 of 2 ends all:\nTraceback (most recent call last):" in error
    assert "RuntimeError: the third epoch is unlucky" in error
    assert gpunn.models.load_model(done.folder / "raised" / "last.gpunn").built


def check_exit(status: int, error: str, ranks: int, folder: Path) -> None:
    assert status != 0
    assert f"gpunn: rank 2 of {ranks} waits for rank 1, which has ended: by sys.exit" in error
    assert "Current thread" in error and "loops.py" in error
    assert gpunn.models.load_model(folder / "last.gpunn").built


def test_sys_exit_on_one_rank_ends_those_that_wait_for_it(ran: Any) -> None:
    done = ran("four ranks")
    check_exit(done.returncode, done.of_case("failing")[1], 4, done.folder / "exited")


@pytest.mark.more
def test_sys_exit_with_a_status_ends_those_that_wait_too(run_ranks: Any, tmp_path: Path) -> None:
    done = run_ranks(3, "failing.py", "exit 1", tmp_path)
    check_exit(done.returncode, done.stderr, 3, tmp_path)


def test_a_rank_may_end_before_one_that_works_alone(ran: Any) -> None:
    done = ran("two ranks")
    assert (done.returncode, *done.of_case("failing")) == (0, "evaluated\n", "")


REASONS = {
    "returns": "gpunn: rank {waits} of 2 waits for rank {ends}, which has ended: by sys.exit, or "
               "because its program is shorter.",
    "raises": "gpunn: rank {ends} of 2 ends all:\nTraceback (most recent call last):",
    "is killed": "signal 9",
}  # fmt: skip
OPERATIONS = ("any", "compare_warnings", "first", "gather", "least", "meet", "shard_of", "sum")
NOW = {("returns", "gather"), ("returns", "meet"), ("is killed", "least")}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("how", "operation"),
    [
        pytest.param(*pair, marks=[] if pair in NOW else [pytest.mark.more])
        for pair in itertools.product(REASONS, OPERATIONS)
    ],
)
def test_a_rank_that_ends_before_an_operation_of_all(
    run_ranks: Any, how: str, operation: str
) -> None:
    """The others end long before the time that they may wait, an hour."""
    ends = 0 if operation == "first" else 1  # rank 0 waits for nobody there: it only sends
    done = run_ranks(2, "ending.py", how, operation, str(ends))
    assert done.returncode != 0
    assert REASONS[how].format(ends=ends, waits=1 - ends).lower() in done.stderr.lower()
    assert "came back" not in done.stdout


def test_every_operation_of_all_is_here() -> None:
    """Each public method of a communicator is one, but for what a rank does alone."""
    alone = {"abort", "release", "reserve", "shard"}
    methods = {name for name, _ in inspect.getmembers(Communicator, inspect.isfunction)}
    assert {name for name in methods if not name.startswith("_")} - alone == {*OPERATIONS}


@pytest.mark.more
def test_a_rank_that_ends_without_cleaning_up_ends_all(run_ranks: Any, tmp_path: Path) -> None:
    assert run_ranks(2, "failing.py", "os._exit", tmp_path).returncode != 0


@pytest.mark.more
def test_a_killed_rank_ends_all(run_ranks: Any, tmp_path: Path) -> None:
    done = run_ranks(2, "failing.py", "kill", tmp_path)
    assert done.returncode != 0
    assert "signal 9" in done.stderr.lower()
    assert gpunn.models.load_model(tmp_path / "last.gpunn").built


@pytest.mark.more
def test_a_frozen_rank_ends_all_after_the_timeout(run_ranks: Any, tmp_path: Path) -> None:
    done = run_ranks(2, "failing.py", "freeze", tmp_path)
    assert done.returncode != 0
    assert "gpunn: rank 0 of 2 has waited 10 seconds for the others." in done.stderr
    assert "Current thread" in done.stderr and "loops.py" in done.stderr


@pytest.mark.more
def test_an_interrupt_at_mpiexec_ends_all(
    mpiexec: list[str], run_ranks: Any, tmp_path: Path
) -> None:
    program = Path(__file__).parent / "programs" / "failing.py"
    command = [*mpiexec, "-n", "2", sys.executable, str(program), "never", str(tmp_path)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ}
    )
    while not (tmp_path / "last.gpunn").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert gpunn.models.load_model(tmp_path / "last.gpunn").built

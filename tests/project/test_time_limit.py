"""A test that hangs is stopped, and reports where it hung; no test of a GPU is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from selection.scope import FILES_OF_A_GPU

from benchmarks.gpu import run as gpu_command

CONFIG = Path(__file__).parents[2] / "pyproject.toml"

# It waits for something that never happens, or in a loop that never returns to Python.
IN_PYTHON = "threading.Event().wait()"
BELOW = "sum(itertools.repeat(0))"
TESTS = """
import itertools, threading

def test_it_hangs():
    {hangs}

def test_the_next():
    pass
"""


def run(folder: Path, hangs: str, *limits: str) -> subprocess.CompletedProcess[str]:
    """Run these two tests with the settings of all tests, except for other limits."""
    (folder / "test_hanging.py").write_text(TESTS.format(hangs=hangs))
    options = [part for limit in limits for part in ("-o", limit)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", CONFIG, *options, "--rootdir", folder, folder],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip


def test_there_is_a_limit(request: pytest.FixtureRequest) -> None:
    config = request.config
    limits = float(config.getini("timeout")), float(config.getini("faulthandler_timeout"))
    assert 0 < limits[0] < limits[1]  # the limit that lets the run continue comes first


def test_one_that_hangs_fails_with_its_stack_and_the_next_runs(tmp_path: Path) -> None:
    done = run(tmp_path, IN_PYTHON, "timeout=1")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert IN_PYTHON in done.stdout and "Timeout" in done.stdout


def test_one_that_does_not_come_back_to_python_ends_the_process(tmp_path: Path) -> None:
    done = run(tmp_path, BELOW, "timeout=1", "faulthandler_timeout=2")
    assert done.returncode == 1
    assert "Timeout" in done.stderr and "in test_it_hangs" in done.stderr


def test_no_file_with_a_test_of_a_gpu_is_forgotten(request: pytest.FixtureRequest) -> None:
    """`tests/performance/test_gpu_command.py` asks the other way too, which takes a minute."""
    found = request.config.stash[FILES_OF_A_GPU]
    known = {*gpu_command.GPU, *gpu_command.PARITY, *gpu_command.OTHERS, *gpu_command.NEEDY}
    assert found <= known, "name it in OTHERS, or if it needs more packages in NEEDY"

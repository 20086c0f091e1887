"""MPICH in place of Open MPI, in an environment of its own; and one's mpiexec with the other."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

pytestmark = pytest.mark.more

ROOT = Path(gpunn.__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"
NAMES = ("dropout_noise_penalty_and_clipping", "common_statistics_of_few_rows")


@pytest.fixture(scope="module")
def mpich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with MPICH, and with what this one has."""
    folder = tmp_path_factory.mktemp("mpich")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    find = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
    (Path(packages) / "around.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "mpich", "mpi4py"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "GPUNN_BACKEND": "compiled", "PYTHONPATH": paths}
    return subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=240
    )


def test_results_are_those_of_one_process(mpich: Path, tmp_path: Path) -> None:
    program = mpich / "python", PROGRAMS / "trainings.py"
    for done in (
        run(*program, tmp_path / "one", *NAMES),
        run(mpich / "mpiexec", "-n", 3, *program, tmp_path / "three", *NAMES),
    ):
        assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "one-0.npz") as alone:
        expected = dict(alone)
    for rank in range(3):
        with np.load(tmp_path / f"three-{rank}.npz") as found:
            for key, value in expected.items():
                assert_allclose(found[key], value, rtol=1e-12, atol=1e-12, err_msg=key)


def test_an_exception_on_one_rank_ends_all(mpich: Path, tmp_path: Path) -> None:
    program = PROGRAMS / "failing.py"
    done = run(mpich / "mpiexec", "-n", 2, mpich / "python", program, "raise", tmp_path)
    assert done.returncode != 0
    assert "gpunn: rank 1 of 2 ends all:" in done.stderr
    assert "the third epoch is unlucky" in done.stderr


def test_the_mpiexec_of_another_mpi_is_named(mpich: Path) -> None:
    """This environment's mpi4py loads Open MPI, whose processes do not find each other then."""
    code = "import gpunn; gpunn.distribution.initialize()"
    done = run(mpich / "mpiexec", "-n", 2, sys.executable, "-c", code)
    assert done.returncode != 0
    assert "RuntimeError: the mpiexec of MPICH or Intel MPI started 2 processes" in done.stderr
    assert "mpi4py uses Open MPI" in done.stderr

"""`initialize` in processes that mpiexec started, or did not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from several_ranks import STARTS

from gpunn import distribution

BEGIN = "import gpunn; gpunn.distribution.initialize();"
SHOW = "print(gpunn.distribution.rank(), gpunn.distribution.size())"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True,
        text=True,
    )  # fmt: skip


def test_without_mpiexec_it_is_a_run_of_one() -> None:
    done = python(BEGIN + BEGIN + SHOW)
    assert done.stdout == "0 1\n"
    assert done.stderr.count("gpunn: a run of one process. Start more with mpiexec -n 4") == 1


def test_before_initialize_there_is_one_rank() -> None:
    assert (distribution.rank(), distribution.size()) == (0, 1)
    assert distribution.distribution() is None


LAUNCHERS = {
    "Open MPI's mpiexec": {"OMPI_COMM_WORLD_SIZE": "4"},
    "the mpiexec of MPICH or Intel MPI": {"PMI_SIZE": "4"},
    "srun": {"SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"},
    "torchrun": {"WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"},
}


ALL_LAUNCHERS = f"""
import os, gpunn
for name, variables in {LAUNCHERS}.items():
    os.environ.update(variables)
    try:
        gpunn.distribution.initialize()
    except RuntimeError as error:
        print(error)
    for variable in variables:
        del os.environ[variable]
os.environ["SLURM_NTASKS"] = "4"
gpunn.distribution.initialize()
print(gpunn.distribution.rank(), gpunn.distribution.size())
"""


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The error of each launcher, and at last rank and size in a batch job of Slurm."""
    pytest.importorskip("mpi4py")
    done = python(ALL_LAUNCHERS)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_that_do_not_find_each_other(launcher: str, lines: list[str]) -> None:
    error = lines[list(LAUNCHERS).index(launcher)]
    begin = f"{launcher} started 4 processes, but each of them is alone: MPI finds 1."
    assert error.startswith(begin)
    expected = "use mpiexec" if launcher == "torchrun" else "Use that of the same MPI"
    assert expected in error


def test_a_batch_job_without_srun_is_a_run_of_one(lines: list[str]) -> None:
    """Slurm sets the number of tasks in the script itself, too."""
    assert lines[len(LAUNCHERS) :] == ["0 1"]


def test_without_mpi4py_the_error_names_the_extra(tmp_path: Any) -> None:
    (tmp_path / "mpi4py.py").write_text("raise ImportError('none here')")
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = python(BEGIN, OMPI_COMM_WORLD_SIZE="2", **path)
    assert done.returncode == 1
    assert 'pip install "gpunn[mpi]"' in done.stderr and "none here" in done.stderr
    assert python(BEGIN + SHOW, **path).stdout == "0 1\n"


def test_mpi4py_is_not_imported_before() -> None:
    code = "import sys, gpunn; gpunn.distribution.rank(); print('mpi4py' in sys.modules)"
    assert python(code).stdout == "False\n"


@pytest.mark.parametrize("name", ["job_addresses", "num_processes", "process_id"])
def test_what_mpiexec_provides_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"initialize: {name} must be None; got 2. mpiexec"):
        distribution.initialize(**{name: 2})  # type: ignore[arg-type]


def test_a_timeout_is_positive() -> None:
    with pytest.raises(ValueError, match="timeout must be positive; got 0"):
        distribution.initialize(timeout=0)


def test_devices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"devices must be None; got .'cpu:0'.*mpiexec -n N"):
        distribution.DataParallel(devices=["cpu:0"])
    with pytest.raises(ValueError, match="device_mesh must be None"):
        distribution.DataParallel(3)
    with pytest.raises(ValueError, match="auto_shard_dataset must be True; got False"):
        distribution.DataParallel(auto_shard_dataset=False)


@pytest.mark.parametrize("name", ["ModelParallel", "LayoutMap"])
def test_the_weights_of_a_model_are_not_distributed(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{name} is not supported: gpunn distributes"):
        getattr(distribution, name)()


def test_only_a_distribution_is_set() -> None:
    with pytest.raises(TypeError, match="a DataParallel or None is expected; got 4"):
        distribution.set_distribution(4)  # type: ignore[arg-type]
    distribution.set_distribution(distribution.DataParallel())
    assert distribution.distribution() is None  # there is one process


@pytest.mark.parametrize(
    ("start", "visible", "expected"),
    [
        ("two ranks", None, ["0", "1"]),
        ("two ranks that end", "3,GPU-4", ["3", "GPU-4"]),
        ("commands of two ranks", "5", ["5", "5"]),
    ],
    ids=["all", "two named", "assigned by the launcher"],
)
def test_cores_and_gpus_are_divided(
    ran: Any, start: str, visible: str | None, expected: list[str]
) -> None:
    assert STARTS[start].variables["CUDA_VISIBLE_DEVICES"] == visible
    reports = ran(start).reports()
    threads = {report["threads"] for report in reports}
    assert threads <= {max(1, len(os.sched_getaffinity(0)) // 2), 1}
    assert sorted(report["gpus"] for report in reports) == expected


def test_two_ranks_divide_64_cores(ran: Any) -> None:
    """A library of 64 threads gets 32, one that tells no number too; one of 5 keeps them."""
    assert [report["divided"] for report in ran("two ranks that end").reports()] == [
        [32, 32, 5]
    ] * 2


@pytest.mark.parametrize("start", ["two ranks", "two ranks that end"])
def test_each_rank_may_train_alone(ran: Any, start: str) -> None:
    ran(start).finished("alone")

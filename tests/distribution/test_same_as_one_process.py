"""Several ranks train what one process does: the rows, the random numbers and the sums are its."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from several_ranks import STARTS, TWICE

PROGRAM = (Path(__file__).parent / "programs" / "trainings.py").read_text()
TRAININGS = re.findall(r"^@training\ndef (\w+)", PROGRAM, re.MULTILINE)
RANKS = [2, *(pytest.param(n, marks=pytest.mark.more) for n in (3, 4))]

Results = list[dict[str, np.ndarray]]


@pytest.fixture(
    scope="module", params=["numpy", "compiled", pytest.param("emulated", marks=pytest.mark.more)]
)  # fmt: skip
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def results(
    run_ranks: Any, ranks: int, backend: str, file: Path, *names: str, **variables: str
) -> Results:
    """Return the weights and histories of each rank, after all trainings."""
    done = run_ranks(ranks, "trainings.py", file, *names, backend=backend, **variables)
    assert done.returncode == 0, done.stderr
    found = []
    for rank in range(ranks):
        with np.load(f"{file}-{rank}.npz") as arrays:
            found.append(dict(arrays))
    return found


def left(ran: Any, start: str, name: str, *case: str) -> Results:
    """Return what the trainings of a start have left."""
    folder = ran(start).finished("trainings", *case)
    found = []
    for rank in range(STARTS[start].ranks):
        with np.load(folder / f"{name}-{rank}.npz") as arrays:
            found.append(dict(arrays))
    return found


@pytest.fixture(scope="module")
def alone(
    ran: Any, run_ranks: Any, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    if backend != "emulated":
        return left(ran, "one rank", f"alone-{backend}", backend)
    return results(run_ranks, 1, backend, tmp_path_factory.mktemp("one") / "results")


@pytest.fixture(scope="module", params=RANKS)
def together(
    ran: Any,
    run_ranks: Any,
    backend: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Results:
    if (request.param, backend) in ((2, "numpy"), (2, "compiled")):
        return left(ran, "two ranks", backend, backend)
    return results(run_ranks, request.param, backend, tmp_path_factory.mktemp("all") / "results")


@pytest.mark.parametrize("name", TRAININGS)
def test_results_are_those_of_one_process(name: str, alone: Results, together: Results) -> None:
    expected = {key: value for key, value in alone[0].items() if key.startswith(f"{name} ")}
    assert expected
    for key, value in expected.items():
        assert_allclose(together[0][key], value, rtol=1e-12, atol=1e-12, err_msg=key)
        assert np.isfinite(value).all()


@pytest.mark.parametrize("name", TRAININGS)
def test_all_ranks_have_the_same_bits(name: str, together: Results) -> None:
    for key, value in together[0].items():
        for other in together[1:]:
            if key.startswith(f"{name} "):
                assert_array_equal(other[key], value, err_msg=key)


def test_two_runs_have_the_same_bits(ran: Any) -> None:
    (first, _), (again, _) = (
        left(ran, "two ranks", "compiled", "compiled"), left(ran, "two ranks that end", "again")
    )  # fmt: skip
    assert {key.partition(" ")[0] for key in again} == {TWICE}
    for key, value in again.items():
        assert_array_equal(value, first[key], err_msg=key)


@pytest.mark.more
@pytest.mark.parametrize("mode", ["fused", "persistent"])
def test_captured_steps_sum_over_the_ranks(run_ranks: Any, tmp_path: Path, mode: str) -> None:
    """A step with a sum over ranks is never one persistent kernel: NCCL is called between two."""
    name, variables = "dropout_noise_penalty_and_clipping", {"GPUNN_LAUNCH_MODE": mode}
    arguments = tmp_path / "results", name
    if mode == "persistent":
        done = run_ranks(2, "trainings.py", *arguments, backend="emulated", **variables)
        assert done.returncode != 0
        assert "a library sums its gradients over the ranks" in done.stderr
        return
    alone, together = (results(run_ranks, n, "emulated", *arguments, **variables) for n in (1, 2))
    for key, value in alone[0].items():
        assert_allclose(together[0][key], value, rtol=1e-12, atol=1e-12, err_msg=key)

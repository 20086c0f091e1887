"""Several ranks train what one process does: the rows, the random numbers and the sums are its."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

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


@pytest.fixture(scope="module")
def alone(run_ranks: Any, backend: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return results(run_ranks, 1, backend, tmp_path_factory.mktemp("one") / "results")


@pytest.fixture(scope="module", params=RANKS)
def together(
    run_ranks: Any,
    backend: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Results:
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


@pytest.mark.parametrize("backend", ["compiled"], indirect=True)
def test_two_runs_have_the_same_bits(run_ranks: Any, backend: str, tmp_path: Path) -> None:
    name = "dropout_noise_penalty_and_clipping"
    first, again = (
        results(run_ranks, 2, backend, tmp_path / run, name)[0] for run in ("first", "again")
    )
    for key, value in first.items():
        assert_array_equal(again[key], value, err_msg=key)


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

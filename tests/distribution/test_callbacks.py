"""Callbacks over several ranks: rank 0 alone writes and prints, all stop together and resume."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from several_ranks import STARTS

import gpunn

EPOCHS = ("until epoch 1", "until epoch 3", "to the end")
BATCHES = ("until batch 3 of epoch 1", "until batch 1 of epoch 4", "to the end by batches")
Of = Callable[..., tuple[Path, str]]


@pytest.fixture(params=["compiled", pytest.param("numpy", marks=pytest.mark.more)])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def outcome(ran: Any, run_ranks: Any, tmp_path: Path) -> Of:
    """A function that returns the folder of a case, and what was printed."""

    def of(start: str, backend: str, case: str) -> tuple[Path, str]:
        if ("callbacks", backend, case) in [words[:3] for words in STARTS[start].cases]:
            given = ran(start)
            folder = given.finished("callbacks", backend, case) / f"{backend} {case}"
            return folder, given.of_case("callbacks", backend, case)[0]
        ranks = STARTS[start].ranks
        done = run_ranks(ranks, "callbacks.py", case, tmp_path, backend=backend)
        assert done.returncode == 0, done.stderr
        return tmp_path, done.stdout

    return of


def arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as found:
        return dict(found)


def test_rank_0_writes_and_prints(outcome: Of, backend: str) -> None:
    folder, output = outcome("two ranks", backend, "write")
    assert output.count("Epoch 1: saved ") == output.count("Epoch 2: saved ") == 1
    assert output.count("stopped.") == output.count("1/6 loss") == 1
    files = {path.name for path in folder.iterdir()}
    checkpoints = {"1.gpunn", "2.gpunn", "batch 2 2.gpunn"}
    assert files == {"log.csv", "rank 0.gpunn", "rank 1.gpunn", *checkpoints}
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert f"loss {float(rows[0]['loss']):.4f}" in output
    with gpunn.backends.as_in_a_new_process():
        models = [gpunn.models.load_model(folder / f"rank {rank}.gpunn") for rank in range(2)]
        last = gpunn.models.load_model(folder / "2.gpunn")
    for weights in zip(*(model.get_weights() for model in (*models, last)), strict=True):
        assert_array_equal(weights[0], weights[1])
        assert_array_equal(weights[0], weights[2])


def test_one_rank_shows_the_progress(outcome: Of, backend: str) -> None:
    """Open MPI gives each rank a terminal, so that its progress bar is live."""
    _, output = outcome("two ranks", backend, "show the progress")
    assert len(re.findall(r"6/6 +loss .*\n", output)) == output.count("Training figures are") == 1


@pytest.mark.parametrize(
    ("case", "epochs", "steps"), [("stop after an epoch", 3, 15), ("stop after a batch", 2, 8)]
)
def test_a_stop_on_one_rank_stops_all_after_the_same_step(
    outcome: Of, backend: str, case: str, epochs: int, steps: int
) -> None:
    """Of 80 rows in batches of 17, an epoch has 5."""
    folder, _ = outcome("three ranks", backend, case)
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]
    assert found[0] == found[1] == found[2]
    assert (found[0]["epochs"], found[0]["steps"]) == (epochs, steps)
    first, *others = (arrays(folder / f"weights {rank}.npz") for rank in range(3))
    for name in first:
        for other in others:
            assert_array_equal(other[name], first[name])


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("backend", ["compiled", "numpy", "emulated"])  # which poisons new memory
def test_statistics_of_ranks_are_averaged(outcome: Of, backend: str) -> None:
    """Inputs have the mean 3 and the deviation 1; a batch of one row has the variance 0."""
    folder, _ = outcome("four ranks", backend, "own statistics")
    first, *others = (arrays(folder / f"weights {rank}.npz") for rank in range(4))
    for name, values in first.items():
        assert np.isfinite(values).all()
        for other in others:
            assert_array_equal(other[name], values)
    with gpunn.backends.as_in_a_new_process():
        saved = gpunn.models.load_model(folder / "20.gpunn").get_weights()
    for values, expected in zip(saved, first.values(), strict=True):
        assert_array_equal(values, expected)
    assert_allclose(saved[2], 3.0, atol=1.0)


def compare_resumed(whole: Path, parts: Path) -> None:
    """Check that the training in parts has the results of the whole one."""
    expected, found = (arrays(folder / "weights.npz") for folder in (whole, parts))
    for name in expected:
        assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)
    (history, best), (same, same_best) = (
        json.loads((folder / "history.json").read_text()) for folder in (whole, parts)
    )
    assert history.keys() == same.keys()
    for name, values in history.items():
        assert_allclose(same[name], values, rtol=1e-12)
    assert_allclose(same_best, best, rtol=1e-12)
    logs = [np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1) for folder in (whole, parts)]
    assert_allclose(logs[1], logs[0], rtol=1e-12)


def test_a_training_resumes_with_another_number_of_ranks(ran: Any) -> None:
    """Two ranks begin it, three go on, and one ends it: each checks that none ended it before."""
    folder = ran("one rank").succeeded().folder
    ran("two ranks").finished("callbacks", "compiled", "until epoch 1")
    ran("three ranks").finished("callbacks", "compiled", "until epoch 3")
    compare_resumed(folder / "compiled whole", folder / "compiled parts")


@pytest.mark.more(2)
@pytest.mark.parametrize(
    ("backend", "cases"), [("numpy", EPOCHS), ("numpy", BATCHES), ("compiled", BATCHES)]
)
def test_more_trainings_resume_with_another_number_of_ranks(
    run_ranks: Any, tmp_path: Path, backend: str, cases: tuple[str, ...]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for ranks, case, folder in (
        (1, cases[-1], whole), (2, cases[0], parts), (3, cases[1], parts), (1, cases[2], parts)
    ):  # fmt: skip
        assert not (folder / "weights.npz").exists()
        done = run_ranks(ranks, "callbacks.py", case, folder, backend=backend)
        assert done.returncode == 0, done.stderr
    compare_resumed(whole, parts)

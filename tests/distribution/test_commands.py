"""The command line under mpiexec."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from several_ranks import FOLDER, MNIST

import gpunn
from gpunn.apps.roofline.ranks import Network


@pytest.fixture
def done(ran: Any) -> dict[int, Any]:
    """What the commands of one rank and of two have left."""
    return {1: ran("commands of one rank"), 2: ran("commands of two ranks")}


def outputs(done: dict[int, Any], what: str) -> dict[int, str]:
    """Return what a training has printed, by the number of ranks, if all succeeded."""
    case = {n: ("commands", "numpy", "train", what) for n in done}
    for n, one in done.items():
        assert one.status(*case[n]) == [0] * n, one.stderr
    return {n: one.of_case(*case[n])[0] for n, one in done.items()}


def assert_same_models(done: dict[int, Any], what: str) -> None:
    models = [
        gpunn.models.load_model(one.folder / f"{what} of {n}" / "model.gpunn")
        for n, one in done.items()
    ]
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(first, second, atol=0.01)  # float32: the sums round otherwise


def files(done: dict[int, Any], what: str) -> list[set[str]]:
    return [
        {path.name for path in (one.folder / f"{what} of {n}").iterdir()} for n, one in done.items()
    ]


def test_a_data_set_is_trained_by_all_ranks(done: dict[int, Any]) -> None:
    texts = outputs(done, "mnist")
    found = files(done, "mnist")
    assert found[0] == found[1] == {"model.gpunn", "history.csv", "run.jsonl"}
    for text in ("Test accuracy", "Saved", "Training figures"):
        assert texts[2].count(text) == texts[1].count(text) >= 1
    accuracies = [float(re.findall(r"Test accuracy (0\.\d+)", text)[0]) for text in texts.values()]
    np.testing.assert_allclose(*accuracies, atol=0.002)
    assert_same_models(done, "mnist")


def test_a_run_is_resumed_by_all_ranks_or_refused(done: dict[int, Any]) -> None:
    refused = "commands", "numpy", "train", *MNIST, "--out", f"{FOLDER}/nothing"
    assert done[2].returncode != 0
    assert 0 not in done[2].status(*refused)
    assert "There is nothing to resume" in done[2].of_case(*refused)[1]


PROGRESS = r"(?m)^(.*: Epoch|Trying) .*\n"  # printed after some seconds
SECONDS = r"^the best of them (?:.*\n)*?(?=chosen)"  # lines with the seconds that each took


@pytest.mark.parametrize("what", ["table", "pictures"])
def test_ones_own_data_are_trained_by_all_ranks(done: dict[int, Any], what: str) -> None:
    data = {"table": f"{FOLDER}/table.csv", "pictures": f"{FOLDER}/pictures"}[what]
    texts = outputs(done, data)
    found = files(done, what)
    assert found[0] == found[1] == {"model.gpunn", "run.jsonl"}
    alone, together = (
        re.sub(f"{PROGRESS}|{SECONDS}", "", text.replace(f"{done[n].folder}/{what} of {n}", "out"))
        for n, text in texts.items()
    )
    number = re.compile(r"-?\d+\.\d+")
    assert number.split(together) == number.split(alone)
    figures, expected = (np.float64(number.findall(text)) for text in (together, alone))
    np.testing.assert_allclose(figures, expected, atol=0.02)
    assert_same_models(done, what)


def test_the_doctor_measures_ranks(done: dict[int, Any]) -> None:
    case = "commands", "numpy", "doctor"
    assert done[2].status(*case) == [0, 0], done[2].stderr
    output, _ = done[2].of_case(*case)
    assert "784-128-10 with Adam, 2 ranks, backend compiled" in output
    verdict = r"2 ranks (pay from a batch of \d+ on|do not pay on this machine)"
    assert re.search(verdict, output)
    rows = re.findall(r"^ +(\d+) +\d+ +\d+ +\d+$", output, re.MULTILINE)
    assert rows == ["2", "4", "16", "64", "256", "1024"]
    assert "Predicted for more such ranks" in output


def test_the_doctor_needs_several_processes(done: dict[int, Any]) -> None:
    case = "commands", "numpy", "doctor"
    assert done[1].status(*case) == [1] and done[1].returncode == 1
    error = done[1].of_case(*case)[1]
    assert "needs several processes: mpiexec -n 2 gpunn doctor --ranks" in error
    assert "train.py" not in error  # one hint, and no other


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_the_prediction_explains_what_was_measured(ranks: int) -> None:
    net = Network.of(ranks, 30e-6, 150e-6, 400_000)
    assert net.seconds(1, 400_000) == 0
    # The sum of one number is all latency; its few bytes are left out.
    np.testing.assert_allclose(net.seconds(ranks, 0), 30e-6)
    np.testing.assert_allclose(net.seconds(ranks, 400_000), 150e-6)
    assert net.seconds(2 * ranks, 400_000) > net.seconds(ranks, 400_000)

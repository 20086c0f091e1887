"""The command line under mpiexec."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gpunn
from gpunn.apps.cli.doctor_ranks import Network

TRAIN = ("train", "mnist", "--hidden", "8", "--epochs", "1", "--backend", "compiled")


@pytest.fixture(scope="session")
def command(mpiexec: list[str], one_at_a_time: Path) -> Any:
    """Return a function that runs ``gpunn`` on some ranks."""

    def run(ranks: int, *words: object) -> subprocess.CompletedProcess[str]:
        start = [*mpiexec, "-n", str(ranks)] if ranks > 1 else []
        with one_at_a_time.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return subprocess.run(
                [*start, sys.executable, "-m", "gpunn", *map(str, words)],
                env=dict(os.environ), capture_output=True, text=True, timeout=240,
            )  # fmt: skip

    return run


def test_a_data_set_is_trained_by_all_ranks(command: Any, tmp_path: Path) -> None:
    done = {n: command(n, *TRAIN, "--out", tmp_path / str(n)) for n in (1, 2)}
    for one in done.values():
        assert one.returncode == 0, one.stderr
    files = [{path.name for path in (tmp_path / str(n)).iterdir()} for n in done]
    assert files[0] == files[1] == {"model.gpunn", "history.csv", "run.jsonl"}
    for text in ("Test accuracy", "Saved", "Training figures"):
        assert done[2].stdout.count(text) == done[1].stdout.count(text) >= 1
    accuracies = [
        float(re.findall(r"Test accuracy (0\.\d+)", one.stdout)[0]) for one in done.values()
    ]
    np.testing.assert_allclose(*accuracies, atol=0.002)
    models = [gpunn.models.load_model(tmp_path / str(n) / "model.gpunn") for n in done]
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(first, second, atol=0.01)  # float32: the sums round otherwise


def test_a_run_is_resumed_by_all_ranks_or_refused(command: Any, tmp_path: Path) -> None:
    done = command(2, *TRAIN, "--out", tmp_path, "--resume")
    assert done.returncode != 0
    assert "There is nothing to resume" in done.stderr


PROGRESS = r"(?m)^(.*: Epoch|Trying) .*\n"  # printed after some seconds


def table(folder: Path) -> tuple[object, ...]:
    x = np.random.default_rng(0).normal(size=(120, 2))
    rows = [f"{a:.3f},{b:.3f},{'up' if a > b else 'down'}" for a, b in x]
    file = folder / "table.csv"
    file.write_text("\n".join(["a,b,kind", *rows]))
    return file, "--target", "kind", "--fast"


def pictures(folder: Path) -> tuple[object, ...]:
    generator = np.random.default_rng(0)
    for number, kind in enumerate(("dark", "light")):
        (folder / kind).mkdir()
        for k in range(30):
            values = generator.integers(0, 120, (9, 9)) + 130 * number
            Image.fromarray(values.astype(np.uint8)).save(folder / kind / f"{k}.png")
    return (folder,)


@pytest.mark.parametrize("data", [table, pictures])
def test_ones_own_data_are_trained_by_all_ranks(command: Any, tmp_path: Path, data: Any) -> None:
    (tmp_path / "data").mkdir()
    words = *data(tmp_path / "data"), "--epochs", 6, "--hidden", 8, "--backend", "compiled"
    done = {n: command(n, "train", *words, "--out", tmp_path / str(n)) for n in (1, 2)}
    for one in done.values():
        assert one.returncode == 0, one.stderr
    files = [{path.name for path in (tmp_path / str(n)).iterdir()} for n in done]
    assert files[0] == files[1] == {"model.gpunn", "run.jsonl"}
    alone, together = (
        re.sub(PROGRESS, "", one.stdout.replace(str(tmp_path / str(n)), "out"))
        for n, one in done.items()
    )
    number = re.compile(r"-?\d+\.\d+")
    assert number.split(together) == number.split(alone)
    figures, expected = (np.float64(number.findall(text)) for text in (together, alone))
    np.testing.assert_allclose(figures, expected, atol=0.02)
    models = [gpunn.models.load_model(tmp_path / str(n) / "model.gpunn") for n in done]
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(first, second, atol=0.01)  # float32: the sums round otherwise


def test_the_doctor_measures_ranks(command: Any) -> None:
    done = command(2, "doctor", "--ranks", "--backend", "compiled")
    assert done.returncode == 0, done.stderr
    assert "784-128-10 with Adam, 2 ranks, backend compiled" in done.stdout
    verdict = r"2 ranks (pay from a batch of \d+ on|do not pay on this machine)"
    assert re.search(verdict, done.stdout)
    rows = re.findall(r"^ +(\d+) +\d+ +\d+ +\d+$", done.stdout, re.MULTILINE)
    assert rows == ["2", "4", "16", "64", "256", "1024"]
    assert "Predicted for more such ranks" in done.stdout


def test_the_doctor_needs_several_processes(command: Any) -> None:
    done = command(1, "doctor", "--ranks")
    assert done.returncode == 1
    assert "needs several processes: mpiexec -n 2 gpunn doctor --ranks" in done.stderr


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_the_prediction_explains_what_was_measured(ranks: int) -> None:
    net = Network.of(ranks, 30e-6, 150e-6, 400_000)
    assert net.seconds(1, 400_000) == 0
    # The sum of one number is all latency; its few bytes are left out.
    np.testing.assert_allclose(net.seconds(ranks, 0), 30e-6)
    np.testing.assert_allclose(net.seconds(ranks, 400_000), 150e-6)
    assert net.seconds(2 * ranks, 400_000) > net.seconds(ranks, 400_000)

"""The study of MNIST in seconds: its programs train, and its page shows what was measured."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.workloads import NAMES
from benchmarks.studies import mnist_seconds

pytestmark = pytest.mark.checks("benchmarks")


def digits(folder: Path) -> str:
    """Write noisy images of ten patterns, few enough for a test."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 128, (10, 28, 28), np.uint8)
    for names, rows in ((NAMES[:2], 8192), (NAMES[2:], 256)):
        y = generator.integers(0, 10, rows).astype(np.uint8)
        x = patterns[y] + generator.integers(0, 128, (rows, 28, 28), np.uint8)
        for name, array in zip(names, (x, y), strict=True):
            np.save(folder / f"{name}.npy", array)
    return "patterns"


@pytest.fixture
def _torch_threads() -> Iterator[None]:
    torch = pytest.importorskip("torch", reason="its wheel is for Python 3.11")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def trains(name: str, folder: Path) -> None:
    digits(folder)
    ways = mnist_seconds.PROGRAMS[name].ways
    for way in (
        way for way in ways if way.get("threads", 1) == 1
    ):  # others may keep the cores busy
        answer = mnist_seconds.run(name, folder, 0, None, way)
        assert answer["accuracy"] > 0.9, (way, answer)


@pytest.mark.parametrize("name", ["gpunn", "train_mnist_fast in gpunn"])
def test_gpunn_learns_the_patterns(name: str, tmp_path: Path) -> None:
    trains(name, tmp_path)


@pytest.mark.usefixtures("_torch_threads")
@pytest.mark.parametrize("name", ["PyTorch", "train_mnist_fast (PyTorch)"])
def test_pytorch_learns_the_patterns_in_both_memory_formats(name: str, tmp_path: Path) -> None:
    trains(name, tmp_path)


@pytest.mark.in_turn(2)
def test_a_study_writes_what_each_program_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = importlib.util.find_spec("torch") is not None
    chosen = ["gpunn", "PyTorch"] if installed else ["gpunn"]
    programs = {name: mnist_seconds.PROGRAMS[name] for name in chosen}
    programs = {name: program._replace(ways=program.ways[:1]) for name, program in programs.items()}
    monkeypatch.setattr(mnist_seconds, "PROGRAMS", programs)
    monkeypatch.setattr(mnist_seconds, "lay_out_data", digits)
    monkeypatch.setattr(mnist_seconds, "INSTRUCTIONS", {"Any": {"OMP_NUM_THREADS": "1"}})
    mnist_seconds.study(seeds=1, out=tmp_path)

    found = json.loads((tmp_path / "mnist-seconds.json").read_text())
    page = (tmp_path / "mnist-seconds.md").read_text()
    assert "## Any" in page and "The data are patterns, not MNIST." in page
    measured = found["instructions"]["Any"]["programs"]
    assert list(measured) == chosen
    for name, results in measured.items():
        (seconds,), (accuracy,) = results["seconds"], results["accuracy"]
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
        assert f" {seconds:.2f} ({seconds:.2f} - {seconds:.2f}) " in row
        assert f" {accuracy:.2%} | {accuracy:.2%} |" in row and accuracy > 0.9

"""`make gpu` on a machine that has next to nothing installed, but for the card itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpunn.backends.cupy.launch import modes

ROOT = Path(__file__).parents[2]
ABSENT = (
    "PIL", "hypothesis", "jax", "nvidia", "sklearn", "tensorboard", "tensorboardX", "threadpoolctl",
    "torch",
)  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python finds none of the packages that may be absent.

    Nor does pytest load their plugins.
    """
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))"
    )
    settings = {"OPENBLAS_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {**os.environ, "PYTHONPATH": str(tmp_path), **settings}


def test_its_benchmarks_run_and_say_what_they_are(bare: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.card.gpu", "--no-tests", "--rows", "40", "--out"]
    bare |= {"GPUNN_BACKEND": "emulated", "GPUNN_CACHE": str(tmp_path)}
    bare.pop("GPUNN_DATA", None)
    subprocess.run([*command, str(tmp_path / "out")], cwd=ROOT, env=bare, check=True)
    written = {path.suffix: path for path in (tmp_path / "out").iterdir()}
    report = json.loads(written[".json"].read_text())
    assert report["emulated"] and written[".json"].name.startswith("emulated-")
    assert set(report["missing"].values()) == {"torch is not installed", "jax is not installed"}
    ours = {"gpunn (card)", *(f"gpunn, {mode}" for mode in modes.MODES)}
    assert [e["key"] for e in report["benchmarks"]] == ["W1 epoch", "W2 epoch", "W5a", "W3 epoch"]
    for entry in report["benchmarks"]:
        # A mode may refuse a network that it is not made for; the rule's choice never fails.
        taken = ours - set(entry["failed"])
        assert len(taken) >= 3
        assert {n: len(values) for n, values in entry["samples"].items()} == dict.fromkeys(taken, 2)
    text = written[".md"].read_text()
    assert "**Emulated on the CPU: there was no card.**" in text
    assert "PyTorch (card) (torch is not installed)" in text and "generated images" in text


def test_its_tests_need_nothing_else(bare: dict[str, str]) -> None:
    files = [
        "tests/backends/test_gpu.py",
        "tests/backends/test_parity.py",
        "tests/backends/test_emulated_training.py",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "gpu", *files],
        cwd=ROOT, env={**bare, "GPUNN_BACKEND": "cupy"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for file in files:
        assert f"{file}::" in done.stdout


def test_without_a_card_one_line_says_what_is_missing(tmp_path: Path) -> None:
    """With a CuPy that breaks when it is imported."""
    (tmp_path / "cupy.py").write_text("raise OSError('libcuda.so.1 is broken')")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.card.gpu"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path), "GPUNN_BACKEND": "cupy"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("make gpu needs an NVIDIA card and CuPy.")
    assert "libcuda.so.1 is broken" in done.stderr and done.stderr.count("\n") == 1

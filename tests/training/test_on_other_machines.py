"""Test that training comparisons pass with BLAS kernels and instruction sets of other machines.

`make test` runs them with this machine's settings and one BLAS thread. Each case here is another
such run in its own process. Each OpenBLAS kernel, each instruction set and each number of threads
occurs in one of the four. Each run takes another of the backends for cases that need only one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpunn.backends.compiled import cpu_kernels

ROOT = Path(__file__).parents[2]
COMPARED = (
    "tests/apps/web/test_wasm.py", "tests/backends/test_conditioning.py",
    "tests/backends/test_numpy_programs.py", "tests/backends/test_parity.py",
    "tests/layers/test_convolution.py", "tests/optimizers", "tests/references",
    "tests/training/test_beside_keras.py", "tests/training/test_eager.py",
    "tests/training/test_training_pairs.py", "tests/training/test_weighted_rows.py",
)  # fmt: skip
# OpenBLAS's kernels, instruction set, number of threads, and what is added to the rotation.
SETTINGS = [("Prescott", "baseline", 2, 0), ("Zen", "avx2", 1, 1), ("SkylakeX", "avx512", 2, 2)]


@pytest.mark.more(3)
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("core", "instructions", "threads", "further"), SETTINGS)
def test_trainings_compare_as_here(
    core: str, instructions: str, threads: int, further: int, rotation: int | None
) -> None:
    if cpu_kernels.why_not() is None and instructions not in cpu_kernels.available():
        pytest.skip(f"this machine has no {instructions}, or it was not built for it")
    settings = {
        "OPENBLAS_CORETYPE": core, "GPUNN_INSTRUCTIONS": instructions,
        "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads),
    }  # fmt: skip
    backends = ["--all-backends"] if rotation is None else ["--rotation", str(rotation + further)]
    options = ["-q", "-n0", "-p", "no:cacheprovider", *backends]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *COMPARED],
        cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]

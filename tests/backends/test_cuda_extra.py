"""The choice of the CuPy extra for a machine's driver and GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpunn.backends.cupy.driver import cuda_extra
from gpunn.backends.cupy.driver.cuda_extra import choose_extra, explain_extra

GTX_1060 = "6.1, 580.65.06, NVIDIA GeForce GTX 1060 6GB"
RTX_4090 = "8.9, 580.65.06, NVIDIA GeForce RTX 4090"
H200 = "9.0, 580.95.05, NVIDIA H200"


@pytest.mark.parametrize(
    ("output", "extra"),
    [
        (RTX_4090, "cuda13"),
        ("7.5, 580.65.06, NVIDIA GeForce GTX 1660 Ti", "cuda13"),
        ("12.0, 590.44.01, NVIDIA GeForce RTX 5090", "cuda13"),
        (GTX_1060, "cuda12"),
        ("7.0, 580.65.06, Tesla V100-SXM2-16GB", "cuda12"),
        ("8.9, 535.129.03, NVIDIA GeForce RTX 4090", "cuda12"),
        ("8.9, 525.60.13, NVIDIA GeForce RTX 4090", "cuda12"),
        ("8.6, 522.06, NVIDIA GeForce RTX 3080", None),
        (f"{RTX_4090}\n{GTX_1060}\n", "cuda12"),
        (f"{GTX_1060}\n{RTX_4090}\n", "cuda12"),
        (f"{H200}\r\n{RTX_4090}\r\n", "cuda13"),
        (f"12.0, 590.44.01, NVIDIA GeForce RTX 5090\n{GTX_1060}", "cuda12"),
        (f"[N/A], 580.65.06, Some display adapter\n{RTX_4090}\n", "cuda13"),
    ],
)
def test_choice(output: str, extra: str | None) -> None:
    assert choose_extra(output) == extra


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "no nvidia-smi"),
        ("No devices were found\n", "No devices were found"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make "
            "sure that the latest NVIDIA driver is installed and running.\n\n",
            "couldn't communicate",
        ),
        (
            "Failed to initialize NVML: Driver/library version mismatch\n"
            "NVML library version: 535.129\n",
            "version mismatch",
        ),
        ('Field "compute_cap" is not a valid field to query.\n\n', "too old"),
        ("8.6, 470.57.02, NVIDIA GeForce RTX 3080", "driver 525 or newer"),
        ("3.5, 580.65.06, NVIDIA GeForce GTX 780", "CUDA 12 starts at 5.0"),
    ],
)
def test_no_usable_gpu_says_why(output: str, reason: str) -> None:
    extra, message = explain_extra(output)
    assert extra is None
    assert reason in message
    assert "\n" not in message


def test_two_gpus_name_the_one_that_decides() -> None:
    assert "GTX 1060" in explain_extra(f"{RTX_4090}\n{GTX_1060}")[1]


def run_script(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", cuda_extra.__file__],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="the substitute for nvidia-smi is a shell script")
def test_script_needs_no_installed_package(tmp_path: Path) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text(
        "#!/bin/sh\n"
        '[ "$*" = "--query-gpu=compute_cap,driver_version,name --format=csv,noheader" ]'
        f' && echo "{GTX_1060}" || exit 2\n'
    )
    fake.chmod(0o755)
    done = run_script(str(tmp_path))
    assert done.stdout == "cuda12\n"
    assert "GTX 1060" in done.stderr


def test_script_without_nvidia_smi(tmp_path: Path) -> None:
    done = run_script(str(tmp_path))
    assert done.stdout == "\n"
    assert "none" in done.stderr

"""The compiled kernels on ARM, by an emulator: the same bits as the baseline of x86-64."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpunn.backends.compiled import cpu_kernels

ROOT = Path(__file__).parents[3]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
# As in setup.py.
FLAGS = ["-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-w"]
# They call the C library, whose last digit is another one on ARM: erfc of double, arcsin and such.
LIBRARY = {
    "expression float32", "expression float64",
    "bias_activation float64 Gelu", "activation_gradient float64 Gelu",
}  # fmt: skip


@pytest.mark.more
def test_operations_and_a_training_have_the_same_bits_on_arm(tmp_path: Path) -> None:
    tools = shutil.which(COMPILER) and shutil.which(EMULATOR)
    if not tools or cpu_kernels.why_not() or "baseline" not in cpu_kernels.available():
        reason = "needs g++-aarch64-linux-gnu and qemu-user of Debian, and the baseline kernels"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    support = ROOT / "tests" / "support"
    sources = [*(ROOT / "kernels" / "cpu").glob("*.cpp"), support / "host" / "replay.cpp"]
    sources = [path for path in sources if path.name != "module.cpp"]
    objects = [tmp_path / f"{path.stem}.o" for path in sources]

    def compiled(source: Path, target: Path) -> None:
        subprocess.run([COMPILER, *FLAGS, "-c", str(source), "-o", str(target)], check=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compiled, sources, objects))
    program, records = str(tmp_path / "replay"), str(tmp_path / "records")
    subprocess.run([COMPILER, *map(str, objects), "-pthread", "-o", program], check=True)
    paths = f"{ROOT}{os.pathsep}{support}"
    subprocess.run(
        [sys.executable, "host/recorded_calls.py", records],
        cwd=support, check=True, capture_output=True,
        env={**os.environ, "GPUNN_INSTRUCTIONS": "baseline", "PYTHONPATH": paths},
    )  # fmt: skip
    run = [EMULATOR, "-L", "/usr/aarch64-linux-gnu", program, records]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    *differing, same = done.stdout.splitlines()
    assert {line.partition(": ")[2] for line in differing} <= LIBRARY
    assert int(same.removeprefix("same: ")) > 1000

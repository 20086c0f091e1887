"""The compiled kernels, rebuilt with AddressSanitizer and UndefinedBehaviorSanitizer.

A separate process runs a training, every comparison with NumPy, and every operation with wrong
arguments.

AddressSanitizer ignores the masked loads and stores of AVX2. So the kernels are also built without
them: then it sees every access.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gpunn.backends.compiled import cpu_kernels

SOURCES = Path(__file__).parents[2] / "kernels" / "cpu"
# Not optimized: that takes minutes, and leaves fewer errors to find.
FLAGS = (
    "-O0", "-g1", "-std=c++17", "-fPIC", "-ffp-contract=off", "-Wno-unknown-pragmas",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DMODULE=_kernels_baseline",
)  # fmt: skip
FAULTS = """
#include "operation.hpp"
namespace {
void overrun(float* x, int64 n) { x[n] = 1; }
void overflow(int32* x) { x[0] += 1; }
const Registration registration([] {
    add<&overrun>("overrun");
    add<&overflow>("overflow");
});
}  // namespace
"""

FUZZ = """
import wrong_calls as t
backend = t.get_backend("compiled")
for operation, valid in t.valid_calls("compiled"):
    for label, arguments in t.wrong_calls(backend, operation, valid):
        t.outcome(backend, operation, arguments)
"""

pytestmark = [
    pytest.mark.more,
    pytest.mark.skipif(sys.platform != "linux", reason="the sanitizers are loaded as on Linux"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]


def runtime() -> list[Path]:
    """The sanitizer libraries; a program built without them must load them first."""
    return [
        Path(subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip())
        for name in ("libasan.so", "libubsan.so")
    ]


@pytest.fixture(scope="module", params=["baseline", "avx2"])
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension module built with sanitizers, with two additional faults."""
    wide = ("-mavx2", "-mfma") if request.param == "avx2" else ()
    if wide and not (cpu_kernels.why_not() is None and "avx2" in cpu_kernels.available()):
        pytest.skip("this machine has no AVX2")
    if not all(library.is_absolute() for library in runtime()):
        pytest.skip("g++ has no sanitizers")
    folder = tmp_path_factory.mktemp("sanitized")
    (folder / "faults.cpp").write_text(FAULTS)
    flags = [*FLAGS, *wide]
    flags += [
        f"-I{path}"
        for path in (SOURCES, np.get_include(), sysconfig.get_paths()["include"])
    ]

    def build(source: Path) -> str:
        out = str(folder / f"{source.stem}.o")
        subprocess.run(["g++", *flags, "-c", str(source), "-o", out], check=True)
        return out

    # The longest first, so that none is left over at the end.
    sources = [*SOURCES.glob("*.cpp"), folder / "faults.cpp"]
    sources.sort(key=lambda source: source.stat().st_size, reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(build, sources))
    made = folder / "sanitized.so"
    subprocess.run(["g++", "-shared", "-pthread", *flags, *objects, "-o", str(made)], check=True)
    return made


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[1] / "support",
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LD_PRELOAD": " ".join(map(str, runtime())),
            "PYTHONMALLOC": "malloc",  # otherwise Python's allocations are one block to them
            "ASAN_OPTIONS": "detect_leaks=0",  # Python leaves much allocated at exit
            "GPUNN_INSTRUCTIONS": "baseline",
        },
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip


def test_every_operation_runs_clean(module: Path) -> None:
    done = run("compiled_digests.py", str(module))
    assert done.returncode == 0, done.stderr[-6000:]


def test_no_wrong_call_reaches_an_operation(module: Path) -> None:
    load = f"import compiled_digests; compiled_digests.substitute({str(module)!r})"
    done = run("-c", f"{load}{FUZZ}")
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ('["overrun",](np.zeros(1000, np.float32), 1000)', "heap-buffer-overflow"),
        ('["overflow",](np.full(1, 2**31 - 1, np.int32))', "signed integer overflow"),
    ],
    ids=["a write beyond the end", "an overflow"],
)
def test_a_fault_is_found(module: Path, call: str, complaint: str) -> None:
    load = f"import compiled_digests, numpy as np; compiled_digests.substitute({str(module)!r})"
    library = "compiled_digests.cpu_kernels.library()"
    done = run("-c", f"{load}; {library}.operations{call}")
    assert done.returncode != 0
    assert complaint in done.stderr

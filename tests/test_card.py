"""What a machine without a usable card is told, and what cuBLAS would be told on one with."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunn.backends import card, cuda

INSTALL = r'pip install "gpunn\[cuda12\]"'


class Machine:
    """A pretended CuPy: what it finds is set by attributes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.distributions = ["cupy-cuda12x"]
        self.driver, self.cuda, self.capability, self.cards = 12080, 12090, "61", 1
        self.missing: set[str] = set()
        monkeypatch.setattr(card, "_installed", lambda name: name in self.distributions)
        monkeypatch.setattr(
            card.util, "find_spec", lambda name: object() if self.distributions else None
        )
        monkeypatch.setattr(card, "cublas_library", lambda: self.need("libcublas.so.12"))
        cupy, cupy_cuda = ModuleType("cupy"), ModuleType("cupy.cuda")
        runtime = SimpleNamespace(
            driverGetVersion=lambda: self.driver,
            runtimeGetVersion=lambda: self.cuda,
            getDeviceCount=self.count,
        )
        nvrtc = SimpleNamespace(getVersion=lambda: self.need("libnvrtc.so.12"))
        for name, value in {
            "runtime": runtime,
            "nvrtc": nvrtc,
            "is_available": lambda: self.driver > 0 and self.cards > 0,
            "Device": lambda: SimpleNamespace(compute_capability=self.capability),
        }.items():
            setattr(cupy_cuda, name, value)
        cupy.cuda = cupy_cuda  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "cupy.cuda", cupy_cuda)

    def count(self) -> int:
        if self.cards < 0:
            raise RuntimeError("cudaErrorInsufficientDriver: driver version is insufficient\nmore")
        return self.cards

    def need(self, library: str) -> None:
        if library in self.missing:
            raise RuntimeError(f"{library} was not found")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "not installed": ({"distributions": []}, f"not installed: {INSTALL}"),
    "two distributions": (
        {"distributions": ["cupy-cuda12x", "cupy-cuda13x"]},
        rf"pip uninstall -y cupy-cuda12x cupy-cuda13x, then {INSTALL}",
    ),
    "no driver": ({"driver": 0, "cards": -1}, "no NVIDIA driver: install it"),
    "no card": ({"cards": 0}, "finds no card .see nvidia-smi"),
    "driver too old": ({"cards": -1}, "finds no usable card .cudaErrorInsufficientDriver"),
    "card too old": (
        {"distributions": ["cupy-cuda13x"], "cuda": 13000},
        rf"capability 6.1\) is too old .* CUDA 13: pip uninstall -y cupy-cuda13x, then {INSTALL}",
    ),
    "no NVRTC": ({"missing": {"libnvrtc.so.12"}}, rf"libnvrtc.so.12 was not found\): {INSTALL}"),
    "no cuBLAS": ({"missing": {"libcublas.so.12"}}, rf"libcublas.so.12 was not found\): {INSTALL}"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_missing(machine: Machine, case: str) -> None:
    found, line = CASES[case]
    for name, value in found.items():
        setattr(machine, name, value)
    reason = card.why_not.__wrapped__()
    assert reason is not None and "\n" not in reason
    with pytest.raises(AssertionError, match=line):
        raise AssertionError(reason)


@pytest.mark.parametrize("capability, version", [("61", 12090), ("75", 13000), ("90", 12090)])
def test_nothing_is_missing(machine: Machine, capability: str, version: int) -> None:
    machine.capability, machine.cuda = capability, version
    assert card.why_not.__wrapped__() is None


def test_an_import_that_fails_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    reason = card.why_not.__wrapped__()
    assert reason is not None and reason.startswith("CuPy cannot be imported")


PROGRAM = """
import sys
import gpunn
assert "cupy" not in sys.modules, "import gpunn imports cupy"
gpunn.use_backend("auto")
for _ in range(2):
    assert gpunn.backends.get_backend().name == "numpy"
try:
    gpunn.use_backend("cupy")
except RuntimeError as error:
    print(error)
"""


def test_auto_falls_back_once_and_aloud_and_cupy_refuses(tmp_path: Path) -> None:
    """In a process of its own, with a CuPy that breaks when it is imported."""
    (tmp_path / "cupy.py").write_text("raise OSError('libcuda.so.1 is broken')")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=True,
    )
    reason = "CuPy cannot be imported (libcuda.so.1 is broken): pip install"
    assert done.stderr.count("\n") == 1 and reason in done.stderr
    assert done.stdout.startswith(f"The CuPy backend cannot be used. {reason}")


def _gemm(real: Any) -> Any:
    """cublas<t>gemm_v2_64 as its documentation describes it, on host memory."""
    pointer, size = ctypes.c_void_p, ctypes.c_int64

    def gemm(
        handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int,
        b: int, ldb: int, beta: Any, c: int, ldc: int,
    ) -> int:  # fmt: skip
        def columns(address: int, rows: int, count: int, stride: int) -> np.ndarray:
            flat = np.ctypeslib.as_array((real * (stride * count)).from_address(address))
            return flat.reshape(count, stride).T[:rows]

        op_a = columns(a, k, m, lda).T if transa else columns(a, m, k, lda)
        op_b = columns(b, n, k, ldb).T if transb else columns(b, k, n, ldb)
        out = columns(c, m, n, ldc)
        out[...] = alpha[0] * op_a @ op_b + beta[0] * out
        return 0

    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int, pointer, ctypes.c_int, ctypes.c_int, size, size, size, ctypes.POINTER(real),
        pointer, size, pointer, size, ctypes.POINTER(real), pointer, size,
    )  # fmt: skip
    return prototype(gemm)


class _HostArray(np.ndarray):
    @property
    def data(self) -> Any:  # as CuPy has it
        return SimpleNamespace(ptr=self.ctypes.data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cublas_is_asked_for_the_right_product(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def note(name: str, status: int = 0) -> Any:
        return lambda *arguments: calls.append(name) or status

    library = SimpleNamespace(
        cublasCreate_v2=note("create"),
        cublasSetStream_v2=note("stream"),
        cublasSetWorkspace_v2=note("workspace"),
        cublasSgemm_v2_64=_gemm(ctypes.c_float),
        cublasDgemm_v2_64=_gemm(ctypes.c_double),
    )
    monkeypatch.setattr(cuda, "cublas_library", lambda: library)
    device = SimpleNamespace(compute_capability="61")
    cupy = SimpleNamespace(
        empty=lambda shape, dtype: np.empty(shape, dtype).view(_HostArray),
        cuda=SimpleNamespace(Device=lambda: device),
    )
    product = cuda._Cublas(cupy, SimpleNamespace(ptr=0))
    assert calls == ["create", "stream", "workspace"]  # setting the stream resets the work space
    rng = np.random.default_rng(0)
    for m, k, n in [(1, 1, 1), (2, 3, 4), (5, 1, 3), (1, 6, 2), (7, 4, 1)]:
        for options in range(8):
            transpose_a, transpose_b, accumulate = (bool(options & bit) for bit in (1, 2, 4))
            a, b, out = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), (m, n)))
            expected = a @ b + accumulate * out
            stored = [
                np.ascontiguousarray(x.T if transposed else x).view(_HostArray)
                for x, transposed in ((a, transpose_a), (b, transpose_b), (out, False))
            ]
            product(*stored, transpose_a, transpose_b, accumulate)
            np.testing.assert_allclose(stored[2], expected, 1e-4, 1e-6)
    library.cublasSetStream_v2 = note("stream", status=7)
    with pytest.raises(RuntimeError, match="cublasSetStream_v2 failed with status 7"):
        cuda._Cublas(cupy, SimpleNamespace(ptr=0))

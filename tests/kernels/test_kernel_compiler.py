"""How kernels are compiled for a GPU: with which options, for which architecture, and once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpunn.backends.cupy.driver import nvrtc
from gpunn.backends.cupy.launch.codegen import PartCall, by_itself
from gpunn.backends.cupy.launch.kernel_source import OPTIONS
from gpunn.common.cache import cache_folder

TEXT = """
extern "C" __global__ void scaled(float* x, float* y) {
    x[threadIdx.x] = x[threadIdx.x] / y[threadIdx.x] + sqrtf(y[threadIdx.x]) * 3.0f;
}
"""
NEWER = 990  # a compute capability that no compiler knows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path))


def files() -> list[Path]:
    return [path for path in cache_folder().rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "text", [TEXT, by_itself(PartCall("row_activation", ("float", "LogSoftmax"))).text]
)
def test_subnormal_values_are_kept(text: str) -> None:
    """The instructions of NVIDIA's PTX that flush them are named ``.ftz``, and those that round
    quotients and roots coarsely ``.approx`` or ``.full``."""
    ptx = nvrtc.load_code(text, NEWER).decode()
    arithmetic = re.findall(r"\b(?:add|sub|mul|fma|div|sqrt)\S*\.f32", ptx)
    assert arithmetic
    assert not [name for name in arithmetic if re.search("ftz|approx|full", name)]


def test_a_known_gpu_gets_machine_code() -> None:
    code = nvrtc.load_code(TEXT, 61)
    assert code.startswith(b"\x7fELF") and b"scaled" in code
    assert nvrtc.load_code(TEXT, 75) != code


def test_a_newer_gpu_gets_assembly_of_the_newest_known() -> None:
    ptx = nvrtc.load_code(TEXT, NEWER)
    assert ptx.endswith(b"\0")  # as the driver expects
    target = re.search(rb"\.target sm_(\d+)", ptx)
    assert target and int(target[1]) >= 90
    for newest in (int(target[1]), int(target[1]) + 1):
        assert nvrtc.load_code(TEXT, newest).startswith(b"\x7fELF") == (newest == int(target[1]))


def test_a_gpu_that_is_too_old_is_refused() -> None:
    with pytest.raises(nvrtc.CompileError, match=r"does not compile for compute capability 3\.5"):
        nvrtc.load_code(TEXT, 35)


def test_an_error_is_the_compilers() -> None:
    with pytest.raises(nvrtc.CompileError, match=r'kernels\.cu\(1\): error: .*"nothing"'):
        nvrtc.load_code("int f() { return nothing; }", 61)
    assert files() == []


def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    code = nvrtc.load_code(TEXT, 61)
    (file,) = files()
    file.write_bytes(file.read_bytes()[:-1])  # truncated
    assert nvrtc.load_code(TEXT, 61) == code

    def refuse(*given: object) -> None:
        raise AssertionError("compiled again")

    with monkeypatch.context() as patch:
        patch.setattr(nvrtc, "compile_source", refuse)
        assert nvrtc.load_code(TEXT, 61) == code
        for text, capability in ((TEXT + " ", 61), (TEXT, 75)):
            with pytest.raises(AssertionError, match="compiled again"):
                nvrtc.load_code(text, capability)
        patch.setattr(nvrtc, "OPTIONS", (*OPTIONS, "-DMORE"))
        with pytest.raises(AssertionError, match="compiled again"):
            nvrtc.load_code(TEXT, 61)


def test_it_does_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path / "file"))
    assert nvrtc.load_code(TEXT, 61).startswith(b"\x7fELF")

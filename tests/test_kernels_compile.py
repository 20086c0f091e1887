"""Every kernel, for every type and formula it can be launched with, compiled for each card."""

from __future__ import annotations

import re
from pathlib import Path

import kernel_table
import numpy as np
import nvrtc
import pytest
from kernel_table import ARCHITECTURES

from gpunn.backends import control, kernel_source

SHARED_LIMIT = 48 * 1024  # of static shared memory, on every card
BLOCK = 1024  # threads in the largest block
REGISTER_FILE = 65536


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", kernel_source.files(".cu"))
def test_compiles_without_spills(file: str, architecture: int) -> None:
    kernels = [k for k in kernel_source.kernels().values() if k.file == file]
    entries = [entry for kernel in kernels for entry in kernel.entries()]
    assert entries
    resources = kernel_table.resources(file, architecture)
    assert list(resources) == entries
    for entry, used in resources.items():
        assert used.registers > 0, entry  # else the report was not understood
        assert used.spills == 0, f"{entry}: {used}"
        assert used.shared <= SHARED_LIMIT, f"{entry}: {used}"
        assert used.registers * 256 <= REGISTER_FILE, f"{entry}: {used}"


def test_the_table_is_that_of_the_kernels() -> None:
    """It names every kernel; its figures are those of its own version of the compiler."""
    table = kernel_table.read()
    entries = [e for kernel in kernel_source.kernels().values() for e in kernel.entries()]
    assert sorted(table.figures) == sorted(entries), "make kernels"
    assert all(set(by_card) == set(ARCHITECTURES) for by_card in table.figures.values())
    if table.version == nvrtc.version():
        assert table.figures == kernel_table.figures(), "the kernels have changed: make kernels"


@pytest.mark.parametrize("pattern", [r"\| `advance` .*\n", r"(?<=\| `advance` \| )\d+"])
def test_a_stale_table_is_seen(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = kernel_table.RESULT.read_text()
    monkeypatch.setattr(kernel_table, "RESULT", tmp_path / "kernels.md")
    kernel_table.RESULT.write_text(re.sub(r"NVRTC \d+\.\d+", f"NVRTC {nvrtc.version()}", text))
    monkeypatch.setattr(kernel_table, "figures", lambda: now)
    now = kernel_table.read().figures
    test_the_table_is_that_of_the_kernels()
    kernel_table.RESULT.write_text(re.sub(pattern, "", kernel_table.RESULT.read_text()))
    with pytest.raises(AssertionError, match="make kernels"):
        test_the_table_is_that_of_the_kernels()


DOUBLE = re.compile(r"\b(?:add|sub|mul|div|fma|cvt|sqrt|rcp)\S*\.f64\S*")
SINGLE = [
    *(f"{kernel}<float, {f}>" for kernel in ("bias_activation", "activation_gradient")
      for f in kernel_source.options("Activation")),
    *(f"{kernel}<{source}, float>" for kernel in ("affine", "gather")
      for source in ("uint8", "int32", "float16", "float")),
    "dropout<float>", "dropout_gradient<float>", "column_sums<float>", "clip_values<float>",
    "row_activation<float, Softmax>", "row_activation_gradient<float, Softmax>",
]  # fmt: skip


@pytest.mark.parametrize("entry", SINGLE)
def test_single_precision_stays_single(entry: str) -> None:
    """The cards that most people own compute doubles 32 times more slowly."""
    file = kernel_source.kernels()[entry.split("<")[0]].file
    ptx = nvrtc.assembly(kernel_source.source(file), entry, kernel_source.OPTIONS)
    assert "st.global.f32" in ptx
    assert not DOUBLE.findall(ptx)


def test_double_precision_is_seen() -> None:
    entry = "activation_gradient<double, Sigmoid>"
    ptx = nvrtc.assembly(kernel_source.source("elementwise.cu"), entry, kernel_source.OPTIONS)
    assert "mul.f64" in DOUBLE.findall(ptx)


def test_spills_and_shared_memory_are_seen() -> None:
    """The report names what the test above looks for."""
    source = """
    __global__ void __launch_bounds__(1024, 2) crowded(float* x) {
        __shared__ float tile[1000];
        float kept[64];
        #pragma unroll
        for (int i = 0; i < 64; ++i) kept[i] = x[i * 1024 + threadIdx.x];
        tile[threadIdx.x % 1000] = kept[0];
        __syncthreads();
        #pragma unroll
        for (int i = 0; i < 64; ++i)
            x[i * 1024 + threadIdx.x] = kept[63 - i] * kept[i] + tile[i];
    }
    """
    used = nvrtc.compile_kernels(source, 61, ["crowded"])["crowded"]
    assert used.shared == 4000
    assert used.spills > 0
    assert used.registers == 32


def test_compile_errors_name_the_file_and_line() -> None:
    broken = kernel_source.source("control.cu").replace("counters[UPDATES] += 1", "nothing += 1")
    with pytest.raises(nvrtc.CompileError, match=r'control\.cu\(1\d\): error: .*"nothing"'):
        nvrtc.compile_kernels(broken, 61, ["advance"])


def test_every_kernel_was_found() -> None:
    """The signatures are read with a regular expression: it must not overlook one."""
    written = sum(
        kernel_source.text(file).count("__global__") for file in kernel_source.files(".cu")
    )
    assert len(kernel_source.kernels()) == written
    for kernel in kernel_source.kernels().values():
        text = kernel_source.text(kernel.file)
        parameters = text[text.index(f" {kernel.name}(") :].split(")")[0]
        assert len(kernel.parameters) == parameters.count(",") + 1, kernel.name


def test_headers_hold_plain_cpp() -> None:
    """Formulas know nothing that only CUDA knows, so that another compiler can take them."""
    for file in kernel_source.files(".cuh"):
        if file != "threads.cuh":  # the one header about CUDA's threads
            text = kernel_source.text(file)
            for word in ("threadIdx", "blockIdx", "__syncthreads", "__shfl", "__global__"):
                assert word not in text, f"{word} in {file}"


def test_control_places_are_those_of_python() -> None:
    text = kernel_source.text("control.cuh")
    names = text[text.index("enum Counter {") + 14 :].split("}")[0].replace(",", " ").split()
    assert [getattr(control, name) for name in names] == list(range(len(names)))
    assert "enum Rate { LEARNING_RATE }" in text and control.LEARNING_RATE == 0


def test_unknown_formula_suggests_the_closest() -> None:
    kernel = kernel_source.kernels()["bias_activation"]
    with pytest.raises(ValueError, match="did you mean 'Sigmoid'"):
        kernel.entry("float", "Sigmoit")


def test_arguments_of_another_type_are_refused() -> None:
    kernel = kernel_source.kernels()["clip_values"]
    with pytest.raises(TypeError, match="gradients is float64, not float32"):
        kernel.arguments(("float",), (np.zeros(3), 1.0, 3))
    with pytest.raises(TypeError, match="not C-contiguous"):
        kernel.arguments(("float",), (np.zeros(6, np.float32)[::2], 1.0, 3))
    with pytest.raises(TypeError, match="takes 3 arguments, not 2"):
        kernel.arguments(("float",), (np.zeros(3, np.float32), 1.0))
    array, limit, n = kernel.arguments(("float",), (np.zeros(3, np.float32), 1, 3))
    assert array.dtype == limit.dtype == np.float32 and n.dtype == np.int64

"""Every kernel, for every type and formula it can be launched with, compiled for each GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kernel_resources import check

from benchmarks.gpu import constants, hot_kernels, kernel_table, nvrtc, sass
from benchmarks.gpu.kernel_table import ARCHITECTURES
from gpunn.backends.contract import control
from gpunn.backends.cupy import convolution, sums
from gpunn.backends.cupy.driver.nvrtc import CompileError
from gpunn.backends.cupy.launch import kernel_source
from gpunn.backends.cupy.launch.codegen import (
    BLOCK,
    WARP,
    Kernel,
    PartCall,
    by_itself,
    every_kernel,
)
from gpunn.backends.cupy.launch.kernel_source import OPTIONS
from gpunn.backends.cupy.launch.known_gpus import GPU, GPUS
from gpunn.common.source_root import source_root


def compilations() -> Iterator[Any]:
    """Every file for every GPU. Each run compiles every other file, for the oldest GPU."""
    for number, file in enumerate(kernel_source.files(".cu")):
        for architecture in ARCHITECTURES:
            more = number % 2 or architecture != ARCHITECTURES[0]
            yield pytest.param(file, architecture, marks=[pytest.mark.more(2)] if more else [])


@pytest.mark.parametrize(("file", "architecture"), list(compilations()))
def test_compiles_without_spills(file: str, architecture: int) -> None:
    resources = kernel_table.resources(file, architecture)
    assert list(resources) == [kernel.calls[0].entry for kernel in every_kernel(file)]
    assert resources
    check(resources)


PAGES = pytest.mark.parametrize(
    "page", [kernel_table, hot_kernels, constants], ids=lambda page: page.RESULT.name
)


@PAGES
def test_a_page_is_that_of_the_kernels(page: Any) -> None:
    """It states what it was made from, so that this needs no compiler."""
    assert f"digest {page.digest()}" in page.RESULT.read_text(), "stale: run `make kernels`"


@PAGES
def test_a_page_of_other_kernels_is_seen(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that another compiler option, or one more character in a source, would make."""
    found = [page.digest()]
    with monkeypatch.context() as patch:
        patch.setattr(nvrtc, "OPTIONS", (*OPTIONS, "--use_fast_math"))
        found.append(page.digest())
    for name in ("text", "function"):
        whole = vars(Kernel)[name].func
        patched = property(lambda kernel, whole=whole: f"{whole(kernel)} ")
        monkeypatch.setattr(Kernel, name, patched)
    found.append(page.digest())
    assert len(set(found)) == 3


@pytest.mark.more(3)
@PAGES
def test_a_page_has_the_figures_of_the_kernels(page: Any) -> None:
    """But for the seconds, they apply to the version of the compiler that it states."""
    if page is hot_kernels and sass.disassembler() is None:
        pytest.skip("nvdisasm is missing: pip install 'gpunn[sass]'")
    written, seconds = page.RESULT.read_text(), r"\d+\.\d+ -> \d+\.\d+ \|$"
    if f"NVRTC {nvrtc.version()} " in written:
        now = re.sub(seconds, "", page.text(), flags=re.MULTILINE)
        assert re.sub(seconds, "", written, flags=re.MULTILINE) == now, "stale: run `make kernels`"


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_convolution_without_patches_is_chosen_where_it_is_faster(gpu: GPU) -> None:
    """As predicted, on every known GPU, for the small convolutional network."""
    *_, difference = hot_kernels.patches_row(gpu)
    assert difference.startswith("-")


@pytest.mark.parametrize(
    ("registers", "shared", "architecture", "expected"),
    [
        # From NVIDIA's occupancy calculator, for blocks of 256 threads.
        (32, 0, 61, 1.0), (33, 0, 61, 0.75), (64, 0, 90, 0.5), (255, 0, 90, 0.125),
        (40, 0, 86, 1.0), (41, 0, 86, 5 / 6), (32, 48 * 1024, 61, 0.25), (32, 48 * 1024, 86, 1 / 3),
    ],
)  # fmt: skip
def test_occupancy(registers: int, shared: int, architecture: int, expected: float) -> None:
    used = nvrtc.Resources(registers, shared, 0, 0)
    assert hot_kernels.occupancy(used, architecture) == pytest.approx(expected)


DOUBLE = re.compile(r"\b(?:add|sub|mul|div|fma|cvt|sqrt|rcp)\S*\.f64\S*")
SINGLE = [
    *(f"{kernel}<float, {f}>" for kernel in ("bias_activation", "activation_gradient")
      for f in kernel_source.options("Activation")),
    *(f"{kernel}<{source}, float>" for kernel in ("affine", "gather")
      for source in ("uint8", "int32", "float16", "float")),
    *(f"{kernel}<float>" for kernel in (
        "patches", "patches_gradient", "max_pooling", "max_pooling_gradient", "average_pooling",
        "average_pooling_gradient", "crop_or_pad", "swap_axes", "convolution", "kernel_gradient",
        "few_rows_gradient", "pooled_convolution", "pooled_few_rows_gradient", "unpooling",
        "grouped_convolution", "grouped_image_gradient", "grouped_kernel_gradient",
    )),
    "dropout<float>", "dropout_gradient<float>", "column_sums<float>", "clip_values<float>",
    *(f"{kernel}<float, {f}>" for kernel in ("row_activation", "row_activation_gradient")
      for f in kernel_source.options("RowActivation")),
]  # fmt: skip


def assembly(entry: str) -> str:
    """Return the assembly of the kernel made of this part alone."""
    part, *choices = re.findall(r"\w+", entry)
    kernel = by_itself(PartCall(part, tuple(choices)))
    return nvrtc.assembly(kernel.text)


@pytest.mark.parametrize("entry", SINGLE)
def test_single_precision_stays_single(entry: str) -> None:
    """Consumer GPUs compute doubles 32 times more slowly."""
    ptx = assembly(entry)
    assert "st.global.f32" in ptx
    found = DOUBLE.findall(ptx)
    text = kernel_source.text("generated_activations.cuh")
    struct = text[text.find(f"struct {entry.split()[-1][:-1]} :") :].partition("\n};")[0]
    parameters = set(re.findall(r"\bp\[\w+\]", struct))  # given as doubles, converted once
    assert set(found) <= {"cvt.rn.f32.f64"} and len(found) <= len(parameters)


def test_double_precision_is_seen() -> None:
    assert "mul.f64" in DOUBLE.findall(assembly("activation_gradient<double, Sigmoid>"))


def test_spills_and_shared_memory_are_seen() -> None:
    """The report contains the values that the test above checks."""
    source = """
    extern "C" __global__ void __launch_bounds__(1024, 2) crowded(float* x) {
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
    kernel = by_itself(PartCall("advance", ()))
    broken = kernel.text.replace("counters[UPDATES] = updates", "nothing = updates")
    with pytest.raises(CompileError, match=r'control\.cu\(1\d\): error: .*"nothing"'):
        nvrtc.compile_kernels(broken, 61, [kernel.name])


def test_every_part_was_found() -> None:
    """The signatures are read with a regular expression, which must not miss any."""
    sources = [kernel_source.text(file) for file in kernel_source.files(".cu")]
    assert len(kernel_source.parts()) == sum(text.count("_PART void") for text in sources)
    for part in kernel_source.parts().values():
        text = kernel_source.text(part.file)
        signature = text[text.index(f" {part.name}(") :].split(")")[0]
        assert len(part.parameters) == signature.count(","), part.name
        for mark in ("ROW_SLICED", "GRID_STRIDED", "BLOCK_COPY", "RUN_TIME", "COMPILE_TIME"):
            marked = sum(p.mark == mark for p in part.parameters)
            assert marked == signature.count(f"{mark} ")
        assert sum(p.constant for p in part.parameters) == signature.count("const ")


def test_the_list_for_the_cpu_has_every_formula() -> None:
    """`make formulas` writes `kernels/cpu/generated_formulas.hpp`, which is committed."""
    text = (source_root("kernels") / "cpu" / "generated_formulas.hpp").read_text()
    listed = {
        kind.replace("_", ""): re.findall(r"X\((\w+)\)", names)
        for kind, names in re.findall(r"#define EACH_(\w+)\(X\)((?:.*\\\n)*.*)", text)
    }
    known = kernel_source.formulas().items()
    assert listed == {kind.upper(): list(names) for kind, names in known}


def test_headers_hold_plain_cpp() -> None:
    """Formulas use nothing specific to CUDA, so that another compiler can compile them."""
    folder = source_root("kernels") / "formulas"
    for file in kernel_source.files(".cuh"):
        if (folder / file).is_file():
            text = kernel_source.text(file)
            for word in ("threadIdx", "blockIdx", "__syncthreads", "__shfl", "ThreadGroup"):
                assert word not in text, f"{word} in {file}"


def test_control_places_are_those_of_python() -> None:
    text = kernel_source.text("control.cuh")
    names = text[text.index("enum Counter {") + 14 :].split("}")[0].replace(",", " ").split()
    assert [getattr(control, name) for name in names] == list(range(len(names)))
    assert "enum Rate { LEARNING_RATE }" in text and control.LEARNING_RATE == 0
    assert f"constexpr int COUNTERS = {control.COUNTERS};" in text


def test_sizes_are_those_of_python() -> None:
    constants = {"BLOCK": BLOCK, "WARP": WARP, "COLUMN_TILE": sums.COLUMN_TILE}
    constants["DEPTH"] = convolution.DEPTH
    text = kernel_source.source("reductions.cu", "convolution.cu")
    for name, value in constants.items():
        assert f"constexpr int {name} = {value};" in text


def test_unknown_formula_suggests_the_closest() -> None:
    part = kernel_source.parts()["bias_activation"]
    with pytest.raises(ValueError, match="did you mean 'Sigmoid'"):
        part.entry("float", "Sigmoit")


def test_arguments_of_another_type_are_refused() -> None:
    part = kernel_source.parts()["clip_values"]
    with pytest.raises(TypeError, match="gradients is float64, not float32"):
        part.arguments(("float",), (np.zeros(3), 1.0, 3))
    with pytest.raises(TypeError, match="not C-contiguous"):
        part.arguments(("float",), (np.zeros(6, np.float32)[::2], 1.0, 3))
    with pytest.raises(TypeError, match="takes 3 arguments, not 2"):
        part.arguments(("float",), (np.zeros(3, np.float32), 1.0))
    array, limit, n = part.arguments(("float",), (np.zeros(3, np.float32), 1, 3))
    assert array.dtype == limit.dtype == np.float32 and n.dtype == np.int64

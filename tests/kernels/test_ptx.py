"""The PTX that NVRTC makes of the kernels, run on the CPU, computes what NumPy does."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import ptx
import pytest
from comparisons import COMPARISONS
from comparisons.samples import DTYPES, Sample, make_gpu
from digit_networks import digits, program_1, program_2
from host_kernels import compile_file, compile_text

import gpunn
from gpunn.backends.contract.backend import LAUNCH_MODES

FEW = ("column_sums", "regularize", "persistent_steps", "persistent_scan")
FEW_WAYS = ("fused", 61), ("persistent", 61)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("architecture", [61, 90])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FEW else [pytest.mark.more(4)]) for n in COMPARISONS]
)
def test_ptx_agrees_with_numpy(name: str, architecture: int) -> None:
    gpu = make_gpu(architecture=architecture, orders=(0, 2))
    for dtype in DTYPES:
        COMPARISONS[name](gpu, Sample(3, 33, dtype))


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "find_races"),
    [
        pytest.param("column_sums", r"bar\.sync[^;]*;", "", False, id="a barrier removed"),
        pytest.param("persistent_steps", r"membar\.gl;", "", True, id="a fence removed"),
        pytest.param("column_sums", r"\badd\.f32", "sub.f32", False, id="a wrong opcode"),
    ],
)
def test_a_fault_in_the_ptx_is_noticed(
    name: str, pattern: str, replacement: str, find_races: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_cpp = ptx.to_cpp

    def planted(text: str) -> str:
        return to_cpp(re.sub(pattern, replacement, text))

    monkeypatch.setattr(ptx, "to_cpp", planted)
    compile_file.cache_clear()
    try:
        with pytest.raises((AssertionError, RuntimeError)):
            for sample in (Sample(33, 10), Sample(200, 3)):
                gpu = make_gpu(architecture=61, orders=(0, 1, 2), find_races=find_races)
                COMPARISONS[name](gpu, sample)
    finally:
        compile_file.cache_clear()


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("program", [program_1, program_2])
@pytest.mark.parametrize(
    ("mode", "architecture"),
    [
        pytest.param(*how, marks=[] if how in FEW_WAYS else [pytest.mark.more])
        for how in itertools.product(LAUNCH_MODES, (61, 90))
    ],
)
def test_trainings_by_ptx_are_those_of_numpy(
    mode: str, architecture: int, program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", mode)
    found = []
    for backend in ("numpy", make_gpu(architecture=architecture, orders=(2,))):
        gpunn.utils.set_random_seed(1)
        model = program(backend=backend, dtype="float64")
        x, y = digits(21)  # the last batch is smaller
        history = model.fit(x, y, batch_size=8, epochs=1, verbose=0).history
        found.append([*model.get_weights(), history["loss"], history["accuracy"]])
    for expected, mine in zip(*found, strict=True):
        np.testing.assert_allclose(mine, expected, 1e-10, 1e-12)


EDGES = """
extern "C" __global__ void edges(const float* x, const double* y, int* a, long long* b,
                                 unsigned* c, unsigned n) {
    const int i = threadIdx.x;
    a[i] = int(x[i]);
    b[i] = (long long)y[i];
    c[i] = 1u << (n + i);
}
"""


@pytest.mark.parametrize("architecture", [61, 90])
def test_conversions_and_shifts_are_those_of_a_gpu(architecture: int) -> None:
    """The manual: conversions clamp, NaN is 0 unless a type has 64 bits, shifts are clamped."""
    x = np.array([np.nan, 3e9, -3e9, -1.5], np.float32)
    y = np.array([np.nan, 1e19, -1e19, -1.5])
    a, b, c = np.zeros(4, np.int32), np.zeros(4, np.int64), np.zeros(4, np.uint32)
    run = compile_text(EDGES, ["edges"], architecture=architecture)["edges"]
    run((1,), (4,), [x, y, a, b, c, np.uint32(30)])
    assert a.tolist() == [0, 2**31 - 1, -(2**31), -1]
    assert b.tolist() == [-(2**63), 2**63 - 1, -(2**63), -1]
    assert c.tolist() == [2**30, 2**31, 0, 0]


def test_an_unknown_instruction_is_refused_with_its_line() -> None:
    text = ".visible .entry f()\n{\n.reg .f32 %f<2>;\nsin.approx.f32 %f1, %f0;\nret;\n}\n"
    with pytest.raises(ptx.PtxError, match=r"line 4: unknown instruction sin\.approx\.f32 %f1"):
        ptx.to_cpp(text)

"""Expressions as kernels: the generated text, run on the CPU and compiled."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from functools import partial
from typing import Any

import emulated
import numpy as np
import pytest
from comparisons.expression_cases import ExpressionCase, Numbers, Size, every_case, of
from comparisons.samples import assert_alike, make_gpu, on_both
from kernel_resources import check

import gpunn
from benchmarks.gpu import nvrtc
from benchmarks.gpu.kernel_table import ARCHITECTURES
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.expression import (
    COLUMNS,
    ELEMENTS,
    MOST_ARRAYS,
    MOST_INSTRUCTIONS,
)
from gpunn.backends.cupy.launch.codegen import Kernel
from gpunn.backends.cupy.launch.expressions import text_of
from gpunn.backends.cupy.launch.kernel_source import part_named, source

GPUS = {"text": make_gpu()}
GPUS |= {f"sm_{each}": make_gpu(architecture=each, orders=(0, 2)) for each in (61, 90)}
CASES = [
    pytest.param(
        gpu, case, size, id=f"{gpu}, {dtype}, {case.name}, {size[0]} by {size[1]}",
        marks=[pytest.mark.more] if dtype == "float64" or gpu != "text" else [],
    )
    for gpu in GPUS
    for dtype in ("float32", "float64")
    for case in every_case(dtype)
    for size in case.sizes
]  # fmt: skip


@pytest.mark.parametrize(("gpu", "case", "size"), CASES)
def test_an_expression_is_that_of_numpy(gpu: str, case: ExpressionCase, size: Size) -> None:
    """By the text, and by PTX for two architectures. The bits do not depend on the thread order;
    nothing outside the arrays is written."""
    arrays: Any = case.arrays(size, np.random.default_rng(5))
    both = on_both(GPUS[gpu], partial(case.ask, size=size), **arrays)
    assert_alike(*both, case.expression.dtype)


# -- the text


def composed(*cases: ExpressionCase) -> list[Kernel]:
    """Return the kernels launched for the expressions of these cases."""
    found = []
    for case in cases:
        for size in case.sizes:
            arrays: Any = case.arrays(size, np.random.default_rng(0))
            found += emulated.launched(partial(case.ask, arrays=arrays, size=size))
    return [k for k in dict.fromkeys(found) if k.name.startswith("expression_")]


def largest(dtype: str) -> ExpressionCase:
    """The largest number of arrays and instructions, all of them needed to the end."""
    inputs, outputs = MOST_ARRAYS - 4, 4
    steps: list[tuple[Any, ...]] = [("row_max", 0)]
    steps += [("exp", number % (inputs + len(steps))) for number in range(MOST_INSTRUCTIONS // 2)]
    while len(steps) < MOST_INSTRUCTIONS:
        last = inputs + len(steps) - 1
        steps.append(("multiply", last, inputs + MOST_INSTRUCTIONS - len(steps)))
    write = range(inputs + len(steps) - outputs, inputs + len(steps))
    made = of(dtype, (ELEMENTS,) * inputs, *steps, write=write)
    return ExpressionCase("the largest", made, sizes=((5, 33),))


def compilations() -> list[Any]:
    return [
        pytest.param(dtype, name, marks=[pytest.mark.more] if name != ARCHITECTURES[0] else [])
        for dtype in ("float32", "float64")
        for name in ARCHITECTURES
    ]


@pytest.mark.parametrize(("dtype", "architecture"), compilations())
def test_it_compiles_without_spills(dtype: str, architecture: int) -> None:
    kernels = composed(*every_case(dtype), largest(dtype))
    assert all(kernel.fits for kernel in kernels) and len(kernels) > 20
    files = dict.fromkeys(part_named(kernel.calls[0].part).file for kernel in kernels)
    text = source(*files) + "".join(kernel.function for kernel in kernels)
    names = [kernel.name for kernel in kernels]
    check(nvrtc.compile_kernels(text, architecture, names))


DOUBLE = re.compile(r"\.f64\b")


def test_single_precision_stays_single() -> None:
    """Except where an array has another dtype, and in CUDA's reduction of large angles."""
    cases = [
        case for case in every_case("float32")
        if not case.dtypes and "sin" not in {step.function for step in case.expression.instructions}
    ]  # fmt: skip
    for kernel in composed(*cases):
        ptx = nvrtc.assembly(kernel.text)
        assert "st.global.f32" in ptx and not DOUBLE.search(ptx), kernel.text
    wide = of("float64", (ELEMENTS,), ("exp", 0), write=(1,))
    (kernel,) = composed(ExpressionCase("wide", wide, sizes=((2, 2),)))
    assert DOUBLE.search(nvrtc.assembly(kernel.text))


PRINT = """
import pickle, sys
from gpunn.backends.cupy.launch.expressions import text_of
kernels, expressions = pickle.load(sys.stdin.buffer)
sources = [kernel.text for kernel in kernels]
sys.stdout.write(repr(sources + [text_of(e, ["float32"] * 50) for e in expressions]))
"""


def test_another_process_composes_the_same() -> None:
    """So that a kernel compiled there, or kept on disk, is found again."""
    expressions = [case.expression for case in every_case("float32")]
    kernels = composed(*every_case("float32"))
    sources = [kernel.text for kernel in kernels]
    sources += [text_of(expression, ["float32"] * 50) for expression in expressions]
    printed = subprocess.run(
        [sys.executable, "-c", PRINT], input=pickle.dumps((kernels, expressions)),
        capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"},
    ).stdout  # fmt: skip
    assert printed.decode() == repr(sources)


def test_zeros_of_both_signs_are_distinguished() -> None:
    x, backend = np.ones((1, 3), np.float32), emulated.make_backend()
    for zero, infinity in ((0.0, np.inf), (-0.0, -np.inf)):
        made = of("float32", (ELEMENTS,), ("constant", zero), ("divide", 0, 1), write=(2,))
        given = [backend.upload(x), backend.upload(x)]
        backend.expression(made, 1, 3, given[:1], given[1:])
        np.testing.assert_array_equal(backend.read(given[1]), np.full((1, 3), infinity))


# -- steps


def step(backend: Backend, a: dict[str, Any], rows: int) -> None:
    """Over rows, columns and one long row, each using the previous result."""
    dense = of("float32", (ELEMENTS, COLUMNS), ("add", 0, 1), ("tanh", 2), write=(3,))
    softmax = of(
        "float32", (ELEMENTS,), ("row_max", 0), ("subtract", 0, 1), ("exp", 2), ("row_sum", 3),
        ("divide", 3, 4), ("column_sum", 5), write=(5, 6),
    )  # fmt: skip
    flat = of("float32", (ELEMENTS, ELEMENTS), ("multiply", 0, 1), write=((2, True), 2))
    scaled = of("float32", (COLUMNS,), ("constant", 0.01), ("multiply", 0, 1), write=((2, True),))
    size = rows, a["x"].shape[1]
    long = 1, a["x"].size
    backend.expression(dense, *size, [a["x"], a["b"]], [a["y"]])
    backend.expression(softmax, *size, [a["y"]], [a["p"], a["db"]])
    in_one_row = [a[name].reshape(long) for name in ("y", "p", "x", "product")]
    backend.expression(flat, *long, in_one_row[:2], in_one_row[2:])
    relu = gpunn.activations.get("relu")
    backend.bias_activation(a["product"], None, relu, a["product"])
    backend.expression(scaled, 1, size[1], [a["rate"]], [a["b"]])


@pytest.mark.parametrize("size", [(40, 10), (32, 200), (40, 80), (1, 7)])
@pytest.mark.parametrize("mode", ["fused", "persistent"])
def test_a_traced_step_has_the_bits_of_one_that_is_not(mode: str, size: Size) -> None:
    found: list[Numbers] = []
    for launch_mode in ("plain", mode):
        backend: Any = emulated.make_backend(launch_mode).isolated()
        rng = np.random.default_rng(1)
        shapes = {**dict.fromkeys(("x", "y", "p", "product"), size), "b": (1, size[1])}
        shapes |= {"db": (1, size[1]), "rate": (1, size[1])}
        a = {n: backend.upload(rng.normal(size=s).astype("f")) for n, s in shapes.items()}
        program = backend.program(partial(step, backend, a, size[0]), True)
        program.run(3)
        assert program.mode == launch_mode
        found.append({name: backend.read(array) for name, array in a.items()})
    for name, expected in found[0].items():
        if name == "db":  # another part computes this sum there
            np.testing.assert_allclose(found[1][name], expected, rtol=1e-5)
        else:
            np.testing.assert_array_equal(found[1][name], expected, err_msg=name)

"""The sixty shapes of the benchmarks, and runs that are held to an instruction set."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import machine, workloads
from benchmarks.contestants import gpunn_fit, torch_mlp
from benchmarks.race import shapes
from gpunn.backends.compiled import cpu_kernels

pytestmark = pytest.mark.checks("benchmarks")


def test_children_are_held_to_an_instruction_set() -> None:
    """Where the CPU has more than AVX2, each library says that it uses AVX2."""
    before = dict(os.environ)
    with machine.limited_to("avx2"):
        found = machine.describe_for_children()
        torch = "import torch; print(torch.backends.cpu.get_cpu_capability())"
        printed = subprocess.check_output([sys.executable, "-c", torch], text=True).strip()
    assert dict(os.environ) == before
    assert found["environment"]["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX2"
    if found["avx512"]:
        assert (printed, found["compiled"]) == ("AVX2", "avx2" if built("avx2") else None)
        assert "(Haswell)" in found["blas"]
    with machine.limited_to(None):
        assert dict(os.environ) == before


def built(instructions: str) -> bool:
    return cpu_kernels.why_not() is None and cpu_kernels.is_built(instructions)


def test_shapes_reach_from_1_to_65536_in_every_size() -> None:
    assert len(set(shapes.SHAPES)) == 60
    for sizes in zip(*(shape[:4] for shape in shapes.SHAPES), strict=True):
        assert (min(sizes), max(sizes)) == (1, 65_536)
    kinds = {(shape.hidden, shape.optimizer) for shape in shapes.SHAPES}
    assert kinds == set(itertools.product((1, 2), ("adam", "sgd")))
    assert str(shapes.Shape(32, 30, 64, 2, 2)) == "30-64-64-2, Adam, batch 32"


@pytest.mark.filterwarnings("ignore:The layer .* applies softmax to a single output")
@pytest.mark.parametrize(
    "shape", [shapes.Shape(64, 3, 5, 4, 2, "sgd"), shapes.Shape(32, 1, 1, 1), shapes.KNOWN[9]]
)
def test_shapes_are_trained_as_by_pytorch(shape: shapes.Shape, tmp_path: Path) -> None:
    """A step over a whole batch, which does not depend on the order of its rows."""
    work = shapes.prepare(shape, tmp_path)
    x, y = (np.load(tmp_path / f"{name}.npy")[: shape.batch] for name in "xy")
    data = {
        "x": x, "y": y, "x_test": x[:1], "y_test": y[:1], "threads": 1, "workload": work,
        "weights": workloads.initial_weights(0, work["sizes"]),
    }  # fmt: skip
    ours = gpunn_fit.prepare(data, "numpy")
    theirs = torch_mlp.prepare(data, fused=True)
    for program in (ours, theirs):
        program.epoch()
    for one, other in zip(ours.weights(), theirs.weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)

"""A part that is new is one file of few lines: all else is written from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PART = '''
"""Squareplus: a smooth ReLU without exponentials."""

from gpunn.common.arguments import check_above_zero
from gpunn.common.fields import field
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .activation import Activation
from .properties import INFINITY, Properties


class Squareplus(Activation):
    """f(x) = (x + sqrt(x^2 + b)) / 2.

    Source: Barron, Squareplus: a softplus-like algebraic rectifier, 2021.
    """

    functor = "Squareplus"
    parameter_names = ("b",)
    examples = ({}, {"b": 1.0})
    properties = Properties((0, INFINITY), True, (0, 0), (1, 0))

    b: float = field(default=4.0, check=check_above_zero)

    def call(self, x: Tensor) -> Tensor:
        return (x + ops.sqrt(x * x + self.b)) * 0.5
'''
FIND = """
import json, pathlib, runpy
runpy.run_path("tools/docs.py")["main"](["lectures.md"])
import registered
from gpunn import activations, layers, testing
from gpunn.backends.cupy.launch import kernel_source
cases = [case for case in registered.cases("activation") if case[0] == "Squareplus"]
for name, arguments in cases:
    testing.check_gradients(registered.make("activation", name, arguments), (7, 5))
print(json.dumps({
    "exported": [name for name in activations.__all__ if "plus" in name.lower()],
    "called": activations.squareplus([1.5]).tolist(),
    "by name": repr(layers.Dense(2, activation="squareplus").activation),
    "cases": cases,
    "functor": kernel_source.parameter_names()["Squareplus"],
}))
"""
EVERYWHERE = """
import sys
import numpy as np
import gpunn, registered
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.testing import check_gradients
import emulated  # the kernels for a card, on this machine
x = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
for name, arguments in registered.cases("activation"):
    if name == "Squareplus":
        activation = registered.make("activation", name, arguments)
        expected = (x + np.sqrt(x * x + activation.b)) / 2
        for backend in ("numpy", "compiled", "emulated"):
            check_gradients(activation, (7, 5), backend=backend)
            model = gpunn.Sequential(
                [layers.Input((6,)), layers.Activation(activation)], backend=backend
            )
            np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
        model.export("model.onnx", format="onnx")
        import onnxruntime
        session = onnxruntime.InferenceSession("model.onnx")
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(found, expected, rtol=1e-6)
print("right everywhere")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project with a file more."""
    left_out = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in ("gpunn", "kernels", "tools", "docs", "tests/support"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=left_out)
    for file in ("pyproject.toml", "setup.py", "README.md"):  # by the first a source tree is known
        shutil.copy(ROOT / file, tmp_path)
    (tmp_path / "gpunn" / "activations" / "squareplus.py").write_text(PART)
    run(tmp_path, "tools/exports.py")
    run(tmp_path, "tools/formulas.py")
    return tmp_path


def run(tree: Path, *command: str, timeout: int = 120, **environment: Any) -> str:
    paths = {"PYTHONPATH": f"{tree}:{tree / 'tests' / 'support'}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=tree, env={**paths, **environment}, check=True,
        stdout=subprocess.PIPE, text=True, timeout=timeout,
    )  # fmt: skip
    return done.stdout


def test_one_file_is_enough(tree: Path) -> None:
    found = json.loads(run(tree, "-c", FIND).splitlines()[-1])
    assert found == {
        "exported": ["Softplus", "Squareplus", "softplus", "squareplus"],
        "called": [2.0],
        "by name": "Squareplus(b=4.0)",
        "cases": [["Squareplus", {}], ["Squareplus", {"b": 1.0}]],
        "functor": ["b"],
    }
    page = (tree / "docs" / "lectures.md").read_text(encoding="utf-8")
    assert "| `Squareplus` | f(x) = (x + sqrt(x^2 + b)) / 2. |" in page


@pytest.mark.more
def test_it_computes_everywhere(tree: Path) -> None:
    """On NumPy, compiled for this CPU, by the kernels for a card, and in a file of ONNX."""
    path = {"PATH": os.environ["PATH"]}  # where the compiler is
    run(tree, "setup.py", "-q", "build_ext", "--inplace", timeout=900, **path)
    done = run(tree, "-c", EVERYWHERE, timeout=900, **path)
    assert done.endswith("right everywhere\n")

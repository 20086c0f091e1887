"""A part that is new is one file, and a functor in a header: all else follows from these."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PART = '''
"""Squareplus: a smooth ReLU without exponentials."""

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_above_zero
from gpunn.common.fields import field

from .activation import Activation
from .properties import INFINITY, Properties


class Squareplus(Activation):
    """f(x) = (x + sqrt(x^2 + b)) / 2.

    Computed as max(x, 0) + b / 2 / (|x| + sqrt(x^2 + b)), in which nothing cancels.

    Source: Barron, Squareplus: a softplus-like algebraic rectifier, 2021.
    """

    functor = "Squareplus"
    parameter_names = ("b",)
    saves = "input"
    examples = ({}, {"b": 1.0})

    b: float = field(default=4.0, check=check_above_zero)

    @property
    def properties(self) -> Properties:
        return Properties((0, INFINITY), True, (0, 0), (1, 0))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp, rest = backend.xp, backend.scratch(x.shape, x.dtype, "rest")
        xp.absolute(x, out=rest)
        xp.add(rest, self.root(backend, x), out=rest)
        xp.divide(self.b / 2, rest, out=rest)
        xp.maximum(x, 0.0, out=out)
        xp.add(out, rest, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        root = self.root(backend, saved)
        backend.xp.divide(saved, root, out=root)
        backend.xp.add(root, 1.0, out=root)
        backend.xp.multiply(root, 0.5, out=root)
        backend.xp.multiply(root, dy, out=out)

    def root(self, backend: Backend, x: Array) -> Array:
        root = backend.scratch(x.shape, x.dtype, "root")
        backend.xp.square(x, out=root)
        backend.xp.add(root, self.b, out=root)
        return backend.xp.sqrt(root, out=root)
'''
FUNCTOR = """
// y = (x + sqrt(x^2 + b)) / 2,  y' = (1 + x / sqrt(x^2 + b)) / 2; saves x
template <typename T> struct Squareplus : Activation {
    enum { B };
    T b;
    HD explicit Squareplus(const double* p) : b(T(p[B])) {}
    HD T forward(T x) const {
        return (x > T(0) ? x : T(0)) + T(0.5) * b / (math::abs(x) + math::sqrt(x * x + b));
    }
    HD T gradient(T x, T dy) const { return dy * (T(1) + x / math::sqrt(x * x + b)) * T(0.5); }
};
"""
FIND = """
import json, runpy
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


def test_one_file_and_a_functor_are_enough(tmp_path: Path) -> None:
    left_out = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in ("gpunn", "kernels", "tools", "docs", "tests/support"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=left_out)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # by which a source tree is known
    (tmp_path / "gpunn" / "activations" / "squareplus.py").write_text(PART)
    with (tmp_path / "kernels" / "formulas" / "activations.cuh").open("a") as header:
        header.write(FUNCTOR)

    def run(*command: str) -> str:
        environment = {"PYTHONPATH": f"{tmp_path}:{tmp_path / 'tests' / 'support'}"}
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, check=True,
            stdout=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
        return done.stdout

    run("tools/exports.py")
    found = json.loads(run("-c", FIND).splitlines()[-1])
    assert found == {
        "exported": ["Softplus", "Squareplus", "softplus", "squareplus"],
        "called": [2.0],
        "by name": "Squareplus(b=4.0)",
        "cases": [["Squareplus", {}], ["Squareplus", {"b": 1.0}]],
        "functor": ["b"],
    }
    page = (tmp_path / "docs" / "lectures.md").read_text(encoding="utf-8")
    assert "| `Squareplus` | f(x) = (x + sqrt(x^2 + b)) / 2. |" in page

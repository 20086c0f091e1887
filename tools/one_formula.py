"""The generated part of ``docs/one-formula.md``: GELU, from its line to five targets."""

from __future__ import annotations

import inspect
import runpy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import gpunn
from gpunn import activations, layers
from gpunn.backends.cupy.launch.codegen import PartCall, by_itself
from gpunn.ops.fusion.calls import calls
from gpunn.ops.fusion.formulas import recorded, text
from gpunn.ops.library.activations import gelu_gate

ROOT = Path(__file__).resolve().parents[1]
fenced = runpy.run_path(str(Path(__file__).with_name("line_to_kernel.py")))["fenced"]


def generated() -> str:
    activation = activations.Gelu()
    forward = recorded(activation, "call", ["x"])
    lines = ["Its lines, in `gpunn/ops/library/activations.py`, where `ops.gelu` reads them too, "
             "and of the class in `gpunn/activations/gated.py`:", ""]  # fmt: skip
    methods = type(activation).call, type(activation).gate, type(activation).gradient
    written = [_source(gelu_gate), "\n", *map(_source, methods)]
    lines += fenced("".join(written).strip("\n"), "python")
    lines += ["Called once, with a stand-in for a number, they are a formula:", ""]
    lines += fenced(f"y = {text(forward.outputs['call'])}")
    lines += ["## NumPy", "", "Array functions, in work arrays that a backend keeps:", ""]
    lines += fenced("\n".join(calls(forward, _out, str, "out", {"call": "x"})), "python")
    lines += [
        "`write_erfc` is the complementary error function, which NumPy does not have "
        "(`gpunn/backends/shared/erfc.py`).", "",
        "## A CPU, a card and a browser", "",
        "One struct for all three, in `kernels/formulas/generated_activations.cuh`:", "",
    ]  # fmt: skip
    lines += fenced(_struct("Gelu"), "cpp")
    lines += ["Loops take it as a template. On a CPU and in a browser, in",
              "`kernels/cpu/activations.cpp`:", ""]  # fmt: skip
    lines += fenced(_loop("kernels/cpu/activations.cpp"), "cpp")
    kernel = by_itself(PartCall("bias_activation", ("float", "Gelu")))
    lines += [f"On a card, as `{kernel.name}`, in `kernels/cuda/elementwise.cu`:", ""]
    lines += fenced(_loop("kernels/cuda/elementwise.cu"), "cpp")
    lines += ["## ONNX", "", "The nodes of `Activation(\"gelu\")` in a file:", ""]
    lines += fenced("\n".join(_nodes(activation)))
    return "\n".join(lines)


def _out(name: str) -> str:
    return "out" if name == "call" else name


def _source(function: Any) -> str:
    return inspect.getsource(function) + "\n"


def _struct(name: str) -> str:
    return _between("kernels/formulas/generated_activations.cuh", f"struct {name} :", "\n};\n")


def _loop(file: str) -> str:
    return _between(file, "template <typename T, template", "\n}\n")


def _between(file: str, start: str, end: str) -> str:
    """The first part of a file that has ``start`` in its first line, with the comment before."""
    whole = (ROOT / file).read_text(encoding="utf-8")
    begin = whole.rindex("\n\n", 0, whole.index(start)) + 2
    return whole[begin : whole.index(end, begin) + len(end)]


def _nodes(activation: Any) -> list[str]:
    import onnx

    given = layers.Input((3,), name="x")
    model = gpunn.Sequential([given, layers.Activation(activation, name="y")])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.export(path, format="onnx")
        graph = onnx.load(path).graph
    numbers = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}

    def shown(name: str) -> str:
        return f"{numbers[name].item():.7g}" if np.size(numbers.get(name, ())) == 1 else name

    return [f"{n.output[0]} = {n.op_type}({', '.join(map(shown, n.input))})" for n in graph.node]

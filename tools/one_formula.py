"""The generated part of ``docs/explanation/one-formula.md``: GELU, compiled to five targets."""

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
    lines = ["Its definition, in `gpunn/ops/library/activations.py`, which `ops.gelu` uses too, "
             "and in the class in `gpunn/activations/gated.py`:", ""]  # fmt: skip
    methods = type(activation).call, type(activation).gate, type(activation).gradient
    written = [_source(gelu_gate), "\n", *map(_source, methods)]
    lines += fenced("".join(written).strip("\n"), "python")
    lines += ["Called once, with a symbolic value, it yields a formula:", ""]
    lines += fenced(f"y = {text(forward.outputs['call'])}")
    lines += ["## NumPy", "", "Array functions, with work arrays that the backend keeps:", ""]
    lines += fenced("\n".join(calls(forward, _out, str, "out", {"call": "x"})), "python")
    lines += [
        "`write` computes the complementary error function, which NumPy lacks, by several of "
        "them (`gpunn/backends/shared/functions.py`).", "",
        "## CPU, GPU and browser", "",
        "One struct for all three, in `kernels/formulas/generated_activations.cuh`:", "",
    ]  # fmt: skip
    lines += fenced(_struct("Gelu"), "cpp")
    lines += ["The loops take it as a template argument. On a CPU and in a browser, in",
              "`kernels/cpu/activations.cpp`:", ""]  # fmt: skip
    lines += fenced(_loop("kernels/cpu/activations.cpp"), "cpp")
    kernel = by_itself(PartCall("bias_activation", ("float", "Gelu")))
    lines += [f"On a GPU, as `{kernel.name}`, in `kernels/cuda/elementwise.cu`:", ""]
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
    """Return the first part of a file whose first line has ``start``, with its comment."""
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

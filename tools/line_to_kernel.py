"""One layer, on each backend: for ``docs/explanation/from-your-line-to-a-kernel.md``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.backends import get_backend
from gpunn.backends.compiled import expressions as compiled
from gpunn.backends.cupy.launch.expressions import text_of
from gpunn.ops.fusion.schedule import Fused, scheduled
from gpunn.ops.gradients import gradients, topological_sort
from gpunn.ops.tensor import Tensor, leaf
from gpunn.ops.trace import Mode, Trace

BATCH, FEATURES, UNITS = 32, 784, 128


def call(x: Any, w: Any, b: Any) -> Any:
    z = ops.matmul(x, w) + b
    return z * ops.sigmoid(z)


def fenced(text: str, language: str = "") -> list[str]:
    above = ["<!-- not run: an excerpt -->"] if language == "python" else []
    return [*above, f"```{language}", *text.rstrip("\n").splitlines(), "```", ""]


def named(tensors: Sequence[Tensor], names: dict[int, str]) -> list[str]:
    """Return a line for each tensor: its name, its operation, its shape."""
    lines = []
    for t in tensors:
        if t.primitive is None:
            if t.value is not None:
                names[id(t)] = repr(t.value.item()) if t.size == 1 else "constant"
            continue
        names[id(t)] = f"t{sum(name.startswith('t') for name in names.values()) + 1}"
        given = ", ".join(names[id(source)] for source in t.inputs)
        shape = " x ".join(map(str, t.shape)) or "a number"
        lines.append(f"{names[id(t)]:4} = {f'{t.primitive.name}({given})':32} {shape}")
    return lines


def generated() -> str:
    shapes = ((BATCH, FEATURES), (FEATURES, UNITS), (UNITS,))
    trace = Trace(Mode.function(training=True))
    leaves = [leaf(shape, "float32") for shape in shapes]
    with trace.active():
        y = call(*leaves)
        dy = leaf(y.shape, y.dtype)
        found = [t for t in gradients([y], leaves[1:], [dy]) if t is not None]
    names = {id(t): name for t, name in zip((*leaves, dy), ("x", "w", "b", "dy"), strict=True)}
    forward = topological_sort([y])
    made = set(map(id, forward))
    backward = [t for t in topological_sort(found) if id(t) not in made]
    lines = ["Your line:", "", *fenced(inspect.getsource(call), "python")]
    lines += ["Called once, with symbolic tensors, it yields a graph:", ""]
    lines += fenced("\n".join(named(forward, names)))
    lines += ["Reverse mode yields the graph of the gradients of `w` and `b`:", ""]
    lines += fenced("\n".join(named(backward, names)))
    lines += ["## Fusion", ""]
    lines += ["In the forward pass, and in the backward pass:", ""]
    there, groups = set(map(id, (*leaves, dy))), []
    for order, needed in ((forward, backward), (backward, found)):
        used = {id(source) for t in needed for source in t.inputs} | set(map(id, (y, *found)))
        computed = [t for t in order if t.primitive is not None]
        text = []
        for step in scheduled(computed, there, used):
            if isinstance(step, Fused):
                groups.append(step)
                inputs = ", ".join(names[id(t)] for t in step.group.inputs)
                outputs = ", ".join(names[id(t)] for t in step.outputs)
                text.append(f"{outputs} = an expression of {inputs}")
            else:
                text.append(f"{names[id(step)]} = {step.primitive.name}")
        lines += fenced("\n".join(text))
        there |= made if order is forward else set()
    first = groups[0]
    expression = first.group.expression([(t, False) for t in first.outputs])
    lines += [
        "The first of these expressions, over a matrix of "
        f"{first.group.rows} rows and {first.group.columns} columns:", "",
        *fenced(str(expression)),
    ]  # fmt: skip
    written = ("float32",) * len(expression.outputs)
    steps = compiled.listing(expression, *first.group.size(), written)
    lines += ["## On each backend", "", "On NumPy, array calls on these shapes:", ""]
    lines += fenced("\n".join(numpy_calls(first)))
    lines += [
        "On the CPU, compiled steps, over blocks that stay in the L1 cache (r0, r1 ... are "
        "registers as long as a block). Element-wise steps run on one strip of vectors after the "
        "other; acc, the accumulator, is the result of the previous step, in vector registers of "
        "the CPU:", "",
        *fenced("\n".join(steps)),
    ]  # fmt: skip
    lines += ["On a GPU, a kernel with this source, compiled when it is first used:", ""]
    dtypes = ("float32",) * len(expression.inputs) + written
    lines += fenced(text_of(expression, dtypes), "cuda")
    return "\n".join(lines)


def numpy_calls(fused: Fused) -> list[str]:
    """Return the array calls that evaluate the expression with NumPy."""
    backend = get_backend("numpy").isolated()
    expression = fused.group.expression([(t, False) for t in fused.outputs])
    rows, columns = fused.group.size()
    axes = expression.value_axes
    inputs = [backend.zeros(along.shape(rows, columns), "float32") for along in expression.inputs]
    outputs = [
        backend.zeros(axes[out.value].shape(rows, columns), "float32")
        for out in expression.outputs
    ]
    trace = backend.trace(
        lambda: backend.expression(expression, rows, columns, inputs, outputs)
    )
    return [described(made) for made in trace.calls]


def described(made: Any) -> str:
    """Describe an array call: the function, and the shapes of its arguments."""
    given = [*made.args, *(value for name, value in made.keywords.items() if name == "out")]
    shapes = ["x".join(map(str, np.shape(a))) if np.ndim(a) else repr(a) for a in given]
    return f"np.{made.func.__name__}({', '.join(shapes)})"

"""The files of the core, in reading order: for ``docs/explanation/the-core.md``.

Each has the names to look for, and its lines of code. A name that its file lacks is an error, and
so is a file that neither of two real runs reaches, so the page cannot go stale.
"""

from __future__ import annotations

import ast
import io
import itertools
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import gpunn
from gpunn import layers, ops

PACKAGE = Path(gpunn.__file__).parent
MOST_FILES, MOST_LINES = 25, 5000
units = itertools.count(331)  # no layer of this size has been traced in this process

Entry = tuple[str, tuple[str, ...], str]

FROM_FIT: list[Entry] = [
    ("training/fitting.py", ("fit",), "checks data and arguments, and hands rows to the loop"),
    ("training/loops.py", ("fit",), "epochs, callbacks and validation"),
    ("training/batch_iterator.py", ("BatchIterator.run",), "how many steps run in one call"),
    ("training/programs.py", ("Programs.program",), "a program for each batch size, made once"),
    ("training/objective.py", ("Objective",), "what is minimized: losses, metrics, penalties"),
    ("training/step.py", ("ModelStep.__call__",), "the step: the only description of it"),
    ("core/plan.py", ("Plan", "Call"), "the layers in the order in which they run"),
    ("core/storage.py", ("ParameterStorage", "Parameter"),
     "one flat array for weights, one for gradients"),
    ("core/workspace.py", ("Workspace.forward", "Workspace.backward"), "a plan bound to arrays"),
]
FROM_A_FORMULA: list[Entry] = [
    ("layers/dense.py", ("Dense",), "the formula of a layer, in a few lines of `gpunn.ops`"),
    ("layers/formula_passes.py", ("FormulaPasses",), "a formula, traced once, bound to arrays"),
    ("ops/tensor.py", ("Tensor",), "a shape, a dtype, and what computes it"),
    ("ops/trace.py", ("Trace",), "what is known while a function is traced"),
    ("ops/primitive.py", ("Primitive",), "an operation: shape, computation, derivative"),
    ("ops/products.py", ("matmul",), "one of them: the matrix product"),
    ("ops/gradients.py", ("gradients",), "reverse mode: a graph becomes a larger graph"),
    ("ops/gradient_rules.py", ("RULES",), "the derivative of each primitive, a line each"),
    ("ops/fusion/joint.py", ("join",), "what one operation of a backend computes together"),
    ("ops/running/computation.py", ("Computation",), "memory for results, and their order"),
]
TO_A_KERNEL: list[Entry] = [
    ("losses/crossentropy.py", ("SparseCategoricalCrossentropy",), "a loss with its gradient"),
    ("optimizers/rules.py", ("move_of",), "an update rule as calls on whole arrays"),
    ("optimizers/adam.py", ("Adam",), "one such rule"),
    ("backends/contract/steps.py", ("Steps",), "the operations of a step, declared"),
    ("backends/numpy/backend.py", ("NumpyBackend",), "the same, as NumPy calls"),
    ("backends/host/program.py", ("HostProgram.run",), "a step, recorded and repeated"),
]
PARTS = {
    "From `fit` to a step": FROM_FIT,
    "From a formula to a gradient": FROM_A_FORMULA,
    "From an operation to a kernel": TO_A_KERNEL,
}


def lines_of_code(source: str) -> int:
    """Return the number of lines that are neither empty, nor comments, nor docstrings."""
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.OP):
            found.update(range(token.start[0], token.end[0] + 1))
    return len(found - skipped)


def check_names(path: str, names: tuple[str, ...], source: str) -> None:
    """Raise an error if a file defines one of these names no longer."""
    known: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            known.add(node.name)
        if isinstance(node, ast.Assign):
            known |= {of.id for of in node.targets if isinstance(of, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            known.add(node.target.id)
        if isinstance(node, ast.ClassDef):
            known |= {f"{node.name}.{of.name}" for of in node.body if hasattr(of, "name")}
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"{path} has no {', '.join(missing)}: change tools/reading_order.py.")


def reached(work: Callable[[], Any]) -> set[str]:
    """Return the files of the package whose functions ``work()`` calls."""
    found: set[str] = set()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(PACKAGE)):
            found.add(Path(name).relative_to(PACKAGE).as_posix())

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def both_runs() -> None:
    """Train a small network, and take a gradient of a line of one's own."""
    model = gpunn.Sequential([
        gpunn.Input((3,)), layers.Dense(next(units), "relu"), layers.Dense(2, "softmax"),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.ones((8, 3), "float32"), np.arange(8) % 2, batch_size=4, verbose=0)
    w = gpunn.Variable(np.ones((3, 2), "float32"))
    with gpunn.GradientTape() as tape:
        loss = ops.sum(ops.matmul(np.ones((4, 3), "float32"), w))
    tape.gradient(loss, [w])


def generated() -> str:
    """Return the tables of the page.

    Raises:
        ValueError: if the page names what is not there, or too much for an evening.
    """
    on_the_way = reached(both_runs)
    text, number, whole = "", 0, 0
    for title, entries in PARTS.items():
        text += f"## {title}\n\n| | file | look for | what it is | lines of code |\n"
        text += "| --- | --- | --- | --- | --- |\n"
        for path, names, what in entries:
            source = (PACKAGE / path).read_text(encoding="utf-8")
            check_names(path, names, source)
            if path not in on_the_way:
                raise ValueError(f"No run reaches {path}: change tools/reading_order.py.")
            number, lines = number + 1, lines_of_code(source)
            whole += lines
            wanted = ", ".join(f"`{name}`" for name in names)
            text += f"| {number} | `gpunn/{path}` | {wanted} | {what} | {lines} |\n"
        text += "\n"
    if number > MOST_FILES or whole > MOST_LINES:
        raise ValueError(f"{number} files of {whole} lines: {MOST_FILES} of {MOST_LINES} at most.")
    return text + f"{number} files, {whole:,} lines of code.\n"

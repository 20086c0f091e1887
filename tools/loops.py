"""Loops of the expressions of built-in layers, for `kernels/cpu/`.

A layer that defines `call` is an expression in each step, like user-defined code. The expressions
of built-in layers are compiled ahead of time: `gpunn/backends/compiled/loops.py` looks them up by
their keys.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import numpy as np
from structs import OPERATORS, WIDTH, called, wrapped

from gpunn import Model, layers
from gpunn.backends.compiled.loops import Loop
from gpunn.backends.contract.expression import COLUMNS, ELEMENTS, ONE, TRUTHS, Expression
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.ops.fusion.formulas import Line, text

BINARY = (
    layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum,
)  # fmt: skip
UNARY = (layers.PReLU,)
INDICES = {ONE: "0", COLUMNS: "c", ELEMENTS: "i"}


def loops() -> Iterable[str]:
    """Yield the source of each loop, and of the function that registers them."""
    found: dict[str, Loop] = {}
    users: dict[str, dict[str, None]] = {}
    for layer in (*BINARY, *UNARY):
        for loop in _expressions(layer):
            found.setdefault(loop.key, loop)
            users.setdefault(loop.key, {})[layer.__name__] = None
    for number, (key, loop) in enumerate(found.items()):
        yield _written(f"loop_{number}", loop, ", ".join(users[key]))
    yield "template <typename T> void add_loops() {"
    yield "    const char* type = name_of<T>();"
    for number, key in enumerate(found):
        yield from (f"    {line}" for line in wrapped(
            f'add<&loop_{number}<T>>("loop", {{type, "{key}"}});', 0
        ))  # fmt: skip
    yield "}"


def _expressions(layer: Any) -> list[Loop]:
    """Return the expressions that a step with the layer requests from a backend."""
    asked: list[Loop] = []
    perform = NumpyBackend._expression

    def listed(self: NumpyBackend, given: Any) -> None:
        loop = Loop.of(given.expression)
        asked.extend([] if loop is None else [loop])
        perform(self, given)

    x = layers.Input((3,))
    many = 2 if layer in BINARY else 1
    given = [layers.Dense(4)(x) for _ in range(many)]
    y = layers.Dense(2)(layer()(given if many > 1 else given[0]))
    model = Model(x, y, backend="numpy")
    model.compile("sgd", "mse")
    with patch.object(NumpyBackend, "_expression", listed):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), batch_size=4, verbose=0)
    return asked


def _written(name: str, loop: Loop, users: str) -> str:
    """Return a loop as a C++ function."""
    expression = loop.expression
    inputs, outputs = range(len(expression.inputs)), range(len(expression.outputs))
    parameters = [
        *(f"const T* x{k}" for k in inputs),
        "const double* numbers" if loop.constants else "const double*", "int64 rows",
        "int64 columns", *(f"bool adds_{k}" for k in outputs), *(f"T* y{k}" for k in outputs),
    ]  # fmt: skip
    constants = [f"const T n{k} = T(numbers[{k}]);" for k in range(len(loop.constants))]
    body = _body(expression)
    if {*expression.value_axes} <= {ONE, ELEMENTS}:
        work = [
            "in_pieces(0, rows * columns, [=](int64 first, int64 last) {", "    INDEPENDENT",
            "    for (int64 i = first; i < last; ++i) {", *(f"        {x}" for x in body),
            "    }", "});",
        ]  # fmt: skip
    else:
        work = [
            "for (int64 r = 0; r < rows; ++r) {", "    INDEPENDENT",
            "    for (int64 c = 0; c < columns; ++c) {", "        const int64 i = r * columns + c;",
            *(f"        {x}" for x in body), "    }", "}",
        ]  # fmt: skip
    given = ", ".join(parameters).replace(", ", ",\0").replace(" ", "\1").replace("\0", " ")
    head = textwrap.wrap(
        f"void\1{name}({given})\1{{", WIDTH, subsequent_indent=" " * len(f"void {name}("),
        break_long_words=False,
    )  # fmt: skip
    head = [line.replace("\1", " ") for line in head]
    about = textwrap.wrap(f"{users}: {loop.key}", WIDTH - 3)
    setup = [f"    {line}" for line in (*constants, *work)]
    return "\n".join(
        [*(f"// {line}" for line in about), "template <typename T>", *head, *setup, "}", ""]
    )


def _body(expression: Expression) -> list[str]:
    """Return the statements for an element: values that are used twice, and the outputs."""
    lines = _lines(expression)
    named: dict[int, str] = {}

    def value(line: Line) -> str:
        return text(
            line, lambda x: named.get(id(x), x.name or None), called, lambda x: x.name, OPERATORS
        )

    # Nothing is read or computed under a condition, so that compilers vectorize the loop.
    chosen = {id(x) for line in lines if line.function == "where" for x in line.operands[1:]}
    body: list[str] = []
    for number, line in enumerate(lines):
        kept = bool(line.operands) and (line.uses > 1 or id(line) in chosen)
        if kept or line.function == "input":
            kind = "bool" if line.is_truth else "T"
            body += wrapped(f"const {kind} v{number} = {value(line)};", 0)
            named[id(line)] = f"v{number}"
    for k, output in enumerate(expression.outputs):
        line = lines[output.value]
        given = f"T({value(line)})" if line.is_truth else value(line)
        body += wrapped(f"put({given}, adds_{k}, y{k}[i]);", 0)
    return body


def _lines(expression: Expression) -> list[Line]:
    """Return the values of an expression as lines, to be written like those of formulas."""
    lines = [
        Line("input", (), f"x{k}[{INDICES[axes]}]") for k, axes in enumerate(expression.inputs)
    ]
    numbers = 0
    for step in expression.instructions:
        operands = tuple(lines[k] for k in step.operands)
        for operand in operands:
            operand.uses += 1
        name = ""
        if step.function == "constant":
            name, numbers = f"n{numbers}", numbers + 1
        truth = step.function in TRUTHS
        lines.append(Line(step.function, operands, name, step.number, is_truth=truth))
    for output in expression.outputs:
        lines[output.value].uses += 1
    return lines

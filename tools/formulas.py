"""Writes ``kernels/*/generated_*``: what the kernels take over from Python.

What an optimizer's update computes is stated once, with `gpunn.ops`. Here its lines become C++,
structs for the kernels' loops: every value that the author gave a name is one line. Without
arguments the files are written; ``--check`` says whether they are as they would be written.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from gpunn.backends.compiled.steps import FUNCTIONS, PAIRS
from gpunn.backends.contract.expression import OPERANDS, ROW_FOLDS
from gpunn.common import registry
from gpunn.common.overrides import is_framework
from gpunn.ops.fusion.formulas import Formula, Line, text
from gpunn.ops.tensor import Tensor
from gpunn.optimizers import Optimizer
from gpunn.optimizers.rules import WEIGHTS, forms, recorded

FORMULAS = Path(__file__).resolve().parents[1] / "kernels" / "formulas"
WIDTH = 100
HEADER = """\
// {about}
// Written by `make formulas` from {source}; do not edit.
#pragma once
{includes}
"""
SLOTS = ("slot_0", "slot_1", "slot_2")


def main(arguments: list[str]) -> int:
    late = [path.name for path, now in files().items() if not _is(path, now)]
    if "--check" in arguments:
        for name in late:
            print(f"{name} is not what `make formulas` would write.")
        return bool(late)
    for path, now in files().items():
        path.write_text(now, encoding="utf-8")
    print(f"Written anew: {', '.join(late) or 'nothing, all were up to date'}.")
    return 0


def _is(path: Path, now: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == now


def files() -> dict[Path, str]:
    """What there is to write, by its place."""
    return {
        FORMULAS / "generated_updates.cuh": updates(),
        FORMULAS.parent / "cpu" / "generated_functions.hpp": functions(),
    }


# -- expressions


def functions() -> str:
    """What the steps of an expression do on a CPU, as lists that macros go through."""
    apart = ("constant", "column_index", "column_sum", *ROW_FOLDS)
    lists = {
        "STEP": FUNCTIONS,
        "ELEMENTWISE": [name for name in OPERANDS if name not in apart],
        "PAIR": [", ".join(pair) for pair in PAIRS],
    }
    about = "What the steps of an expression do: EACH_STEP(X) is X(name) for each, by its number."
    source = "gpunn/backends/compiled/steps.py"
    parts = [HEADER.format(about=about, source=source, includes="").rstrip("\n")]
    for name, entries in lists.items():
        calls = " ".join(f"X({entry.replace(' ', chr(0))})" for entry in entries)
        lines = textwrap.wrap(calls, WIDTH - 8)
        text = " \\\n    ".join([f"#define EACH_{name}(X)", *lines])
        parts.append(text.replace(chr(0), " "))
    return "\n\n".join(parts) + "\n"


# -- optimizers


def updates() -> str:
    """All updates of weights that state a `rule`."""
    parts = [
        HEADER.format(
            about="Updates of one weight, in each form that the options of an optimizer give them.",
            source="`rule` in gpunn/optimizers",
            includes='#include "control.cuh"\n#include "elements.cuh"',
        )
    ]
    for cls in dict.fromkeys(registry.entries("optimizer").values()):
        if is_framework(cls) and "rule" in vars(cls):
            made = {optimizer.functor: optimizer for _, optimizer in reversed([*forms(cls)])}
            parts += [_update(optimizer) for optimizer in reversed(made.values())]
    return "\n".join(parts)


def _update(optimizer: Optimizer) -> str:
    names: dict[int, str] = {}
    with _names_in(type(optimizer).rule.__code__, names):
        formula, _ = recorded(optimizer, names)
    return _Update(optimizer, formula).text()


@contextmanager
def _names_in(code: CodeType, names: dict[int, str]) -> Iterator[None]:
    """A block in which a call of ``code`` leaves what it calls its tensors in ``names``."""

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "return" and frame.f_code is code:
            for name, value in frame.f_locals.items():
                if type(value) is Tensor:
                    names.setdefault(id(value), name)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)


class _Update:
    """The struct of one update."""

    def __init__(self, optimizer: Optimizer, formula: Formula) -> None:
        self._optimizer, self._formula = optimizer, formula
        self._slots = dict(zip(optimizer.slot_names, SLOTS, strict=False))
        each = [line for line in formula.lines if not line.once]
        taken = dict.fromkeys(x for line in each for x in line.operands if x.once)
        self._members = {id(x): self._member(x) for x in taken if x.function != "constant"}
        self._taken = [x for x in taken if x.function != "constant"]

    def text(self) -> str:
        optimizer = self._optimizer
        enumeration = ", ".join(name.upper() for name in optimizer.parameter_names)
        members = ", ".join(["decay", *self._members.values()])
        lines = [
            f"template <typename T> struct {optimizer.functor} : Optimizer {{",
            f"    enum {{ {enumeration} }};",
            *_wrapped(f"T {members};", 4),
            "",
            "    HD void prepare(const double* parameters, double learning_rate, int64"
            f"{' updates' if self._reads('t') else ''}, bool decays) {{",
            *self._prepare(),
            "    }",
            "",
            f"    HD void apply({self._arguments()}) const {{",
            *self._apply(),
            "    }",
            "};",
        ]
        return "\n".join([*_comment(optimizer), *lines]) + "\n"

    # -- what all weights share

    def _member(self, line: Line) -> str:
        return line.name or _spelled(line)

    def _prepare(self) -> list[str]:
        """Sums and products of parameters are computed in double, and what functions give of them
        in the type of the weights: doubles would take registers of a card there."""
        lines = ["const T t = T(updates + 1);"] if self._reads("t") else []
        named: dict[int, str] = {}

        def exact(line: Line) -> str | None:
            if line.function != "input":
                return None
            return "learning_rate" if line.name == "rate" else f"parameters[{line.name.upper()}]"

        def known(line: Line) -> str | None:
            if line.name == "t" and line.function == "input":
                return "t"
            if id(line) in named:
                return named[id(line)]
            return f"T({text(line, exact, number=_digits)})" if _is_exact(line) else None

        for line in self._formula.lines:
            keeps = line.uses > 1 or (line.name and id(line) not in self._members)
            if line.once and line.operands and keeps and not _is_exact(line):
                written = text(line, known, _called, _once)
                named[id(line)] = name = line.name or _spelled(line)
                lines += _wrapped(f"const T {name} = {written};", 0)
        lines.append("decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);")
        for line in self._taken:
            name = self._members[id(line)]
            here = f"this->{name}" if name in named.values() else name
            if _is_exact(line):
                written = f"T({text(line, exact, number=_digits)})"
            else:
                written = text(line, known, _called, _once)
            lines += _wrapped(f"{here} = {written};", 0)
        return [f"        {line}" for line in lines]

    def _reads(self, name: str) -> bool:
        return any(x.name == name for x in self._formula.inputs(once=True))

    # -- each weight

    def _arguments(self) -> str:
        used = [slot if slot in self._slots.values() else "" for slot in SLOTS]
        return ", ".join(["int64 i", "T g", "T* weights", *(f"T* {slot}".strip() for slot in used)])

    def _apply(self) -> list[str]:
        outputs = self._formula.outputs
        stays = outputs[WEIGHTS].function == "input"
        lines = []
        if stays:
            lines.append("if (decay != T(0)) weights[i] -= weights[i] * decay;")
        else:
            lines.append("const T w = weights[i] - weights[i] * decay;")
        named: dict[int, str] = {}
        for x in self._formula.inputs(once=False):
            if x.name in self._slots:
                named[id(x)] = name = f"{x.name}_before"
                lines.append(f"const T {name} = {self._slots[x.name]}[i];")

        def known(line: Line) -> str | None:
            if line.once:
                return self._members.get(id(line))
            return named.get(id(line)) or (line.name if line.function == "input" else None)

        # Each slot is written at once: what waits for that would take registers of a card.
        places: dict[int, list[str]] = {}
        for name, slot in self._slots.items():
            if name in outputs:
                places.setdefault(id(outputs[name]), []).append(slot)
        for line in self._formula.lines:
            keeps = line.uses > 1 or id(line) in places or (line.name and line.name != WEIGHTS)
            if not line.once and line.operands and keeps:
                written = text(line, known, _called, _of_weights)
                named[id(line)] = name = line.name or _spelled(line)
                lines += _wrapped(f"const T {name} = {written};", 0)
                lines += [f"{slot}[i] = {name};" for slot in places.pop(id(line), ())]
        for line in outputs.values():  # what is no value of its own: an input, or one for all
            written = text(line, known, _called, _of_weights)
            lines += [f"{slot}[i] = {written};" for slot in places.pop(id(line), ())]
        if not stays:
            written = text(outputs[WEIGHTS], known, _called, _of_weights)
            lines += _wrapped(f"weights[i] = {written};", 0)
        return [f"        {line}" for line in lines]


# -- words


def _called(name: str, given: list[str]) -> str:
    return f"elements::{name}({', '.join(given)})"


def _is_exact(line: Line) -> bool:
    """Whether it is made of parameters by sums and products alone."""
    if line.function == "input":
        return line.name != "t"
    plain = line.function in ("constant", "negative", "add", "subtract", "multiply")
    return plain and all(map(_is_exact, line.operands))


def _digits(number: float) -> str:
    """A constant with all of its digits."""
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"{number} as a constant of a formula.")
    return str(int(number)) if number == int(number) and abs(number) < 1e6 else repr(number)


def _once(number: float) -> str:
    return _digits(number) if number == int(number) else f"T({_digits(number)})"


def _of_weights(number: float) -> str:
    return f"T({_digits(number)})"


_WORDS = {"subtract": "minus", "add": "plus", "multiply": "times", "divide": "over"}


def _spelled(line: Line) -> str:
    """A name for a value that its author gave none: "one_minus_beta_1".

    Raises:
        ValueError: if that would be none; the value is to be given one in Python then.
    """

    def word(x: Line) -> str:
        if x.function == "constant" and x.number == 1:
            return "one"
        return x.name

    words = [word(x) for x in line.operands]
    if line.function not in _WORDS or not all(words):
        raise ValueError(f"Give {text(line)} a name: it is needed more than once.")
    return f"_{_WORDS[line.function]}_".join(words)


def _comment(optimizer: Optimizer) -> list[str]:
    """The first paragraph of a docstring."""
    about = re.split(r"\n\s*\n", inspect.cleandoc(type(optimizer).__doc__ or ""))[0]
    options = [name for name in optimizer.options if getattr(optimizer, name)]
    about = f"{' '.join(about.split())}" + (f" With {' and '.join(options)}." if options else "")
    return textwrap.wrap(about, WIDTH, initial_indent="// ", subsequent_indent="// ")


def _wrapped(line: str, indent: int) -> list[str]:
    """A statement in lines that are not too long; what stands in brackets stays together."""
    together = re.sub(r"\([^()]*\)", lambda found: found.group().replace(" ", "\0"), line)
    wrapped = textwrap.wrap(
        together, WIDTH - 8, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4),
        break_long_words=False,
    )  # fmt: skip
    return [part.replace("\0", " ") for part in wrapped]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

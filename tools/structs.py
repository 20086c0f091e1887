"""Formulas as C++: structs for the kernels' loops. Every value that its author named is a line."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

import numpy as np

from gpunn.activations.on_arrays import SAVED
from gpunn.ops.further import activations
from gpunn.ops.fusion.formulas import SIGNS, Formula, Line, text
from gpunn.ops.tensor import Tensor
from gpunn.optimizers import Optimizer
from gpunn.optimizers.rules import WEIGHTS

WIDTH = 100
SLOTS = ("slot_0", "slot_1", "slot_2")
OPERATORS = {
    **SIGNS, "where": "?", "logical_and": "&&", "logical_or": "||", "equal": "==",
    "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip


AT_LEAST = "elements::at_least("


class Names(dict[int, str]):
    """What a function, and others in its file, call their tensors: by their ``id``.

    It is filled while the function is called in its block; of two names, the outer function's
    counts.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._files = {inspect.getfile(function), activations.__file__}
        self._tensors: list[Tensor] = []  # alive, so that their ids stay theirs

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "return" and frame.f_code.co_filename in self._files:
            here: dict[int, str] = {}
            for name, value in frame.f_locals.items():
                if type(value) is Tensor:
                    here.setdefault(id(value), name)
                    self._tensors.append(value)
            self.update(here)

    def __enter__(self) -> Names:
        self._before = sys.getprofile()
        sys.setprofile(self._look)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self._before)


class Struct:
    """What structs of all kinds of parts have in common."""

    def __init__(self, part: Any, formulas: Iterable[Formula]) -> None:
        self._part = part
        taken = dict.fromkeys(x for formula in formulas for x in _shared(formula))
        self._taken = list(taken)
        self._members = {id(x): x.name or _spelled(x) or f"number_{n}" for n, x in enumerate(taken)}

    def _enumeration(self) -> str:
        return ", ".join(name.upper() for name in self._part.parameter_names)

    def _number(self, line: Line) -> str:
        return f"T({_digits(line.number)})"

    def _named(
        self,
        formula: Formula,
        named: dict[int, str],
        kept: Callable[[Line], bool],
        stored: Callable[[Line, str], Iterable[str]] = lambda line, name: (),
    ) -> tuple[list[str], Callable[[Line], str]]:
        """The lines of the values with a name, and what writes the others.

        Args:
            named: what stands for values, by their ids; it is added to.
            kept: whether a value gets a line, whether or not it is needed more than once.
            stored: statements behind a value.
        """

        def known(line: Line) -> str | None:
            if line.once:
                return self._members.get(id(line))
            return named.get(id(line)) or (line.name if line.function == "input" else None)

        def written(line: Line) -> str:
            return text(line, known, called, self._number, OPERATORS)

        lines: list[str] = []
        taken = {named.get(id(x), x.name) for x in formula.lines if x.function == "input"}
        for line in formula.lines:
            if not line.once and line.operands and (line.uses > 1 or kept(line)):
                name = line.name or _spelled(line) or f"value_{len(named)}"
                if name in taken:
                    raise ValueError(f"Two values of {self._part!r} are called {name}.")
                taken.add(name)
                kind = "bool" if line.is_truth else "T"
                lines += _wrapped(f"const {kind} {name} = {written(line)};", 0)
                named[id(line)] = name
                lines += stored(line, name)
        return lines, written


def _shared(formula: Formula) -> Iterable[Line]:
    """What is one number for all elements and not compared: the members of a struct."""
    waiting = [x for line in formula.lines if not line.once for x in line.operands if x.once]
    while waiting:
        x = waiting.pop(0)
        if x.is_truth:
            waiting[:0] = x.operands
        elif x.function != "constant":
            yield x


class ActivationStruct(Struct):
    """The struct of an activation.

    Args:
        activation: an object; what it is given as numbers are the struct's parameters.
        forward, gradient: its formulas.
        single: the constants that are others in float32, by the ids of their lines.
    """

    def __init__(
        self, activation: Any, forward: Formula, gradient: Formula, single: Mapping[int, float]
    ) -> None:
        super().__init__(activation, (forward, gradient))
        self._single = single
        # Both formulas have lines of their own for a parameter; it is one member.
        self._distinct = list(dict.fromkeys(self._members.values()))
        self._forward, self._gradient = forward, gradient

    def text(self) -> str:
        part, saved = self._part, SAVED[self._part.saves]
        variant = f"As {part!r}. " if part.functor != type(part).__name__ else ""
        about = f"{variant}Saves {saved}."
        lines = [
            *_comment(part, about), f"template <typename T> struct {part.functor} : Activation {{",
        ]  # fmt: skip
        if part.parameter_names:
            lines.append(f"    enum {{ {self._enumeration()} }};")
            lines += _wrapped(f"T {', '.join(self._distinct)};", 4)
        lines += self._constructor()
        lines += self._function("forward", self._forward, ["x"])
        lines += self._function("gradient", self._gradient, [saved, "dy"])
        return "\n".join([*lines, "};"]) + "\n"

    def _constructor(self) -> list[str]:
        start = f"HD explicit {self._part.functor}(const double*"
        if not self._distinct:
            return [f"    {start}) {{}}"]
        first = {self._members[id(x)]: x for x in reversed(self._taken)}
        made = [
            f"{name}({self._prepared(first[name])}{' + T(0)' if name in self._chosen() else ''})"
            for name in self._distinct
        ]
        return [f"    {start} p)", *_wrapped(f": {', '.join(made)} {{}}", 8)]

    def _prepared(self, line: Line) -> str:
        """Sums and products of parameters are computed in double: other functions of doubles would
        take long on a card."""

        def exact(line: Line) -> str | None:
            if not _is_exact(line) or line.function == "constant":
                return None
            return f"T({text(line, _of_parameters, number=lambda x: _digits(x.number))})"

        return text(line, exact, called, self._number)

    def _chosen(self) -> set[str]:
        """Members that are chosen where another one is not: something must be done with them in
        single precision, or compilers choose a double for each element and convert that."""
        formulas = self._forward, self._gradient
        choices = [x for f in formulas for x in f.lines if x.function == "where" and not x.once]
        return {
            self._members[id(b)] for _, a, b in (x.operands for x in choices)
            if id(a) in self._members and id(b) in self._members
        }  # fmt: skip

    def _number(self, line: Line) -> str:
        if id(line) not in self._single:
            return super()._number(line)
        single = _digits(self._single[id(line)])
        return f"T(sizeof(T) == 4 ? {single} : {_digits(line.number)})"

    def _function(self, name: str, formula: Formula, given: list[str]) -> list[str]:
        (output,) = formula.outputs.values()
        used = {x.name for x in formula.lines if x.function == "input" and (x.uses or x is output)}
        arguments = ", ".join(f"T {x}" if x in used else "T" for x in given)
        lines, written = self._named(
            formula, {}, lambda line: bool(line.name) and line is not output
        )
        start = f"    HD T {name}({arguments}) const {{"
        short = f"{start} return {written(output)}; }}"
        if not lines and len(short) <= WIDTH:
            return [short]
        lines += _wrapped(f"return {written(output)};", 0)
        return [start, *(f"        {x}" for x in lines), "    }"]


def of_both(
    double: tuple[Formula, ...], single: tuple[Formula, ...]
) -> dict[int, float]:
    """The constants of formulas that are not those of the same formulas in float32.

    Raises:
        ValueError: if they are other formulas but for their constants.
    """
    found: dict[int, float] = {}
    for a, b in zip(double, single, strict=True):
        if [x.function for x in a.lines] != [x.function for x in b.lines]:
            raise ValueError("In float32 it is another formula.")
        for x, y in zip(a.lines, b.lines, strict=True):
            if x.function == "constant" and np.float32(x.number) != np.float32(y.number):
                found[id(x)] = y.number
    return found


class Update(Struct):
    """The struct of one update."""

    def __init__(self, optimizer: Optimizer, formula: Formula) -> None:
        super().__init__(optimizer, [formula])
        self._optimizer, self._formula = optimizer, formula
        self._slots = dict(zip(optimizer.slot_names, SLOTS, strict=False))

    def text(self) -> str:
        optimizer = self._optimizer
        members = ", ".join(["decay", *self._members.values()])
        lines = [
            f"template <typename T> struct {optimizer.functor} : Optimizer {{",
            f"    enum {{ {self._enumeration()} }};",
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
        return "\n".join([*_comment(optimizer, _with_options(optimizer)), *lines]) + "\n"

    # -- what all weights share

    def _prepare(self) -> list[str]:
        """Sums and products of parameters are computed in double, and what functions give of them
        in the type of the weights: doubles would take registers of a card there."""
        lines = ["const T t = T(updates + 1);"] if self._reads("t") else []
        named: dict[int, str] = {}

        def exact(line: Line) -> str | None:
            return "learning_rate" if line.name == "rate" else _of_parameters(line, "parameters")

        def digits(line: Line) -> str:
            return _digits(line.number)

        def known(line: Line) -> str | None:
            if line.name == "t" and line.function == "input":
                return "t"
            if id(line) in named:
                return named[id(line)]
            return f"T({text(line, exact, number=digits)})" if _is_exact(line) else None

        for line in self._formula.lines:
            keeps = line.uses > 1 or (line.name and id(line) not in self._members)
            if line.once and line.operands and keeps and not _is_exact(line):
                written = text(line, known, called, _once)
                named[id(line)] = name = line.name or _spelled(line) or f"once_{len(named)}"
                lines += _wrapped(f"const T {name} = {written};", 0)
        lines.append("decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);")
        for line in self._taken:
            name = self._members[id(line)]
            here = f"this->{name}" if name in named.values() else name
            if _is_exact(line):
                written = f"T({text(line, exact, number=digits)})"
            else:
                written = text(line, known, called, _once)
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

        # Each slot is written at once: what waits for that would take registers of a card.
        places: dict[int, list[str]] = {}
        for name, slot in self._slots.items():
            if name in outputs:
                places.setdefault(id(outputs[name]), []).append(slot)

        def stored(line: Line, name: str) -> list[str]:
            return [f"{slot}[i] = {name};" for slot in places.pop(id(line), ())]

        made, written = self._named(
            self._formula, named,
            lambda x: id(x) in places or bool(x.name and x.name != WEIGHTS), stored,
        )  # fmt: skip
        lines += made
        for line in outputs.values():  # what is no value of its own: an input, or one for all
            lines += stored(line, written(line))
        if not stays:
            lines += _wrapped(f"weights[i] = {written(outputs[WEIGHTS])};", 0)
        return [f"        {line}" for line in lines]


# -- words


def called(line: Line, given: list[str]) -> str:
    """How a function is called."""
    name, last = line.function, line.operands[-1]
    if name in ("maximum", "minimum") and line.operands[0].once:
        given, last = given[::-1], line.operands[0]
    if name in ("maximum", "minimum") and last.once:  # what is no NaN needs no look
        name = "at_least" if name == "maximum" else "at_most"
    if name == "at_most" and given[0].startswith(AT_LEAST):
        given, name = [given[0][len(AT_LEAST) : -1], given[1]], "clip"
    if name == "copy" and line.is_truth != line.operands[0].is_truth:
        return f"({given[0]} != T(0))" if line.is_truth else f"T({given[0]})"
    return f"elements::{name}({', '.join(given)})"


def _of_parameters(line: Line, array: str = "p") -> str | None:
    """Where the number is that a line is known by."""
    return f"{array}[{line.name.upper()}]" if line.function == "input" else None


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


def _once(line: Line) -> str:
    number = line.number
    return _digits(number) if number == int(number) else f"T({_digits(number)})"


_WORDS = {"subtract": "minus", "add": "plus", "multiply": "times", "divide": "over"}


def _spelled(line: Line) -> str:
    """A name for a value that its author gave none, as "one_minus_beta_1"; "" if that is none."""

    def word(x: Line) -> str:
        if x.function == "constant" and x.number == 1:
            return "one"
        return x.name

    words = [word(x) for x in line.operands]
    if line.function not in _WORDS or not all(words):
        return ""
    return f"_{_WORDS[line.function]}_".join(words)


def _with_options(optimizer: Optimizer) -> str:
    options = [name for name in optimizer.options if getattr(optimizer, name)]
    return f"With {' and '.join(options)}." if options else ""


def _comment(part: Any, more: str) -> list[str]:
    """The first paragraph of a docstring, and more."""
    about = re.split(r"\n\s*\n", inspect.cleandoc(type(part).__doc__ or ""))[0]
    about = " ".join([*about.split(), *more.split()])
    return textwrap.wrap(about, WIDTH, initial_indent="// ", subsequent_indent="// ")


def _wrapped(line: str, indent: int) -> list[str]:
    """A statement in lines that are not too long; what stands in brackets stays together."""
    together = re.sub(r"\([^()]*\)", lambda found: found.group().replace(" ", "\0"), line)
    wrapped = textwrap.wrap(
        together, WIDTH - 8, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4),
        break_long_words=False,
    )  # fmt: skip
    return [part.replace("\0", " ") for part in wrapped]

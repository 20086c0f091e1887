"""Formulas as C++: structs for the kernels' loops. Each value named in the source is a line."""

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
from gpunn.ops.fusion.formulas import SIGNS, Formula, Line, text
from gpunn.ops.library import activations, networks
from gpunn.ops.tensor import Tensor

WIDTH = 100
OPERATORS = {
    **SIGNS, "where": "?", "logical_and": "&&", "logical_or": "||", "equal": "==",
    "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip


class Names(dict[int, str]):
    """The names that a function, and others in its file, give to tensors, by their ``id``.

    It is filled while the function is called in the ``with`` block. If a tensor has two names,
    the outer function's name is used.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._files = {inspect.getfile(function), activations.__file__, networks.__file__}
        self._tensors: list[Tensor] = []  # kept alive, so that their ids stay unique

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "return" and frame.f_code.co_filename in self._files:
            here: dict[int, str] = {}
            inherited = frame.f_code.co_freevars  # of an enclosing function, maybe returned
            for name, value in frame.f_locals.items():
                if name in inherited and id(value) in self:
                    continue
                if type(value) is Tensor and name != "_":
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
    """Base class of structs of all kinds of parts."""

    def __init__(self, part: Any, formulas: Iterable[Formula]) -> None:
        self._part = part
        taken = dict.fromkeys(x for formula in formulas for x in _shared(formula))
        self._taken = list(taken)
        # Each formula has separate lines for a parameter; the parameter is one member.
        names = {text(x): x.name or spelled(x) for x in taken}
        names = {made: name or f"number_{n}" for n, (made, name) in enumerate(names.items())}
        self._members = {id(x): names[text(x)] for x in taken}

    def _enumeration(self) -> str:
        return ", ".join(name.upper() for name in self._part.parameter_names)

    def _number(self, line: Line) -> str:
        return f"T({digits(line.number)})"

    def _named(
        self,
        formula: Formula,
        named: dict[int, str],
        kept: Callable[[Line], bool],
        stored: Callable[[Line, str], Iterable[str]] = lambda line, name: (),
    ) -> tuple[list[str], Callable[[Line], str]]:
        """Return the lines of the named values, and a function that writes the others.

        Args:
            named: the names of values, by their ids; new names are added.
            kept: whether a value gets a line even if it is used only once.
            stored: statements that follow a value.
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
                name = line.name or spelled(line) or f"value_{len(named)}"
                if name in taken:
                    raise ValueError(f"Two values of {self._part!r} have the name {name}.")
                taken.add(name)
                kind = "bool" if line.is_truth else "T"
                lines += wrapped(f"const {kind} {name} = {written(line)};", 0)
                named[id(line)] = name
                lines += stored(line, name)
        return lines, written


def _shared(formula: Formula) -> Iterable[Line]:
    """Yield values shared by all elements and not compared: the members of a struct."""
    waiting = [x for line in formula.lines if not line.once for x in line.operands if x.once]
    while waiting:
        x = waiting.pop(0)
        if x.is_truth:
            waiting[:0] = x.operands
        elif x.function != "constant":
            yield x


class OfNumbers(Struct):
    """A struct of element-wise functions; subclasses define which.

    Args:
        part: an object; its numeric arguments are the struct's parameters.
        formulas: its functions, by their names.
        single: the constants that differ in float32, by the ids of their lines.
    """

    kind: str

    def __init__(
        self, part: Any, formulas: Mapping[str, Formula], single: Mapping[int, float]
    ) -> None:
        self._formulas, self._single = formulas, single
        super().__init__(part, formulas.values())
        self._distinct = list(dict.fromkeys(self._members.values()))

    def functions(self) -> list[str]:
        """Return the lines of the functions."""
        raise NotImplementedError

    def about(self) -> str:
        """Return the comment that follows the part's docstring."""
        part = self._part
        return f"As {part!r}." if part.functor != type(part).__name__ else ""

    def text(self) -> str:
        part = self._part
        lines = written_comment(part, self.about())
        lines.append(f"template <typename T> struct {part.functor} : {self.kind} {{")
        if part.parameter_names:
            lines.append(f"    enum {{ {self._enumeration()} }};")
            lines += wrapped(f"T {', '.join(self._distinct)};", 4)
        lines += [*self._constructor(), *self.functions()]
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
        return [f"    {start} p)", *wrapped(f": {', '.join(made)} {{}}", 8)]

    def _prepared(self, line: Line) -> str:
        """Compute sums and products of parameters in double: other functions of doubles would be
        slow on a GPU."""

        def exact(line: Line) -> str | None:
            if not is_exact(line) or line.function == "constant":
                return None
            return f"T({text(line, of_parameters, number=lambda x: digits(x.number))})"

        return text(line, exact, called, self._number)

    def _chosen(self) -> set[str]:
        """Return members that are branches of a condition: they need an operation in single
        precision, or compilers select a double for each element and convert that."""
        lines = [x for formula in self._formulas.values() for x in formula.lines]
        choices = [x for x in lines if x.function == "where" and not x.once]
        return {
            self._members[id(b)] for _, a, b in (x.operands for x in choices)
            if id(a) in self._members and id(b) in self._members
        }  # fmt: skip

    def _number(self, line: Line) -> str:
        if id(line) not in self._single:
            return super()._number(line)
        single = digits(self._single[id(line)])
        return f"T(sizeof(T) == 4 ? {single} : {digits(line.number)})"

    def _function(
        self,
        name: str,
        formula: Formula,
        given: list[str],
        row: tuple[str, ...] = (),
        factor: str = "",
    ) -> list[str]:
        """Return the lines of an element-wise function.

        Args:
            row: further arguments.
            factor: a factor of the result.
        """
        (output,) = formula.outputs.values()
        used = {x.name for x in formula.lines if x.function == "input" and (x.uses or x is output)}
        arguments = ", ".join([*(f"T {x}" if x in used else "T" for x in given), *row])
        lines, written = self._named(
            formula, {}, lambda line: bool(line.name) and line is not output
        )
        result = written(output)
        if factor:
            result = f"{result if _is_one(result) else f'({result})'} * {factor}"
        start = f"    HD T {name}({arguments}) const {{"
        short = f"{start} return {result}; }}"
        if not lines and len(short) <= WIDTH:
            return [short]
        lines += wrapped(f"return {result};", 0)
        return [start, *(f"        {x}" for x in lines), "    }"]


class ActivationStruct(OfNumbers):
    """The struct of an activation, of `call` and `gradient`."""

    kind = "Activation"

    def about(self) -> str:
        return f"{super().about()} Saves {SAVED[self._part.saves]}."

    def functions(self) -> list[str]:
        given = {"forward": ["x"], "gradient": [SAVED[self._part.saves], "dy"]}
        return [
            line for name, formula in self._formulas.items()
            for line in self._function(name, formula, given[name])
        ]  # fmt: skip


class PenaltyStruct(OfNumbers):
    """The struct of a penalty, of `term` and `slope`."""

    kind = "Penalty"

    def functions(self) -> list[str]:
        return [
            line for name, formula in self._formulas.items()
            for line in self._function(name, formula, ["w"])
        ]  # fmt: skip


class LossStruct(OfNumbers):
    """The struct of an element-wise loss, of `cost` and `slope`."""

    kind = "Loss"

    def about(self) -> str:
        options = [name for name in ("from_logits", "clipped") if getattr(self._part, name, False)]
        return f"With {' and '.join(options)}." if options else ""

    def functions(self) -> list[str]:
        mean = self._part.mean
        row, factor = ("const Row<T>& row",) if mean else ("const Row<T>&",), "row.share" * mean
        return [
            line for name, formula in self._formulas.items()
            for line in self._function(name, formula, ["t", "y"], row, factor)
        ]  # fmt: skip


class OfOneNumber(Struct):
    """The struct of a function of one number, in double, computed once per step or row.

    Args:
        part: an object; its numeric arguments are the function's parameters.
        formula: the function of the number.
        kind: the kind of the part.
        number: the name of the number in the formula.
    """

    def __init__(self, part: Any, formula: Formula, kind: str, number: str) -> None:
        super().__init__(part, [])
        self._formula, self._kind, self._given = formula, kind, number

    def text(self) -> str:
        named: dict[int, str] = {}

        def known(line: Line) -> str | None:
            if line.name == self._given:
                return line.name
            return named.get(id(line)) or of_parameters(line)

        def written(line: Line) -> str:
            return text(line, known, called, lambda x: repr(x.number), OPERATORS)

        def values(needed: set[Line], also_read: bool = False) -> list[str]:
            """Return the lines of the named values among those needed, and of parameters."""
            lines = []
            for line in self._formula.lines:
                reads = also_read and line.function == "input" and line.name != self._given
                keeps = line.operands and (line.name or line.uses > 1)
                if line in needed and id(line) not in named and (reads or keeps):
                    name = line.name or spelled(line) or f"value_{len(named)}"
                    lines += wrapped(f"const double {name} = {written(line)};", 0)
                    named[id(line)] = name
            return lines

        def returned(output: Line) -> list[str]:
            """Return the statements that return ``output``. Only one side of a choice is computed:
            the values of both would take GPU registers."""
            if output.function != "where":
                return [*values({*below(output)}), *wrapped(f"return {written(output)};", 0)]
            condition, a, b = output.operands
            lines = values({*below(a)} & {*below(b)}, also_read=True)
            lines += values({condition, *below(condition)})
            before = dict(named)
            chosen = returned(a)
            named.clear()
            named.update(before)
            start = f"if ({written(condition)})"
            if len(chosen) == 1:
                lines += wrapped(f"{start} {chosen[0]}", 0)
            else:
                lines += [f"{start} {{", *(f"    {line}" for line in chosen), "}"]
            return [*lines, *returned(b)]

        (output,) = self._formula.outputs.values()
        lines = returned(output)
        about = [
            *written_comment(self._part, ""),
            f"struct {self._part.functor} : {self._kind} {{",
            f"    enum {{ {self._enumeration()} }};",
            f"    HD static double value(const double* p, double {self._given}) {{",
        ]
        return "\n".join([*about, *(f"        {x}" for x in lines), "    }", "};"]) + "\n"


def of_both(double: Mapping[str, Formula], single: Mapping[str, Formula]) -> dict[int, float]:
    """Return the constants of formulas that differ from those of the float32 formulas.

    Raises:
        ValueError: if the formulas differ in more than their constants.
    """
    found: dict[int, float] = {}
    for a, b in zip(double.values(), single.values(), strict=True):
        if [x.function for x in a.lines] != [x.function for x in b.lines]:
            raise ValueError("The float32 formula has a different structure.")
        for x, y in zip(a.lines, b.lines, strict=True):
            if x.function == "constant" and np.float32(x.number) != np.float32(y.number):
                found[id(x)] = y.number
    return found


# -- words


def _is_one(written: str) -> bool:
    """Whether a string is a name, or a call of one function."""
    depth = 0
    for n, sign in enumerate(written):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and not (sign.isalnum() or sign in "_:" or n == len(written) - 1):
            return False
    return True


def below(line: Line) -> Iterable[Line]:
    """Yield the lines that a line reads, directly or through others."""
    for operand in line.operands:
        yield operand
        yield from below(operand)


def called(line: Line, given: list[str]) -> str:
    """Return the C++ call of a function."""
    name, last = line.function, line.operands[-1]
    if name in ("maximum", "minimum") and line.operands[0].once and not last.once:
        given, last = given[::-1], line.operands[0]
    if name in ("maximum", "minimum") and last.once:  # never NaN: no check needed
        name = "at_least" if name == "maximum" else "at_most"
    if name == "copy" and line.is_truth != line.operands[0].is_truth:
        return f"({given[0]} != T(0))" if line.is_truth else f"T({given[0]})"
    return f"elements::{name}({', '.join(given)})"


def of_parameters(line: Line, array: str = "p") -> str | None:
    """Return the parameter that holds the value of a line; None if there is none."""
    return f"{array}[{line.name.upper()}]" if line.function == "input" else None


def is_exact(line: Line) -> bool:
    """Whether a line consists only of sums and products of parameters."""
    if line.function == "input":
        return line.name != "t"
    plain = line.function in ("constant", "negative", "add", "subtract", "multiply")
    return plain and all(map(is_exact, line.operands))


def digits(number: float) -> str:
    """Return a constant with all of its digits."""
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"A constant of a formula must be finite; got {number}.")
    return str(int(number)) if number == int(number) and abs(number) < 1e6 else repr(number)


_WORDS = {"subtract": "minus", "add": "plus", "multiply": "times", "divide": "over"}


def spelled(line: Line) -> str:
    """Return a name for an unnamed value, such as "one_minus_beta_1"; "" if there is none."""

    def word(x: Line) -> str:
        if x.function == "constant" and x.number == 1:
            return "one"
        return x.name

    words = [word(x) for x in line.operands]
    if line.function not in _WORDS or not all(words):
        return ""
    return f"_{_WORDS[line.function]}_".join(words)


def written_comment(part: Any, more: str) -> list[str]:
    """Return a comment with the first paragraph of a docstring, and ``more``."""
    about = re.split(r"\n\s*\n", inspect.cleandoc(type(part).__doc__ or ""))[0]
    about = re.sub(r"``([^`]+)``", _plain, " ".join([*about.split(), *more.split()]))
    return textwrap.wrap(about, WIDTH, initial_indent="// ", subsequent_indent="// ")


def _plain(code: re.Match[str]) -> str:
    """Return a formula without the backticks that it has in a docstring; a single word has them."""
    return code[1] if " " in code[1] else code[0]


def wrapped(line: str, indent: int) -> list[str]:
    """Wrap a statement into lines that are not too long, keeping bracketed text together."""
    together = re.sub(r"\([^()]*\)", lambda found: found.group().replace(" ", "\0"), line)
    wrapped = textwrap.wrap(
        together, WIDTH - 8, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4),
        break_long_words=False,
    )  # fmt: skip
    return [part.replace("\0", " ") for part in wrapped]

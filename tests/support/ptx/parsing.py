"""Read PTX: a module's variables and functions, and the statements of each function."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Call", "Function", "Instruction", "Label", "Module", "PtxError", "Registers", "Scope",
           "Statement", "Variable", "parse"]  # fmt: skip


class PtxError(ValueError):
    """PTX with something that is not supported; the message names its line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"PTX, line {line}: {problem}")


@dataclass(frozen=True)
class Variable:
    """A variable or parameter: of a state space, with its number of elements."""

    line: int
    space: str
    align: int
    type: str
    name: str
    count: int
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Registers:
    line: int
    type: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    line: int
    name: str


@dataclass(frozen=True)
class Scope:
    """The beginning or the end of a nested block."""

    line: int
    begins: bool


@dataclass(frozen=True)
class Instruction:
    """An instruction, which is skipped unless the register `guard` is true (``!`` negates it)."""

    line: int
    guard: str
    form: str
    operands: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    line: int
    name: str
    result: str
    arguments: tuple[str, ...]


Statement = Variable | Registers | Label | Scope | Instruction | Call


@dataclass(frozen=True)
class Function:
    line: int
    entry: bool
    name: str
    result: Variable | None
    parameters: tuple[Variable, ...]
    body: tuple[Statement, ...] | None  # None: only declared


@dataclass
class Module:
    variables: list[Variable] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)


_NEXT = re.compile(r"\S")  # the next character that is not white space
_TOKEN = re.compile(
    r"\s*(?:(?P<label>[$\w]+):(?!:)|(?P<brace>[{}])|(?P<text>(?:[^;{}]|\{[^{};]*\})+);)"
)
_DIRECTIVE = re.compile(r"\.(version|target|address_size)\b[^\n]*")
_FUNCTION = re.compile(
    r"\s*(?:\.(?:visible|weak|extern)\s+)*\.(?P<kind>entry|func)\s*(?:\((?P<result>[^)]*)\)\s*)?"
    r"(?P<name>[$\w]+)\s*(?:\((?P<parameters>[^)]*)\))?"
    r"(?:\s*\.(?:maxntid|minnctapersm|maxnreg|reqntid|noreturn)[\s\d,]*)*\s*(?P<end>[;{])"
)
_VARIABLE = re.compile(
    r"(?:\.(?:visible|weak)\s+)*\.(?P<space>global|const|shared|local|param)\s+"
    r"(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+(?P<name>[$\w]+)(?:\[(?P<count>\d+)\])?"
    r"(?:\s*=\s*(?P<values>.*))?"
)
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.*)")
_RANGE = re.compile(r"(%?\w+)<(\d+)>")
_CALL = re.compile(r"call(?:\.uni)?\s+(?:\(\s*(\w+)\s*\)\s*,\s*)?([$\w]+)\s*,\s*\(([^)]*)\)")
_INSTRUCTION = re.compile(r"(?:@(!?%\w+)\s+)?([a-z][\w.]*)\s*(.*)")
_OPERAND = re.compile(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,\s])+")


def parse(text: str) -> Module:
    """Parse a module; raises `PtxError`."""
    text = re.sub(r"//[^\n]*", "", text)
    text = _DIRECTIVE.sub("", text)
    module = Module()
    line, seen = 1, 0

    def line_at(place: int) -> int:
        nonlocal line, seen
        found = _NEXT.search(text, place)
        place = found.start() if found else len(text)
        line += text.count("\n", seen, place)
        seen = max(seen, place)
        return line

    at = 0
    while _NEXT.search(text, at):
        here = line_at(at)
        if found := _FUNCTION.match(text, at):
            at = found.end()
            body: list[Statement] | None = None
            if found["end"] == "{":
                body, depth = [], 1
                while depth:
                    place = line_at(at)
                    token = _TOKEN.match(text, at)
                    if not token:
                        raise PtxError(place, f"not understood: {text[at : at + 60].strip()}")
                    at = token.end()
                    if token["brace"]:
                        depth += 1 if token["brace"] == "{" else -1
                        if depth:
                            body.append(Scope(place, token["brace"] == "{"))
                    elif token["label"]:
                        body.append(Label(place, token["label"]))
                    else:
                        body += _statements(place, " ".join(token["text"].split()))
            module.functions.append(
                Function(
                    here, found["kind"] == "entry", found["name"],
                    next(iter(_parameters(here, found["result"])), None),
                    tuple(_parameters(here, found["parameters"])),
                    None if body is None else tuple(body),
                )
            )  # fmt: skip
            continue
        end = text.find(";", at)
        statement = " ".join(text[at : end if end >= 0 else len(text)].split())
        found = _VARIABLE.fullmatch(statement)
        if not found or end < 0:
            raise PtxError(here, f"not understood: {statement[:60]}")
        module.variables.append(_variable(here, found))
        at = end + 1
    return module


def _variable(line: int, found: re.Match[str]) -> Variable:
    values = re.findall(r"-?\w+", found["values"] or "")
    return Variable(
        line, found["space"], int(found["align"] or 1), found["type"], found["name"],
        int(found["count"] or 1), tuple(int(value.rstrip("U"), 0) for value in values),
    )  # fmt: skip


def _parameters(line: int, text: str | None) -> Iterator[Variable]:
    for each in (text or "").split(","):
        if statement := " ".join(each.split()):
            found = _VARIABLE.fullmatch(statement)
            if not found:
                raise PtxError(line, f"not understood: {statement}")
            yield _variable(line, found)


def _statements(line: int, text: str) -> Iterator[Statement]:
    if text.startswith((".pragma", ".loc ")):
        return
    if found := _REGISTERS.fullmatch(text):
        names: list[str] = []
        for name in (name.strip() for name in found[2].split(",")):
            several = _RANGE.fullmatch(name)
            names += [f"{several[1]}{i}" for i in range(int(several[2]))] if several else [name]
        yield Registers(line, found[1], tuple(names))
    elif found := _VARIABLE.fullmatch(text):
        yield _variable(line, found)
    elif found := _CALL.fullmatch(text):
        yield Call(line, found[2], found[1] or "", tuple(re.findall(r"[$\w]+", found[3])))
    elif found := _INSTRUCTION.fullmatch(text):
        yield Instruction(line, found[1] or "", found[2], tuple(_OPERAND.findall(found[3])))
    else:
        raise PtxError(line, f"not understood: {text}")

"""Translate PTX to C++ for `host_kernels`, line by line: an error names the line of the PTX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .operations import OPERATIONS
from .parsing import (
    Call,
    Function,
    Instruction,
    Label,
    Module,
    PtxError,
    Registers,
    Scope,
    Statement,
    Variable,
    parse,
)  # fmt: skip

__all__ = ["to_cpp"]

PRELUDE = Path(__file__).with_name("operations.h").read_text()

_SPECIAL = {
    f"%{name}.{axis}": f"{variable}.{axis}"
    for name, variable in (
        ("tid", "threadIdx"), ("ntid", "blockDim"), ("ctaid", "blockIdx"), ("nctaid", "gridDim"),
    )
    for axis in "xyz"
}  # fmt: skip
_ADDRESS = re.compile(r"\[([%$\w]+)(?:\+?(-?\d+))?\]")
_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)U?")
_FLOAT = re.compile(r"0([fFdD])([0-9a-fA-F]+)")


def to_cpp(ptx: str) -> str:
    """Return C++ that computes what a PTX module does; raises `PtxError` for unknown PTX."""
    return PRELUDE + '\n#line 1 "ptx"\n' + _Translation(parse(ptx)).text()


class _Translation:
    def __init__(self, module: Module) -> None:
        self.variables = {variable.name for variable in module.variables}
        self.lines: dict[int, list[str]] = {}
        self.types: dict[str, str] = {}  # of the registers of the function being translated
        for variable in module.variables:
            self.define(variable, "static ")
        for function in module.functions:
            self.function(function)

    def text(self) -> str:
        last = max(self.lines, default=0)
        return "".join(" ".join(self.lines.get(n, ())) + "\n" for n in range(1, last + 1))

    def write(self, line: int, text: str) -> None:
        self.lines.setdefault(line, []).append(text)

    def define(self, variable: Variable, storage: str) -> None:
        self.variables.add(variable.name)
        shared = variable.space == "shared"
        values = ", ".join(f"{variable.type}({_unsigned(value)})" for value in variable.values)
        self.write(
            variable.line,
            f"alignas({variable.align}) {'static __shared__ ' if shared else storage}"
            f"{variable.type} {variable.name}[{variable.count}]"
            f"{f' = {{{values}}}' if values else ''};",
        )

    def function(self, function: Function) -> None:
        self.types = {}
        places = [v.name for v in (function.result, *function.parameters) if v is not None]
        if function.entry:
            kinds = [f"{p.type} value_of_{p.name}" for p in function.parameters]
            head = f'extern "C" void {function.name}({", ".join(kinds)})'
        else:
            head = f"static void {function.name}({', '.join(f'u8* {name}' for name in places)})"
        if function.body is None:
            self.write(function.line, f"{head};")
            return
        flags = "bool carry = false, exists = false; (void)carry, (void)exists;"
        self.write(function.line, f"{head} {{ {flags}")
        for name in places if function.entry else ():
            self.write(function.line, f"u8* const {name} = (u8*)&value_of_{name};")
        self.variables |= {*places}
        labels: dict[str, int] = {}
        for number, statement in enumerate(function.body):
            if isinstance(statement, Label):
                labels[statement.name] = number
            repeats = ()
            if isinstance(statement, Instruction) and statement.form.startswith("bra"):
                repeats = function.body[labels.get(statement.operands[0], number) : number]
            self.statement(statement, repeats)
        self.write(max(self.lines), "}")

    def statement(self, statement: Statement, repeats: Sequence[Statement]) -> None:
        """Translate a statement; `repeats` are those that a jump back runs again."""
        line = statement.line
        if isinstance(statement, Registers):
            names = [_name(name) for name in statement.names]
            self.types.update(dict.fromkeys(names, statement.type.replace("b", "u")))
            self.write(line, f"{statement.type} {', '.join(names)};")
        elif isinstance(statement, Variable):
            self.define(statement, "")
        elif isinstance(statement, Label):
            self.write(line, f"{statement.name}:;")
        elif isinstance(statement, Scope):
            self.write(line, "{" if statement.begins else "}")
        elif isinstance(statement, Call):
            names = (statement.result, *statement.arguments)
            places = [f"(u8*){name}" for name in names if name]
            self.write(line, f"{statement.name}({', '.join(places)});")
        else:
            text = self.instruction(statement, repeats)
            if statement.guard:
                negation = "!" if statement.guard.startswith("!") else ""
                text = f"if ({negation}{_name(statement.guard.lstrip('!'))}) {{ {text} }}"
            self.write(line, text)

    def instruction(self, found: Instruction, repeats: Sequence[Statement]) -> str:
        opcode = found.form.split(".")[0]
        if found.form in ("bra", "bra.uni"):
            wait = "spin_wait(); " if _waits(repeats) else ""
            return f"{wait}goto {found.operands[0]};"
        if found.form == "ret":
            return "return;"
        if found.form == "trap":  # where the compiler sees that no thread comes
            return 'cpu::refuse(cpu::Place::here(), "reaches a trap");'
        operation = OPERATIONS.get(found.form)
        operands = list(found.operands)
        if operation is None:
            raise PtxError(found.line, f"unknown instruction {found.form} {', '.join(operands)}")
        if opcode == "bar" and operands[0] not in ("0", "-1"):
            raise PtxError(found.line, f"unknown barrier {operands[0]}")
        result = operands.pop(0) if operation.result else ""
        if len(operands) != len(operation.operands):
            raise PtxError(found.line, f"{found.form} with {len(operands)} operands")
        if opcode == "st" and operands[1].startswith("{"):
            type_ = operation.operands[1]
            address = self.value(found.line, operands[0], "address")
            return " ".join(
                f"*({type_}*)({address} + {i * int(type_[1:]) // 8}) = "
                f"{self.value(found.line, part, type_)};"
                for i, part in enumerate(_parts(operands[1]))
            )
        values = [
            self.value(found.line, *each) for each in zip(operands, operation.operands, strict=True)
        ]

        def meaning(values: Sequence[str]) -> str:
            named = dict(zip("abcd", values, strict=False))
            text = re.sub(r"\b[abcd]\b", lambda name: named[name[0]], operation.meaning)
            return f"{operation.result}({text})" if operation.result else text

        if result.startswith("{") and opcode == "ld":
            size = int(operation.result[1:]) // 8
            return " ".join(
                self.assign(name, operation.result, meaning([f"({values[0]} + {i * size})"]))
                for i, name in enumerate(_parts(result))
            )
        if result.startswith("{"):
            names = _parts(result)
            size = int(operation.result[1:]) // len(names)
            whole = _converted(values[0], operation.operands[0], f"u{size * len(names)}")
            return (
                f"{{ const u{size * len(names)} whole = {whole}; "
                + " ".join(
                    self.assign(name, f"u{size}", f"u{size}(whole >> {i * size})")
                    for i, name in enumerate(names)
                )
                + " }"
            )
        if "|" in result:
            result, exists = result.split("|")
            found = self.assign(result, operation.result, meaning(values))
            return f"{found} {_name(exists)} = exists;"
        if result:
            return self.assign(result, operation.result, meaning(values))
        return f"{meaning(values)};"

    def assign(self, register: str, type_: str, value: str) -> str:
        if register == "_":
            return ""
        name = _name(register)
        return f"{name} = {_converted(value, type_, self.types[name])};"

    def value(self, line: int, operand: str, type_: str) -> str:
        """Return an operand as C++ of this type."""
        if type_ == "address":
            found = _ADDRESS.fullmatch(operand.replace(" ", ""))
            if not found:
                raise PtxError(line, f"unknown address {operand}")
            return f"({self.value(line, found[1], 'u64')} + {int(found[2] or 0)})"
        if operand.startswith("{"):
            parts = _parts(operand)
            size = int(type_[1:]) // len(parts)
            whole = f"u{size * len(parts)}"
            values = [self.value(line, part, f"u{size}") for part in parts]
            joined = " | ".join(f"{whole}({v}) << {i * size}" for i, v in enumerate(values))
            return _converted(f"({joined})", whole, type_)
        if operand in _SPECIAL:
            return _converted(_SPECIAL[operand], "u32", type_)
        if (name := _name(operand)) in self.types:
            return _converted(name, self.types[name], type_)
        if operand in self.variables:
            return f"u64({operand})"
        if found := _FLOAT.fullmatch(operand):
            width = "32" if found[1] in "fF" else "64"
            return _converted(f"bits<f{width}>(u{width}(0x{found[2]}ull))", f"f{width}", type_)
        if _INTEGER.fullmatch(operand):
            return f"{type_}({_unsigned(int(operand.rstrip('U'), 0))})"
        raise PtxError(line, f"unknown operand {operand}")


def _name(register: str) -> str:
    """Return a register's name: %f32 must not hide the type, nor a parameter of a similar name."""
    return re.sub("^%", "r_", register) + "_"


def _parts(operand: str) -> list[str]:
    return [part.strip() for part in operand.strip("{}").split(",")]


def _unsigned(value: int) -> str:
    return f"{value & (1 << 64) - 1}ull"


def _converted(value: str, source: str, target: str) -> str:
    """A register holds bits: between integers they are cut or extended, else kept."""
    source, target = source.replace("b", "u"), target.replace("b", "u")
    if source == target:
        return value
    return f"bits<{target}>({value})" if "f" in source[0] + target[0] else f"{target}({value})"


def _waits(loop: Sequence[Statement]) -> bool:
    """Whether only another thread can end a loop: it reads volatile memory, writes none, and
    carries no register from one turn to the next."""
    instructions = [statement for statement in loop if isinstance(statement, Instruction)]
    if len(instructions) < sum(not isinstance(s, (Label, Scope)) for s in loop):
        return False
    written: set[str] = set()
    early: set[str] = set()  # read before they are written
    volatile = False
    for instruction in instructions:
        volatile |= "volatile" in instruction.form
        if instruction.form.split(".")[0] in ("st", "atom", "bar", "membar"):
            return False
        target, *sources = (re.findall(r"%\w+", each) for each in (instruction.operands or ("",)))
        jump = instruction.form.startswith("bra")
        read = {name for names in sources for name in names}
        early |= {*read, instruction.guard.lstrip("!")} - written
        written |= set() if jump else {*target}
    return volatile and not early & written

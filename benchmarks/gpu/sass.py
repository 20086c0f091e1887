"""The machine code (SASS) of a kernel, as ``nvdisasm`` prints it.

``nvdisasm`` comes with the wheel ``triton`` (the extra ``sass``), in a version that knows GTX 10xx.
It needs no GPU.
"""

from __future__ import annotations

import importlib.util
import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(r"^\s+/\*\w{4,}\*/\s+(?:\{\s+)?(?:@(!?\w+)\s+)?([A-Z][\w.]*)\s*(.*)$")
_END = re.compile(r"\s*(\(\*.*\*\))?\s*[;}].*$|\(\*.*$")
_LABEL = re.compile(r"^([.$\w]+):$")


@dataclass(eq=False)
class Instruction:
    """An instruction.

    Attributes:
        guard: the predicate that guards it, such as "!P0"; "" if it is always executed.
        name, modifiers: "IADD3" and ("X",) of ``IADD3.X``.
        operands: in order, the results first.
        results, sources: these, taken apart.
        words: of each result.
        reads, writes: the registers, predicates and flags that it depends on, and that it changes.
    """

    guard: str
    name: str
    modifiers: tuple[str, ...]
    operands: tuple[str, ...]

    def __post_init__(self) -> None:
        count = _results(self.name, self.operands)
        self.results, self.sources = self.operands[:count], self.operands[count:]
        self.words = _words(self.name, self.modifiers)
        flags = "X" in self.modifiers or any(s.startswith("CC") for s in self.sources)
        self.reads = [r for s in self.sources for r in _registers(s, self.words)] + ["CC"] * flags
        self.writes = _written(self.results, self.words)


class Code(NamedTuple):
    """A kernel's instructions in order, the places of labels among them, and the constants that
    the compiler put beside them."""

    instructions: tuple[Instruction, ...]
    places: dict[str, int]
    constants: dict[str, int]


def disassembler() -> Path | None:
    """Return the path of ``nvdisasm``, or None if its wheel is not installed."""
    found = importlib.util.find_spec("triton")
    folders = found.submodule_search_locations if found else None
    path = Path(folders[0]) / "backends/nvidia/bin/nvdisasm" if folders else None
    return path if path and path.is_file() else None


def disassemble(cubin: bytes) -> str:
    """Return the machine code of a cubin as text.

    Raises:
        RuntimeError: if ``nvdisasm`` is not installed.
    """
    program = disassembler()
    if program is None:
        raise RuntimeError("nvdisasm was not found: pip install 'gpunn[sass]'")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(program), file.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def parse(text: str) -> Code:
    """Return the instructions in the text of ``nvdisasm``.

    >>> parse("        /*0008*/      @!P0 IADD3.X R1, R2, -0x1, RZ ;").instructions[0].operands
    ('R1', 'R2', '-0x1', 'RZ')
    """
    found: list[Instruction] = []
    places, data, inside = {}, bytearray(), False
    for line in text.splitlines():
        if line.startswith("\t.section\t"):
            inside = ".nv.constant2" in line
        elif inside and "\t.byte\t" in line:
            data += bytes(int(byte, 16) for byte in line.partition("\t.byte\t")[2].split(", "))
        elif label := _LABEL.match(line):
            places[label[1]] = len(found)
        elif match := _LINE.match(line):
            guard, opcode, rest = match.groups()
            name, *modifiers = opcode.split(".")
            operands = _END.sub("", rest).replace("] [", "][").replace(".reuse", "")
            split = tuple(filter(None, operands.split(", "))) if operands else ()
            found.append(Instruction(guard or "", name, tuple(modifiers), split))
    words = struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])
    constants = {f"c[0x2][{4 * at:#x}]": word for at, word in enumerate(words)}
    return Code(tuple(found), places, constants)


_NO_RESULT = {"ST", "STG", "STS", "STL", "RED", "BAR", "MEMBAR", "NOP", "DEPBAR", "SSY", "PBK",
              "WARPSYNC", "ERRBAR", "CCTL", "NANOSLEEP", "YIELD", "CGAERRBAR"}  # fmt: skip
_TWO_RESULTS = {"ISETP", "FSETP", "DSETP", "PSETP", "CSETP", "PLOP3", "UISETP", "UPLOP3", "SHFL",
                "ATOMG"}  # fmt: skip
_WITH_CARRY = {"IADD3", "UIADD3", "LEA", "ULEA", "IMAD", "UIMAD", "VOTE", "VOTEU"}
_PREDICATE = re.compile(r"U?P[0-6T]$")


def _results(name: str, operands: Sequence[str]) -> int:
    """Return how many of an instruction's operands are results."""
    if name in _NO_RESULT:
        return 0
    count = 2 if name in _TWO_RESULTS else 1
    if name in ("LOP3", "ULOP3", "LOP") and _PREDICATE.match(operands[0]):
        count = 2
    elif name in _WITH_CARRY:
        while count < len(operands) and _PREDICATE.match(operands[count]):
            count += 1
    return count


_WIDE = {"DADD", "DMUL", "DFMA", "DSETP", "CS2R", "DMNMX"}


def _words(name: str, modifiers: Sequence[str]) -> int:
    """Return the words of an instruction's results."""
    if "128" in modifiers:
        return 4
    if name in ("F2F", "I2F"):
        return 2 if modifiers and modifiers[0] == "F64" else 1
    if name == "F2I":
        return 2 if "U64" in modifiers or "S64" in modifiers else 1
    return 2 if name in _WIDE or "WIDE" in modifiers or "64" in modifiers else 1


def _written(results: Sequence[str], wide: int) -> list[str]:
    """Return the registers and predicates that hold the results, one for each word."""
    found = []
    for operand in results:
        register = operand.removesuffix(".CC")
        words = wide if re.match(r"U?R\d", register) else 1
        for _ in range(words):
            found.append(register)
            register = following(register)
        if operand.endswith(".CC"):
            found.append("CC")
    return found


def _registers(operand: str, wide: int) -> tuple[str, ...]:
    """Return the registers and predicates that an operand names; of addresses, both words."""
    found = re.findall(r"\b(U?R\d+|U?P\d)\b", operand)
    if "[" in operand or wide > 1:
        found += [following(register) for register in found]
    return tuple(found)


def following(register: str) -> str:
    """Return the register after this one.

    >>> following("R3"), following("UR9"), following("RZ")
    ('R4', 'UR10', 'RZ')
    """
    if match := re.match(r"(U?R)(\d+)$", register):
        return f"{match[1]}{int(match[2]) + 1}"
    if match := re.match(r"(c\[0x\w\])\[(0x\w+)\]$", register):
        return f"{match[1]}[{int(match[2], 16) + 4:#x}]"
    return register

"""A thread that is followed through machine code, and the clock cycles that it takes.

Integers and addresses are computed (`integers`), so that loops turn as often as on a GPU.
Floating-point results are unknown. An instruction issues one cycle after the one before it or
later, when its operands are ready; its result is ready after its latency (`latencies`). So the time
is that of the longest chain of dependent instructions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.cupy.launch.codegen import Kernel

from .integers import WORD, ZERO, Values, compute, signed
from .latencies import LATENCIES
from .sass import Code, Instruction, following

MOST_INSTRUCTIONS = 2_000_000
"""Of a thread: then it is in a loop whose condition is unknown."""

# The constant bank 0: where the number of blocks stands, and where the parameters begin, by the
# first digit of the compute capability.
GRID, PARAMETERS = {6: 0x14, 7: 0xC, 8: 0xC, 9: 0xC}, {6: 0x140, 7: 0x160, 8: 0x160, 9: 0x210}

_ADDRESS = re.compile(r"\[(U?R\w+)(?:\.64)?(?:\+(-?0x\w+))?\]$")
_TARGET = re.compile(r"`\((.*)\)")


class Time(NamedTuple):
    """The time of a thread.

    Attributes:
        cycles: until its last result is ready.
        instructions: that it executes.
        strangers: addresses that it reads or writes outside the arrays of its launch.
    """

    cycles: int
    instructions: int
    strangers: int


def first_constants(
    kernel: Kernel, blocks: int, arguments: Sequence[Any], architecture: int
) -> dict[str, int]:
    """Return what a launch has in its constant bank 0: a word for each operand that names it."""
    generation = architecture // 10
    found = {GRID[generation]: blocks}
    at = PARAMETERS[generation]
    for parameter, argument in zip(kernel.parameters, arguments, strict=True):
        at += -at % parameter.bytes
        if isinstance(argument, np.ndarray):
            raw = argument.ctypes.data.to_bytes(8, "little")
        else:
            raw = np.asarray(argument).tobytes()
        raw += bytes(-len(raw) % 4)
        for start in range(0, len(raw), 4):
            place = at + start
            word = int.from_bytes(raw[start : start + 4], "little") << 8 * (place % 4)
            found[place - place % 4] = found.get(place - place % 4, 0) | word
        at += parameter.bytes
    return {f"c[0x0][{place:#x}]": word for place, word in found.items()}


class Thread:
    """A thread that executes code.

    Args:
        code: of its kernel.
        constants: of the launch, from `first_constants`.
        special: the values of special registers, by their names.
        generation: of the GPU: the first digit of its compute capability.
        read: returns a word in memory by its address; None outside the arrays of the launch.
        far: whether what it loads is in memory, not in the L2 cache.
    """

    def __init__(
        self,
        code: Code,
        constants: Mapping[str, int],
        special: Mapping[str, int],
        generation: int,
        read: Callable[[int], int | None],
        far: bool,
    ) -> None:
        self.code, self.special = code, special
        self.constants = {**code.constants, **constants}
        self.latencies, self.generation = LATENCIES[generation], generation
        self.read, self.far = read, far
        self.values: dict[str, int | None] = {}
        self.ready: dict[str, int] = {}
        self.now = self.last = self.executed = self.strangers = 0
        self.stored: dict[int, int | None] = {}
        self.targets: list[int] = []  # of SYNC and BRK
        self.returns: list[int] = []

    def run(self) -> Time:
        """Follow it to its end.

        Raises:
            RuntimeError: if it does not end.
        """
        at = 0
        while at is not None and at < len(self.code.instructions):
            if self.executed >= MOST_INSTRUCTIONS:
                raise RuntimeError(f"no end after {self.executed} instructions")
            instruction = self.code.instructions[at]
            self.executed += 1
            guard = self.value(instruction.guard) if instruction.guard else 1
            self.now = max(self.now + 1, self.ready.get(instruction.guard.lstrip("!"), 0))
            flow = _FLOW.get(instruction.name)
            if flow:
                at = flow(self, instruction, at, guard)
            else:
                if guard != 0:
                    self.execute(instruction, known=guard == 1)
                at += 1
        return Time(max(self.now, self.last), self.executed, self.strangers)

    def execute(self, instruction: Instruction, known: bool) -> None:
        """Execute an instruction; its results are unknown if it is not `known` to be executed."""
        name, modifiers = instruction.name, instruction.modifiers
        if name == "BAR":
            self.now += self.latencies.barrier
        elif name == "MEMBAR" and "CTA" not in modifiers:
            self.now += self.latencies.l2
        for register in instruction.reads:
            self.now = max(self.now, self.ready.get(register, 0))
        if not instruction.writes:
            found: Values = []
            if name == "STG":
                self.access(instruction, known)
        elif name in ("LDG", "ATOM", "ATOMG"):
            found = self.access(instruction, known)
        else:
            found = compute(name, modifiers, instruction.results, instruction.sources, self)
        ready = self.now + self.latencies.of(name, modifiers, self.far)
        for register, value in zip_longest(instruction.writes, found[: len(instruction.writes)]):
            self.set(register, value if known else None, ready)

    def access(self, instruction: Instruction, known: bool) -> Values:
        """Return what a load finds in global memory; count addresses outside the arrays, unless
        it is not `known` to happen: a null pointer is not read."""
        place = next(operand for operand in instruction.operands if "[" in operand)
        match = _ADDRESS.search(place)
        address = self.pair(match[1]) if match else None
        if match is None or address is None:
            return []
        address += int(match[2] or "0", 16)
        if self.read(address) is None:
            self.strangers += known
            return []
        if instruction.name == "STG":
            register = instruction.operands[1]
            for word in range(instruction.words):
                self.stored[address + 4 * word] = self.value(register)
                register = following(register)
        if instruction.name != "LDG" or {"CV", "STRONG"} & set(instruction.modifiers):
            return []  # another block may have changed what a volatile read finds
        found = [self.read(address + 4 * word) for word in range(instruction.words)]
        return [_narrow(word, instruction.modifiers) for word in found]

    def set(self, register: str, value: int | None, ready: int) -> None:
        if register not in ("RZ", "URZ", "PT", "UPT"):
            self.values[register] = value
            self.ready[register] = ready
            self.last = max(self.last, ready)

    def value(self, operand: str, extended: bool = False) -> int | None:
        """Return an operand's value: a word, or 0 or 1 of a predicate; None if it is unknown.

        A negated register is its complement plus 1, which is 2^32 for 0, so that a sum has the
        carry of a subtraction; `extended`: the 1 is in the carry of the lower words.
        """
        if operand[0] in "!-~|":
            inner = self.value(operand[1:].rstrip("|"), extended)
            if operand[0] == "|" or inner is None:
                return None
            if operand[0] == "!":
                return 1 - inner
            if operand[1].isdigit():
                return -inner & WORD
            return (inner ^ WORD) + (operand[0] == "-" and not extended)
        if operand[0].isdigit():
            whole = operand.startswith("0x") or operand.isdigit()
            return int(operand, 0) & WORD if whole else None
        name, _, part = operand.rpartition(".H") if ".H" in operand else (operand, "", "")
        if name.startswith("c["):
            found = self.constants.get(name)
        elif name in ("RZ", "URZ", "SRZ"):
            found = 0
        elif name in ("PT", "UPT"):
            found = 1
        elif name == "PR":
            bits = [self.values.get(f"P{number}") for number in range(7)]
            found = sum((bit or 0) << number for number, bit in enumerate(bits))
        elif name.startswith("SR_"):
            found = self.special.get(name)
        else:
            found = self.values.get(name)
        if found is not None and part:
            found = found >> 16 if part == "1" else found & 0xFFFF
        return found

    def pair(self, operand: str) -> int | None:
        """Return the value of two registers, the first of them named."""
        low, high = self.value(operand), self.value(following(operand))
        return None if low is None or high is None else low + (high << 32)


def _narrow(word: int | None, modifiers: Sequence[str]) -> int | None:
    if word is None or not {"U8", "S8"} & set(modifiers):
        return word
    return (signed(word, 8) if "S8" in modifiers else word & 0xFF) & WORD


# -- control flow: returns where the thread goes on, None at its end


def _branch(thread: Thread, instruction: Instruction, at: int, guard: int | None) -> int | None:
    condition = next((x for x in instruction.operands if x.startswith("CC.")), "")
    if condition and guard:
        flags = thread.values.get("CC")
        equal = None if flags is None else flags & ZERO
        guard = None if equal is None else equal if condition == "CC.EQ" else 1 - equal
    for operand in instruction.operands[:-1]:  # a second condition, in a predicate
        if re.fullmatch(r"!?U?P\w", operand) and guard != 0:
            also = thread.value(operand)
            guard = also if also != 1 else guard
    if guard is None and _turns_back(thread, at + 1):
        return _target(thread, instruction, at)  # out of a loop
    if guard != 1 or "DIV" in instruction.modifiers:
        return at + 1  # an unknown condition does not hold: a loop ends, what is skipped is done
    return _target(thread, instruction, at)


def _turns_back(thread: Thread, at: int) -> bool:
    """Return whether the thread certainly goes back here, to the begin of a loop."""
    if at >= len(thread.code.instructions):
        return False
    after = thread.code.instructions[at]
    return after.name == "BRA" and not after.guard and _target(thread, after, at) <= at


def _target(thread: Thread, instruction: Instruction, at: int) -> int:
    match = _TARGET.search(instruction.operands[-1])
    return thread.code.places[match[1]] if match else at + 1


def _push(thread: Thread, instruction: Instruction, at: int, guard: int | None) -> int | None:
    thread.targets.append(_target(thread, instruction, at))
    return at + 1


def _pop(thread: Thread, instruction: Instruction, at: int, guard: int | None) -> int | None:
    return thread.targets.pop() if guard == 1 else at + 1


def _call(thread: Thread, instruction: Instruction, at: int, guard: int | None) -> int | None:
    if ".L_x_" in instruction.operands[-1]:  # a jump to a place that is far away
        return _branch(thread, instruction, at, guard)
    if guard != 1 or "slowpath" in instruction.operands[-1]:
        return at + 1  # of quotients and roots of subnormal numbers
    thread.returns.append(at + 1)
    return _target(thread, instruction, at)


def _return(thread: Thread, instruction: Instruction, at: int, guard: int | None) -> int | None:
    return thread.returns.pop() if guard == 1 else at + 1


def _exit(thread: Thread, instruction: Instruction, at: int, guard: int | None) -> int | None:
    return None if guard == 1 else at + 1


_FLOW: dict[str, Callable[[Thread, Instruction, int, int | None], int | None]] = {
    "BRA": _branch, "SSY": _push, "PBK": _push, "SYNC": _pop, "BRK": _pop, "CAL": _call,
    "CALL": _call, "RET": _return, "EXIT": _exit,
}  # fmt: skip

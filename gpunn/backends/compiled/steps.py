"""The steps of a compiled expression: their order, registers and encoding.

`kernels/cpu/expressions.cpp` performs them. Most are element-wise. Consecutive element-wise steps
form a run, which is performed on a strip of a few vectors at a time. The
result of each is in the accumulator, a few registers of the CPU, when the next one begins; it is
stored elsewhere only if another step reads it. A product or a sum that only the next step reads
is fused with it into one step: a pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import field
from itertools import groupby, pairwise
from operator import itemgetter

from gpunn.backends.contract import expression as ir
from gpunn.common.importing.light_dataclass import dataclass

PAIRS = (
    ("multiply", "add"), ("multiply", "subtract"), ("multiply", "subtract_from"),
    ("multiply", "multiply"), ("add", "multiply"), ("subtract", "multiply"),
)
"""Two functions fused into one step; the second takes the result of the first."""
_PAIRS = tuple(map("_".join, PAIRS))
FUNCTIONS = [
    *ir.OPERANDS, "load", "store", "place", "repeat", "spread", "begin_sum", "end_sum", "run",
    "end_run", *_PAIRS,
]
"""The functions of steps, by number: ``make formulas`` writes the numbers for the kernels."""
_NUMBERS = {name: number for number, name in enumerate(FUNCTIONS)}
# The following is also in kernels/cpu/strips.hpp, and in expressions.cpp beside it.
_AXES = {ir.ONE: 0, ir.ROWS: 1, ir.COLUMNS: 2, ir.ELEMENTS: 3}
_NO_RUN = frozenset(("constant", "column_index", "copy", "column_sum", *ir.ROW_REDUCTIONS))
IN_RUNS = frozenset((*ir.OPERANDS, *_PAIRS)) - _NO_RUN
"""Element-wise functions."""
ACCUMULATOR, REGISTER, NUMBER = range(3)  # where an operand is
_FORMS = 32

_IN_TURN = frozenset((*ir.ROW_REDUCTIONS, "repeat"))  # the result must not overwrite the operands


@dataclass(eq=False)
class Register:
    """The register of a value.

    Attributes:
        is_number: whether it holds one number, not a block of them.
        kept: whether it is never reused, not only until the last step that reads it.
        place: its index, once it is allocated.
    """

    is_number: bool = False
    kept: bool = False
    place: int = -1


@dataclass(eq=False)
class ExpressionStep:
    """A step.

    Attributes:
        out: the register of its result; None if it is only in the accumulator.
        array: index of an input, an output or a constant.
        sources: for a step in a run, where its operands are.
        accumulate: for a "store", whether it adds.
    """

    function: str
    axes: ir.BroadcastAxes
    out: Register | None = None
    operands: tuple[Register, ...] = ()
    array: int = -1
    sources: list[int] = field(default_factory=list)
    accumulate: bool = False

    def __post_init__(self) -> None:
        self.sources = self.sources or [REGISTER] * len(self.operands)

    def encoded(self, place: dict[Register, int]) -> tuple[int, int]:
        """Return two words of four numbers each: `Step` in kernels/cpu/strips.hpp."""
        form = int(self.accumulate)
        if self.function in IN_RUNS:
            form = sum(source * 3**k for k, source in enumerate(self.sources))
        code = _NUMBERS[self.function] * _FORMS + form
        out = -1 if self.out is None else place[self.out]
        read = [*(max(place[register], 0) for register in self.operands), 0, 0, 0]
        return (
            _word(code, out, read[0], read[1]),
            _word(read[2], _AXES[self.axes], self.array, 0),
        )


def _word(*numbers: int) -> int:
    return sum((number & 0xFFFF) << (16 * k) for k, number in enumerate(numbers))


def in_runs(steps: Sequence[ExpressionStep]) -> list[list[ExpressionStep]]:
    """Reorder the steps into runs as long as possible, with single steps between them."""
    waves: dict[Register, tuple[int, ir.BroadcastAxes | None]] = {}
    keys: dict[ExpressionStep, tuple[int, int]] = {}
    for step in steps:
        run, wave = step.axes if step.function in IN_RUNS else None, 0
        for read in step.operands:
            before, of_run = waves.get(read, (0, None))
            wave = max(wave, before + (of_run not in (None, run)))
        keys[step] = wave, -1 if run is None else _AXES[run]
        if step.out is not None:
            waves[step.out] = wave, run
    found: list[list[ExpressionStep]] = []
    for (_, axes), group in groupby(sorted(steps, key=keys.__getitem__), keys.__getitem__):
        together = list(group)
        found += [together] if axes >= 0 else [[step] for step in together]
    return found


def use_accumulator(run: Sequence[ExpressionStep], reads: Counter[Register]) -> None:
    """Let each step read its predecessor's result from the accumulator."""
    for before, step in pairwise(run):
        places = range(1 if step.function == "where" else len(step.operands))
        for k in places:
            made = step.operands[k]
            if made is before.out and step.sources[k] == REGISTER:
                step.sources[k] = ACCUMULATOR
                if reads[made] == 1 and not made.kept:
                    before.out = None
                break


def in_pairs(run: Sequence[ExpressionStep]) -> list[ExpressionStep]:
    """Fuse two steps of a run into one where a function does both."""
    found: list[ExpressionStep] = []
    for step in run:
        pair = _pair(found[-1], step) if found else None
        if pair is None:
            found.append(step)
        else:
            found[-1] = pair
    return found


def _pair(before: ExpressionStep, step: ExpressionStep) -> ExpressionStep | None:
    """Return both as one step, if nothing else reads the first one's result and there is a pair."""
    if before.out is not None:
        return None
    k = step.sources.index(ACCUMULATOR)
    function = f"{before.function}_{step.function}"
    if function == "multiply_subtract" and k == 1:
        function += "_from"
    if function not in _PAIRS:
        return None
    taken = [*zip(before.sources, before.operands, strict=True)]
    if before.function != "subtract":  # strips.hpp has these in one order only
        taken.sort(key=itemgetter(0))
    taken.append((step.sources[1 - k], step.operands[1 - k]))
    sources, operands = zip(*taken, strict=True)
    return ExpressionStep(function, step.axes, step.out, operands, sources=[*sources])


@dataclass
class ExpressionCode:
    """The instructions of an expression in order, by when they are performed, with registers.

    Attributes:
        sections: the runs and the single steps of each.
        registers, number_registers: the number of each kind.
    """

    sections: list[list[list[ExpressionStep]]]
    registers: int = 0
    number_registers: int = 0

    @staticmethod
    def of(sections: Sequence[Sequence[ExpressionStep]]) -> ExpressionCode:
        reads = Counter(read for section in sections for step in section for read in step.operands)
        program = ExpressionCode([in_runs(section) for section in sections])
        for section in program.sections:
            for k, run in enumerate(section):
                use_accumulator(run, reads)
                section[k] = in_pairs(run)
        program._allocate_all()
        return program

    def encoded(self) -> list[list[tuple[int, int]]]:
        """Return each section as numbers."""
        place = {
            register: register.place + (self.registers if register.is_number else 0)
            for section in self.sections for run in section for step in run
            for register in (step.out, *step.operands) if register is not None
        }
        found = []
        for section in self.sections:
            lines: list[tuple[int, int]] = []
            for run in section:
                numbers = [step.encoded(place) for step in run]
                if run[0].function in IN_RUNS:
                    end = ExpressionStep("end_run", ir.ONE).encoded(place)
                    begin = ExpressionStep("run", run[0].axes, array=len(run) + 1).encoded(place)
                    numbers = [begin, *numbers, end]
                lines += numbers
            found.append(lines)
        return found

    # -- registers

    def _allocate_all(self) -> None:
        """Allocate all registers; one is reused once its value is no longer read."""
        runs = [run for section in self.sections for run in section]
        last = {read: step for run in runs for step in run for read in step.operands}
        free: list[int] = []
        for run in runs:
            behind: list[int] = []  # a number is read again by the next strip
            for step in run:
                done: list[int] = []
                sources = dict(zip(step.operands, step.sources, strict=True))
                for read in dict.fromkeys(step.operands):
                    taken = read.place >= 0 and not (read.kept or read.is_number)
                    if taken and last[read] is step:
                        (behind if sources[read] == NUMBER else done).append(read.place)
                if step.function not in _IN_TURN:
                    free += done
                if step.out is not None:
                    self._allocate(step.out, free)
                    if not step.out.kept and step.out not in last:
                        behind.append(step.out.place)
                if step.function in _IN_TURN:
                    free += done
            free += behind

    def _allocate(self, register: Register, free: list[int]) -> None:
        if register.place >= 0:
            return
        if register.is_number:
            register.place = self.number_registers
            self.number_registers += 1
        elif free and not register.kept:
            register.place = free.pop()
        else:
            register.place = self.registers
            self.registers += 1


def lines(program: ExpressionCode, section: int, constants: Sequence[float]) -> Iterator[str]:
    """Yield readable lines for a section of the program."""
    for run in program.sections[section]:
        in_run = run[0].function in IN_RUNS
        if in_run:
            yield "    for each strip:"
        for step in run:
            names = [
                "acc" if source == ACCUMULATOR and in_run else _name(read)
                for read, source in zip(step.operands, step.sources, strict=True)
            ]
            target = "acc" if step.out is None else _name(step.out)
            if step.function == "store":
                target = f"out{step.array}"
            elif step.function == "place":
                names = [f"out{step.array}"]
            elif step.function == "load":
                names = [f"in{step.array}"]
            elif step.function == "constant":
                names = [repr(constants[step.array])]
            indented = "        " if in_run else "    "
            yield f"{indented}{target} = {step.function}({', '.join(names)})"


def _name(register: Register) -> str:
    return f"{'n' if register.is_number else 'r'}{register.place}"

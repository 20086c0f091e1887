"""The rule of an optimizer as C++: a struct for the kernels' loop over weights."""

from __future__ import annotations

from structs import (
    Struct,
    called,
    digits,
    is_exact,
    of_parameters,
    spelled,
    wrapped,
    written_comment,
)

from gpunn.ops.fusion.formulas import Formula, Line, text
from gpunn.optimizers import Optimizer
from gpunn.optimizers.rules import WEIGHTS

SLOTS = ("slot_0", "slot_1", "slot_2")


class Update(Struct):
    """The struct of one update."""

    def __init__(self, optimizer: Optimizer, formula: Formula) -> None:
        super().__init__(optimizer, [formula])
        self._optimizer, self._formula = optimizer, formula
        self._slots = dict(zip(optimizer.slot_names, SLOTS, strict=False))

    def text(self) -> str:
        optimizer = self._optimizer
        # In the order of use, which takes the fewest GPU registers: the weight is decayed last.
        members = ", ".join([*self._members.values(), "decay"])
        lines = [
            f"template <typename T> struct {optimizer.functor} : Optimizer {{",
            f"    enum {{ {self._enumeration()} }};",
            *wrapped(f"T {members};", 4),
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
        return "\n".join([*written_comment(optimizer, _with_options(optimizer)), *lines]) + "\n"

    # -- values that all weights share

    def _prepare(self) -> list[str]:
        """Compute sums and products of parameters in double, and functions of them in the type of
        the weights: there, doubles would take GPU registers."""
        lines = ["const T t = T(updates + 1);"] if self._reads("t") else []
        named: dict[int, str] = {}

        def exact(line: Line) -> str | None:
            return "learning_rate" if line.name == "rate" else of_parameters(line, "parameters")

        def known(line: Line) -> str | None:
            if line.name == "t" and line.function == "input":
                return "t"
            if id(line) in named:
                return named[id(line)]
            if not is_exact(line):
                return None
            return f"T({text(line, exact, number=lambda x: digits(x.number))})"

        for line in self._formula.lines:
            keeps = line.uses > 1 or (line.name and id(line) not in self._members)
            if line.once and line.operands and keeps and not is_exact(line):
                written = text(line, known, called, _once)
                named[id(line)] = name = line.name or spelled(line) or f"once_{len(named)}"
                lines += wrapped(f"const T {name} = {written};", 0)
        lines.append("decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);")
        for line in self._taken:
            name = self._members[id(line)]
            here = f"this->{name}" if name in named.values() else name
            if is_exact(line):
                written = f"T({text(line, exact, number=lambda x: digits(x.number))})"
            else:
                written = text(line, known, called, _once)
            lines += wrapped(f"{here} = {written};", 0)
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

        # Each slot is written immediately: a value kept for later would take GPU registers.
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
        for line in outputs.values():  # not a separate value: an input, or one shared by all
            lines += stored(line, written(line))
        if not stays:
            lines += wrapped(f"weights[i] = {written(outputs[WEIGHTS])};", 0)
        return [f"        {line}" for line in lines]


def _once(line: Line) -> str:
    number = line.number
    return digits(number) if number == int(number) else f"T({digits(number)})"


def _with_options(optimizer: Optimizer) -> str:
    options = [name for name in optimizer.options if getattr(optimizer, name)]
    return f"With {' and '.join(options)}." if options else ""

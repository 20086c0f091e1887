"""Write ``kernels/*/generated_*``: the formulas that the kernels take from Python.

The computation of a part is defined once, with `gpunn.ops`. This tool translates it to C++ structs
for the kernels' loops. Without arguments it writes the files; ``--check`` reports whether they are
up to date.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from loops import loops
from row_structs import (
    Parts,
    RowActivationStruct,
    RowLossStruct,
    parts_of_activation,
    parts_of_loss,
)
from structs import (
    WIDTH,
    ActivationStruct,
    LossStruct,
    Names,
    OfNumbers,
    OfOneNumber,
    PenaltyStruct,
    of_both,
)
from update_structs import Update

from gpunn.activations import Activation
from gpunn.activations.on_arrays import SAVED
from gpunn.backends.compiled.steps import FUNCTIONS as STEPS
from gpunn.backends.compiled.steps import PAIRS
from gpunn.backends.cupy.launch import kernel_source
from gpunn.backends.shared.functions import FUNCTIONS
from gpunn.common import registry
from gpunn.common.overrides import is_framework
from gpunn.constraints import MinMaxNorm
from gpunn.losses.elements import ElementLoss, RowLoss
from gpunn.ops.fusion.formulas import Formula, Reader, recorded
from gpunn.optimizers.rules import forms
from gpunn.optimizers.rules import recorded as recorded_rule
from gpunn.optimizers.schedules import LearningRateSchedule
from gpunn.regularizers import L1L2, L2

FORMULAS = Path(__file__).resolve().parents[1] / "kernels" / "formulas"
HEADER = """\
// {about}
// Written by `make formulas` from {source}; do not edit.
#pragma once
{includes}
"""
INCLUDED_BY_LOOPS = """\
#include "../formulas/elements.cuh"
#include "operation.hpp"
#include "pieces.hpp"

namespace {

template <typename T> inline void put(T x, bool adds, T& out) { out = adds ? out + x : x; }
"""
END_OF_LOOPS = """

const Registration registration([] {
    EACH_FLOAT(add_loops)
});

}  // namespace
"""


def main(arguments: list[str]) -> int:
    late = [path.name for path, now in files().items() if not _is(path, now)]
    if "--check" in arguments:
        for name in late:
            print(f"{name} is out of date: run `make formulas`.")
        return bool(late)
    for path, now in files().items():
        path.write_text(now, encoding="utf-8")
    print(f"Rewritten: {', '.join(late) or 'nothing, all files were up to date'}.")
    return 0


def _is(path: Path, now: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == now


def files() -> dict[Path, str]:
    """Return the contents of the files to write, by their paths."""
    found = {
        FORMULAS / "generated_elements.cuh": elements(),
        FORMULAS / "generated_updates.cuh": updates(),
        FORMULAS / "generated_activations.cuh": activations(),
        FORMULAS / "generated_losses.cuh": losses(),
        FORMULAS / "generated_schedules.cuh": schedules(),
        FORMULAS / "generated_weights.cuh": weights(),
        FORMULAS.parent / "cpu" / "generated_functions.hpp": functions(),
        FORMULAS.parent / "cpu" / "generated_loops.cpp": loops_of_layers(),
    }
    return {**found, FORMULAS.parent / "cpu" / "generated_formulas.hpp": listed(found)}


def listed(written: Mapping[Path, str]) -> str:
    """List the names of all structs by kind, including those just ``written``."""
    names: dict[str, list[str]] = {}
    for header in sorted({*FORMULAS.glob("*.cuh"), *(p for p in written if p.suffix == ".cuh")}):
        text = written.get(header) or header.read_text(encoding="utf-8")
        for name, kind in kernel_source.FORMULA.findall(text):
            names.setdefault(re.sub(r"(?<!^)(?=[A-Z])", "_", kind).upper(), []).append(name)
    about = "Every formula there is, by its kind: EACH_KIND(X) is X(Name) for each."
    return _macros(about, "the structs in kernels/formulas", names)


# -- expressions


def elements() -> str:
    """Return the functions of elements."""
    lines = ["namespace elements {", ""]
    for name, function in FUNCTIONS.items():
        given = ", ".join(f"T {operand}" for operand in function.operands.split())
        value = f"({function.formula}) ? T(1) : T(0)" if function.is_truth else function.formula
        lines.append(f"template <typename T> HD T {name}({given}) {{ return {value}; }}")
    about = "The functions of elements. A truth value is 1 or 0; any value but 0 is true."
    head = _header(about, "gpunn/backends/shared/functions.py", "math.cuh")
    return "\n".join([head, *lines, "", "}  // namespace elements"]) + "\n"


def functions() -> str:
    """Return the functions of an expression's steps on a CPU, as lists for macros."""
    called = {name: len(f.operands.split()) for name, f in FUNCTIONS.items() if not f.has_loop}
    lists = {
        "STEP": STEPS,
        "ELEMENTWISE": FUNCTIONS,
        "CALL_OF_ONE": [name for name, operands in called.items() if operands == 1],
        "CALL_OF_TWO": [name for name, operands in called.items() if operands == 2],
        "PAIR": [", ".join(pair) for pair in PAIRS],
    }
    about = "What the steps of an expression do: EACH_STEP(X) is X(name) for each, by its number."
    return _macros(about, "gpunn/backends/compiled/steps.py", lists)


def _macros(about: str, source: str, lists: Mapping[str, Iterable[str]]) -> str:
    """Return macros that iterate over lists."""
    parts = [HEADER.format(about=about, source=source, includes="").rstrip("\n")]
    for name, entries in lists.items():
        calls = " ".join(f"X({entry.replace(' ', chr(0))})" for entry in entries)
        lines = textwrap.wrap(calls, WIDTH - 8)
        text = " \\\n    ".join([f"#define EACH_{name}(X)", *lines])
        parts.append(text.replace(chr(0), " "))
    return "\n\n".join(parts) + "\n"


def loops_of_layers() -> str:
    """Return the expressions of built-in layers, as loops."""
    about = "Expressions that layers of the framework are in a step, as loops."
    source = "`call` in gpunn/layers"
    head = HEADER.format(about=about, source=source, includes=INCLUDED_BY_LOOPS)
    return f"{head.replace('#pragma once' + chr(10), '')}{chr(10).join(loops())}{END_OF_LOOPS}"


# -- parts


def updates() -> str:
    """Return all updates of weights that define a `rule`."""
    found: list[str] = []
    # In this order whatever modules they are in: pages state the digest of these files.
    for cls in sorted(_framework("optimizer"), key=lambda c: (c.__name__ == "Nadam", c.__name__)):
        if "rule" not in vars(cls):
            continue
        made = {optimizer.functor: optimizer for _, optimizer in reversed([*forms(cls)])}
        for optimizer in reversed(made.values()):
            with Names(cls.rule) as names:
                formula, _ = recorded_rule(optimizer, names)
            found.append(Update(optimizer, formula).text())
    about = "Updates of one weight, in each form that the options of an optimizer give them."
    return _header(about, "`rule` in gpunn/optimizers", "control.cuh", "elements.cuh") + _all(found)


def activations() -> str:
    """Return all activations that define `call` and name their functor."""
    classes = [cls for cls in _framework("activation") if cls.functor]
    classes = [cls for cls in classes if cls.call is not Activation.call]

    def formulas(activation: Any, dtype: str, names: Mapping[int, str]) -> Parts:
        forward, gradient = (
            recorded(activation, method, given, (), activation.rowwise, dtype, Reader, names)
            for method, given in (("call", ["x"]), ("gradient", [SAVED[activation.saves], "dy"]))
        )
        if activation.rowwise:
            return parts_of_activation(forward, gradient)
        return {"forward": forward, "gradient": gradient}

    about = "Activations: y = f(x), and dx from dy and what the forward pass has saved, y or x."
    source = "`call` and `gradient` in gpunn/activations"
    structs = _structs(
        classes, "call", formulas,
        lambda activation: RowActivationStruct if activation.rowwise else ActivationStruct,
    )  # fmt: skip
    return _header(about, source, "elements.cuh") + _all(structs)


def schedules() -> str:
    """Return all schedules that define `rate`."""
    found: dict[str, str] = {}
    for cls in _framework("schedule"):
        if cls.rate is not LearningRateSchedule.rate:
            with Names(cls.rate) as names:
                schedule = cls(**cls.examples[0])
                formula = recorded(
                    schedule, "rate", [], ["step"], read_by=Reader, names=names
                )
            found[schedule.functor] = OfOneNumber(schedule, formula, "Schedule", "step").text()
    about = "Schedules: a rate from the number of batches trained on so far."
    source = "`rate` in gpunn/optimizers/schedules"
    return _header(about, source, "elements.cuh") + _all(found.values())


def weights() -> str:
    """Return the penalties and constraints that define their formulas."""
    with Names(MinMaxNorm.factor) as names:
        limits = MinMaxNorm()
        formula = recorded(limits, "factor", ["norm"], read_by=Reader, names=names)
    norms = OfOneNumber(limits, formula, "Constraint", "norm").text()

    def formulas(penalty: Any, dtype: str, names: Mapping[int, str]) -> Parts:
        return {
            method: recorded(penalty, method, ["w"], (), False, dtype, Reader, names)
            for method in ("term", "slope")
        }

    penalties = _structs([L2, L1L2], "term", formulas, lambda penalty: PenaltyStruct)
    about = "Of weights: what each costs, and what a line of them is multiplied by."
    source = "gpunn/regularizers.py and gpunn/constraints.py"
    return _header(about, source, "elements.cuh") + _all([*penalties, norms])


def losses() -> str:
    """Return all losses that define `cost`."""
    classes = [cls for cls in _framework("loss") if issubclass(cls, (ElementLoss, RowLoss))]

    def formulas(loss: Any, dtype: str, names: Mapping[int, str]) -> Parts:
        def of(method: str, *given: str, rows: bool = False) -> Formula:
            return recorded(loss, method, given, (), rows, dtype, Reader, names)

        if not isinstance(loss, RowLoss):
            return {"value": of("cost", "t", "y"), "slope": of("slope", "t", "y")}
        target = of("target", "t", "classes")
        changed = {"target": target} if target.outputs["target"].operands else {}
        return changed | parts_of_loss(of("both", "t", "y", rows=True))

    about = "Losses: what is added up over a row, of a target t and a prediction y, and its slope."
    source = "`cost` and `slope` in gpunn/losses"
    structs = _structs(
        classes, "cost", formulas,
        lambda loss: RowLossStruct if isinstance(loss, RowLoss) else LossStruct,
    )  # fmt: skip
    return _header(about, source, "elements.cuh") + _all(structs)


def _structs(
    classes: Iterable[Any],
    method: str,
    formulas: Callable[[Any, str, Mapping[int, str]], Parts],
    struct: Callable[[Any], type[OfNumbers]],
) -> Iterable[str]:
    """Return the structs of the examples of classes, one for each functor."""
    found: dict[str, str] = {}
    for part in [part for cls in classes for part in _examples(cls)]:
        with Names(getattr(type(part), method)) as names:
            double = formulas(part, "float64", names)
        reads = {x.name for formula in double.values() for x in formula.inputs(once=True)}
        if unknown := reads - {*part.parameter_names}:
            raise ValueError(f"{part!r} reads {', '.join(unknown)}: no parameter_names.")
        single = of_both(double, formulas(part, "float32", {}))
        written = struct(part)(part, double, single).text()
        if _code(found.setdefault(part.functor, written)) != _code(written):
            raise ValueError(f"{part!r} has the functor of a part with a different formula.")
    return found.values()


def _examples(cls: Any) -> Iterable[Any]:
    """Return objects that cover all options of a class."""
    for arguments in vars(cls).get("examples", ({},)):
        part = cls(**arguments)
        yield part
        if getattr(part, "from_logits", False):  # and the form a model trains with, see `on_logits`
            yield part.on_logits()


def _code(struct: str) -> str:
    return struct[struct.index("template") :]  # without the comment


def _framework(kind: str) -> list[Any]:
    """Return the built-in classes of a kind."""
    return list(filter(is_framework, dict.fromkeys(registry.entries(kind).values())))


def _header(about: str, source: str, *headers: str) -> str:
    includes = "\n".join(f'#include "{name}"' for name in headers)
    return HEADER.format(about=about, source=source, includes=includes)


def _all(structs: Iterable[str]) -> str:
    return "".join(f"\n{struct}" for struct in structs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

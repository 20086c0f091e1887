"""Formulas of whole rows as C++: the terms of a row's sums and extremes, and their use.

The kernels' loops pass over a row several times: for its maximum, for sums, and finally for
the result. A struct has an element-wise function for each pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from structs import SAVED, OfNumbers, below

from gpunn.ops.fusion.formulas import REDUCTIONS, Formula, Line

Parts = Mapping[str, Formula]
"""The functions of a struct, by their names."""


def parts_of_loss(formula: Formula) -> Parts:
    """Return the functions of a loss, from its "cost" and "slope".

    "score", "term", "weight" and "mass" are reduced over the row; "value" is summed over the row,
    "whole" is the cost of the whole row.

    Raises:
        ValueError: if the kernels' loops do not support such passes over a row.
    """
    cost, slope = formula.outputs["cost"], formula.outputs["slope"]
    last = cost.operands[0] if cost.function == "negative" else cost
    is_sum = last.function == "row_sum" and last.uses == 1
    folds = [x for x in formula.lines if x.function in REDUCTIONS and not (is_sum and x is last)]
    places = _places(folds)
    named = {id(fold): f"row.{place}" for fold, place in places.items()}
    functions = {"maximum": "score", "sum": "term"}
    found = {
        functions.get(place, place): _cut(fold.operands[0], named) for fold, place in places.items()
    }
    if is_sum:
        value = last.operands[0]
        value = value if last is cost else replace(cost, operands=(value,), of_row=False)
        found["value"] = _cut(value, named)
    else:
        found["whole"] = _cut(cost, named)
    return {**found, "slope": _cut(slope, named)}


def parts_of_activation(forward: Formula, gradient: Formula) -> Parts:
    """Return the functions of an activation of rows.

    Raises:
        ValueError: if the kernels' loops do not support such passes over a row.
    """
    found: dict[str, Formula] = {}
    for formula, term in ((forward, "term"), (gradient, "gradient_term")):
        (output,) = formula.outputs.values()
        places = _places([x for x in formula.lines if x.function in REDUCTIONS])
        named = {id(fold): place for fold, place in places.items()}
        for fold, place in places.items():
            if place == "sum":
                found[term] = _cut(fold.operands[0], named)
            elif place != "maximum" or fold.operands[0].function != "input":
                raise ValueError(f"The loops of activations do not support {place} of a row.")
        found["forward" if formula is forward else "gradient"] = _cut(output, named)
    return found


def _places(folds: Iterable[Line]) -> dict[Line, str]:
    """Assign each reduction to a field of the row."""
    found: dict[Line, str] = {}
    for fold in folds:
        if fold.function == "row_max":
            place = "maximum"
        elif any(found.get(x) in ("sum", "weight", "mass") for x in below(fold)):
            place = "mass"  # the loops compute it after the others
        else:
            place = next(x for x in ("sum", "weight", "mass") if x not in found.values())
        if place in found.values():
            raise ValueError(f"The kernels' loops support only one {place} of a row.")
        found[fold] = place
    return found


def _cut(output: Line, named: Mapping[int, str]) -> Formula:
    """Return the lines that compute ``output``, with named values as inputs."""
    copies: dict[int, Line] = {}

    def copy(line: Line) -> Line:
        if id(line) not in copies:
            if id(line) in named:
                made = Line("input", (), named[id(line)], of_row=True)
            else:
                made = replace(line, operands=tuple(map(copy, line.operands)), uses=0)
            for operand in made.operands:
                operand.uses += 1
            copies[id(line)] = made
        return copies[id(line)]

    found = copy(output)
    found.uses += 1
    return Formula(tuple(copies.values()), {"": found})


class RowLossStruct(OfNumbers):
    """The struct of a loss of rows."""

    kind = "Loss"

    def about(self) -> str:
        options = [name for name in ("from_logits", "clipped") if getattr(self._part, name, False)]
        return f"With {' and '.join(options)}." if options else ""

    def functions(self) -> list[str]:
        score = self._formulas.get("score")
        of_predictions = score is not None and score.lines[0].name == "y" and len(score.lines) == 1
        flags = {
            "whole_row": of_predictions,
            "compares": score is not None and not of_predictions,
            "sums": ("term" in self._formulas) + ("weight" in self._formulas),
            "has_mass": "mass" in self._formulas,
            "of_row": "whole" in self._formulas,
        }
        lines = [
            f"    static constexpr {type(flag).__name__} {name} = {str(flag).lower()};"
            for name, flag in flags.items() if flag
        ]  # fmt: skip
        for name, formula in self._formulas.items():
            if name == "target":
                lines += self._function(name, formula, ["t", "classes"])
            elif name == "score":
                if not of_predictions:
                    lines += self._function(name, formula, ["t", "y"])
            else:
                knows = any(x.name.startswith("row.") for x in formula.inputs(once=False))
                row = "const Row<T>& row" if knows else "const Row<T>&"
                given = [] if name == "whole" else ["t", "y"]
                lines += self._function(name, formula, given, (row,))
        return lines


class RowActivationStruct(OfNumbers):
    """The struct of an activation of rows."""

    kind = "RowActivation"

    def about(self) -> str:
        return f"Saves {SAVED[self._part.saves]}."

    def functions(self) -> list[str]:
        saved = SAVED[self._part.saves]
        given = {
            "term": ["x", "maximum"], "forward": ["x", "maximum", "sum"],
            "gradient_term": [saved, "dy"], "gradient": [saved, "dy", "sum"],
        }  # fmt: skip
        return [
            line for name, formula in self._formulas.items()
            for line in self._function(name, formula, given[name])
        ]  # fmt: skip

"""A formula as lines: what a function written with `gpunn.ops` computes of single numbers, or of
rows of them.

The lines are what texts for a compiler (``tools/formulas.py``) and calls of array functions
(`gpunn.optimizers.rules`) are made from. Nothing in them has a precision: a constant keeps all of
its digits, and what runs the lines chooses the type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np

from gpunn.backends.contract.expression import OPERANDS, ROW_REDUCTIONS
from gpunn.ops.gradients import topological_sort
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import Trace

INPUTS = (1,)  # the shape of what stands for arrays, whatever theirs is
_ROWS, _OF_A_ROW = (2,), (1,)  # those of rows, and of one number for each
_ELEMENTWISE = frozenset(OPERANDS) - ROW_REDUCTIONS - {"column_sum", "column_index"}
REDUCTIONS = frozenset(("row_sum", "row_max"))

SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


@dataclass(eq=False)
class Line:
    """A value of a formula.

    Attributes:
        function: one of `OPERANDS`, "clip" or "input".
        operands: the lines that it takes.
        name: what the author calls it; of an input what it is known by; "" if it has no name.
        number: what a "constant" is.
        once: whether it is one number for all elements.
        of_row: whether it is one number for each row.
        is_truth: whether it says that something holds.
        uses: how many lines and outputs take it.
    """

    function: str
    operands: tuple[Line, ...] = ()
    name: str = ""
    number: float = 0.0
    once: bool = False
    of_row: bool = False
    is_truth: bool = False
    uses: int = field(default=0, repr=False)


@dataclass(frozen=True)
class Formula:
    """What a function computes, in order.

    Attributes:
        lines: inputs and constants first of all that take them.
        outputs: the values that it gives, by name.
    """

    lines: tuple[Line, ...]
    outputs: Mapping[str, Line]

    def inputs(self, once: bool) -> list[Line]:
        return [line for line in self.lines if line.function == "input" and line.once is once]


class Recorder:
    """Inputs for a function, and the lines of what it makes of them.

    Args:
        dtype: of the inputs. A formula may have other constants for another one.
        rows: whether it may take sums and largest numbers of rows, with ``axis=-1, keepdims=True``.

    >>> from gpunn import ops
    >>> recorder = Recorder()
    >>> x, slope = recorder.array("x"), recorder.number("slope")
    >>> def leaky(x, slope):
    ...     return ops.maximum(x, slope * x)
    >>> text(recorder.record(leaky, lambda y: {"y": y}, x, slope).outputs["y"])
    'maximum(x, slope * x)'
    """

    def __init__(self, dtype: str = "float64", rows: bool = False) -> None:
        self._trace = Trace()
        self._functions = _ELEMENTWISE | REDUCTIONS if rows else _ELEMENTWISE
        self._rows, self._shape = rows, _ROWS if rows else INPUTS
        self._dtype = dtype  # float64 is of all that there are the one with all digits
        self._inputs: dict[int, tuple[Tensor, str]] = {}

    def array(self, name: str) -> Tensor:
        """A number for each element."""
        return self._input(name, self._shape)

    def number(self, name: str) -> Tensor:
        """One number for all."""
        return self._input(name, ())

    def _input(self, name: str, shape: tuple[int, ...]) -> Tensor:
        t = self._trace.leaf(shape, self._dtype)
        self._inputs[id(t)] = t, name
        return t

    def record(
        self,
        function: Callable[..., Any],
        outputs: Callable[[Any], Mapping[str, Tensor]],
        *arguments: Any,
        names: Mapping[int, str] = MappingProxyType({}),
    ) -> Formula:
        """Call ``function``; ``outputs`` names the tensors in what it returns.

        Args:
            names: what the function calls its tensors, by their ``id``, to be looked at when it
                has returned. An output that it does not name has the name of the output.

        Raises:
            TypeError: if it does more than work on single numbers, or rows of them.
        """
        with self._trace.active():
            given = outputs(function(*arguments))
        named = {**{id(t): name for name, t in given.items()}, **names}
        named |= {id(t): name for t, name in self._inputs.values()}
        lines: dict[int, Line] = {}
        for t in topological_sort(given.values()):
            lines[id(t)] = self._line(t, lines, named.get(id(t), ""))
        for t in given.values():
            lines[id(t)].uses += 1
        each = _with_clips(dict.fromkeys(lines.values()))
        return Formula(tuple(each), {name: lines[id(t)] for name, t in given.items()})

    def _line(self, t: Tensor, lines: dict[int, Line], name: str) -> Line:
        once = t.shape == ()
        if id(t) in self._inputs:
            return Line("input", (), name, once=once)
        if t.is_constant:
            numbers = np.ravel(t.numpy())
            if t.size != 1 and (t.shape != self._shape or np.any(numbers != numbers[0])):
                raise TypeError(f"an array of the shape {t.shape} has no place in a formula.")
            return Line("constant", (), "", float(numbers[0]), once=True)
        function = "" if t.primitive is None else t.primitive.lowering
        if function == "cast" and t.dtype != "int32":
            function = "copy"
        operands = tuple(lines[id(x)] for x in t.inputs)
        if function == "same" and t.shape == t.inputs[0].shape:
            return operands[0]
        if function not in self._functions or t.shape not in (self._shape, _OF_A_ROW, ()):
            what = getattr(t.primitive, "name", "a tensor from elsewhere")
            of = "rows" if self._rows else "single numbers"
            raise TypeError(f"{what} is no operation on {of}.")
        if function in ("multiply", "divide") and _is_one(operands[1]):
            return operands[0]
        if function == "multiply" and _is_one(operands[0]):
            return operands[1]
        for operand in operands:
            operand.uses += 1
        of_row, is_truth = self._rows and t.shape == _OF_A_ROW, t.dtype == "bool"
        return Line(function, operands, name, once=once, of_row=of_row, is_truth=is_truth)


def _with_clips(lines: Iterable[Line]) -> list[Line]:
    """The lines with "clip" where something is kept between two numbers, which NumPy does in one
    pass, and compilers better than one after the other."""
    found = list(lines)
    for line in list(found):
        if line.function != "minimum" or line.once or not line.operands[1].once:
            continue
        inner = line.operands[0]
        if inner.function == "maximum" and inner.uses == 1 and inner.operands[1].once:
            line.function, line.operands = "clip", (*inner.operands, line.operands[1])
            found.remove(inner)
    return found


def _is_one(line: Line) -> bool:
    return line.function == "constant" and line.number == 1.0


class Reader:
    """What a formula reads its part's attributes through.

    A float is a number that each call has anew; what else there is stays as it is, and another
    value of it makes another formula.

    Args:
        part: whose attributes they are.
        recorder: of the formula.
        given: names of what the formula is given as an argument, and that argument.

    Attributes:
        numbers: names of the floats that were read.
        settled: the other attributes that were read, and their values.
    """

    def __init__(
        self, part: Any, recorder: Recorder, given: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._part, self._recorder, self._given = part, recorder, given
        self.numbers: dict[str, Tensor] = {}
        self.settled: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name in self._given:
            raise TypeError(f"it is given what self.{name} says, as {self._given[name]}.")
        found = getattr(type(self._part), name, None)
        if isinstance(found, FunctionType):
            return found.__get__(self)
        is_number = name in self._part.parameter_names
        if not is_number and name not in vars(self._part) and isinstance(found, property):
            return found.fget(self) if found.fget else None
        value = getattr(self._part, name)
        if is_number or isinstance(value, float):
            if name not in self.numbers:
                self.numbers[name] = self._recorder.number(name)
            return self.numbers[name]
        self.settled[name] = value
        return value


def recorded(
    part: Any,
    method: str,
    arrays: Sequence[str],
    numbers: Sequence[str] = (),
    rows: bool = False,
    dtype: str = "float64",
    read_by: Callable[[Any, Recorder], Any] = lambda part, recorder: part,
    names: Mapping[int, str] = MappingProxyType({}),
) -> Formula:
    """What a method of a part computes, which is written with `gpunn.ops`.

    Args:
        arrays, numbers: what its arguments are called; the first are the arrays.
        rows, dtype: as of `Recorder`.
        read_by: what reads attributes; by default they are constants.
        names: see `Recorder.record`.

    Returns:
        The formula; its outputs are those of a dictionary that the method returns, or the one
        tensor, by the method's name.

    >>> from gpunn import activations
    >>> text(recorded(activations.softplus, "call", ["x"]).outputs["call"])
    'relu(x) + log1p(exp(-abs(x)))'
    """
    recorder = Recorder(dtype, rows)
    read = read_by(part, recorder)
    given = [*map(recorder.array, arrays), *map(recorder.number, numbers)]

    def outputs(found: Any) -> Mapping[str, Tensor]:
        return found if isinstance(found, Mapping) else {method: found}

    return recorder.record(getattr(type(part), method), outputs, read, *given, names=names)


# How tightly an operator holds its operands.
_BINDS = {
    "?": 0, "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5, "*": 6, "/": 6,
}  # fmt: skip
_UNARY = 7


def _input_by_name(line: Line) -> str | None:
    return line.name if line.function == "input" else None


def _plain_call(function: Line, given: list[str]) -> str:
    return f"{function.function}({', '.join(given)})"


def text(
    line: Line,
    known: Callable[[Line], str | None] = _input_by_name,
    called: Callable[[Line, list[str]], str] = _plain_call,
    number: Callable[[Line], str] = lambda line: repr(line.number),
    signs: Mapping[str, str] = MappingProxyType(SIGNS),
) -> str:
    """A line written as one expression.

    Args:
        known: what stands for a line, or None: then it is written out.
        called: how a function is called, by its line and the texts of what it takes.
        number: how a constant is written.
        signs: the operators between two values; what has none is called. "where" may have "?".
    """

    def written(line: Line, least: int) -> str:
        if line.function == "constant":
            return number(line)
        if (name := known(line)) is not None:
            return name
        if sign := signs.get(line.function):
            binds = _BINDS[sign]
            if sign == "?":
                condition, a, b = line.operands
                chosen = f"{written(a, binds + 1)} : {written(b, binds + 1)}"
                found = f"{written(condition, binds + 1)} ? {chosen}"
            else:
                a, b = line.operands  # from left to right, as it is computed
                found = f"{written(a, binds)} {sign} {written(b, binds + 1)}"
        elif line.function == "negative":
            binds, found = _UNARY, f"-{written(line.operands[0], _UNARY + 1)}"
        else:
            return called(line, [written(operand, 0) for operand in line.operands])
        return f"({found})" if binds < least else found

    return written(line, 0)

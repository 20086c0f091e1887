"""A formula as lines: the computation of a function written with `gpunn.ops`, on single elements or
on rows.

Source code for a compiler (``tools/formulas.py``) and calls of array functions
(`gpunn.optimizers.rules`) are generated from the lines. They have no precision: constants keep all
digits, and the code that runs them chooses the type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np

from gpunn.backends.contract.expression import OPERANDS, ROW_REDUCTIONS
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.ops.gradients import topological_sort
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import Trace

INPUTS = (1,)  # the shape of placeholders for arrays of any shape
_ROWS, _OF_A_ROW = (2,), (1,)  # the shapes of rows, and of one value for each row
_ELEMENTWISE = frozenset(OPERANDS) - ROW_REDUCTIONS - {"column_sum", "column_index"}
REDUCTIONS = frozenset(("row_sum", "row_max"))

SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


@dataclass(eq=False)
class Line:
    """A value of a formula."""

    function: str  # one of `OPERANDS`, "clip" or "input"
    operands: tuple[Line, ...] = ()  # the lines that it reads
    name: str = ""  # the author's, or an input's; "" if it has none
    number: float = 0.0  # the value of a "constant"
    once: bool = False  # whether it is one value for all elements
    of_row: bool = False  # whether it is one value for each row
    is_truth: bool = False  # whether it is a boolean
    uses: int = field(default=0, repr=False)  # how many lines and outputs read it


@dataclass(frozen=True)
class Formula:
    """The computation of a function: its lines, each after its operands, and outputs by name."""

    lines: tuple[Line, ...]
    outputs: Mapping[str, Line]

    def inputs(self, once: bool) -> list[Line]:
        return [line for line in self.lines if line.function == "input" and line.once is once]


class Recorder:
    """Creates inputs for a function, and records its lines.

    Args:
        dtype: of the inputs. A formula may have other constants for another dtype.
        rows: whether it may use sums and maxima of rows, with ``axis=-1, keepdims=True``.

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
        self._dtype = dtype  # float64 keeps all digits
        self._inputs: dict[int, tuple[Tensor, str]] = {}

    def array(self, name: str) -> Tensor:
        """Create an input with a value for each element."""
        return self._input(name, self._shape)

    def number(self, name: str) -> Tensor:
        """Create an input with one value for all elements."""
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
            names: the function's names for its tensors, by their ``id``, read after it has
                returned. An output without one takes the name of the output.

        Raises:
            TypeError: if it is not a computation on single elements, or on rows.
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
                raise TypeError(f"a formula cannot contain an array of shape {t.shape}.")
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
            raise TypeError(f"{what} is not an operation on {of}.")
        if function in ("multiply", "divide") and _is_one(operands[1]):
            return operands[0]
        if function == "multiply" and _is_one(operands[0]):
            return operands[1]
        for operand in operands:
            operand.uses += 1
        of_row, is_truth = self._rows and t.shape == _OF_A_ROW, t.dtype == "bool"
        return Line(function, operands, name, once=once, of_row=of_row, is_truth=is_truth)


def _with_clips(lines: Iterable[Line]) -> list[Line]:
    """Replace a maximum followed by a minimum with "clip", which NumPy computes in one pass and
    compilers optimize better."""
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
    """A proxy through which a formula reads the attributes of its part.

    A float is passed at each call; any other attribute is fixed, and a new value of it requires a
    new formula. Attributes named in ``given`` are that argument of the formula.
    """

    def __init__(
        self, part: Any, recorder: Recorder, given: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._part, self._recorder, self._given = part, recorder, given
        self.numbers: dict[str, Tensor] = {}  # the floats that were read, by name
        self.settled: dict[str, Any] = {}  # the other attributes that were read

    def __getattr__(self, name: str) -> Any:
        if name in self._given:
            raise TypeError(f"use the argument {self._given[name]} instead of self.{name}.")
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
    """Record the formula of a part's method, which is written with `gpunn.ops`.

    Args:
        arrays, numbers: the names of its arguments, arrays first.
        rows, dtype: as in `Recorder`.
        read_by: the proxy that reads attributes; by default they are constants.
        names: see `Recorder.record`.

    Returns:
        The formula; its outputs are the dictionary that the method returns, or its one tensor under
        the method's name.

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


# The precedence of operators.
_BINDS = {
    "?": 0, "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5, "*": 6, "/": 6,
}
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
    """Write a line as one expression.

    Args:
        known: returns the name of a line, or None to write it out.
        called: writes the call of a function, from its line and the strings of its operands.
        number: writes a constant.
        signs: the binary operators; functions without one are called. "where" may have "?".
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
                a, b = line.operands  # left-associative, in the order of computation
                found = f"{written(a, binds)} {sign} {written(b, binds + 1)}"
        elif line.function == "negative":
            binds, found = _UNARY, f"-{written(line.operands[0], _UNARY + 1)}"
        else:
            return called(line, [written(operand, 0) for operand in line.operands])
        return f"({found})" if binds < least else found

    return written(line, 0)

"""A formula as calls of array functions in place: ``xp.multiply(g, rate, out=work_0)``.

Outputs are computed in their own arrays, as soon as the previous contents are no longer needed;
intermediate values use few work arrays of the backend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gpunn.backends.contract.expression import OPERANDS
from gpunn.backends.shared.functions import array_function, choose, write

from .formulas import SIGNS, Formula, Line, text

Naming = Callable[[str], str]

# -- numbers that are the same for all elements: Python's, or on a GPU arrays of one element

_MATH: dict[str, Callable[..., float]] = {
    name: getattr(math, name)
    for name in ("exp", "expm1", "log", "log1p", "sqrt", "erfc", "cos", "floor", "ceil")
}


class _Alone:
    """What array functions of numbers take for a backend."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def scratch(self, shape: Any, dtype: Any, name: str) -> Any:
        return self.xp.empty(shape, dtype)


def _once(name: str) -> Callable[..., Any]:
    """Return a function of Python numbers, or of arrays; undefined results are infinite or NaN."""
    of_xp = array_function(name)

    def general(xp: Any, *given: Any) -> Any:
        are_numbers = all(x.__class__ in (float, int, bool) for x in given)
        xp = np if are_numbers else xp
        with np.errstate(all="ignore"):
            if of_xp:
                found = getattr(xp, of_xp)(*given)
            else:
                given = tuple(map(xp.asarray, given))
                found = xp.empty_like(given[0], dtype=xp.result_type(given[0], xp.float32))
                write(_Alone(xp), name, found, *given)
        return float(found) if are_numbers else found

    of_math = _MATH.get(name)
    if of_math is None:
        return general

    def quick(xp: Any, x: Any) -> Any:
        if x.__class__ is float:
            try:
                return of_math(x)
            except (ValueError, OverflowError):
                pass
        return general(xp, x)

    return quick


def _quotient(xp: Any, a: Any, b: Any) -> Any:
    try:
        return a / b
    except ZeroDivisionError:
        with np.errstate(all="ignore"):
            return float(np.divide(a, b))


_NEVER_AN_ERROR = {name: sign for name, sign in SIGNS.items() if name != "divide"}


def _called(line: Line, given: list[str]) -> str:
    return f"{line.function}({', '.join(['xp', *given])})"


ONCE: dict[str, Any] = {name: _once(name) for name in OPERANDS if name not in SIGNS}
ONCE |= {"divide": _quotient, "inf": math.inf, "nan": math.nan}
ONCE["clip"] = lambda xp, x, low, high: ONCE["minimum"](xp, ONCE["maximum"](xp, x, low), high)
ONCE["copy"] = lambda xp, x: x
GLOBALS = {**ONCE, "choose": choose, "write": write}
"""The globals of the code that `calls` generates."""


_COMPARED = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}


def _of_numbers(line: Line, given: list[str]) -> str:
    if line.function == "where":  # the other operand is not computed
        return f"({given[1]} if {given[0]} else {given[2]})"
    return _called(line, given)


def function_of_numbers(formula: Formula, *given: str) -> Callable[..., float]:
    """Build a function of Python numbers that returns the single output of a formula.

    >>> from .formulas import Recorder
    >>> recorder = Recorder()
    >>> x = recorder.number("x")
    >>> from gpunn import ops
    >>> halved = recorder.record(lambda: ops.floor(x) / 2.0, lambda y: {"y": y})
    >>> function_of_numbers(halved, "x")(5.5)
    2.5
    """
    names: dict[int, str] = {}

    def known(line: Line) -> str | None:
        return line.name if line.function == "input" else names.get(id(line))

    def written(line: Line) -> str:
        return text(line, known, _of_numbers, signs=_NEVER_AN_ERROR | _COMPARED)

    (output,) = formula.outputs.values()
    lines = [f"def function({', '.join(given)}):"]
    for line in formula.lines:
        if line.operands and line.uses > 1:
            lines.append(f"    value_{len(names)} = {written(line)}")
            names[id(line)] = f"value_{len(names)}"
    lines.append(f"    return {written(output)}")
    space: dict[str, Any] = {**GLOBALS, "xp": np}
    exec("\n".join(lines), space)
    return space["function"]


# -- calls for each element


def calls(
    formula: Formula,
    array: Naming,
    number: Naming,
    like: str,
    over: Mapping[str, str] | None = None,
) -> list[str]:
    """Generate the source lines of a function that computes the outputs of ``formula``.

    Of the possible orders of computation, the one with the fewest calls is used, and of these the
    one with the fewest work arrays. The function has ``xp`` and ``backend``, and `GLOBALS` as
    globals.

    Args:
        array, number: return the name of the array, or the number, of an input or an output.
        like: an array with the shape and dtype of work arrays.
        over: for outputs, the input that may share the same array. By default an output shares the
            array of the input of its name, and is not written if it is unchanged.

    >>> from .formulas import Recorder
    >>> recorder = Recorder()
    >>> m, x, share = recorder.array("m"), recorder.array("x"), recorder.number("share")
    >>> formula = recorder.record(lambda: m + (x - m) * share, lambda y: {"m": y})
    >>> print(*calls(formula, str, str, "m"), sep="\\n")
    work_0 = backend.scratch(m.shape, m.dtype, 'work_0')
    xp.subtract(x, m, out=work_0)
    xp.multiply(work_0, share, out=work_0)
    xp.add(m, work_0, out=m)
    """
    outputs = _each_by_itself(formula.outputs)
    orders = itertools.permutations(outputs.items())
    places = {name: name for name in outputs} if over is None else over
    found = [_InPlace(dict(order), places, array, number, like) for order in orders]
    return min(found, key=lambda calls: (len(calls.lines), calls.work_arrays)).source


def _each_by_itself(outputs: Mapping[str, Line]) -> dict[str, Line]:
    """Return the outputs that change, each as an element-wise value distinct from the others."""
    found: dict[str, Line] = {}
    for name, line in outputs.items():
        if line.function == "input" and line.name == name:
            continue
        own = line.operands and not line.once and line not in found.values()
        found[name] = line if own else Line("copy", (line,))
    return found


class _InPlace:
    """The ``lines`` of calls that compute outputs in their own arrays and few work arrays."""

    def __init__(
        self,
        outputs: Mapping[str, Line],
        over: Mapping[str, str],
        array: Naming,
        number: Naming,
        like: str,
    ) -> None:
        self.lines: list[str] = []
        self._over, self._outputs_over = over, {x: name for name, x in over.items()}
        self._array, self._number_of, self._like = array, number, like
        self._outputs = {id(line): name for name, line in outputs.items()}
        self._order = list(_in_order(outputs.values()))
        self._writes = {
            self._outputs[id(x)]: n for n, x in enumerate(self._order) if id(x) in self._outputs
        }
        self._last = {id(x): n for n, line in enumerate(self._order) for x in line.operands}
        self._places: dict[int, str] = {}  # the array that holds a line, by its `id`
        # Arrays of outputs only: work arrays until the outputs are written.
        self._vacant = {
            array(name): name for name, x in outputs.items() if name not in over and not x.of_row
        }
        self._free: dict[Kind, list[str]] = {}  # work arrays
        self._made: list[tuple[str, Kind]] = []
        self._numbers: dict[int, str] = {}
        self._before: list[str] = []  # computed once, before the calls
        for n, line in enumerate(self._order):
            self._add(n, line)
        for line in self._order:  # outputs not computed in their own array
            name = self._outputs.get(id(line))
            if name is not None and self._places[id(line)] != self._array(name):
                self.lines.append(f"xp.copyto({self._array(name)}, {self._places[id(line)]})")

    @property
    def work_arrays(self) -> int:
        return len(self._made)

    @property
    def source(self) -> list[str]:
        arrays = [f"{name} = {self._work_array(name, *kind)}" for name, kind in self._made]
        return [*arrays, *self._before, *self.lines]

    def _work_array(self, name: str, is_truth: bool, of_row: bool) -> str:
        like = self._like
        shape = f"(*{like}.shape[:-1], 1)" if of_row else f"{like}.shape"
        return f"backend.scratch({shape}, {'bool' if is_truth else f'{like}.dtype'}, {name!r})"

    def _add(self, n: int, line: Line) -> None:
        given = [self._given(x) for x in line.operands]
        dead = [
            x for x in dict.fromkeys(line.operands)
            if self._last[id(x)] == n and id(x) not in self._outputs
        ]
        freed = [self._places[id(x)] for x in dead if id(x) in self._places]
        out = self._own_place(n, line)
        kind = _kind(line)
        pool = self._free.setdefault(kind, [])
        if out is None:
            homes = [self._home_of(x) for x in dead if self._is_free_for(n, line, x)]
            made = [x for x in freed if (x, kind) in self._made]
            if line.function in _SLOW_IN_PLACE:
                made, homes = [], []
            out = next(iter([*made, *homes, *self._fitting_vacant(n, line)]), None)
        if out is None:
            if not pool:
                self._made.append((f"work_{len(self._made)}", kind))
                pool.append(self._made[-1][0])
            out = pool.pop()
        self._places[id(line)] = out
        for name, other in self._made:
            if name in freed and name != out:
                self._free[other].append(name)
        self._vacant.pop(out, None)
        for place in freed:
            output = next((x for x in self._writes if self._array(x) == place), None)
            if output is None or output in self._over or place == out:
                continue
            if self._writes[output] > n:
                self._vacant[place] = output
        may_lie_there = [self._may_be(out, x) for x in line.operands]
        self.lines += _written(line, out, given, may_lie_there)

    def _fitting_vacant(self, n: int, line: Line) -> list[str]:
        """Return arrays of outputs that can hold a value until they are written."""
        if any(_kind(line)) or id(line) in self._outputs:
            return []
        found, last = [], self._last[id(line)]
        for array, name in self._vacant.items():
            written = self._writes.get(name, -1)
            if last == written and self._order[written].function in _SLOW_IN_PLACE:
                continue
            if n < written and last <= written:
                found.append(array)
        return found

    def _own_place(self, n: int, line: Line) -> str | None:
        """Return the array of an output, if its contents are not needed later."""
        name = self._outputs.get(id(line))
        if name is None:
            return None
        taken = self._over.get(name)
        later = (x for other in self._order[n + 1 :] for x in other.operands)
        if any(x.function == "input" and x.name == taken and not x.once for x in later):
            return None
        return self._array(name)

    def _may_be(self, out: str, x: Line) -> bool:
        """Return whether a value may be in the array ``out``."""
        if x.once:
            return False
        if x.function != "input":
            return self._places[id(x)] == out
        name = self._outputs_over.get(x.name)
        return out == self._array(x.name) or (name is not None and out == self._array(name))

    def _home_of(self, x: Line) -> str:
        """Return the output's array that holds an input, or a value computed there."""
        return self._places.get(id(x)) or self._array(self._outputs_over.get(x.name, ""))

    def _is_free_for(self, n: int, line: Line, x: Line) -> bool:
        """Return whether the array of ``x``, which is read for the last time, can hold a value
        until its output is written."""
        if x.once or x.of_row or any(_kind(line)) or id(line) in self._outputs:
            return False
        home = self._places.get(id(x))
        if home is None:
            output = self._outputs_over.get(x.name)
        else:
            output = next((name for name in self._writes if self._array(name) == home), None)
        written = -1 if output is None else self._writes[output]
        return n < written and self._last[id(line)] <= written

    def _given(self, x: Line) -> str:
        """Return the name of an operand."""
        if x.once:
            return self._number(x)
        return self._array(x.name) if x.function == "input" else self._places[id(x)]

    def _number(self, x: Line) -> str:
        """Return the name of a number that is the same for all elements and computed beforehand."""

        def known(line: Line) -> str | None:
            if line.function == "input":
                return self._number_of(line.name)
            if line.uses > 1 and line is not x:
                return self._number(line)
            return None

        if not x.operands:
            return text(x, known)
        if id(x) not in self._numbers:
            source = text(x, known, _called, signs=_NEVER_AN_ERROR)
            self._numbers[id(x)] = f"once_{len(self._numbers)}"
            self._before.append(f"{self._numbers[id(x)]} = {source}")
        return self._numbers[id(x)]


Kind = tuple[bool, bool]


def _kind(line: Line) -> Kind:
    """Return the kind of array for a value: booleans or numbers, per row or per element."""
    return line.is_truth, line.of_row


_SLOW_IN_PLACE = frozenset(("sign",))  # it takes NumPy ten times as long


def _in_order(outputs: Iterable[Line]) -> Iterator[Line]:
    """Yield the values that are computed for each element, each after its operands."""
    seen = set[int]()

    def reached(line: Line) -> Iterator[Line]:
        if line.once or not line.operands or id(line) in seen:
            return
        seen.add(id(line))
        for operand in line.operands:
            yield from reached(operand)
        yield line

    for line in outputs:
        yield from reached(line)


_OF_ROWS = {"row_sum": "row_sums", "row_max": "row_max"}


def _written(line: Line, out: str, given: list[str], may_lie_there: list[bool]) -> list[str]:
    """Return the calls for one value, of operands that each may, or may not, be in ``out``."""
    function = line.function
    if function == "copy" and line.is_truth:
        return [f"xp.not_equal({given[0]}, 0, out={out})"]
    if function == "copy":
        return [f"xp.copyto({out}, {given[0]})"]
    if function == "where":
        condition, a, b = given
        if line.operands[1] is line.operands[2]:
            return [f"xp.copyto({out}, {a})"]
        if not line.operands[0].once:
            return [f"choose(backend, {condition}, {a}, {b}, {out}, {may_lie_there[2]})"]
        # The condition is a Python number, or an array of one element.
        if may_lie_there[1]:
            return [f"xp.copyto({out}, {a})", f"xp.copyto({out}, {b}, where={condition} == 0)"]
        return [f"xp.copyto({out}, {b})", f"xp.copyto({out}, {a}, where={condition} != 0)"]
    if function in _OF_ROWS:
        return [f"backend.{_OF_ROWS[function]}({given[0]}, {out})"]
    if name := array_function(function):
        return [f"xp.{name}({', '.join(given)}, out={out})"]
    return [f"write(backend, {function!r}, {out}, {', '.join(given)})"]

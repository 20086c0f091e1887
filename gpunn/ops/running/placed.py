"""Numbers of Python that know how a call computes them from the numbers among its arguments.

A program takes them as inputs where they are operands of tensors. Sums, differences, products and
quotients of them are such numbers too, and are computed by Python in each call. Any other use, as
``if b > 2``, ``d[n]`` or ``math.exp(b)``, is told to the watcher. They are no subclass of `float`
or `int`: C code would read their values unnoticed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn.core.operators import Operators
from gpunn.core.recording import Placed, active

Formula = Any
"""The place of an argument, a number, or the name of an operator and its operands."""

OPERATORS: dict[str, Callable[..., Any]] = {
    name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "neg", "pos")
}


class Argument(tuple):
    """The place of an argument in a formula."""

    __slots__ = ()


class PlacedNumber(Placed):
    """What a function gets for an integer or float that differs from call to call."""

    def __init__(self, value: Any, formula: Formula, places: frozenset[int], owner: Any) -> None:
        self._value = value
        self.formula, self.places, self.owner = formula, places, owner

    __class__ = property(lambda self: type(vars(self)["_value"]))  # for isinstance

    def __getattr__(self, name: str) -> Any:
        return getattr(_seen(self, name), name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(_seen(self, "a NumPy function"), dtype)

    def __reduce__(self) -> Any:
        return plain, (_seen(self, "pickle"),)

    def __deepcopy__(self, memo: Any) -> Any:
        return _seen(self, "copy.deepcopy")

    def numpy(self) -> Any:
        return np.float64(_seen(self, "numpy()"))


def plain(x: Any) -> Any:
    """Return a placed number as a number of Python; anything else as it is."""
    return vars(x)["_value"] if isinstance(x, Placed) else x


def evaluated(formula: Formula, values: Sequence[Any]) -> Any:
    """Compute a formula from the numbers among the arguments.

    >>> evaluated(("mul", Argument((0,)), 2), [1.5])
    3.0
    """
    if type(formula) is Argument:
        return values[formula[0]]
    if type(formula) is tuple:
        return OPERATORS[formula[0]](*(evaluated(x, values) for x in formula[1:]))
    return formula


def divides(formula: Formula) -> bool:
    """Whether a formula has a quotient, which may be an error."""
    return type(formula) is tuple and (formula[0] == "truediv" or any(map(divides, formula[1:])))


def _seen(x: Any, how: str) -> Any:
    """Return the value of a number, which Python uses."""
    if active.watcher is not None:
        active.watcher.asked(x, f"the value of a number, by {how}")
    return vars(x)["_value"]


def _is_array(x: Any) -> bool:
    return isinstance(x, (Operators, np.ndarray, np.generic))


def _computed(name: str, reflected: bool) -> Callable[..., Any]:
    """Return a method for an operator that programs know."""

    def compute(self: Any, *others: Any) -> Any:
        if any(map(_is_array, others)):
            return NotImplemented  # which take it as they take numbers
        operands = [*others, self] if reflected else [self, *others]
        value = OPERATORS[name](*map(plain, operands))
        known = [x for x in operands if isinstance(x, Placed)]
        exact = all(isinstance(x, Placed) or type(x) in (int, float) for x in operands)
        if not exact or any(x.formula is None or x.owner is not self.owner for x in known):
            for x in known:
                _seen(x, name)
            return value
        formula = name, *(x.formula if isinstance(x, Placed) else x for x in operands)
        places = frozenset().union(*(x.places for x in known))
        return PlacedNumber(value, formula, places, self.owner)

    return compute


def _used(function: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    """Return a method of numbers that uses the value: this function of it."""

    def use(self: Any, *others: Any) -> Any:
        if any(map(_is_array, others)):
            return NotImplemented
        operands = [*others, self] if reflected else [self, *others]
        _seen(self, function.__name__)
        return function(*map(plain, operands))

    return use


for _name in OPERATORS:
    setattr(PlacedNumber, f"__{_name}__", _computed(_name, False))
    if _name not in ("neg", "pos"):
        setattr(PlacedNumber, f"__r{_name}__", _computed(_name, True))
for _name in ("mod", "floordiv", "pow", "divmod", "and", "or", "xor", "lshift", "rshift"):
    _function: Any = {"pow": pow, "divmod": divmod}.get(_name) or getattr(operator, f"__{_name}__")
    setattr(PlacedNumber, f"__{_name}__", _used(_function))
    setattr(PlacedNumber, f"__r{_name}__", _used(_function, True))
for _function in (
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne, hash, bool, int,
    float, round, math.trunc, math.floor, math.ceil, abs, repr, str, format, operator.index,
    operator.invert,
):
    setattr(PlacedNumber, f"__{_function.__name__}__", _used(_function))

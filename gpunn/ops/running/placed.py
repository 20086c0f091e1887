"""Numbers of Python that know which arguments of a function they come from.

A program takes them as inputs where they are operands of tensors. Sums, differences, products and
quotients of them are such numbers too, and are computed by Python in each call. Any other use, as
``if n > 2``, ``d[n]`` or ``range(n)``, is told to the watcher: then a program is for one value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from gpunn.common.result import Number
from gpunn.core.recording import Placed, active

Formula = Any
"""The place of an argument, a number, or an operator and its operands; None for the result of a
call, such as a metric's."""

OPERATORS: dict[str, Callable[..., Any]] = {
    name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "neg", "pos")
}


class Argument(tuple):
    """The place of an argument in a formula."""

    __slots__ = ()


class PlacedFloat(Placed, Number):
    """A float among the arguments, or computed from them."""


class PlacedInt(Placed, int):
    """An integer among the arguments, or computed from them."""


def placed(value: Any, formula: Formula, places: frozenset[int]) -> Any:
    """Return a number that knows where it comes from."""
    made: Any = (PlacedFloat if isinstance(value, float) else PlacedInt)(value)
    made.formula, made.places = formula, places
    return made


def plain(x: Any) -> Any:
    """Return a placed number as a number of Python; anything else as it is."""
    if isinstance(x, Placed):
        return float.__float__(x) if isinstance(x, float) else int.__int__(x)  # type: ignore[arg-type]
    return x


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


def _is_derived(x: Any) -> bool:
    return isinstance(x, Placed) or type(x) in (int, float)


def _computed(name: str, reflected: bool) -> Callable[..., Any]:
    def compute(self: Any, *others: Any) -> Any:
        if not all(map(_is_derived, others)):
            return NotImplemented  # of a tensor, which takes it as it is
        operands = [*others, self] if reflected else [self, *others]
        value = OPERATORS[name](*map(plain, operands))
        numbers = [x for x in operands if isinstance(x, Placed)]
        if active.watcher is None:
            return value
        if any(x.formula is None for x in numbers):
            active.watcher.asked(self, "a metric's result, and computes with it")
            return value
        formula = name, *(x.formula if isinstance(x, Placed) else x for x in operands)
        return placed(value, formula, frozenset().union(*(x.places for x in numbers)))

    return compute


def _used(kind: type, name: str) -> Callable[..., Any]:
    base = getattr(kind, name)

    def use(self: Any, *args: Any) -> Any:
        found = base(self, *map(plain, args))
        if found is not NotImplemented and active.watcher is not None:
            active.watcher.asked(self, f"the value of a number, by {name}")
        return found

    return use


_USES = (
    "mod floordiv divmod pow lshift rshift and or xor lt le gt ge eq ne hash bool int float index "
    "round trunc floor ceil abs invert str repr format reduce_ex"
)
for _kind, _base in ((PlacedFloat, Number), (PlacedInt, int)):
    for _name in OPERATORS:
        setattr(_kind, f"__{_name}__", _computed(_name, False))
        if _name not in ("neg", "pos"):
            setattr(_kind, f"__r{_name}__", _computed(_name, True))
    for _name in [n for use in _USES.split() for n in (f"__{use}__", f"__r{use}__")]:
        if hasattr(_base, _name) and _name not in ("__rround__",):
            setattr(_kind, _name, _used(_base, _name))
PlacedFloat.__name__, PlacedInt.__name__ = "float", "int"  # what a user's code may print

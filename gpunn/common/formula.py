"""What is computed by a formula, in Python and by a functor of the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from .fields import HasFields
from .registry import Entry


class Formula(Entry, HasFields):
    """Base of the kinds whose entries are formulas.

    A user's subclass that replaces a method of a formula has no functor, unless it names one.

    Attributes:
        functor: name of the struct in ``kernels/formulas`` that computes the same, or None.
        parameter_names: of the attributes that the functor is given, in the order of the
            struct's enumeration.
    """

    abstract = True
    stand_ins: ClassVar[Mapping[str, Any]] = {"functor": None}
    # Without a type: only what has one is an argument to type checkers.
    functor = cast("str | None", None)
    parameter_names = cast("tuple[str, ...]", ())

    @property
    def parameters(self) -> tuple[float, ...]:
        """The numbers that the functor is given: 0 for None, a sequence's one after another."""
        numbers: list[float] = []
        for name in self.parameter_names:  # in each step that is not traced: no generators
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):
                numbers += map(float, value)
            else:
                numbers.append(float(value or 0.0))
        return tuple(numbers)

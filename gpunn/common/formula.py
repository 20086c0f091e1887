"""Base class of parts computed by a formula, in Python and by a functor of the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from .fields import HasFields
from .registry import Entry


class Formula(Entry, HasFields):
    """Base class of the kinds whose entries are formulas.

    A custom subclass that replaces a method of a formula has no functor, unless it names one.

    Attributes:
        functor: Name of the struct in ``kernels/formulas`` that computes the same, or None.
        parameter_names: Names of the attributes passed to the functor, in the order of the
            struct's enumeration.
    """

    _abstract = True
    __experimental__ = frozenset({"functor", "parameter_names", "parameters"})
    _reset_by_overrides: ClassVar[Mapping[str, Any]] = {"functor": None}
    # Without annotations: for type checkers, only annotated attributes are arguments.
    functor = cast("str | None", None)
    parameter_names = cast("tuple[str, ...]", ())
    _of_tensors = False
    """True for one that operations on tensors define; the other names are for backends too, see
    `gpunn.backends.contract.formulas`."""

    @property
    def parameters(self) -> tuple[float, ...]:
        """The values passed to the functor: 0 for None, and sequences flattened."""
        numbers: list[float] = []
        for name in self.parameter_names:  # in each step that is not traced: no generators
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):
                numbers += map(float, value)
            else:
                numbers.append(float(value or 0.0))
        return tuple(numbers)

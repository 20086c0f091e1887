"""`dataclasses.dataclass`, for classes that every import makes, and constructors.

``dataclasses`` writes and compiles six methods of a frozen class: a tenth of the time of ``import
gpunn``. Here all classes share the methods, and the code of the constructor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from reprlib import recursive_repr
from types import FunctionType
from typing import TYPE_CHECKING, Any


def _template() -> Any:
    def __init__(self: Any) -> None:
        fill(self, locals())  # type: ignore[name-defined]  # noqa: F821

    return __init__.__code__


_CODE = _template()


def constructor(
    cls: type, fill: Callable[[Any, dict[str, Any]], None], placed: Sequence[str],
    named: Sequence[str], defaults: Mapping[str, Any], types: Mapping[str, Any],
) -> Any:
    """Return an ``__init__(self, first, second=..., *, third=...)`` of ``cls``.

    It is not compiled, but has the code of all others with its own names of arguments, so that
    Python itself checks calls and writes the errors.

    Args:
        fill: called with the object and the arguments by name, ``"self"`` included.
        placed, named: the arguments that may be passed by position, and the others.
        defaults: those of arguments that have one, by name.
        types: their annotations.

    Raises:
        TypeError: if an argument in ``placed`` without a default follows one that has one.
    """
    for before, name in pairwise(placed):
        if before in defaults and name not in defaults:
            raise TypeError(
                f"{cls.__qualname__}: {name} has no default, but follows {before}, which has one: "
                f"give it a default, or put it first."
            )
    names = ("self", *placed, *named)
    code = _CODE.replace(
        co_argcount=1 + len(placed), co_kwonlyargcount=len(named), co_nlocals=len(names),
        co_varnames=names,
    )
    # The module name lets warnings distinguish gpunn's lines from the user's.
    scope = {"__name__": __name__, "fill": fill}
    made = FunctionType(code, scope, "__init__")
    made.__defaults__ = tuple(defaults[name] for name in placed if name in defaults)
    made.__kwdefaults__ = {name: defaults[name] for name in named if name in defaults}
    made.__module__, made.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    made.__annotations__ = {**types, "return": "None"}
    return made


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: Any = None, /, *, frozen: bool = False, eq: bool = True) -> Any:
        """Make a dataclass, as `dataclasses.dataclass` does, of a class without ``__slots__``.

        >>> @dataclass(frozen=True)
        ... class Point:
        ...     x: int
        ...     y: int = 2
        >>> Point(1), Point(1) == Point(1, 2), hash(Point(1)) == hash(Point(1)), Point(1) == (1, 2)
        (Point(x=1, y=2), True, True, False)
        >>> Point(1).x = 3
        Traceback (most recent call last):
        dataclasses.FrozenInstanceError: cannot assign to field 'x'
        """
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, eq=eq)
        own = set(vars(cls))
        made = dataclasses.dataclass(cls, init=False, repr=False, eq=False)
        fields = dataclasses.fields(made)
        shared: dict[str, Any] = {"__init__": _constructor(made), "__repr__": _repr}
        if eq:
            compared = [field.name for field in fields if field.compare]
            made._compared = staticmethod(attrgetter(*compared) if compared else bool)
            shared |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            shared |= {"__setattr__": _set_once, "__delattr__": _delete}
        for name in shared.keys() - own:
            setattr(made, name, shared[name])
        return made


class _FromFactory:
    def __repr__(self) -> str:
        return "<factory>"


_MADE = _FromFactory()


def _constructor(cls: Any) -> Any:
    kept = {field.name for field in dataclasses.fields(cls)}
    first = [
        field for name, field in cls.__dataclass_fields__.items()
        if name not in kept and "InitVar" in str(field.type)
    ]  # what `__post_init__` is given
    all_given = [
        field for field in cls.__dataclass_fields__.values()
        if field.init and (field.name in kept or field in first)
    ]
    made = {
        field.name: field.default_factory for field in dataclasses.fields(cls)
        if field.default_factory is not dataclasses.MISSING
    }
    passed = [field.name for field in first]
    ends = hasattr(cls, "__post_init__")

    def fill(entry: Any, given: dict[str, Any]) -> None:
        del given["self"]
        for name, factory in made.items():
            if given.get(name, _MADE) is _MADE:
                given[name] = factory()
        more = [given.pop(name) for name in passed]
        entry.__dict__.update(given)
        if ends:
            entry.__post_init__(*more)

    return constructor(
        cls, fill,
        [field.name for field in all_given if not field.kw_only],
        [field.name for field in all_given if field.kw_only],
        {field.name: field.default for field in all_given
         if field.default is not dataclasses.MISSING} | dict.fromkeys(made, _MADE),
        {field.name: field.type for field in all_given},
    )


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (field.name for field in dataclasses.fields(self) if field.repr)
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({values})"


def _eq(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._compared(self) == other._compared(other)  # type: ignore[attr-defined]


def _hash(self: Any) -> int:
    return hash(self._compared(self))


def _set_once(self: Any, name: str, value: Any) -> None:
    """Set a field in the constructor, and no attribute later."""
    if name not in self.__dataclass_fields__ or name in self.__dict__:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
    self.__dict__[name] = value


def _delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

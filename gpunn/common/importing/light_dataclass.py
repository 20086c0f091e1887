"""`dataclasses.dataclass`, for classes that every import makes, and constructors.

``dataclasses`` writes and compiles six methods of a frozen class: a tenth of the time of ``import
gpunn``. Here all classes share the methods, and the code of the constructor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING
from inspect import Parameter
from operator import attrgetter
from reprlib import recursive_repr
from types import FunctionType
from typing import TYPE_CHECKING, Any


def _init(self: Any) -> None:
    fill(self, locals())  # type: ignore[name-defined]  # noqa: F821


_CODE = _init.__code__.replace(co_name="__init__")


def constructor(
    cls: type, fill: Callable[[Any, dict[str, Any]], None], defaults: Mapping[str, Any],
    named: Collection[str], types: Mapping[str, Any],
) -> Any:
    """Return an ``__init__(self, first, second=..., *, third=...)`` of ``cls``.

    It is not compiled, but has the code of all others with its own names of arguments, so that
    Python itself checks calls and writes the errors.

    Args:
        fill: called with the object and the arguments by name, ``"self"`` included.
        defaults: of all arguments, by name; `inspect.Parameter.empty` for none.
        named: the arguments that are passed by name only.
        types: their annotations.

    Raises:
        TypeError: if an argument by position without a default follows one that has one.
    """
    placed = [name for name in defaults if name not in named]
    given = {name: x for name, x in defaults.items() if x is not Parameter.empty}
    ends = [name for name in placed if name in given]
    if ends != placed[len(placed) - len(ends) :]:
        raise TypeError(f"{cls.__qualname__}: put the arguments without a default first: {placed}.")
    names = ("self", *placed, *(name for name in defaults if name in named))
    code = _CODE.replace(
        co_argcount=1 + len(placed), co_kwonlyargcount=len(named), co_nlocals=len(names),
        co_varnames=names,
    )
    # The module name lets warnings distinguish gpunn's lines from the user's.
    made = FunctionType(code, {"__name__": __name__, "fill": fill}, "__init__")
    made.__defaults__ = tuple(given[name] for name in ends)
    made.__kwdefaults__ = {name: x for name, x in given.items() if name in named}
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


class _Factory:
    def __repr__(self) -> str:
        return "<factory>"


_MADE = _Factory()


def _constructor(cls: Any) -> Any:
    every, kept = cls.__dataclass_fields__.values(), dataclasses.fields(cls)
    passed = [f.name for f in every if f not in kept and "InitVar" in str(f.type)]  # and not kept
    makers = {f.name: f.default_factory for f in kept if f.default_factory is not MISSING}
    ends = hasattr(cls, "__post_init__")

    def fill(entry: Any, given: dict[str, Any]) -> None:
        del given["self"]
        for name, make in makers.items():
            if given.get(name, _MADE) is _MADE:
                given[name] = make()
        more = [given.pop(name) for name in passed] if passed else ()
        entry.__dict__.update(given)
        if ends:
            entry.__post_init__(*more)

    taken = [f for f in every if f.init and (f in kept or f.name in passed)]
    defaults = {f.name: Parameter.empty if f.default is MISSING else f.default for f in taken}
    defaults |= dict.fromkeys(defaults.keys() & makers.keys(), _MADE)
    named = [f.name for f in taken if f.kw_only]
    return constructor(cls, fill, defaults, named, {f.name: f.type for f in taken})


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

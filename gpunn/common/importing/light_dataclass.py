"""`dataclasses.dataclass`, for classes that every import makes.

``dataclasses`` writes and compiles six methods of a frozen class: a tenth of the time of ``import
gpunn``. Here it compiles the constructor, and all classes share the other methods.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

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
        made = dataclasses.dataclass(cls, repr=False, eq=False)
        shared: dict[str, Any] = {"__repr__": _repr}
        if eq:
            compared = [field.name for field in dataclasses.fields(made) if field.compare]
            made._compared = staticmethod(attrgetter(*compared) if compared else bool)
            shared |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            shared |= {"__setattr__": _set_once, "__delattr__": _delete}
        for name in shared.keys() - own:
            setattr(made, name, shared[name])
        return made


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

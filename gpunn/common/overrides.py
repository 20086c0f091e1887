"""What a class of a user's may replace: it is obeyed, or refused when the class is defined.

Each kind of part declares on its base class what would be ignored in silence:

- ``refused``: methods that nothing here calls, mostly Keras's, and what to write instead;
- ``reached_by``: methods that are called by others only, so that replacing them has no effect
  where a built-in class in between has replaced those others;
- ``stand_ins``: class attributes that stand for methods in the kernels, and their value for a
  class that replaces methods.

A base class in between may add entries for its subclasses. The framework's own classes are not
checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isfunction
from typing import Any

PAGE = "docs/own-parts.md"
NEUTRAL = ("get_config", "from_config")  # replacing these changes no formula


def is_framework(cls: type) -> bool:
    """Whether a class is one of the framework's, or Python's own `object`."""
    return cls is object or cls.__module__.split(".")[0] == "gpunn"


def declared(cls: type, table: str) -> dict[str, Any]:
    """One of the tables above for ``cls``: its own entries before those of its bases."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base).get(table, {}))
    return found


def replaces(cls: type, *names: str) -> bool:
    """Whether any of these attributes is a user's, not one of the framework's.

    >>> from gpunn.layers import Dense
    >>> mine = type("Mine", (Dense,), {"forward": print, "__module__": "mine"})
    >>> replaces(mine, "forward"), replaces(mine, "backward")
    (True, False)
    """
    return any(base is not None and not is_framework(base) for base in _origins(cls, names))


def _origins(cls: type, names: tuple[str, ...]) -> Iterator[type | None]:
    """For each name, the class that it is taken from."""
    return (next((base for base in cls.__mro__ if name in vars(base)), None) for name in names)


def _ignored(cls: type, name: str) -> bool:
    """Whether a method of this name, of a user's, would never be called."""
    callers = declared(cls, "reached_by").get(name)
    if callers is None:
        return True
    declares = next(b for b in cls.__mro__ if name in vars(b).get("reached_by", {}))
    origins = _origins(cls, callers)
    return any(base and base is not declares and is_framework(base) for base in origins)


def check(cls: type) -> None:
    """Refuse a class of a user's that replaces what nothing calls.

    Raises:
        TypeError: naming the class, the method and what to write instead.
    """
    for name, instead in declared(cls, "refused").items():
        if replaces(cls, name) and _ignored(cls, name):
            raise TypeError(_message(cls, name, instead))


def check_object(entry: Any, name: str) -> None:
    """Refuse a method that is replaced on a single object, where the kernels do not look.

    Raises:
        TypeError: naming the class, the method and what to write instead.
    """
    cls = type(entry)
    instead = declared(cls, "refused").get(name)
    if instead is not None and name not in declared(cls, "reached_by"):
        raise TypeError(_message(cls, name, instead))
    if not cls.takes_methods and isfunction(getattr(cls, name, None)):
        raise TypeError(
            f"{cls.__name__}.{name} cannot be replaced on an object: what computes reads the "
            f"class. Write a subclass of {cls.__name__} with {name}(...); see {PAGE}."
        )


def _message(cls: type, name: str, instead: str) -> str:
    return f"{cls.__name__}.{name} would be ignored. Instead, {instead}. See {PAGE}."


def put_stand_ins(cls: type) -> None:
    """Give a user's class the attributes of one that replaces methods, if it does."""
    for name, value in declared(cls, "stand_ins").items():
        if _computes_otherwise(cls, name):
            setattr(cls, name, value)


def _computes_otherwise(cls: type, stand_in: str) -> bool:
    """Whether methods are replaced between ``cls`` and the class that names the stand-in."""
    known = [base for base in cls.__mro__ if is_framework(base) and base is not object]
    for base in cls.__mro__:
        if stand_in in vars(base):
            return False
        if is_framework(base):
            continue
        for name, value in vars(base).items():
            formula = name == "__call__" or not (name.startswith("__") or name in NEUTRAL)
            if formula and callable(value) and any(hasattr(k, name) for k in known):
                return True
    return False

"""Method overrides in custom classes: they take effect, or the class definition raises an error.

Each kind of part declares on its base class which overrides would be silently ignored:

- ``_refused``: methods that gpunn never calls, mostly Keras's, and what to write instead;
- ``_reached_by``: methods that only other methods call, so that replacing them has no effect
  if a built-in class in between has replaced those others;
- ``_reset_by_overrides``: class attributes that represent methods in the kernels, and their value
  for a class that replaces methods.

An intermediate base class may add entries for its subclasses. Built-in classes are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isfunction
from typing import Any

PAGE = "docs/reference/own-parts.md"
NEUTRAL = ("get_config", "from_config")  # replacing these changes no formula


def is_framework(made: Any) -> bool:
    """Whether a class or a function is defined in gpunn, or is Python's `object`.

    What is defined by `exec` with names of its own has no module.
    """
    module = getattr(made, "__module__", None) or ""
    return made is object or module == "gpunn" or module.startswith("gpunn.")


def declared(cls: type, table: str) -> dict[str, Any]:
    """Return one of the tables above for ``cls``; its own entries override its bases'."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base).get(table, {}))
    return found


def replaces(cls: type, *names: str) -> bool:
    """Whether any of these attributes is user-defined rather than built-in.

    >>> from gpunn.layers import Dense
    >>> own = {"forward": lambda self, call: None, "__module__": "mine"}
    >>> mine = type("Mine", (Dense,), own)
    >>> replaces(mine, "forward"), replaces(mine, "backward")
    (True, False)
    """
    return any(base is not None and not is_framework(base) for base in _origins(cls, names))


def _origins(cls: type, names: tuple[str, ...]) -> Iterator[type | None]:
    """Yield, for each name, the class that defines it."""
    return (next((base for base in cls.__mro__ if name in vars(base)), None) for name in names)


def _ignored(cls: type, name: str) -> bool:
    """Whether a user-defined method of this name would never be called."""
    callers = declared(cls, "_reached_by").get(name)
    if callers is None:
        return True
    declares = next(b for b in cls.__mro__ if name in vars(b).get("_reached_by", {}))
    origins = _origins(cls, callers)
    return any(base and base is not declares and is_framework(base) for base in origins)


def check(cls: type) -> None:
    """Reject a custom class that replaces methods that nothing calls.

    Raises:
        TypeError: naming the class, the method and what to write instead.
    """
    for name, instead in declared(cls, "_refused").items():
        if replaces(cls, name) and _ignored(cls, name):
            raise TypeError(_message(cls, name, instead))


def check_object(entry: Any, name: str) -> None:
    """Reject a method that is replaced on a single object, since the kernels use the class's.

    Raises:
        TypeError: naming the class, the method and what to write instead.
    """
    cls = type(entry)
    instead = declared(cls, "_refused").get(name)
    if instead is not None and name not in declared(cls, "_reached_by"):
        raise TypeError(_message(cls, name, instead))
    if not cls._methods_may_be_set and isfunction(getattr(cls, name, None)):
        raise TypeError(
            f"{cls.__name__}.{name} cannot be replaced on an object: gpunn reads methods from the "
            f"class. Write a subclass of {cls.__name__} with {name}(...); see {PAGE}."
        )


def _message(cls: type, name: str, instead: str) -> str:
    return f"{cls.__name__}.{name} would be ignored. Instead, {instead}. See {PAGE}."


def reset_overridden(cls: type) -> None:
    """Reset the attributes of ``_reset_by_overrides`` of a custom class that replaces methods."""
    for name, value in declared(cls, "_reset_by_overrides").items():
        if _computes_otherwise(cls, name):
            setattr(cls, name, value)


def _computes_otherwise(cls: type, attribute: str) -> bool:
    """Whether methods are replaced between ``cls`` and the class that sets an attribute."""
    known = [base for base in cls.__mro__ if is_framework(base) and base is not object]
    for base in cls.__mro__:
        if attribute in vars(base):
            return False
        if is_framework(base):
            continue
        for name, value in vars(base).items():
            formula = name == "__call__" or not (name.startswith("__") or name in NEUTRAL)
            if formula and callable(value) and any(hasattr(k, name) for k in known):
                return True
    return False

"""Methods of a class that are imported when one of them is first used."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any


class _Method:
    """Stands for a method whose module is not imported yet."""

    def __init__(self, module: str, group: str, name: str) -> None:
        self._module, self._group, self._name = module, group, name

    def __set_name__(self, holder: type, name: str) -> None:
        self._holder = holder

    def __get__(self, entry: Any, owner: type | None = None) -> Any:
        found = vars(getattr(import_module(self._module), self._group))
        own = {name: x for name, x in found.items() if not name.startswith(("__", "_abc_"))}
        # What others look for comes last: other threads then find all that it calls.
        for name in sorted(own, key=lambda name: isinstance(vars(self._holder).get(name), _Method)):
            setattr(self._holder, name, own[name])
        return own[self._name].__get__(entry, owner)


def methods_later(base: Any, module: str, group: str, names: Iterable[str]) -> Any:
    """Return a class to inherit from in the place of another one, ``group``, of a module.

    It has these methods. When one of them is first used the module is imported, and it has all that
    ``group`` has. ``group`` inherits from ``base``, and does not call ``super()``.

    >>> class _Base: pass
    >>> class _Backend(methods_later(_Base, "fractions", "Fraction", ["limit_denominator"])): pass
    >>> hasattr(_Backend, "from_float"), _Backend.limit_denominator.__name__
    (False, 'limit_denominator')
    >>> hasattr(_Backend, "from_float")
    True
    """
    return type(base)(group, (base,), {name: _Method(module, group, name) for name in names})

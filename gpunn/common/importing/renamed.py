"""Old names, which work for two minor releases with a DeprecationWarning that says the new one.

Names of modules stand in `RENAMED`. Attributes and arguments are declared where they were:

>>> class Plan:
...     first = 1
...     initial = Renamed("first", "0.3")
...     @renamed_argument("begin", "start", "0.3")
...     def rows(self, start=0):
...         return start
>>> import warnings
>>> with warnings.catch_warnings(record=True, action="always") as caught:
...     Plan().initial, Plan().rows(begin=2)
(1, 2)
>>> print(*(one.message for one in caught), sep="\\n")
Plan.initial is now Plan.first; the old name works until gpunn 0.5.
Plan.rows: begin is now start; the old name works until gpunn 0.5.
>>> del DECLARED["Plan.initial"], DECLARED["Plan.rows: begin"]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from gpunn.common.names import warn

RENAMED: dict[str, tuple[str, str]] = {}
"""By the full old name of what a module offers, ``"gpunn.utils.old"``: its name in that module
today, and the version that renamed it, ``"0.2"``."""
DECLARED: dict[str, str] = {}
"""By old name of an attribute or argument, the version that renamed it, once it is declared."""
_INTERNAL = re.compile(r"^gpunn\.(apps|common|compat|ops)\.")
"""Begins the names of public modules that are defined elsewhere: `gpunn.config`."""
RELEASES = 2  # minor ones in which an old name works

Function = TypeVar("Function", bound=Callable[..., Any])


def ends(since: str) -> str:
    """Return the version that no longer knows a name which ``since`` renamed.

    >>> ends("0.9")
    '0.11'
    """
    major, minor = since.split(".")
    return f"{major}.{int(minor) + RELEASES}"


def is_over(since: str, version: str) -> bool:
    """Whether a name that ``since`` renamed has to be gone in ``version``.

    >>> [is_over("0.3", version) for version in ("0.3.0", "0.4.2", "0.5.0.dev0", "1.0.0")]
    [False, False, True, True]
    """
    return _numbers(version) >= _numbers(ends(since))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".")[:2])


def now_named(module: str, name: str) -> str | None:
    """Return the present name of what a module offered as ``name``, with a warning; None if that
    is no old name."""
    public = _INTERNAL.sub("gpunn.", module)
    if (entry := RENAMED.get(f"{public}.{name}")) is None:
        return None
    new, since = entry
    _warn(f"{public}.{name} is now {public}.{new}", since)
    return new


class Renamed:
    """An old name of an attribute or method, in the body of its class: it is ``new`` from the
    version ``since`` on, ``"0.2"``."""

    def __init__(self, new: str, since: str) -> None:
        self.new, self.since = new, since

    def __set_name__(self, owner: type, name: str) -> None:
        self._text = f"{owner.__name__}.{name} is now {owner.__name__}.{self.new}"
        DECLARED[f"{owner.__name__}.{name}"] = self.since

    def __get__(self, entry: Any, owner: type) -> Any:
        _warn(self._text, self.since)
        return getattr(owner if entry is None else entry, self.new)

    def __set__(self, entry: Any, value: Any) -> None:
        _warn(self._text, self.since)
        setattr(entry, self.new, value)


def renamed_argument(old: str, new: str, since: str) -> Callable[[Function], Function]:
    """Decorator of a function that still takes an argument by its old name.

    Raises:
        TypeError: from the function, if it is called with both names.
    """

    def decorate(function: Function) -> Function:
        place = function.__qualname__.rpartition("<locals>.")[2]
        DECLARED[f"{place}: {old}"] = since

        @wraps(function)
        def renaming(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                _warn(f"{place}: {old} is now {new}", since)
                if new in kwargs:
                    raise TypeError(f"{place} got both {new} and its old name {old}.")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return renaming  # type: ignore[return-value]

    return decorate


def _warn(renamed: str, since: str) -> None:
    message = f"{renamed}; the old name works until gpunn {ends(since)}."
    warn(message, DeprecationWarning)

"""Checks of plain arguments, with one form of error message."""

from __future__ import annotations

import operator
import sys
from collections.abc import Container, Iterable, Sequence
from typing import Any

from .. import registry

_REQUIRED = object()


def check_integer(name: str, value: Any, least: int, default: Any = _REQUIRED) -> Any:
    """``value`` as an int of at least ``least``; ``default`` for None, where there is one.

    Raises:
        ValueError: for anything else; 2.0, "2" and True are no integers.

    >>> check_integer("epochs", 3, 0)
    3
    """
    if value is None and default is not _REQUIRED:
        return default
    try:
        result = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        result = None
    if result is None or result < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")
    return result


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """``value``, which must be one of ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        hint = registry.closest(str(value), list(allowed))
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.{hint}")
    return value


def check_epochs(name: str, value: Any) -> int | Container[int]:
    """Every how many epochs (an int of at least 1), or the numbers of the epochs themselves."""
    single = not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0
    if single or isinstance(value, (str, bytes)):
        return check_integer(name, value, 1)
    return {check_integer(f"{name}: each entry", entry, 1) for entry in value}


def check_verbose(value: Any) -> int:
    """0, 1 or 2; ``"auto"`` is a bar on a terminal, otherwise a line an epoch."""
    if isinstance(value, str) and value == "auto":
        return 1 if sys.stderr.isatty() else 2
    if not isinstance(value, int) or value not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1, 2 or 'auto'; got {value!r}.")
    return int(value)

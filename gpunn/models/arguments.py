"""Checks of plain arguments, with one form of error message."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .. import registry

_REQUIRED = object()


def check_integer(name: str, value: Any, least: int, default: Any = _REQUIRED) -> Any:
    """``value`` as an int of at least ``least``; ``default`` for None, where there is one.

    >>> check_integer("epochs", 3, 0)
    3
    """
    if value is None and default is not _REQUIRED:
        return default
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not whole or int(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")
    return int(value)


def check_fraction(name: str, value: Any) -> float:
    """``value`` as a float from 0 to below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be a number from 0 to below 1; got {value!r}.")
    return float(value)


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """``value``, which must be one of ``allowed``."""
    if value not in allowed:
        hint = registry.closest(str(value), list(allowed))
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.{hint}")
    return value


def check_verbose(value: Any) -> int:
    """0, 1 or 2; ``"auto"`` is a bar on a terminal, otherwise a line an epoch."""
    if value == "auto":
        return 1 if sys.stderr.isatty() else 2
    if value not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1, 2 or 'auto'; got {value!r}.")
    return int(value)

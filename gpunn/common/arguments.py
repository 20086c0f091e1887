"""Checks of plain arguments, with uniform error messages."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from .config import resolve_dtype
from .names import closest

Method = TypeVar("Method", bound=Callable[..., Any])
_REQUIRED = object()


def check_integer(name: str, value: Any, least: int, default: Any = _REQUIRED) -> Any:
    """Return ``value`` as an int of at least ``least``; for None the ``default``, if any.

    Raises:
        ValueError: for anything else; 2.0, "2" and True are not integers.

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


check_count = partial(check_integer, least=0)
check_positive_integer = partial(check_integer, least=1)


def check_pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """Return ``value`` as (height, width): one integer for both, or two.

    >>> check_pair("strides", 2), check_pair("strides", [1, 3])
    ((2, 2), (1, 3))
    """
    height, width = check_sizes(name, value, 2, least)
    return height, width


def check_sizes(name: str, value: Any, count: int, least: int = 1) -> tuple[int, ...]:
    """Return ``value`` as ``count`` integers, from 1 to 3: one for all, or as many.

    >>> check_sizes("kernel_size", (3, 3), 3)
    Traceback (most recent call last):
    ValueError: kernel_size must be an integer or three of them; got (3, 3).
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    if len(values) != count:
        more = {2: " or two of them", 3: " or three of them"}.get(count, "")
        raise ValueError(f"{name} must be an integer{more}; got {value!r}.")
    return tuple(check_integer(name, n, least) for n in values)


def check_number(name: str, value: Any, least: float | None = None) -> float:
    """Return ``value`` as a float, of at least ``least`` if given.

    Raises:
        TypeError: if it is not a real number.
        ValueError: if it is too small or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    if least is not None and not value >= least:
        raise ValueError(f"{name} must be at least {least}; got {value!r}.")
    return float(value)


def check_fraction(name: str, value: Any, below_one: bool = False) -> float:
    """Return ``value`` as a float from 0 to 1 (below 1 with ``below_one``)."""
    value = check_number(name, value)
    if not 0.0 <= value <= 1.0 or (below_one and value == 1.0):
        limit = "up to but not including" if below_one else "to"
        raise ValueError(f"{name} must be from 0 {limit} 1; got {value!r}.")
    return value


check_not_negative = partial(check_number, least=0)
check_below_one = partial(check_fraction, below_one=True)


def check_positive(name: str, value: Any, wording: str = "positive") -> float:
    """Return ``value`` as a float above 0."""
    if not check_number(name, value) > 0:
        raise ValueError(f"{name} must be {wording}; got {value!r}.")
    return float(value)


check_above_zero = partial(check_positive, wording="above 0")  # wording for limits of formulas


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool: every object has a truth value, but strings are refused, since
    ``"False"`` would be true."""
    if isinstance(value, str):
        raise ValueError(f"{name} must be True or False; got {value!r}.")
    return bool(value)


def check_dtype(name: str, value: Any) -> str | None:
    """Return ``"float32"`` or ``"float64"`` for a name or a dtype; None stays None."""
    return None if value is None else resolve_dtype(value)


def check_path(name: str, value: Any) -> Any:
    """Return the path ``value`` as a string.

    Raises:
        TypeError: if it is not a path.
    """
    return os.fspath(value)


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Return ``check`` extended to accept None.

    >>> optional(check_positive)("clipnorm", None) is None
    True
    """


    def checked(name: str, value: Any) -> Any:
        return None if value is None else check(name, value)

    checked.keeps_none = True  # type: ignore[attr-defined]
    return checked


def requirement(wording: str, holds: Callable[[Any], bool]) -> Callable[[str, Any], Any]:
    """Return a check that returns a value unchanged if ``holds(value)``.

    >>> requirement("from 0 to 1", lambda value: 0 <= value <= 1)("share", 2)
    Traceback (most recent call last):
    ValueError: share must be from 0 to 1; got 2.
    """

    def check(name: str, value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"{name} must be {wording}; got {value!r}.")
        return value

    return check


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return ``value``, which must be one of ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        hint = closest(str(value), list(allowed))
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.{hint}")
    return value


def name_first(*order: str) -> Callable[[Method], Method]:
    """Decorator of a method whose first argument may also be ``name``, a string, as in Keras 2:
    those after it are then in this order."""

    def decorate(method: Any) -> Any:
        @functools.wraps(method)
        def named(self: Any, *args: Any, **kwargs: Any) -> Any:
            if args and isinstance(args[0], str):
                if len(args) > len(order) + 1:
                    raise TypeError(f"{method.__name__}: after the name, pass {order} by name.")
                kwargs = {"name": args[0], **dict(zip(order, args[1:], strict=False)), **kwargs}
                args = ()
            return method(self, *args, **kwargs)

        return named

    return decorate


def choice(*allowed: str) -> Callable[[str, Any], str]:
    """Return `check_choice` with these allowed values."""
    return lambda name, value: check_choice(name, value, allowed)


def check_epochs(name: str, value: Any) -> int | Container[int]:
    """Return an interval in epochs (an int of at least 1), or a set of epoch numbers."""
    if (
        isinstance(value, (int, str, bytes))
        or not isinstance(value, Iterable)
        or getattr(value, "ndim", 1) == 0
    ):
        return check_integer(name, value, 1)
    return {check_integer(f"{name}: each entry", entry, 1) for entry in value}

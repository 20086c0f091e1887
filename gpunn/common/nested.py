"""Values in lists, tuples, slices and dictionaries, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def replaced(
    function: Callable[[Any], Any], x: Any, leaf: Callable[[Any], bool] | None = None
) -> Any:
    """Apply a function to the values in ``x``, at any depth of lists, tuples, slices and
    dictionaries.

    ``leaf`` returns whether such a container counts as a single value.
    """
    if leaf is not None and leaf(x):
        return function(x)
    if hasattr(type(x), "keys") and isinstance(x, Mapping):  # which takes long to find out
        return {key: replaced(function, entry, leaf) for key, entry in x.items()}
    if isinstance(x, (list, tuple)):
        entries = [replaced(function, entry, leaf) for entry in x]
        if hasattr(x, "_fields"):  # a named tuple
            return type(x)(*entries)
        return entries if isinstance(x, list) else tuple(entries)
    if isinstance(x, slice):
        return slice(*(replaced(function, end, leaf) for end in (x.start, x.stop, x.step)))
    return function(x)


def any_in(condition: Callable[[Any], bool], x: Any) -> bool:
    """Whether a condition holds for a value in ``x``, at any depth of lists, tuples and
    dictionaries."""
    if hasattr(type(x), "keys") and isinstance(x, Mapping):
        return any(any_in(condition, entry) for entry in x.values())
    if isinstance(x, (list, tuple)):
        return any(any_in(condition, entry) for entry in x)
    return condition(x)


def found_in(value: Any, kind: Any) -> Iterator[Any]:
    """Yield the values of this type, anywhere in ``value``."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from found_in(entry, kind)
    elif isinstance(value, kind):
        yield value

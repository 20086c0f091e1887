"""What holds within a ``with`` block only, and messages that are printed only once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Value = TypeVar("Value")


@contextmanager
def restored_after(*tables: dict[Any, Any]) -> Iterator[None]:
    """A ``with`` block at whose end the tables are restored to their initial contents.

    >>> table = {"a": 1}
    >>> with restored_after(table):
    ...     table["b"] = table.pop("a")
    >>> table
    {'a': 1}
    """
    before = [table.copy() for table in tables]
    try:
        yield
    finally:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)


@contextmanager
def set_within(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    """A ``with`` block in which a context variable has this value.

    >>> unit = ContextVar("unit", default="m")
    >>> with set_within(unit, "km"):
    ...     unit.get()
    'km'
    >>> unit.get()
    'm'
    """
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


_seen: dict[str, object] = {}


def first_time(what: str) -> bool:
    """Whether this is the first call for ``what`` in this process.

    >>> with as_in_a_new_process():
    ...     first_time("an example"), first_time("an example")
    (True, False)
    """
    mine = object()
    return _seen.setdefault(what, mine) is mine  # atomic: True for one thread only


@contextmanager
def as_in_a_new_process() -> Iterator[None]:
    """A ``with`` block in which every call of `first_time` is the first, as in a new process."""
    with restored_after(_seen):
        _seen.clear()
        yield

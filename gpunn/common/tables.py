"""Tables that a process fills as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def put_back(*tables: dict[Any, Any]) -> Iterator[None]:
    """At the end of the block the tables hold what they held at its beginning.

    >>> table = {"a": 1}
    >>> with put_back(table):
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

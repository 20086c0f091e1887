"""Messages that a process prints only once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .tables import put_back

_said: dict[str, object] = {}


def first_time(what: str) -> bool:
    """Whether this is the first call for ``what`` in this process.

    >>> with anew():
    ...     first_time("an example"), first_time("an example")
    (True, False)
    """
    mine = object()
    return _said.setdefault(what, mine) is mine  # atomic: True for one thread only


@contextmanager
def anew() -> Iterator[None]:
    """A ``with`` block in which every call of `first_time` is the first, as in a new process."""
    with put_back(_said):
        _said.clear()
        yield

"""What a process says once, however often there is reason to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_said: set[str] = set()


def first_time(what: str) -> bool:
    """Whether nobody in this process has asked this about ``what`` before.

    >>> with anew():
    ...     first_time("an example"), first_time("an example")
    (True, False)
    """
    if what in _said:
        return False
    _said.add(what)
    return True


@contextmanager
def anew() -> Iterator[None]:
    """Within the block everything is new, as in a process that has said nothing yet."""
    before = _said.copy()
    _said.clear()
    try:
        yield
    finally:
        _said.clear()
        _said.update(before)

"""What a process says once, however often there is reason to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_said: dict[str, object] = {}


def first_time(what: str) -> bool:
    """Whether nobody in this process has asked this about ``what`` before.

    >>> with anew():
    ...     first_time("an example"), first_time("an example")
    (True, False)
    """
    mine = object()
    return _said.setdefault(what, mine) is mine  # one step: of several threads one is the first


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

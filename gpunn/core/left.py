"""Changes that the calls of parts make to what their part holds.

A call is traced once for each shape, so a counter ``self.n += 1`` counts the traces. Programs must
ignore such a change: otherwise each would be traced again every time, and change it again.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

_left: dict[int, tuple[Any, Left]] = {}  # by `id`, since some parts are not hashable
_logs: dict[int, list[Any]] = {}  # likewise


class Left:
    """The state of a part after its last traced call."""

    def __init__(self) -> None:
        self.version = 0  # increases if other code changed something after the preceding call
        self.contents: Any = None  # of each attribute
        self.changed = set[str]()  # the attributes that calls have changed
        self.warned = False  # whether the user was warned
        self._grown: dict[int, list[Any]] = {}

    def or_else(self, contents: Any) -> tuple[int, Any]:
        """Return what `gpunn.core.contents.Contents` compares for a part with ``contents``."""
        return (self.version, None) if contents == self.contents else (-1, contents)

    def note_grown(self, lists: Iterable[list[Any]]) -> bool:
        """Record that a call has appended to these lists, and return whether there are new logs.
        A list to which calls append repeatedly is a log, and nothing depends on it."""
        logs = {id(entries): entries for entries in lists if id(entries) in self._grown}
        self._grown.update({id(entries): entries for entries in lists})
        _logs.update(logs)
        return bool(logs)

    def forget(self, logs: dict[int, list[Any]] = _logs) -> None:
        for key in self._grown:
            logs.pop(key, None)


def is_log(value: Any) -> bool:
    """Return whether calls only append to a list."""
    return id(value) in _logs


def left_by_call(part: Any) -> Left | None:
    """Return the state that the calls of a part have left; None if they do not change it."""
    found = _left.get(id(part))
    return None if found is None else found[1]


def note(part: Any) -> Left:
    """Return the same; create it if there is none."""
    key = id(part)
    if key not in _left:

        def forget(_: Any, left: dict[int, Any] = _left) -> None:  # the module may be gone by then
            left.pop(key)[1].forget()

        _left[key] = weakref.ref(part, forget), Left()
    return _left[key][1]

"""What the calls of parts leave, where these change what their part holds.

A call is traced once for each shape, so a counter ``self.n += 1`` counts the traces. Such a change
is none that a program has to follow: it would be traced anew each time, and change it again.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

_left: dict[int, tuple[Any, Left]] = {}  # by the `id` of parts, some of which have no hash
_logs: dict[int, list[Any]] = {}  # likewise


class Left:
    """What the last call of a part has left, that was traced.

    Attributes:
        version: grows where somebody else has changed something, behind the call before.
        contents: of each attribute.
        changed: the attributes that calls have changed.
        said: whether the user was told.
    """

    def __init__(self) -> None:
        self.version = 0
        self.contents: Any = None
        self.changed = set[str]()
        self.said = False
        self._grown: dict[int, list[Any]] = {}

    def or_else(self, contents: Any) -> tuple[int, Any]:
        """What `gpunn.core.contents.Contents` compare of a part that now holds ``contents``."""
        return (self.version, None) if contents == self.contents else (-1, contents)

    def note_grown(self, lists: Iterable[list[Any]]) -> bool:
        """Note that a call has appended to these lists. One to which calls append again and again
        is a log, and nothing depends on it. Whether there are more logs now."""
        logs = {id(entries): entries for entries in lists if id(entries) in self._grown}
        self._grown.update({id(entries): entries for entries in lists})
        _logs.update(logs)
        return bool(logs)

    def forget(self, logs: dict[int, list[Any]] = _logs) -> None:
        for key in self._grown:
            logs.pop(key, None)


def is_log(value: Any) -> bool:
    """Whether calls do nothing to a list but append to it."""
    return id(value) in _logs


def left_by_call(part: Any) -> Left | None:
    """What the calls of a part have left; None where they change nothing of it."""
    found = _left.get(id(part))
    return None if found is None else found[1]


def note(part: Any) -> Left:
    """The same, made where there is none."""
    key = id(part)
    if key not in _left:

        def forget(_: Any, left: dict[int, Any] = _left) -> None:  # the module may be gone by then
            left.pop(key)[1].forget()

        _left[key] = weakref.ref(part, forget), Left()
    return _left[key][1]

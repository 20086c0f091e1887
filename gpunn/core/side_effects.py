"""`SideEffects`: the changes that the calls of a part make to its attributes.

A call is traced once for each shape, so a counter ``self.n += 1`` counts the traces. Programs must
ignore such a change: otherwise each would be traced again every time, and change it again.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

# By `id`, since some parts are not hashable.
_side_effects: dict[int, tuple[Any, SideEffects]] = {}
_logs: dict[int, list[Any]] = {}


class SideEffects:
    """The attributes of a part after its last traced call, and which of them calls change."""

    def __init__(self) -> None:
        self.version = 0  # increases if other code changed something after the preceding call
        self.contents: Any = None  # of each attribute
        self.changed = set[str]()  # the attributes that calls have changed
        self.warned = False  # whether the user was warned
        self._grown: dict[int, list[Any]] = {}

    def or_else(self, contents: Any) -> tuple[int, Any]:
        """Return what `gpunn.core.contents.Contents` compares for a part with ``contents``."""
        return (self.version, None) if contents == self.contents else (-1, contents)

    def record_grown(self, lists: Iterable[list[Any]]) -> bool:
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


def side_effects_of(part: Any) -> SideEffects | None:
    """Return the side effects of the calls of a part; None if they do not change it."""
    found = _side_effects.get(id(part))
    return None if found is None else found[1]


def recorded_side_effects(part: Any) -> SideEffects:
    """Return the side effects of the calls of a part; create them if there are none."""
    key = id(part)
    if key not in _side_effects:

        # The default argument: the module may be gone by then.
        def forget(_: Any, known: dict[int, Any] = _side_effects) -> None:
            known.pop(key)[1].forget()

        _side_effects[key] = weakref.ref(part, forget), SideEffects()
    return _side_effects[key][1]

"""What programs are made with, looked at again before each run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gpunn.common import registry
from gpunn.common.arguments import warn
from gpunn.common.config import floatx, runs_eagerly
from gpunn.common.overrides import is_framework
from gpunn.common.registry import Entry
from gpunn.common.snapshots import first_time

from .contents import MOST_VALUES, Contents, by_itself
from .left import Left, left_by_call, note

Result = TypeVar("Result")


class Settings:
    """All that some parts hold, as it is when this is made.

    Args:
        parts: whose programs are made.

    Attributes:
        seen: as long as this is `gpunn.common.registry.last_change`, nothing has changed. None if
            that does not tell: a user's parts can change otherwise.
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        seen, self._floatx = registry.last_change, floatx()  # before it is looked
        self._contents = Contents(parts)
        self.seen = seen if self._contents.simple else None
        if self._contents.is_cut and first_time("many values of parts"):
            warn(
                f"What you have written holds more than {MOST_VALUES:,} values, in objects, lists "
                f"and dictionaries: of those beyond, changes in place are not seen. Keep numbers "
                f"in an array."
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Settings)
            and self._floatx == other._floatx
            and self._contents == other._contents
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy says nothing of the parts of the copy: they are looked at again."""
        return Settings, ((),)

    def are_same(self) -> bool:
        """Whether nothing has changed, as far as is found out quickly, see `Contents.are_same`."""
        now = registry.last_change
        if self._floatx != floatx() or not self._contents.are_same():
            return False
        if self.seen is not None:
            self.seen = now
        return True


def noted(part: Entry, name: str, call: Callable[[], Result]) -> Result:
    """What ``call()`` gives, a call of a user's part that is traced. What it changes of what the
    part holds is no change that programs have to follow, see `gpunn.core.left`.

    Args:
        part: of the call; what it holds is looked at.
        name: what a message calls it.
    """
    if runs_eagerly():  # it is called in each step
        return call()
    around, names = _noting.family, _noting.names
    if id(part) in around:  # the call of a part that holds this one is noted
        names[id(part)] = name
        return call()
    before = _family(part)
    _noting.family, _noting.names = before, {id(part): name}
    try:
        result = call()
        called = _noting.names
    finally:
        _noting.family, _noting.names = around, names
    for other, known, built in before.values():  # the first call builds them
        if built and (other is part or not is_framework(type(other))):
            _note_changes(other, known, called.get(id(other)))
    return result


def _note_changes(part: Entry, known: Contents, name: str | None) -> None:
    """Note what a call has changed of a part.

    Args:
        part: of a user's.
        known: what it held before.
        name: what a message calls the call, if it was the part's own.
    """
    changes, left = known.grown(), left_by_call(part)
    logs = left is not None and left.note_grown(changes)
    now = by_itself(part)
    if now == (known if left is None else left.contents):
        return
    if left is None:
        left = note(part)
        left.note_grown(changes)
    elif left.contents != known:  # somebody else has changed it
        left.version += 1
        left.changed.clear()
    left.contents = now
    if name is not None and not logs and now != known:
        _say(name, left, known.replaced())


class _Noting(threading.local):
    """What this thread notes: the parts of a call, and the names of those that it calls."""

    def __init__(self) -> None:
        self.family: dict[int, Any] = {}
        self.names: dict[int, str] = {}


_noting = _Noting()


def _family(part: Entry) -> dict[int, tuple[Entry, Contents, bool]]:
    """A part and those that it reaches, by their ``id``: each with what it holds by itself, and
    whether it was built by then."""
    found: dict[int, tuple[Entry, Contents, bool]] = {}
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            held = by_itself(one)
            found[id(one)] = one, held, vars(one).get("built", True)
            waiting += held.others
    return found


def _say(name: str, left: Left, changed: set[str]) -> None:
    """Say it if a call has changed what another has changed before."""
    again, left.changed = changed & left.changed, changed | left.changed
    if again and not left.said:
        left.said = True
        attributes = ", ".join(f"{attribute!r}" for attribute in sorted(again - {""}))
        warn(
            f"{name} changes {attributes or 'what it uses'}. It is called once for "
            f"each shape of batch, to find out what a step computes, and not in each step. Keep "
            f"what changes from step to step in a weight, self.add_weight(..., trainable=False), "
            f"or in a gpunn.Variable, and assign to that."
        )

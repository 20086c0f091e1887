"""The settings that programs were made with, checked again before each run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gpunn.common import registry
from gpunn.common.config import floatx, runs_eagerly
from gpunn.common.names import warn
from gpunn.common.overrides import is_framework
from gpunn.common.registry import Entry
from gpunn.common.snapshots import first_time

from .contents import MOST_VALUES, Contents, by_itself
from .left import Left, left_by_call, note

Result = TypeVar("Result")


class Settings:
    """A snapshot of all that some parts of programs hold.

    Args:
        seen: the last change before the caller examined other values; by default the last one now.

    Attributes:
        seen: as long as this is `gpunn.common.registry.last_change`, nothing has changed. None if
            that is not sufficient: custom parts can change in other ways.
    """

    def __init__(self, parts: Iterable[Any], seen: int | None = None) -> None:
        now, self._floatx = registry.last_change, floatx()  # read before the contents
        seen = now if seen is None else seen
        self._contents = Contents(parts)
        self.seen = seen if self._contents.simple else None
        if self._contents.is_cut and first_time("many values of parts"):
            warn(
                f"Your custom code holds more than {MOST_VALUES:,} values in objects, lists "
                f"and dictionaries: in-place changes of further values are not detected. Keep "
                f"numbers in an array."
            )

    @property
    def runs_out(self) -> bool:
        """See `Contents.runs_out`."""
        return self._contents.runs_out

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Settings)
            and self._floatx == other._floatx
            and self._contents == other._contents
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy knows nothing of the copied parts: they are examined again."""
        return Settings, ((),)

    def are_untouched(self, now: int) -> bool:
        """Return whether no part's attribute was set since the snapshot; ``now`` is the last
        change."""
        return self.seen == now and self._floatx == floatx()

    def are_same(self, now: int | None = None) -> bool:
        """Return whether nothing has changed, by a fast check, see `Contents.are_same`.

        Args:
            now: the last change before the caller examined other values; by default the last one.
        """
        now = registry.last_change if now is None else now
        if self._floatx != floatx() or not self._contents.are_same():
            return False
        if self.seen is not None:
            self.seen = now
        return True


def noted(part: Entry, name: str, call: Callable[[], Result]) -> Result:
    """Return ``call()``, a traced call of a custom part that messages call ``name``. Programs
    ignore the changes that it makes to the part, see `gpunn.core.left`."""
    if runs_eagerly():  # it is called in each step
        return call()
    around, names = _noting.family, _noting.names
    if id(part) in around:  # within the call of a part that holds this one
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
    """Record what a call has changed in a custom part; ``known`` is the contents before.

    Args:
        name: the name of the call in messages, if it was the part's own.
    """
    changes, left = known.grown(), left_by_call(part)
    logs = left is not None and left.note_grown(changes)
    now = by_itself(part)
    if now == (known if left is None else left.contents):
        return
    if left is None:
        left = note(part)
        left.note_grown(changes)
    elif left.contents != known:  # other code has changed it
        left.version += 1
        left.changed.clear()
    left.contents = now
    if name is not None and not logs and now != known:
        _warn_of_left(name, left, known.replaced())


class _Noting(threading.local):
    """The record of this thread: the parts of a call, and the names of those that it calls."""

    def __init__(self) -> None:
        self.family: dict[int, Any] = {}
        self.names: dict[int, str] = {}


_noting = _Noting()


def _family(part: Entry) -> dict[int, tuple[Entry, Contents, bool]]:
    """Return a part and those that it reaches, by ``id``: each with its contents, and whether it
    was built by then."""
    found: dict[int, tuple[Entry, Contents, bool]] = {}
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            held = by_itself(one)
            found[id(one)] = one, held, vars(one).get("built", True)
            waiting += held.others
    return found


def _warn_of_left(name: str, left: Left, changed: set[str]) -> None:
    """Warn if a call has changed what an earlier call had changed."""
    again, left.changed = changed & left.changed, changed | left.changed
    if again and not left.warned:
        left.warned = True
        attributes = ", ".join(f"{attribute!r}" for attribute in sorted(again - {""}))
        warn(
            f"{name} changes {attributes or 'what it uses'}. It is called only once for "
            f"each batch shape, to trace the computation of a step, and not in each step. Keep "
            f"values that change from step to step in a weight, self.add_weight(..., "
            f"trainable=False), or in a gpunn.Variable, and assign to it."
        )

"""What is made from other things, such as programs from settings, and made anew when these have
changed. A check precedes each use: a single number tells that no part of the framework has changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

from gpunn.common import registry
from gpunn.common.config import floatx, runs_eagerly
from gpunn.common.holds import Exclusive
from gpunn.common.names import warn
from gpunn.common.overrides import is_framework
from gpunn.common.registry import Entry
from gpunn.common.snapshots import first_time

from .contents import MOST_VALUES, Contents, by_itself
from .side_effects import SideEffects, recorded_side_effects, side_effects_of

Result = TypeVar("Result")
Made = TypeVar("Made")


def _general() -> Any:
    """Return what all programs depend on."""
    return floatx(), registry.last_move


class Settings:
    """A snapshot of what programs are made from. Two are equal if all of it is.

    Args:
        parts: of the programs: all that they hold counts.
        values: returns further values that count, if any: those that only change where
            `gpunn.common.registry.record_change` is called.

    Attributes:
        seen: as long as this is `gpunn.common.registry.last_change`, nothing has changed. None if
            that is not sufficient: custom parts can change in other ways.
    """

    def __init__(
        self, parts: Iterable[Any] = (), values: Callable[[], Any] = lambda: None
    ) -> None:
        # Before anything is read, here and in `are_same`: a change meanwhile gets a later number.
        self._change, self._general = registry.last_change, _general()
        self._values, self._values_now = values(), values
        self._contents = Contents(parts)
        self.seen = self._change if self._contents.simple else None
        if self._contents.is_cut and first_time("many values of parts"):
            warn(
                f"The parts of a model, with what custom code reads, hold "
                f"more than {MOST_VALUES:,} values in objects, lists and dictionaries: in-place "
                f"changes of further values are not detected. Keep numbers in an array."
            )

    @property
    def runs_out(self) -> bool:
        """See `Contents.runs_out`."""
        return self._contents.runs_out

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Settings)
            and self._general == other._general
            and self._values == other._values
            and self._contents == other._contents
        )

    __hash__ = None  # type: ignore[assignment]

    def are_same(self) -> bool:
        """Return whether nothing has changed, by a fast check, see `Contents.are_same`."""
        now = registry.last_change
        untouched = now == self._change
        if not untouched and (_general() != self._general or self._values_now() != self._values):
            return False
        if not self._contents.identities.are_same(untouched):
            return False
        self._change = now
        if self.seen is not None:
            self.seen = now
        return True


class Dependencies:
    """What something depends on, as it was when this was created: before that something is made.

    A copy, by pickle for example, is never current: it knows nothing of the copied things.

    Args:
        read: returns the settings of all of it, as they are now.

    Attributes:
        settings: the settings at that time; None in a copy.
        seen: the settings' ``seen``.

    >>> rates = [0.5]
    >>> of = Dependencies(lambda: Settings([rates]))
    >>> rates[0] = 0.25
    >>> of.are_current()
    False
    """

    settings: Any = None
    seen: int | None = None

    def __init__(self, read: Callable[[], Settings]) -> None:
        self._read, self.settings = read, read()
        self.seen = self.settings.seen

    def __getstate__(self) -> dict[str, object]:
        return {}

    def are_current(self) -> bool:
        """Return whether nothing has changed; an equal value in the place of another may be."""
        if self.seen == registry.last_change:
            return True
        settings = self.settings
        if settings is None:
            return False
        if not settings.are_same():
            settings = self._read()
            if settings != self.settings:
                return False
        self.settings, self.seen = settings, settings.seen
        return True


NEVER = Dependencies.__new__(Dependencies)
"""Those of what is to be made anew."""


class Cached(Generic[Made]):
    """Something that is made from other things when it is first used, and again after a change.

    Several threads may use it: one makes it, and the others wait.

    Args:
        depends_on: returns the settings of these things, as they are now.
        make: makes it. After an error the next use tries again.

    >>> rates = [0.5, 0.25]
    >>> total = Cached(lambda: Settings([rates]), lambda: sum(rates))
    >>> total.get()
    0.75
    >>> rates[1] = 1.5
    >>> total.get()
    2.0
    """

    def __init__(self, depends_on: Callable[[], Settings], make: Callable[[], Made]) -> None:
        self._depends_on, self._make = depends_on, make
        self._kept: tuple[Dependencies, Made] = cast("Any", (NEVER, None))
        self._making = Exclusive()

    @property
    def is_simple(self) -> bool:
        """Whether only attributes of the framework's own parts can change."""
        return self._kept[0].seen is not None

    def get(self) -> Made:
        """Return it as it is made from these things now."""
        dependencies, made = self._kept
        if dependencies.seen == registry.last_change or dependencies.are_current():
            return made
        with self._making:
            dependencies, made = self._kept  # another thread may have made it
            if not dependencies.are_current():
                # In this order: a change while it is made comes after what is recorded.
                self._kept = dependencies, made = Dependencies(self._depends_on), self._make()
            return made


def traced_call(part: Entry, name: str, call: Callable[[], Result]) -> Result:
    """Return ``call()``, a traced call of a custom part that messages call ``name``. Programs
    ignore the changes that it makes to the part, see `gpunn.core.side_effects`."""
    if runs_eagerly():  # it is called in each step
        return call()
    around, names = _recording.family, _recording.names
    if id(part) in around:  # within the call of a part that holds this one
        names[id(part)] = name
        return call()
    before = _family(part)
    _recording.family, _recording.names = before, {id(part): name}
    try:
        result = call()
        called = _recording.names
    finally:
        _recording.family, _recording.names = around, names
    for other, known, built in before.values():  # the first call builds them
        if built and (other is part or not is_framework(type(other))):
            _record_changes(other, known, called.get(id(other)))
    return result


def _record_changes(part: Entry, known: Contents, name: str | None) -> None:
    """Record what a call has changed in a custom part; ``known`` is the contents before.

    Args:
        name: the name of the call in messages, if it was the part's own.
    """
    changes, effects = known.identities.grown(), side_effects_of(part)
    logs = effects is not None and effects.record_grown(changes)
    now = known if known.are_same() else by_itself(part)
    if now == (known if effects is None else effects.contents):
        return
    if effects is None:
        effects = recorded_side_effects(part)
        effects.record_grown(changes)
    elif effects.contents != known:  # other code has changed it
        effects.version += 1
        effects.changed.clear()
    effects.contents = now
    if name is not None and not logs and now != known:
        _warn_of_side_effects(name, effects, known.replaced())


class _Recording(threading.local):
    """The record of this thread: the parts of a call, and the names of those that it calls."""

    def __init__(self) -> None:
        self.family: dict[int, Any] = {}
        self.names: dict[int, str] = {}


_recording = _Recording()


def _family(part: Entry) -> dict[int, tuple[Entry, Contents, bool]]:
    """Return a part and those that it reaches, by ``id``: each with its contents, and whether it
    was built by then."""
    found: dict[int, tuple[Entry, Contents, bool]] = {}
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            contents = by_itself(one)
            found[id(one)] = one, contents, vars(one).get("built", True)
            waiting += contents.others
    return found


def _warn_of_side_effects(name: str, effects: SideEffects, changed: set[str]) -> None:
    """Warn if a call has changed what an earlier call had changed."""
    again, effects.changed = changed & effects.changed, changed | effects.changed
    if again and not effects.warned:
        effects.warned = True
        attributes = ", ".join(f"{attribute!r}" for attribute in sorted(again - {""}))
        warn(
            f"{name} changes {attributes or 'what it uses'}. It is called only once for "
            f"each batch shape, to trace the computation of a step, and not in each step. Keep "
            f"values that change from step to step in a weight, self.add_weight(..., "
            f"trainable=False), or in a gpunn.Variable, and assign to it."
        )

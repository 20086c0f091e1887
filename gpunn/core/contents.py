"""Comparable snapshots of what parts hold: attributes, and everything reachable from them.

User code is called once, and repeated as a program with the values that it read. This module
detects whether one of these has changed since: in attributes of parts and of other objects, in
lists, dictionaries and arrays, in a function's defaults and closure, and in the
globals that its code names.
"""

from __future__ import annotations

import collections
import contextlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import eq
from typing import Any

import numpy as np

from gpunn.common.nested import found_in
from gpunn.common.overrides import is_framework
from gpunn.common.registry import Entry

from . import reading
from .side_effects import is_log, side_effects_of

MOST_VALUES = 200_000
"""The number of values that are examined. Beyond these only identities are compared."""

MOST_ATTRIBUTES = 64
"""Of an object of user code with more attributes, only those that code names are examined."""

PLACE, IDENTITY = object(), object()  # these mark the meaning of the next number
UNUSED = {
    "__init__", "__new__", "__init_subclass__", "__del__", "__reduce__", "__getstate__",
    "__setstate__", "__annotate__", "__annotate_func__", "build", "get_config", "from_config",
}
"""Methods that are not part of a step, unless code of the step names them."""


class Contents:
    """A snapshot of what some parts hold. Snapshots with the same contents are equal.

    Args:
        parts: of a model, or anything else.
        alone: a part that is examined by itself: parts that it holds are compared by identity.
        names: those in code that is not among the parts.

    Attributes:
        simple: whether only attributes of the framework's own parts can change.
        is_cut: whether there are more values than are examined.
        runs_out: whether there is an iterator or a generator of random numbers, of which each
            call takes other values.
        others: the parts that ``alone`` holds.
        identities: what `are_same` compares.

    >>> held = {"rate": 0.5, "widths": [8, 8]}
    >>> before = Contents([held])
    >>> held["widths"][1] = 4
    >>> before.are_same(), before == Contents([held])
    (False, False)
    >>> held["widths"][1] = 8
    >>> before == Contents([held])
    True
    """

    def __init__(
        self, parts: Iterable[Any], alone: Entry | None = None, names: Iterable[str] = ()
    ) -> None:
        self.simple, self.is_cut, self.runs_out = True, False, False
        self.others: list[Entry] = []
        self._alone = alone
        self._attributes = {} if alone is None else alone._watched()
        self._values: list[Any] = []  # numbers, strings, types, places and identities, in order
        self._kept: list[Any] = []  # keeps objects compared by identity alive
        self._places: dict[int, int] = {}  # numbers of values that may change, by `id`
        self._found: collections.deque[Any] = collections.deque()  # those not opened yet
        self._names = dict.fromkeys(names)  # names that code has used so far, in order
        self._names_all = alone is not None  # or may compute; others may name what a part holds
        self._unnamed: dict[str, list[Any]] = {}  # attributes and methods not named so far
        # Modules and large objects, of which only what code names is examined.
        self._spaces: list[tuple[int, dict[str, Any]]] = []
        self._large: list[dict[str, Any]] = []
        self.identities = reading.Identities()
        self._add_all(parts)
        while self._found:
            self._open(self._found.popleft())
        for values in self._large:  # code may name what they do not have yet
            if self._names_all or len(self._names) > len(values):
                self.identities.entries(values.keys(), list(values))
            else:
                for name in self._names:
                    self.identities.named(dict.get, values, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contents) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def are_same(self) -> bool:
        """Return whether nothing has changed since. This is fast: it compares identities, so that
        replacing a value by an equal one counts as a change."""
        return self.identities.are_same()

    def replaced(self) -> set[str]:
        """Return the attributes of the part ``alone`` with other values since; "" means a change
        in place."""
        assert self._alone is not None
        values = self._alone._watched()
        return {n for n in values if self._attributes.get(n, self) is not values[n]} or {""}

    # -- one value

    def _add(self, value: Any) -> None:
        """Record a value. One that may change is opened later, once."""
        kind = type(value)
        if kind in reading.PLAIN:
            self._values += (kind, value)
        elif kind is float:
            self._values += (kind, value.hex())
        elif reading.is_read_by_repr(kind):
            self._values += (kind, repr(value))
        elif isinstance(value, np.generic):
            self._values += (kind, value.dtype, value.tobytes())
        elif id(value) in self._places:
            self._values += (PLACE, self._places[id(value)])
        elif reading.never_changes(value) or is_log(value):
            self._add_identity(value)
        elif len(self._values) > MOST_VALUES:
            self.is_cut = True
            self._add_identity(value)
        else:
            self._kept.append(value)
            self._values += (PLACE, self._places.setdefault(id(value), len(self._places)))
            self._found.append(value)

    def _add_identity(self, value: Any) -> None:
        self._kept.append(value)
        self._values += (IDENTITY, id(value))

    def _add_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self._add(value)

    def _add_named(self, values: Mapping[str, Any], names: Iterable[str]) -> None:
        for name in names:
            self._values.append(name)
            self._add(values[name])

    def _add_if_named(self, values: Mapping[str, Any]) -> None:
        """Add those of these values that code accesses by name, now or later."""
        for name, value in values.items():
            if self._names_all or name in self._names or (name[:1] == "_" == name[-1:]):
                self._add_named(values, [name])
            else:
                self._unnamed.setdefault(name, []).append(value)

    # -- what may change

    def _open(self, value: Any) -> None:
        """Record the contents of a value that may change."""
        self._values.append(type(value))
        if isinstance(value, Entry):
            if self._alone is None or value is self._alone:
                self._open_part(value)
            else:
                self._add_identity(value)
                self.others.append(value)
            return
        self.simple &= type(value) in (tuple, frozenset, slice)
        if isinstance(value, types.FunctionType):
            self._open_function(value)
        elif isinstance(value, type):
            self._open_class(value)
        elif isinstance(value, types.ModuleType):
            self._add_identity(value)
            self._open_space(value)
        elif (fixed := reading.fixed_entries(value)) is not None:
            self._add_all(fixed)
        else:
            self._open_object(value)

    def _open_object(self, value: Any) -> None:
        """Record the entries and attributes of a container, an array, or any other object."""
        cls: Any = type(value)
        slots, users = reading.slots(cls), reading.is_users(cls.__module__)
        self.runs_out |= hasattr(cls, "__next__") or reading.is_random(cls)
        if isinstance(value, (list, set, collections.deque)):
            self._iterate(value)
        elif isinstance(value, (tuple, frozenset)):
            self._add_all((len(value), *value))
        elif (number := reading.value_of(value)) is not None:
            self._values += number
        elif isinstance(value, dict):
            self._iterate(dict.keys(value))
            self._iterate(dict.values(value))
        elif cls is types.CellType and reading.of_cell(value):
            self._add(self.identities.named(getattr, value, "cell_contents"))
        elif (read := reading.reader_of(value)) is not None:
            self._look_at(read, value)
        elif isinstance(value, np.ndarray) and value.dtype.hasobject:
            self._compare(reading.form_of, value)
            self._look_at(reading.of_objects, value)
        elif isinstance(value, np.ndarray):
            self._compare(reading.of_array, value)
        elif not users:
            self._compare(_of_library, value)
        only_users = cls.__dictoffset__ and reading.is_only_user_code(cls)
        if only_users and len(vars(value)) > MOST_ATTRIBUTES:
            self._large.append(self.identities.named(getattr, value, "__dict__"))
            self._open_space(value)
        elif cls.__dictoffset__:
            values = self.identities.attributes(value)
            self._values += (len(values), *values)
            if only_users:
                self._add_if_named(values)
            else:
                self._add_named(values, values)
        for slot in slots:
            self._look_at(partial(reading.of_slot, slot), value)
        if slots or cls.__dictoffset__:  # code that reads it may depend on its identity
            self._add_identity(value)
        if users:
            self._add(cls)

    def _open_part(self, part: Entry) -> None:
        """Record a layer, a loss and so on: its declared contents, and its class if user-defined.
        If its own call changes it, record whether it is still as the call left it."""
        effects = side_effects_of(part)
        if effects is not None and part is not self._alone:
            self.simple = False
            self._compare(lambda part: effects.or_else(by_itself(part)), part)
            self._add_all(by_itself(part).others)
            return
        own = is_framework(type(part))
        if part._changes_by_itself:  # a model, or a callback: only its own code reads the others
            read, now = _attributes_of, _attributes_of(part)
            self.identities.read(reading.identical, read, part, now, of_part=True)
        elif own and not part._rebuilt_when_set:  # its dictionary stays the same object
            self.identities.entries(vars(part).values(), list(vars(part).values()))
        else:
            self.identities.attributes(part)
        values = part._watched()
        if part._changes_by_itself:
            parts = {name: x for name, x in values.items() if any(found_in(x, Entry))}
            self._add_named(parts, parts)
            self._add_if_named({name: x for name, x in values.items() if name not in parts})
            values = {}
        for name, value in values.items():
            self._values.append(name)
            if own and name.startswith("_") and not isinstance(value, Entry):
                self._add_identity(value)
            elif (kind := type(value)) in reading.PLAIN:  # most: as `_add` does
                self._values += (kind, value)
            else:
                self._add(value)
        if not own:
            self.simple = False
            self._add_identity(part)
            self._add(type(part))

    def _open_function(self, function: types.FunctionType) -> None:
        """Record its code, defaults and closure; for user code also what its code names."""
        values = function.__globals__
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            self._add(self.identities.named(getattr, function, name))
        self._add_all(function.__closure__ or ())
        attributes = self.identities.attributes(function)
        self._values += (len(attributes), *attributes)
        self._add_named(attributes, attributes)
        if not reading.is_users(values.get("__name__")):
            return
        code = reading.names_in(function.__code__)
        self._add_all(self.identities.named(dict.get, values, name) for name in code.read)
        self._add_all(sys.modules[name] for name in code.imported if name in sys.modules)
        for name in code.named:
            self._name(name)
        if code.computed and not self._names_all:
            self._names_all = True
            for name in [*self._unnamed, *(name for _, values in self._spaces for name in values)]:
                self._name(name)

    def _open_class(self, cls: type) -> None:
        """Record its attributes, and its methods that code names or the framework calls."""
        self._add_identity(cls)
        self._add_all(base for base in cls.__mro__[1:] if reading.is_users(base.__module__))
        ours = [base for base in cls.__mro__ if is_framework(base) and base is not object]
        values = dict(vars(cls))
        self.identities.entries(vars(cls).values(), values.values())
        for name, entry in values.items():
            special = name.startswith("__") and name.endswith("__")
            called = special or any(hasattr(base, name) for base in ours)
            is_method = isinstance(entry, (types.FunctionType, *reading.METHODS))
            if is_method and name in UNUSED:
                self._unnamed.setdefault(name, []).append(entry)
            elif is_method and called:
                self._add_named(values, [name])
            elif not special and name != "_abc_impl":
                self._add_if_named({name: entry})

    def _open_space(self, value: Any) -> None:
        """Record what code names, now or later, of a user's module or a large object."""
        place, values = self._places[id(value)], vars(value)
        self._spaces.append((place, values))
        every = [name for name in values if not name.startswith("__")] if self._names_all else ()
        for name in every or self._names:
            if name in values:
                self._look_in(place, values, name)

    def _name(self, name: str) -> None:
        """Examine the values with a name that code uses."""
        if name in self._names:
            return
        self._names[name] = None
        for value in self._unnamed.pop(name, ()):
            self._values.append(name)
            self._add(value)
        for place, values in self._spaces:
            if name in values:
                self._look_in(place, values, name)

    def _look_in(self, place: int, space: dict[str, Any], name: str) -> None:
        self._values += (place, name)
        self._add(self.identities.named(dict.get, space, name))

    # -- values that `are_same` examines again

    def _iterate(self, entries: Any) -> None:
        """Record all entries of an iterable."""
        found = list(entries)
        self._values.append(len(found))
        if len(found) > MOST_VALUES:
            self.is_cut = True
            return
        self.identities.entries(entries, found)
        self._add_all(found)

    def _look_at(self, read: Callable[[Any], list[Any]], value: Any) -> None:
        """Record the entries that a function reads from a value."""
        entries = read(value)
        self.identities.read(reading.identical, read, value, entries)
        self._values.append(len(entries))
        self._add_all(entries)

    def _compare(self, read: Callable[[Any], Any], value: Any) -> None:
        """Record a function's comparable result for a value; if None, compare identities."""
        found = read(value)
        if found is None:
            self._add_identity(value)
        else:
            self.identities.read(eq, read, value, found)
            self._values.append(found)


def _attributes_of(part: Entry) -> list[Any]:
    return list(part._watched().values())


def by_itself(part: Entry) -> Contents:
    """Return the contents of a part, with the parts that it holds compared by identity."""
    return Contents([part], part)


def _of_library(value: Any) -> Any:
    """Return what is known of a library's object besides its attributes: its values, if it provides
    them as an array; else, if it has no attributes, what `pickle` would store of it. None if it
    cannot be stored, such as a file or a generator."""
    cls: Any = type(value)
    try:
        if hasattr(cls, "__array__"):
            array = np.asarray(value)
            return Contents([array]) if array.dtype.hasobject else reading.of_array(array)
        with contextlib.suppress(TypeError):
            return reading.of_array(memoryview(value))
        if cls.__dictoffset__ or reading.slots(cls):
            return ()
        if hasattr(cls, "__next__"):
            return None
        found = _stored(value)
        again = found if reading.is_storing() else _stored(value)
    except Exception:  # libraries raise various errors if they cannot do that
        return None
    # Objects that are rebuilt each time and compared by identity tell nothing.
    return found if found == again else None


def _stored(value: Any) -> Contents:
    """Return what `pickle` would store of an object, which may contain the object itself."""
    with reading.storing(value):
        return Contents([value.__reduce_ex__(4)])

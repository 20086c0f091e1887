"""Values in lists, tuples, slices and dictionaries, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gpunn.common.importing.light_dataclass import dataclass


def replaced(
    function: Callable[[Any], Any], x: Any, leaf: Callable[[Any], bool] | None = None
) -> Any:
    """Apply a function to the values in ``x``, at any depth of lists, tuples, slices and
    dictionaries.

    ``leaf`` returns whether such a container counts as a single value.
    """
    if leaf is not None and leaf(x):
        return function(x)
    if hasattr(type(x), "keys") and isinstance(x, Mapping):  # which takes long to find out
        return {key: replaced(function, entry, leaf) for key, entry in x.items()}
    if isinstance(x, (list, tuple)):
        entries = [replaced(function, entry, leaf) for entry in x]
        if hasattr(x, "_fields"):  # a named tuple
            return type(x)(*entries)
        return entries if isinstance(x, list) else tuple(entries)
    if isinstance(x, slice):
        return slice(*(replaced(function, end, leaf) for end in (x.start, x.stop, x.step)))
    return function(x)


def any_in(condition: Callable[[Any], bool], x: Any) -> bool:
    """Whether a condition holds for a value in ``x``, at any depth of lists, tuples and
    dictionaries."""
    if hasattr(type(x), "keys") and isinstance(x, Mapping):
        return any(any_in(condition, entry) for entry in x.values())
    if isinstance(x, (list, tuple)):
        return any(any_in(condition, entry) for entry in x)
    return condition(x)


def found_in(value: Any, kind: Any) -> Iterator[Any]:
    """Yield the values of this type, anywhere in ``value``, which may hold itself."""
    entries, around = [iter((value,))], list[int]()  # of each level; groups that it is in, by `id`
    while entries:
        for entry in entries[-1]:
            if isinstance(entry, (dict, list, tuple)):
                if id(entry) not in around:
                    around.append(id(entry))
                    entries.append(iter(list(entry.values()) if isinstance(entry, dict) else entry))
                    break
            elif isinstance(entry, kind):
                yield entry
        else:
            entries.pop()
            del around[-1:]


def is_group(x: Any) -> bool:
    """Return whether an entry of a group is a group itself: a dictionary, or a list or tuple of
    arrays, tensors and groups, not of numbers.

    >>> import numpy as np
    >>> is_group({"a": 1}), is_group([1.0, 2.0]), is_group([np.ones(2)])
    (True, False, True)
    """
    if isinstance(x, (list, tuple)):
        return bool(x) and all(hasattr(entry, "shape") or is_group(entry) for entry in x)
    return isinstance(x, Mapping) and not hasattr(x, "shape")  # a frame has columns


@dataclass(frozen=True)
class TreeDef:
    """Structure of a group of values: a single one, a list, a tuple or a dict with its keys.

    Attributes:
        parts: The structures of the entries, if some of them are groups, or the group is in one.
        named: The type of a named tuple, whose ``kind`` is tuple.
    """

    kind: type | None = None  # for a single value
    keys: tuple[str, ...] = ()
    parts: tuple[TreeDef, ...] = ()
    named: type | None = None

    @classmethod
    def of(cls, given: Any, inside: bool = False) -> TreeDef:
        """Return the structure of a group of values, which is ``inside`` of another one.

        >>> form = TreeDef.of({"a": 1, "b": {"c": 2, "d": 3}})
        >>> form.unpack({"a": 1, "b": {"c": 2, "d": 3}}), form.pack([4, 5, 6])
        ([1, 2, 3], {'a': 4, 'b': {'c': 5, 'd': 6}})
        """
        if not isinstance(given, (Mapping, list, tuple)):
            return cls()
        entries = list(given.values()) if isinstance(given, Mapping) else given
        parts: tuple[TreeDef, ...] = ()
        if inside or any(map(is_group, entries)):
            parts = tuple(cls.of(x, True) if is_group(x) else cls() for x in entries)
        if isinstance(given, Mapping):
            return cls(dict, tuple(given), parts)
        if not isinstance(given, tuple):
            return cls(list, (), parts)
        return cls(tuple, (), parts, type(given) if hasattr(given, "_fields") else None)

    @property
    def is_nested(self) -> bool:
        """Whether there are groups in the group."""
        return any(part.kind is not None for part in self.parts)

    def unpack(self, given: Any) -> list[Any]:
        if self.kind is None:
            return [given]
        entries = list(given.values() if self.kind is dict else given)
        if not self.parts:
            return entries
        each = zip(self.parts, entries, strict=True)
        return [x for part, entry in each for x in part.unpack(entry)]

    def pack(self, values: Iterable[Any]) -> Any:
        """
        >>> TreeDef(dict, ("a", "b")).pack([1, 2]), TreeDef().pack([3])
        ({'a': 1, 'b': 2}, 3)
        """
        if self.kind is None:
            return next(iter(values))
        if self.parts:
            left = iter(values)
            values = [part.pack(left) for part in self.parts]
        if self.kind is dict:
            return dict(zip(self.keys, values, strict=True))
        return self.named(*values) if self.named else self.kind(values)

    def paths(self, names: Iterable[str]) -> list[str]:
        """Return the keys on the way to each value of a nested group. The value of a list has the
        next of ``names`` instead.

        >>> TreeDef.of({"a": 1, "b": [{"c": 2}, {"d": 3}]}).paths(["x", "y", "z"])
        ['a', 'b/c', 'b/d']
        >>> import numpy as np
        >>> TreeDef.of({"a": 1, "b": (np.ones(1), np.ones(1))}).paths(["x", "y", "z"])
        ['a', 'b/y', 'b/z']
        """
        return ["/".join(path) for path in self._paths(iter(names))]

    def _paths(self, names: Iterator[str]) -> Iterator[tuple[str, ...]]:
        for key, part in zip(self.keys or [None] * len(self.parts), self.parts, strict=True):
            before = () if key is None else (str(key),)
            if part.kind is None:
                name = next(names)
                yield before or (name,)
            for path in part._paths(names):
                yield (*before, *path)

    def flat(self, given: Any, what: str, missing: bool = False) -> Any:
        """Return the values of ``given`` in order if the structure is nested and it has that
        structure; anything else unchanged, such as values by their names.

        Args:
            what: Name of the argument in messages.
            missing: Whether dictionaries may leave out entries, and groups be None: their values
                are then None.

        Raises:
            ValueError: for an entry that is not the group that is expected there.
        """
        if not self.is_nested or given is None or hasattr(given, "shape"):
            return given
        if self.kind is dict and not (
            isinstance(given, Mapping) and given and set(map(str, given)) <= set(self.keys)
        ):
            return given
        if self.kind is not dict and not (
            isinstance(given, (list, tuple)) and len(given) == len(self.parts)
        ):
            return given
        return self._flat(given, what, missing)

    def _flat(self, given: Any, what: str, missing: bool) -> list[Any]:
        if self.kind is None:
            return [given]
        if given is None and missing:
            return [x for part in self.parts for x in part._flat(None, what, True)]
        if self.kind is dict:
            if not isinstance(given, Mapping) or set(given) - set(self.keys):
                raise self._unlike(given, what)
            if not missing and len(given) < len(self.keys):
                raise self._unlike(given, what)
            entries, names = [given.get(key) for key in self.keys], list(map(repr, self.keys))
        else:
            if not isinstance(given, (list, tuple)) or len(given) != len(self.parts):
                raise self._unlike(given, what)
            entries, names = list(given), list(map(str, range(len(given))))
        each = zip(self.parts, entries, names, strict=True)
        return [x for part, y, name in each for x in part._flat(y, f"{what}[{name}]", missing)]

    def _unlike(self, given: Any, what: str) -> ValueError:
        wanted = f"the keys {', '.join(map(repr, self.keys))}" if self.keys else "entries"
        if isinstance(given, Mapping):
            found = f"the keys {', '.join(map(repr, given)) or 'of an empty dictionary'}"
        elif isinstance(given, (list, tuple)):
            found = f"{len(given)} entries"
        else:
            found = type(given).__name__
        kind = "dictionary" if self.kind is dict else "list or tuple"
        count = "" if self.keys else f"{len(self.parts)} "
        return ValueError(f"{what} must be a {kind} of {count}{wanted}; got {found}.")

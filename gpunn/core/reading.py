"""Readers of values of each kind for `gpunn.core.contents`, which values are constant, and how all
that was read is compared again."""

from __future__ import annotations

import dis
import sys
import threading
import types
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, time, timedelta, timezone
from functools import cached_property, lru_cache, partial
from itertools import chain, starmap
from operator import call, is_
from typing import Any, NamedTuple

import numpy as np

from gpunn.common.overrides import is_framework
from gpunn.common.registry import Entry

from .operators import Operators

MOST_NESTED = 8
"""The maximum nesting of C objects."""
MOST_EXACT = 1 << 16
"""Bytes of the largest array that is compared exactly; larger ones are compared by hash."""

PLAIN = (type(None), bool, int, str, bytes, type(...))
BY_REPR = (complex, date, datetime, time, timedelta, timezone, range)
BY_REPR_TOO = (("decimal", "Decimal"), ("fractions", "Fraction"))  # which few programs import
METHODS = (staticmethod, classmethod, property, cached_property)
IDENTICAL = (
    Operators, types.CodeType, np.dtype, np.ufunc,
    types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType,
    types.MethodDescriptorType, types.ClassMethodDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
COMPUTED = {
    "getattr", "vars", "dir", "__dict__", "__getattribute__", "asdict", "astuple", "fields",
    "attrgetter", "methodcaller", "eval", "exec", "locals", "globals",
}
"""With these, code can access attributes that it does not name."""

Read = Callable[[Any], Any]
Same = Callable[[Any, Any], bool]

RANDOM = {
    ("random", "Random"), ("numpy.random._generator", "Generator"),
    ("numpy.random.mtrand", "RandomState"),
}  # by name: to import them takes a tenth of the time of `import gpunn`
MISSING = object()


def is_random(kind: type) -> bool:
    """Return whether objects of this class are sources of random numbers.

    >>> is_random(np.random.Generator), is_random(np.ndarray)
    (True, False)
    """
    return any((cls.__module__, cls.__name__) in RANDOM for cls in kind.__mro__)


def is_read_by_repr(kind: type) -> bool:
    """Return whether values of this class are compared by `repr`.

    >>> import decimal
    >>> is_read_by_repr(decimal.Decimal), is_read_by_repr(decimal.Context)
    (True, False)
    """
    return kind in BY_REPR or (kind.__module__, kind.__name__) in BY_REPR_TOO


def never_changes(value: Any) -> bool:
    """Return whether a value is compared by identity: it cannot change, steps read it each time,
    like a weight, or it belongs to the framework or to a library."""
    kind = type(value)
    if kind is types.FunctionType:
        users = is_users(value.__globals__.get("__name__"))
        return not (users or value.__closure__ or value.__defaults__ or value.__kwdefaults__)
    if isinstance(value, types.ModuleType):
        return not is_users(value.__name__)
    if isinstance(value, type):
        return not is_users(value.__module__)
    if kind is object or isinstance(value, IDENTICAL):
        return True
    if callable(kind) and "__wrapped__" in getattr(value, "__dict__", ()):
        return False  # it calls a function, which may be a user's
    return is_framework(kind) and not isinstance(value, Entry)


@lru_cache(maxsize=4096)
def is_users(module: str | None) -> bool:
    """Return whether a module is a user's: not the framework's, Python's, or a library's.

    >>> is_users("__main__"), is_users("numpy.linalg"), is_users("json")
    (True, False, False)
    """
    top = str(module).split(".")[0]
    if top == "__main__":
        return True
    if top == "gpunn" or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return not {"site-packages", "dist-packages"}.intersection(file.replace("\\", "/").split("/"))


def fixed_entries(value: Any) -> Iterable[Any] | None:
    """Return the entries of a value whose entries are fixed; None for other values."""
    if type(value) in (tuple, frozenset):
        return (len(value), *value)
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if is_framework(type(value)) and hasattr(value, "__wrapped__"):
        return (value.__wrapped__,)
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    if isinstance(value, property):
        return value.fget, value.fset
    if isinstance(value, cached_property):
        return (value.func,)
    if isinstance(value, (staticmethod, classmethod)):
        return (value.__func__,)
    return None


def reader_of(value: Any) -> Callable[[Any], list[Any]] | None:
    """Return a reader of the entries of a value that cannot be iterated; None if there is none."""
    return next((read for kind, read in READERS.items() if isinstance(value, kind)), None)


def is_written_down(value: Any) -> bool:
    """Return whether a value is a number, a string, a tensor, or a tuple of these."""
    if type(value) is tuple:
        return all(map(is_written_down, value))
    return isinstance(value, (*PLAIN, float, np.generic, Operators))


# -- the current contents of a value


def of_cell(cell: types.CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # it is empty
        return []


def of_reference(reference: Any) -> list[Any]:
    return [reference()]


def of_mapping(mapping: Any) -> list[Any]:
    return [*mapping, *mapping.values()]


def of_thread(local: threading.local) -> list[Any]:
    return of_mapping(local.__dict__)


def of_context(variable: ContextVar[Any]) -> list[Any]:
    try:
        return [variable.get()]
    except LookupError:
        return [MISSING]


def of_objects(array: Any) -> list[Any]:
    return list(array.ravel())


READERS: dict[Any, Callable[[Any], list[Any]]] = {
    types.CellType: of_cell,
    types.MappingProxyType: of_mapping,
    weakref.ref: of_reference,
    threading.local: of_thread,
    ContextVar: of_context,
}


def of_slot(slot: Any, value: Any) -> list[Any]:
    try:
        return [slot.__get__(value)]
    except AttributeError:
        return []


def form_of(array: Any) -> Any:
    return array.dtype, array.shape


def of_array(value: Any) -> Any:
    """Return dtype, shape and values of an array or a buffer."""
    array = np.asarray(value)
    numbers: Any = array.tobytes()
    if len(numbers) > MOST_EXACT:
        numbers = hash(numbers)
    return array.dtype, array.shape, numbers


@lru_cache(maxsize=4096)
def is_only_user_code(cls: type) -> bool:
    """Return whether all code of a class is a user's: only that reads its objects' attributes."""
    return all(base is object or is_users(base.__module__) for base in cls.__mro__)


def value_of(value: Any) -> tuple[Any, ...] | None:
    """Return the value of an object whose class derives from a Python number or string."""
    for base in (int, float, complex, str, bytes):
        if isinstance(value, base):
            return base, base.__repr__(value)
    return None


# -- classes and functions


@lru_cache(maxsize=4096)
def slots(cls: type) -> tuple[Any, ...]:
    """Return the descriptors of attributes that are not in an object's dictionary."""
    return tuple(
        entry
        for base in cls.__mro__
        if "__slots__" in vars(base)
        for entry in vars(base).values()
        if isinstance(entry, types.MemberDescriptorType)
    )


class Names(NamedTuple):
    """The names in code and in the functions nested in it."""

    read: tuple[str, ...]  # globals
    named: tuple[str, ...]  # attributes, and strings that may be their names
    imported: tuple[str, ...]  # modules
    computed: bool  # whether it may access attributes by computed names


@lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> Names:
    """Return the names in code.

    >>> names_in((lambda x: round(x.rate)).__code__)
    Names(read=('round',), named=('round', 'rate'), imported=(), computed=False)
    """
    steps = list(dis.get_instructions(code))
    read = [step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    imported = [step.argval for step in steps if step.opname == "IMPORT_NAME"]
    named = list(code.co_names)
    computed = bool(COMPUTED & {*named}) or any(step.opname == "MATCH_CLASS" for step in steps)
    for entry in code.co_consts:
        if isinstance(entry, str):
            named += filter(str.isidentifier, entry.split("."))
        elif isinstance(entry, types.CodeType):
            more = names_in(entry)
            read, named = [*read, *more.read], [*named, *more.named]
            imported, computed = [*imported, *more.imported], computed or more.computed
    once = [tuple(dict.fromkeys(names)) for names in (read, named, imported)]
    return Names(once[0], once[1], once[2], computed)


# -- C objects


def is_storing() -> bool:
    """Return whether this is within a block of `storing`."""
    return bool(_asked.ids)


@contextmanager
def storing(value: Any) -> Iterator[None]:
    """A block in which the same object is not stored again."""
    if id(value) in _asked.ids or len(_asked.ids) > MOST_NESTED:
        raise RecursionError
    _asked.ids.add(id(value))
    try:
        yield
    finally:
        _asked.ids.discard(id(value))


class _Asked(threading.local):
    def __init__(self) -> None:
        self.ids: set[int] = set()


_asked = _Asked()


# -- what was read, compared by identity


class Identities:
    """Values, each with its place: the attribute of an object, an entry of a dictionary, or of an
    iterable. They are alive as long as this is.

    >>> held = {"rate": 0.5}
    >>> found = Identities()
    >>> found.named(dict.get, held, "rate"), found.are_same()
    (0.5, True)
    >>> held["rate"] = 0.25
    >>> found.are_same()
    False
    """

    def __init__(self) -> None:
        self._gets, self._got = list[tuple[Any, ...]](), list[Any]()  # calls, and their results
        self._iterables, self._lengths, self._walked = list[Any](), list[int](), list[Any]()
        self._read: list[tuple[Same, Read, Any, Any, bool]] = []

    def are_same(self, untouched: bool = False) -> bool:
        """Return whether all values are the same objects in their places.

        Args:
            untouched: whether it is known that no attribute of a part was set since.
        """
        try:
            if list(map(len, self._iterables)) != self._lengths:
                return False
            now = chain(starmap(call, self._gets), *self._iterables)
            if not all(map(is_, now, chain(self._got, self._walked))):
                return False
            for same, read, of, found, of_part in self._read:
                if not (untouched and of_part) and not same(read(of), found):
                    return False
            return True
        except (RuntimeError, ValueError):  # another thread is changing it; a cell is empty now
            return False

    def named(self, get: Callable[..., Any], of: Any, name: str) -> Any:
        """Return the value with a name, or `MISSING`: ``get`` is `getattr` or `dict.get`."""
        value = get(of, name, MISSING)
        self._gets.append((get, of, name, MISSING))
        self._got.append(value)
        return value

    def attributes(self, value: Any) -> dict[str, Any]:
        """Return all attributes in the dictionary of an object, which may get another one."""
        space = self.named(getattr, value, "__dict__")
        found = dict(space)
        self.entries(space.keys(), found)
        self.entries(space.values(), found.values())
        return found

    def entries(self, of: Any, found: Collection[Any]) -> None:
        """Note the entries found in an iterable."""
        self._iterables.append(of)
        self._lengths.append(len(found))
        self._walked += found

    def read(self, same: Same, read: Read, of: Any, found: Any, of_part: bool = False) -> None:
        """Note what a function has found, which is compared by ``same``. ``of_part``: whether it
        depends on attributes of parts alone."""
        self._read.append((same, read, of, found, of_part))

    def grown(self) -> list[list[Any]]:
        """Return the lists to which entries have been appended since, if these are numbers,
        strings, shapes and tensors."""
        found, at = [], 0
        for entries, length in zip(self._iterables, self._lengths, strict=True):
            before = self._walked[at : at + length]
            if type(entries) is list and len(entries) > length and all(map(is_, before, entries)):
                found += [entries] if all(map(is_written_down, entries)) else []
            at += length
        return found


def identical(now: list[Any], before: list[Any]) -> bool:
    """Return whether two lists hold the same objects."""
    return len(now) == len(before) and all(map(is_, now, before))

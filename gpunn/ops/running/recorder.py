"""Recorders: what a function does in Python, as a list of its calls of the framework.

Tensors have values meanwhile, so the function does what Python does, and does it once. What Python
learns about values that may differ from call to call ends that: ``if loss < 1`` takes one branch
here, and might take the other one in the next call. The recording then says why it cannot be
repeated. Constants of two recordings are compared, see `agree`: what is read from files, clocks and
generators differs.
"""

from __future__ import annotations

import dis
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from gpunn.common.nested import any_in, replaced
from gpunn.common.registry import of_thread
from gpunn.core.contents import Contents
from gpunn.core.operators import FUNCTIONS, Operators
from gpunn.core.reading import is_users, names_in, never_changes
from gpunn.core.recording import Placed, active
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current

from .placed import Argument, PlacedNumber, plain


class Made(NamedTuple):
    """The place of an argument, or of a result of an earlier call."""

    number: int


class Array(NamedTuple):
    """A copy of an array that a call was given."""

    values: np.ndarray


class Closure(NamedTuple):
    """A function that a call was given, with what it holds."""

    function: Any
    captured: Any


class Entry(NamedTuple):
    """A call of the framework, with places in its arguments; ``results``: the new ones."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]


class Recorder:
    """Records the calls of one run of a function; a `Watcher`.

    Attributes:
        entries: these calls.
        why: why they cannot be repeated; None if they can.
        catches: whether Python would go on after an error of a call.
        used: the places of numbers among the arguments whose values Python has used.
        numbers: the values of the numbers among the arguments.
        placed: the places of those for which the function gets numbers that know their place.
        result: what the function returned, with places.
        is_settled: whether nothing of Python that it uses had changed at its end.
    """

    records = True

    def __init__(self, numbers: Sequence[Any], placed: frozenset[int]) -> None:
        self.entries: list[Entry] = []
        self.why: str | None = None
        self.numbers, self.used, self.placed = list(numbers), set[int](), placed
        self.result: Any = None
        self.is_settled, self.catches = True, False
        self._outside: FrameType | None = None
        self._globals: list[Contents] = []  # of functions that calls were given
        self._change = of_thread.last_change
        self._count = 0
        self._known: dict[int, tuple[int, Any]] = {}  # places and references, by the `id`
        self._may_differ, self._has_numbers, self._within = False, False, set[int]()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Return a context in which the calls of this thread are recorded."""
        before, active.watcher = active.watcher, self
        self._outside = sys._getframe(2)
        try:
            yield
        finally:
            active.watcher, self._outside = before, None

    def arguments(self) -> list[Any]:
        """Return the numbers among the arguments, as the function gets them."""
        return [
            PlacedNumber(x, Argument((k,)), frozenset({k}), self) if k in self.placed else x
            for k, x in enumerate(self.numbers)
        ]

    def know(self, x: Any) -> int:
        """Give an object a place."""
        number, key = self._count, id(x)
        self._count += 1

        def forget(reference: Any) -> None:
            if self._known.get(key, (None,))[0] == number:
                del self._known[key]

        # A loop over large arrays must not hold all of them.
        self._known[key] = number, x if isinstance(x, Placed) else weakref.ref(x, forget)
        return number

    def objects(self) -> tuple[dict[int, int], list[Any]]:
        """Return the ``id`` of objects that still exist, by their places, and these objects, which
        must be kept as long as these are used."""
        found = dict[int, int]()
        alive = list[Any]()
        for key, (number, reference) in list(self._known.items()):
            x = reference if isinstance(reference, Placed) else reference()
            if x is not None:
                found[number] = key
                alive.append(x)
        return found, alive

    # -- as a watcher

    def refuse(self, why: str) -> None:
        self.why = self.why or why

    def asked(self, x: Any, what: str) -> None:
        if isinstance(x, Placed):
            if x.owner is self and x.formula is not None:
                self.used |= x.places
            elif x.owner is self:
                self.refuse(f"Python asks for {what}, the result of a metric: compute by tensors.")
        elif id(x) in self._known or not isinstance(x, Tensor):
            self.refuse(
                f"Python asks for {what} in a step, of which each has its own. Compute with "
                f"tensors and gpunn.ops."
            )

    def substitute(self, x: Any) -> Any:
        return x

    def number(self, x: Any, dtype: str) -> Any:
        self.asked(x, "the value of a number")
        return x

    def introduce(self, x: Any, make: Callable[[], Any]) -> None:
        if id(x) not in self._known:
            made = self._packed_function(make)
            self.entries.append(Entry(made, (), {}, (self.know(x),)))

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        self._may_differ, self._has_numbers = always, False
        self.catches = self.catches or _catches(sys._getframe(1), self._outside)
        given = self._packed_function(function), self._packed(args), self._packed(kwargs)
        may_differ = self._may_differ
        self._look_for_changes()
        if self._has_numbers:
            args, kwargs = replaced(plain, args), replaced(plain, kwargs)
        active.watcher = None
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            self.refuse(f"an operation raised {type(error).__name__}.")
            raise
        finally:
            active.watcher, self._change = self, of_thread.last_change
        if not may_differ:
            return result
        if type(result) is Tensor and id(result) not in self._known:
            self.entries.append(Entry(*given, (self.know(result),)))
            return result
        results = list[int]()

        def known(x: Any) -> Any:
            if isinstance(x, float):
                x = PlacedNumber(float(x), None, frozenset(), self)
            elif isinstance(x, (np.ndarray, np.generic)):
                self.refuse(f"it computes with the numbers that {_name(function)} returns.")
            if isinstance(x, Tensor) and id(x) in self._known:
                x = _another(x)  # with a place of its own
            if isinstance(x, (Tensor, Placed)):
                results.append(self.know(x))
            return x

        if any_in(lambda x: isinstance(x, (float, np.generic, np.ndarray, Tensor)), result):
            result = replaced(known, result)
        self.entries.append(Entry(*given, tuple(results)))
        return result

    def end(self, result: Any) -> Any:
        """Note what the function returned; return it with plain numbers."""
        self._look_for_changes()
        self.is_settled &= all(known.are_same() for known in self._globals)
        self.result = self._packed(result)
        return replaced(plain, result)

    def _look_for_changes(self) -> None:
        """Note whether the function has set an attribute of a layer or another part.

        What other threads set meanwhile matters only if the function uses it: see `Dependencies`.
        """
        self.is_settled &= self._change == of_thread.last_change

    def _packed(self, x: Any) -> Any:
        """Return arguments with places, and copies of arrays."""
        kind = type(x)
        if kind is tuple or kind is list:
            return kind([self._packed(one) for one in x])
        if kind in (str, int, bool, type(None), float):
            return x
        if kind is dict:
            return {name: self._packed(one) for name, one in x.items()}
        known = self._known.get(id(x))
        if known is not None:
            self._may_differ = True
            return Made(known[0])
        if isinstance(x, Tensor):
            if not (x.is_constant or x.primitive is None):
                self.refuse("it uses a tensor that was computed elsewhere.")
            return x
        if isinstance(x, Placed):
            if x.owner is not self:
                return plain(x)
            self._may_differ = self._has_numbers = True
            return x
        if isinstance(x, Operators):
            self._may_differ = True
            return x
        if callable(x):
            self._may_differ = True
            return self._packed_function(x)
        if isinstance(x, np.ndarray):
            return Array(x.copy() if x.dtype != object else x)
        if isinstance(x, (tuple, list, slice)):
            return replaced(self._packed, x)
        if hasattr(x, "__next__"):
            self.refuse("it passes an iterator to an operation.")
        return x

    def _packed_function(self, x: Any) -> Any:
        """Return a function, with places in what its closure holds."""
        if FUNCTIONS.get(getattr(x, "__name__", "")) is x:
            return x
        if isinstance(x, partial):
            return Closure(x, (self._packed_function(x.func), self._packed((x.args, x.keywords))))
        if isinstance(x, types.MethodType):
            return Closure(x, (self._packed_function(x.__func__), x.__self__))
        if isinstance(x, types.FunctionType) and is_users(x.__module__):
            self._watch_globals(x)
        is_plain = not isinstance(x, types.FunctionType) or x.__closure__ is x.__defaults__ is None
        if is_plain or id(x) in self._within:  # it may hold itself
            return x
        self._within.add(id(x))
        try:
            cells = [_of(cell) for cell in x.__closure__ or ()]
            return Closure(x, (x.__code__, self._packed([cells, x.__defaults__, x.__kwdefaults__])))
        finally:
            self._within.discard(id(x))

    def _watch_globals(self, function: types.FunctionType) -> None:
        """Remember the globals that a function reads: it is called again when all is over."""
        names = [n for n in names_in(function.__code__).read if n in function.__globals__]
        read = [function.__globals__[name] for name in names]
        changing = [x for x in read if not (callable(x) or never_changes(x))]
        if changing:
            self._globals.append(Contents(changing, names=names_in(function.__code__).named))


def _catches(frame: FrameType | None, outside: FrameType | None) -> bool:
    """Whether an error in a frame is caught there, or in one that called it."""
    while frame is not None and frame is not outside:
        users = is_users(frame.f_globals.get("__name__"))
        if users and any(frame.f_lasti in span for span in _guarded(frame.f_code)):
            return True
        frame = frame.f_back
    return False


@lru_cache(maxsize=1024)
def _guarded(code: types.CodeType) -> list[range]:
    """Return the instructions of code whose errors an ``except`` branch catches."""
    if not code.co_exceptiontable:
        return []
    steps = list(dis.get_instructions(code))

    def is_caught(target: int) -> bool:
        names = (step.opname for step in steps if step.offset >= target)
        ends = ("CHECK_EXC_MATCH", "CHECK_EG_MATCH", "POP_EXCEPT", "RERAISE")
        return next((name for name in names if name in ends), "RERAISE") != "RERAISE"

    entries: Any = vars(dis.Bytecode(code))["exception_entries"]
    return [range(e.start, e.end + 1) for e in entries if is_caught(e.target)]


def _of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _another(t: Tensor) -> Tensor:
    """Return another tensor of the same values."""
    trace = current()
    if trace is None or t.is_constant:
        made = Tensor.__new__(Tensor)
        vars(made).update(vars(t))
        return made
    watcher, active.watcher = active.watcher, None
    try:
        return reshape(reshape(t, (*t.shape, 1)), t.shape)
    finally:
        active.watcher = watcher


def _name(entry: Any) -> str:
    function = getattr(entry, "function", entry)
    return str(getattr(getattr(function, "function", function), "__qualname__", function))


def agree(a: Recorder, b: Recorder) -> str | None:
    """Return in what two recordings differ; None if both are of one program."""
    if len(a.entries) != len(b.entries):
        return f"it does {len(a.entries)} operations in one call and {len(b.entries)} in another."
    for x, y in zip(a.entries, b.entries, strict=True):
        if not (same(x.function, y.function) and x.results == y.results):
            return f"it calls {_name(x)} in one call and {_name(y)} in another."
        if not (same(x.args, y.args) and same(x.kwargs, y.kwargs)):
            return (
                f"something that {_name(x)} is given differs from call to call, and is "
                f"no argument, weight or Variable."
            )
    return None if same(a.result, b.result) else "what it returns differs from call to call."


def same(a: Any, b: Any) -> bool:
    """Whether two packed values are the same constants, places and objects."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Placed):
        return a.formula == b.formula
    if isinstance(a, Array):
        return _same_array(a.values, b.values)
    if isinstance(a, np.ndarray | np.generic):
        return _same_array(np.asarray(a), np.asarray(b))
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and _same_array(a.value, b.value)
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True) if len(a) == len(b) else ()
        return len(a) == len(b) and all(k == m and same(x, y) for (k, x), (m, y) in pairs)
    if isinstance(a, Closure):
        return same(a.captured, b.captured)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, slice):
        return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, float):
        return a.hex() == b.hex()
    if isinstance(a, (str, bytes, int, complex, np.dtype, range)):
        return bool(a == b)
    if isinstance(a, types.FunctionType):
        return a.__code__ is b.__code__
    return False


def _same_array(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and (a is b or a.tobytes() == b.tobytes())

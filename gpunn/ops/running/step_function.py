"""`gpunn.function`: a Python function as one program for each form of its arguments."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend, Program
from gpunn.backends.contract.control import POSITION
from gpunn.backends.contract.device import place_of
from gpunn.backends.shared.order import Order
from gpunn.common import registry
from gpunn.common.config import floatx, runs_eagerly
from gpunn.common.nested import found_in, replaced
from gpunn.common.random import draw_seed
from gpunn.core.arena import Arena, Parameter
from gpunn.core.operators import Operators
from gpunn.core.settings import Settings
from gpunn.ops.conversion import convert
from gpunn.ops.library.derivatives import context_of
from gpunn.ops.tensor import NeedsValuesError, Tensor, constant
from gpunn.ops.trace import current

from .step_trace import StepComputation, StepTrace, Unsupported

_AS_THEY_ARE = {np.dtype(name) for name in ("float32", "int32", "bool")}
PROGRAMS = 16
"""Programs that a function keeps: for forms of arguments, and states of what it uses."""
MOST_INTEGERS = 3
"""Values of a Python integer that have a program each; further ones become an argument of it."""
MOST_CHANGES = 8
"""Changes of what a function uses, one in each call, that are followed by a new program; then it
runs in Python."""


class Function:
    """A function that is compiled, as by `gpunn.function`.

    Args:
        function: takes and returns tensors in any structure, and may update weights.
        parts: what it uses besides what it names.
        in_python: whether it is not compiled, for debugging.
    """

    def __init__(
        self, function: Callable[..., Any], parts: Sequence[Any] = (), in_python: bool = False
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        owner = getattr(function, "__self__", None)
        self._parts = [function, *([] if owner is None else [owner]), *parts]
        self._programs: dict[Any, StepProgram | None] = {}
        self._integers: dict[Any, set[int]] = {}
        self._lock = threading.RLock()
        self._changes, self._called, self._in_python = 0, False, in_python

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:
        return Function, (self._function,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current() is not None or runs_eagerly():
            return self._function(*args, **kwargs)
        return self.start(*args, **kwargs).values()

    def start(self, *args: Any, **kwargs: Any) -> Result:
        """Run it; the results are read from the device when they are asked for."""
        with self._lock:
            arguments = Arguments(args, kwargs, self._integers)
            program = self._program(arguments)
            if program is not None:
                return program.run(arguments.arrays)
        result = in_python(self._function, arguments)
        self._called = True
        return result

    def program_for(self, *args: Any, **kwargs: Any) -> StepProgram | None:
        """Return the program for such arguments; None if Python runs it, or has to run it first."""
        with self._lock:
            return self._program(Arguments(args, kwargs, {}))

    @property
    def compiled(self) -> bool:
        """Whether all its calls but the first have been programs."""
        return bool(self._programs) and None not in self._programs.values()

    def _program(self, arguments: Arguments) -> StepProgram | None:
        """Return the program for arguments of this form; None if Python has to run it, as it has
        the first time: that builds layers and creates variables."""
        if self._in_python or not self._called:
            return None
        key = arguments.key
        known = self._programs.get(key)
        if known is None and key in self._programs:
            return None
        if known is not None:
            if known.is_current():
                self._changes = 0
                return known
            self._changes += 1
            if self._changes > MOST_CHANGES:
                self._programs[key] = None
                return None
        made = self._made(arguments)
        self._programs.pop(key, None)
        while len(self._programs) >= PROGRAMS:
            del self._programs[next(iter(self._programs))]
        self._programs[key] = made
        return made

    def _made(self, arguments: Arguments) -> StepProgram | None:
        try:
            return StepProgram(self._function, arguments, self._parts)
        except (NeedsValuesError, Unsupported):
            return None


def function(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function of tensors: it is called once for each form of its arguments, and then
    repeated as one program, with gradients, updates of weights, and metrics.

    Use it as a decorator. Arrays and floats are arguments of the program; other arguments, and
    arrays of another shape, have a program each. The first call runs in Python, which builds
    layers. A function that needs values in Python, such as ``if loss < 1``, draws from
    ``numpy.random`` or changes attributes, runs in Python each time, at the speed of a tape.

    Args:
        function: takes and returns tensors, in lists, tuples and dictionaries.
        options: TensorFlow's, ignored.

    >>> import gpunn
    >>> @gpunn.function
    ... def squared(x):
    ...     return x * x
    >>> squared([1.0, 2.0]).tolist(), squared([3.0, 4.0]).tolist()
    ([1.0, 4.0], [9.0, 16.0])
    """
    if function is None:
        return functools.partial(globals()["function"], **options)
    return function if isinstance(function, Function) else Function(function)


class Result:
    """What a call returns; its values may still be on the device."""

    def __init__(self, value: Any, read: Callable[[Any], Any] | None = None) -> None:
        self._value, self._read = value, read

    def values(self) -> Any:
        """Return the result with values for its tensors."""
        if self._read is not None:
            self._value, self._read = self._read(self._value), None
        return self._value


def in_python(function: Callable[..., Any], arguments: Arguments) -> Result:
    """Call a function in Python; arrays that it returns become tensors, as those of a program."""
    given = [constant(x, x.dtype.name) for x in arguments.arrays]
    args, kwargs = arguments.with_tensors(given)

    def converted(x: Any) -> Any:
        return constant(x, x.dtype.name) if isinstance(x, np.ndarray) else x

    return Result(replaced(converted, function(*args, **kwargs)))


class Arguments:
    """The arguments of a call: arrays, and everything else.

    Attributes:
        arrays: those of tensors, arrays and floats, in order, on the host.
        key: the same for calls that one program can do.
    """

    def __init__(self, args: Any, kwargs: Any, integers: dict[Any, set[int]]) -> None:
        self.arrays: list[np.ndarray] = []
        self._integers = integers
        self.kept: list[Any] = []  # objects compared by identity
        found = [self._taken(x) for x in args]
        named = {name: self._taken(x) for name, x in kwargs.items()}
        self._args, self._kwargs = found, named
        self.key = (
            tuple(key for _, key in found), tuple((name, k) for name, (_, k) in named.items()),
            floatx(),
        )  # fmt: skip

    def _taken(self, x: Any) -> tuple[Any, Any]:
        """Return an argument with places for its arrays, and its key."""
        if type(x) is np.ndarray:
            return self._placed(x)
        if isinstance(x, (list, tuple)) and _is_structure(x):
            parts = [self._taken(one) for one in x]
            kind = type(x)
            made = [part for part, _ in parts]
            form = kind(*made) if hasattr(x, "_fields") else kind(made)
            return form, (kind, *(key for _, key in parts))
        if isinstance(x, dict):
            named = {name: self._taken(one) for name, one in x.items()}
            made_of = {name: part for name, (part, _) in named.items()}
            return made_of, (dict, *((name, key) for name, (_, key) in named.items()))
        if isinstance(x, (bool, str, bytes, type(None))):
            return x, (type(x), x)
        if isinstance(x, int):
            seen = self._integers.setdefault(len(self.arrays), set())
            if x not in seen and len(seen) < MOST_INTEGERS:
                seen.add(x)
            if x in seen:
                return x, (int, x)
        elif not isinstance(x, float) and not _is_array(x):
            self.kept.append(x)
            return x, id(x)
        return self._placed(x)

    def _placed(self, x: Any) -> tuple[Any, Any]:
        array = _host_array(x)
        self.arrays.append(array)
        return _Place(len(self.arrays) - 1), (array.shape, array.dtype)

    def with_tensors(self, tensors: Sequence[Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with these tensors for the arrays."""

        def filled(x: Any) -> Any:
            return replaced(lambda p: tensors[p.number] if isinstance(p, _Place) else p, x)

        return (
            [filled(x) for x, _ in self._args],
            {name: filled(x) for name, (x, _) in self._kwargs.items()},
        )


class _Place:
    def __init__(self, number: int) -> None:
        self.number = number


class StepProgram:
    """A function as a program for arguments of one form.

    Raises:
        NeedsValuesError, Unsupported: if Python has to run it.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: Arguments, parts: Sequence[Any]
    ) -> None:
        self._trace = trace = StepTrace()
        leaves = [trace.leaf(x.shape, x.dtype.name) for x in arguments.arrays]
        args, kwargs = arguments.with_tensors(leaves)
        used = [*parts, *arguments.kept]
        before, settings = _random_states(), Settings(used)
        try:
            with trace.active():
                self._result = function(*args, **kwargs)
        finally:
            trace.end()
        if _random_states() != before:  # its draws would be the same in each step
            raise Unsupported("it draws random numbers of NumPy or Python.")
        if Settings(used) != settings:
            raise Unsupported("it changes what it uses, in Python.")
        for t in trace._watched:
            t.is_constant = False
        of_effects = [part for effect in trace.effects for part in effect.parts]
        self._parts = [*used, *{id(part): part for part in of_effects}.values()]
        self._settings = Settings(self._parts)
        outputs = [
            t for t in found_in(self._result, Tensor)
            if not t.is_constant and id(t) not in trace.late
        ]  # fmt: skip
        self._outputs = list({id(t): t for t in outputs}.values())
        self._bind(leaves, arguments)
        for t in trace._watched:
            t.is_constant = True

    def _bind(self, leaves: Sequence[Tensor], arguments: Arguments) -> None:
        trace = self._trace
        weights = [h.source for h in trace.held.values() if isinstance(h.source, Parameter)]
        for p in weights:
            if p.arena is None:
                p.layer._own_arena()
        self._homes = [(p, p.arena) for p in weights]
        self._treatments = [p.treatment for p in weights]
        self._seen = 0  # the last change of any part after which these were the same
        found: dict[int, Arena] = {id(p.arena): p.arena for p in weights if p.arena is not None}
        self._arenas = list(found.values())
        roots = {id(a.backend.root): a.backend for a in self._arenas}
        if len(roots) > 1:
            raise Unsupported("weights on several backends.")
        backend: Backend = next(iter(roots.values()), get_backend())
        dtype = self._arenas[0].dtype if self._arenas else floatx()
        changed = {id(source) for effect in trace.effects for source in effect.changes}
        changed |= {id(held.source) for held in trace.assigned}
        self._written = {id(p.arena) for p in weights if id(p) in changed and p.arena is not None}
        self._context = context_of(backend, draw_seed(), dtype)
        self._backend = backend = self._context.backend
        assert self._context.control is not None
        self._control = self._context.control
        self._arrays = [backend.zeros(t.shape, t.dtype) for t in leaves]
        inputs = [*zip(leaves, self._arrays, strict=True)]
        with backend.turn:
            self._computation = StepComputation(
                trace, backend, inputs, self._outputs, self._context
            )
        self._zero = backend.zeros((1,), np.float64)
        self._program: Program = backend.program(self._step, True, {})
        self._rows: tuple[Any, OnRows] | None = None
        self._is_running = False  # also after an interrupt: what it holds is then unknown

    def _step(self) -> None:
        self._computation.run()
        self._backend.advance(self._control, 0, self._zero)

    def is_current(self) -> bool:
        """Whether nothing that it uses has changed since it was made."""
        if self._is_running or any(p.arena is not home for p, home in self._homes):
            return False
        if not self._settings.are_same():
            now = Settings(self._parts)
            if now != self._settings:
                return False
            self._settings = now
        now = registry.last_change
        if now != self._seen:
            if [p.treatment for p, _ in self._homes] != self._treatments:
                return False
            self._seen = now
        return True

    def run(self, arrays: Sequence[np.ndarray]) -> Result:
        """Run it with these arguments."""
        for effect in self._trace.effects:
            effect.before_each()
        self._within(self._arenas, lambda: self._run_once(arrays))
        return Result(self._result, self._read)

    def on_rows(self, sources: Sequence[np.ndarray], order: Order) -> OnRows | None:
        """Return this program for the rows of arrays, as many at a time as its arguments have; None
        if the host has to prepare each step."""
        if any(effect.by_host for effect in self._trace.effects):
            return None
        kinds = {"float32": "f", "float64": "f", "int32": "iu"}  # that a program gathers
        for a, into in zip(sources, self._arrays, strict=True):
            if a.shape[1:] != into.shape[1:] or a.dtype.kind not in kinds.get(into.dtype.name, ""):
                return None
        key = tuple(map(place_of, sources)), order.rows, order.seed
        if self._rows is None or self._rows[0] != key:
            self._rows = key, OnRows(self, sources, order)
        return self._rows[1]

    def _within(self, arenas: Sequence[Arena], work: Callable[[], None]) -> None:
        """Do work while no other thread changes the weights of these arenas."""
        if not arenas:
            self._is_running = True
            work()
            self._is_running = False
            return
        first, *others = arenas
        writes = id(first) in self._written
        with first.access.writing() if writes else first.access.reading():
            self._within(others, work)

    def _run_once(self, arrays: Sequence[np.ndarray]) -> None:
        for into, array in zip(self._arrays, arrays, strict=True):
            self._backend.write(into, array)
        self._program.run(1)

    def _read(self, result: Any) -> Any:
        """Return the result with the values that the last run has computed."""
        values: dict[int, Any] = {}
        for t, array in zip(self._outputs, self._computation.outputs, strict=True):
            values[id(t)] = constant(self._backend.read(array), t.dtype)

        def value_of(t: Tensor) -> Any:
            if id(t) in self._trace.late:
                return self._trace.late[id(t)][1]()
            return values.get(id(t), t)

        return replaced(lambda x: value_of(x) if isinstance(x, Tensor) else x, result)


class OnRows:
    """A program whose steps gather their arguments from arrays, one batch after the other.

    Args:
        of: the program.
        sources: the arrays (rows, ...), which must exist as long as this is used.
        order: of their rows.
    """

    def __init__(self, of: StepProgram, sources: Sequence[np.ndarray], order: Order) -> None:
        self._of, self._order = of, order
        backend = of._backend
        self._sources = [
            backend.borrowed(a) if backend.owns(a) else backend.upload(a) for a in sources
        ]
        self._size = len(of._arrays[0])
        self._program: Program = backend.program(self._step, True, {})

    def _step(self) -> None:
        of = self._of
        for source, into in zip(self._sources, of._arrays, strict=True):
            of._backend.gather(source, self._order, of._control, into)
        of._computation.run()
        of._backend.advance(of._control, self._size, of._zero)

    def begin(self, number: int, position: int) -> None:
        """Let the next step read the rows of the pass of this number, from a position on."""
        self._of._control.begin_pass(number)
        self._of._control.set(POSITION, position)

    def run(self, steps: int) -> Result:
        """Run so many steps; return the result of the last one."""
        with self._of._backend.session():
            self._of._within(self._of._arenas, lambda: self._program.run(steps))
        return Result(self._of._result, self._of._read)

    def is_current(self) -> bool:
        return self._of.is_current()


def _is_structure(x: Any) -> bool:
    """Whether a list or tuple holds arguments, not the numbers of one array."""
    return not (isinstance(x, list) and x and all(isinstance(one, float) for one in x))


def _is_array(x: Any) -> bool:
    if isinstance(x, Operators) and not isinstance(x, Tensor):
        return False  # a weight or variable: it is read where it is
    return isinstance(x, list) or hasattr(x, "__array__")


def _host_array(x: Any) -> np.ndarray:
    """Return an argument as an array of a dtype that tensors have."""
    if type(x) is np.ndarray and x.dtype in _AS_THEY_ARE:
        return x
    if isinstance(x, Tensor):
        return x.numpy()
    if isinstance(x, float):
        return np.asarray(x, floatx())
    return convert(x).numpy()


def _random_states() -> Any:
    """Return what tells whether NumPy's or Python's random numbers were drawn."""
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    return repr(state), random.getstate()


__all__ = ["Function", "function"]

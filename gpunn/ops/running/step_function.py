"""`gpunn.function`: a Python function that is recorded, and then repeated as a program."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MethodType
from typing import Any

from gpunn.backends import get_backend
from gpunn.common.config import runs_eagerly
from gpunn.common.names import warn
from gpunn.common.nested import replaced
from gpunn.core.draws import Source, active_draws
from gpunn.core.recording import active
from gpunn.core.settings import Dependencies, Settings
from gpunn.ops.tensor import constant
from gpunn.ops.trace import current

from .compiled_step import CompiledStep, GoesOnError, Result, as_result, random_states
from .recorder import Recorder, agree, same
from .step_arguments import Arguments, as_argument

PROGRAMS = 16
"""Programs that a function keeps: for forms of arguments, and states of what it uses."""
MOST_CHANGES = 8
"""Changes of what a function uses, one in each call, that are followed by a new program; then it
runs in Python."""
MOST_RECORDINGS = 8
"""Calls of one form that are recorded until two of them agree; then it runs in Python."""
VALUES = 3
"""Values of a number whose value Python uses that have a program each; calls with further ones run
in Python."""
MOST_ERRORS = 3
"""Calls that raise while numbers are tried as inputs, none before; then Python gets the numbers."""

MANY_VALUES = (
    "a number of Python among its arguments has ever new values. Pass it as an array, "
    "ops.array(n), if it only enters computations."
)
CHANGES = (
    "it changes an attribute or variable of Python that it uses, or sets a learning rate: keep "
    "numbers that change in a Variable, or return them."
)
DRAWS = "it draws random numbers of NumPy or Python."


class Numbers:
    """What is known about the numbers of all forms that differ in shapes only.

    Attributes:
        used: the places of those whose values Python uses: each value has a program of its own.
        alike: those that programs are for, by their places.
        errors: calls with a `PlacedNumber` that raised before one that did not.
    """

    def __init__(self) -> None:
        self.used, self.alike = set[int](), list[dict[int, Any]]()
        self.errors: int | None = 0  # None from then on

    def learn_error(self, error: Exception, placed: Collection[int]) -> None:
        """Give Python its own numbers at these places from now on, if others cause errors.

        C code raises a TypeError for them, checks of the user any error: in each call.
        """
        if self.errors is not None:
            self.errors += bool(placed)
        if isinstance(error, TypeError) or self.errors == MOST_ERRORS:
            self.used.update(placed)


class Form:
    """What is known about calls with arguments of one form.

    Attributes:
        programs: those for such calls, with the numbers that each is for, by their places.
        recordings: recent calls in Python, without a program so far.
        why: why Python runs such calls for ever; None if it does not.
    """

    def __init__(self, of_kind: Numbers) -> None:
        self.of_kind = of_kind
        self.programs: list[tuple[dict[int, Any], CompiledStep]] = []
        self.recordings: list[Recorder] = []
        self.count = 0  # of recordings
        self.why: str | None = None

    def varying(self, values: Sequence[Any]) -> frozenset[int]:
        """Return the places of numbers that have had other values than these, and that Python has
        neither used nor, in the last call, kept: a program may take them as inputs."""
        if self.recordings and not self.recordings[-1].is_settled:
            return frozenset()
        known = [dict(enumerate(one.numbers)) for one in self.recordings]
        known += [fixed for fixed, _ in self.programs] + self.of_kind.alike
        return frozenset(
            k for k, value in enumerate(values) if k not in self.of_kind.used
            and not all(k in one and same(one[k], value) for one in known)
        )

    def is_full(self) -> bool:
        """Whether there are programs for enough values of numbers that Python uses."""
        return bool(self.of_kind.used) and len(self.programs) >= VALUES

    def program_for(self, numbers: Sequence[Any]) -> CompiledStep | None:
        """Return the program for calls with these numbers, if there is one that is current."""
        for fixed, program in self.programs:
            if not fixed or all(same(numbers[k], value) for k, value in fixed.items()):
                return program
        return None


class Function:
    """A function that is compiled, as by `gpunn.function`.

    Args:
        function: takes and returns tensors in any structure, and may update weights.
        parts: what it uses besides what it names.
        in_python: whether it is not compiled, for debugging.
        draws: its random numbers; by default its own.
        around: returns a ``with`` block for what `start` runs in Python.
    """

    def __init__(
        self, function: Callable[..., Any], parts: Sequence[Any] = (), in_python: bool = False,
        draws: Source | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        owner = getattr(function, "__self__", None)
        self._name = getattr(function, "__qualname__", "the function")
        self._parts = [function, *([] if owner is None else [owner]), *parts]
        self._forms: dict[Any, Form] = {}
        self._lock = threading.Lock()  # of the forms
        self._draws, self._around = Source() if draws is None else draws, around
        self._changes, self._in_python = 0, in_python
        self._is_announced = False
        self._kinds: dict[Any, Numbers] = {}

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:
        return Function, (self._function,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current()
        watched = active.watcher is not None or active_draws() is not None
        # A part of another function, or of a step.
        if watched or not (trace is None or trace.mode.is_eager):
            return self._function(*replaced(as_argument, args), **replaced(as_argument, kwargs))
        if trace is not None or runs_eagerly():
            with self._draws.call():
                return self._function(*replaced(as_argument, args), **replaced(as_argument, kwargs))
        arguments = Arguments(args, kwargs)
        program = self._program(arguments)
        if program is None:
            return self._by_python(arguments).values()
        return program.values(arguments)

    def start(self, *args: Any, **kwargs: Any) -> Result:
        """Run it, in one thread; the results are read from the device when they are asked for."""
        arguments = Arguments(args, kwargs)
        program = self._program(arguments)
        if program is not None:
            return program.run(arguments)
        with self._around():
            return self._by_python(arguments)

    def program_for(self, *args: Any, **kwargs: Any) -> CompiledStep | None:
        """Return the program for such arguments; None if Python runs it, or has to run it first."""
        return self._program(Arguments(args, kwargs))

    def forget_rows(self) -> None:
        """Free what its programs hold for the rows of arrays."""
        with self._lock:
            for form in self._forms.values():
                for _, program in form.programs:
                    program.forget_rows()

    @property
    def compiled(self) -> bool:
        """Whether it has a program for each form of arguments that it was called with again."""
        forms = [form for form in self._forms.values() if form.count > 1 or form.programs]
        return bool(forms) and all(form.programs for form in forms)

    def _program(self, arguments: Arguments) -> CompiledStep | None:
        """Return the program for such arguments; None if Python has to run it."""
        with self._lock:
            form = self._forms.get(arguments.key)
            program = None if form is None else form.program_for(arguments.numbers)
        if form is None or program is None:
            return None
        if program.is_current():
            self._changes = 0
            return program
        began_again = program.origin != self._draws.origin
        with self._lock:
            others = [pair for pair in form.programs if pair[1] is not program]
            # Another thread may have seen the same change.
            self._changes += not began_again and len(others) < len(form.programs)
            form.programs = others
            if self._changes > MOST_CHANGES:
                form.why = "what it uses changes from call to call."
        return None

    def _by_python(self, arguments: Arguments) -> Result:
        """Run it in Python. A call that may become a program is recorded.

        No lock is held meanwhile: the function may wait for another thread.
        """
        given = [constant(x, x.dtype.name) for x in arguments.arrays]
        form = self._form(arguments)
        if self._in_python or form.why is not None or form.is_full():
            args, kwargs = arguments.filled(given, arguments.numbers)
            self._announce(form.why or MANY_VALUES)
            with self._draws.call():
                result = self._function(*args, **kwargs)
            return Result(replaced(as_result, result))
        used = [*self._parts, *arguments.kept]
        recorder = Recorder(arguments.numbers, form.varying(arguments.numbers))
        before, dependencies = random_states(), Dependencies(lambda: Settings(used))
        if dependencies.settings.runs_out:
            recorder.refuse("it has an iterator or a generator of random numbers at hand.")
        for t in given:
            recorder.know(t)
        args, kwargs = arguments.filled(given, recorder.arguments())
        try:
            with recorder.watching(), self._draws.call():
                result = recorder.end(self._function(*args, **kwargs))
        except Exception as error:
            form.of_kind.learn_error(error, recorder.placed)
            raise
        if recorder.placed:
            form.of_kind.errors = None
        if random_states() != before:  # its draws would be the same in each step
            recorder.refuse(DRAWS)
        recorder.is_settled = recorder.is_settled and dependencies.are_current()
        self._learn(form, recorder, arguments, used)
        self._announce(form.why)
        return Result(replaced(as_result, result))

    def _form(self, arguments: Arguments) -> Form:
        with self._lock:
            form = self._forms.pop(arguments.key, None)
            if form is None:
                form = Form(self._kinds.setdefault(arguments.kind, Numbers()))
            while len(self._forms) >= PROGRAMS:
                del self._forms[next(iter(self._forms))]
            self._forms[arguments.key] = form  # the last one used is the last one
            return form

    def _announce(self, why: str | None) -> None:
        if why is not None and not (self._is_announced or self._in_python):
            self._is_announced = True
            warn(
                f"{self._name} runs in Python in each call, operation by operation, which is "
                f"slower than a program: {why}"
            )

    def _learn(
        self, form: Form, recorder: Recorder, arguments: Arguments, used: Sequence[Any]
    ) -> None:
        """Make a program of a recording that agrees with an earlier one.

        For arguments that differ from a program's in shapes only, one recording will do.
        """
        with self._lock:
            form.count += 1
            earlier = form.recordings
            form.recordings = [*earlier[1 - MOST_RECORDINGS :], recorder]
        why, free = recorder.why, set[int]()
        if why == DRAWS and form.count < MOST_RECORDINGS:  # another thread may have drawn
            return
        if why is None:
            other, free, why = alike_among(recorder, earlier)
            if other is None:
                free = set(recorder.placed - recorder.used)
            fixed = {k: x for k, x in enumerate(recorder.numbers) if k not in free}
            is_known = any(same(fixed, one) for one in form.of_kind.alike)
            is_enough = other is not None or is_known
            if is_enough and recorder.is_settled:
                program, why = self._made(recorder, arguments, used, fixed)
                if program is not None:
                    with self._lock:
                        form.programs = [*form.programs[1 - PROGRAMS :], (fixed, program)]
                        form.recordings, form.count = [], 0
                        if not is_known:
                            form.of_kind.alike.append(fixed)
                    return
                if free:  # a program for each value may do
                    form.of_kind.used.update(free)
                    form.recordings = []
                    return
            elif is_enough:
                why = CHANGES
            form.of_kind.used.update(recorder.used)
            if not (is_enough and recorder.is_settled) and form.count < MOST_RECORDINGS:
                return
        form.why, form.recordings = why, []

    def _made(
        self, recorder: Recorder, arguments: Arguments, used: Sequence[Any], fixed: dict[int, Any]
    ) -> tuple[CompiledStep | None, str | None]:
        """Return the program of a recording, or None and why there is none."""
        given = recorder, arguments, used, fixed, self._draws
        try:
            try:
                return CompiledStep(*given, stops=get_backend().stops), None
            except GoesOnError:  # its weights are on a GPU, where the default backend is not
                return CompiledStep(*given, stops=False), None
        except Exception as error:
            return None, str(error)


def alike_among(
    recorder: Recorder, earlier: Sequence[Recorder]
) -> tuple[Recorder | None, set[int], str | None]:
    """Return a recording that agrees with one, the places of numbers that differ, which a program
    takes as inputs, and in what the last recording differs, if any."""
    why = None
    for other in reversed(earlier):
        if other.why is not None or other.placed != recorder.placed:
            continue
        pairs = enumerate(zip(recorder.numbers, other.numbers, strict=True))
        differ = {k for k, (a, b) in pairs if not same(a, b)}
        if not differ <= recorder.placed - recorder.used - other.used:
            why = why or MANY_VALUES
            continue
        difference = agree(recorder, other)
        if difference is None:
            return other, differ, None
        why = why or difference
    return None, set(), why


def function(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function of tensors: what two calls do in Python becomes one program, with
    gradients, updates of weights, and metrics.

    Use it as a decorator. Each call does what Python would do. Arrays are arguments of the program;
    arrays of another shape, and other arguments, have a program each. A function that needs values
    in Python, such as ``if loss < 1``, draws from ``numpy.random`` or changes attributes, runs in
    Python each time, at the speed of a tape, and a warning says why.

    Args:
        function: takes and returns tensors, in lists, tuples and dictionaries.
        options: TensorFlow's, ignored.

    Returns:
        The compiled function, or without ``function`` a decorator.

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


__all__ = ["Function", "function"]

"""`gpunn.function`: a Python function as one program for each form of its arguments."""

from __future__ import annotations

import dis
import functools
import threading
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

from gpunn.backends import get_backend
from gpunn.common.config import runs_eagerly
from gpunn.common.names import warn
from gpunn.common.nested import replaced
from gpunn.core.reading import is_users
from gpunn.ops.tensor import constant
from gpunn.ops.trace import current

from .step_arguments import Arguments, as_argument
from .step_program import GoesOnError, Result, StepProgram, as_result

PROGRAMS = 16
"""Programs that a function keeps: for forms of arguments, and states of what it uses."""
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
        self._name = getattr(function, "__qualname__", "the function")
        self._parts = [function, *([] if owner is None else [owner]), *parts]
        self._programs: dict[Any, StepProgram | None] = {}
        self._integers: dict[int, set[int]] = {}
        self._lock = threading.Lock()  # of the programs
        self._changes, self._called, self._in_python = 0, False, in_python
        self._is_announced = False

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:
        return Function, (self._function,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current() is not None or runs_eagerly():
            args, kwargs = replaced(as_argument, args), replaced(as_argument, kwargs)
            return self._function(*args, **kwargs)
        arguments = Arguments(args, kwargs, self._integers)
        program = self._program(arguments)
        if program is None:
            return self._by_python(arguments).values()
        return program.values(arguments.arrays)

    def start(self, *args: Any, **kwargs: Any) -> Result:
        """Run it, in one thread; the results are read from the device when they are asked for."""
        arguments = Arguments(args, kwargs, self._integers)
        program = self._program(arguments)
        return self._by_python(arguments) if program is None else program.run(arguments.arrays)

    def _by_python(self, arguments: Arguments) -> Result:
        result = in_python(self._function, arguments)
        self._called = True
        if arguments.reason is not None:  # Python has not refused it
            self._keep(arguments.key, None)
            if not self._is_announced:
                self._is_announced = True
                warn(
                    f"{self._name} runs in Python in each call, operation by operation, which is "
                    f"slower than a program: {arguments.reason}"
                )
        return result

    def _keep(self, key: Any, program: StepProgram | None) -> None:
        """Keep a program for arguments of this form; None if Python runs them."""
        with self._lock:
            self._programs.pop(key, None)
            while len(self._programs) >= PROGRAMS:
                del self._programs[next(iter(self._programs))]
            self._programs[key] = program

    def program_for(self, *args: Any, **kwargs: Any) -> StepProgram | None:
        """Return the program for such arguments; None if Python runs it, or has to run it first."""
        return self._program(Arguments(args, kwargs, self._integers))

    def forget_rows(self) -> None:
        """Free what its programs hold for the rows of arrays."""
        with self._lock:
            for program in self._programs.values():
                if program is not None:
                    program.forget_rows()

    @property
    def compiled(self) -> bool:
        """Whether all its calls but the first have been programs."""
        return bool(self._programs) and None not in self._programs.values()

    def _program(self, arguments: Arguments) -> StepProgram | None:
        """Return the program for arguments of this form; None if Python has to run it, as it has
        the first time: that builds layers and creates variables.

        No lock is held while the function itself is called: it may wait for another thread.
        """
        if self._in_python or not self._called:
            return None
        key = arguments.key
        with self._lock:
            is_known, known = key in self._programs, self._programs.get(key)
        if is_known and known is None:
            return None
        if known is not None:
            if known.is_current():
                self._changes = 0
                return known
            self._changes += 1
            if self._changes > MOST_CHANGES:
                arguments.reason = "what it uses changes from call to call."
                return None
        made = self._made(arguments)
        if made is not None:
            self._keep(key, made)
        return made

    def _made(self, arguments: Arguments) -> StepProgram | None:
        given = self._function, arguments, self._parts
        try:
            try:
                return StepProgram(*given, stops=get_backend().stops)
            except GoesOnError:  # its weights are on a GPU, where the default backend is not
                return StepProgram(*given, stops=False)
        except Exception as error:
            if _is_raised_by_users(error):
                raise
            arguments.reason = str(error)  # Python refuses it too, if the function is wrong
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


def _is_raised_by_users(error: BaseException | None) -> bool:
    """Whether a ``raise`` in a user's code is all that has led to an error, as in Python."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is None or not is_users(trace.tb_frame.f_globals.get("__name__")):
            return False
        if dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] != "RAISE_VARARGS":
            return False
        error = error.__cause__ or error.__context__
    return True


def in_python(function: Callable[..., Any], arguments: Arguments) -> Result:
    """Call a function in Python; arrays that it returns become tensors, as those of a program."""
    given = [constant(x, x.dtype.name) for x in arguments.arrays]
    args, kwargs = arguments.with_tensors(given)

    return Result(replaced(as_result, function(*args, **kwargs)))


__all__ = ["Function", "function"]

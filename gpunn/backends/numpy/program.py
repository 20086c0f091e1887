"""The NumPy backend's `Program`: a step as a list of array calls, found out once.

A small step spends more time in Python than in arithmetic: on the way from the plan to
the layer to the operation to the formula, which comes to the same calls on the same
arrays each time. The step is traced, called once while they are listed, and they are repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gpunn.backends.contract.backend import NotTraceableError
from gpunn.backends.contract.profiling import current_profile
from gpunn.backends.shared.interrupts import perform
from gpunn.backends.shared.threads import Session

if TYPE_CHECKING:
    from gpunn.backends.contract.backend import Step

    from .backend import NumpyBackend

ArrayCall = Callable[[], Any]
Function = TypeVar("Function", bound=Callable[..., Any])

# The same calls without the checks that NumPy makes in Python before them, and without
# keywords: each of these costs as much as the work on ten numbers.
_DIRECT: dict[Any, Callable[..., ArrayCall]] = {
    np.argmax: lambda x, axis, out: partial(x.argmax, axis, out),
    np.copyto: lambda target, source, casting="", where=...: partial(
        target.__setitem__, where, source
    ),
    np.dot: lambda a, b, out: partial(a.dot, b, out),
    np.max: lambda x, axis, out, keepdims=False: partial(
        np.maximum.reduce, x, axis, None, out, keepdims
    ),
    np.put: lambda x, places, values: partial(x.put, places, values),
    np.sum: lambda x, axis, out, keepdims=False: partial(
        np.add.reduce, x, axis, None, out, keepdims
    ),
    # "raise" would buffer the output
    np.take: lambda x, places, axis=None, out=None, mode="clip": partial(
        x.take, places, axis, out, "clip"
    ),
}
_VIEWS = ("moveaxis",)  # nothing is computed: the view is the same each time
_IN_PLACE = ("copyto", "put")

# Operands of one shape save a ufunc 0.5 us, the time of the work on thousands of numbers: of a
# few, a number is made into an array once, and a row or column is spread out before the call.
SMALL = 1024  # elements: of more, reading such an array would cost more
_SLOW_WITH_NUMBERS = (np.maximum, np.minimum)  # not vectorised: a row is 3 times as fast

# OpenBLAS may take several threads for larger products, which then have other bits: these are
# performed in a session, in which it has one.
_SMALL_PRODUCT = 1 << 13  # elements of a factor, and
_SMALL_WORK = 1 << 18  # multiplications
_WITHOUT_BLAS = {np.argmax, np.copyto, np.max, np.put, np.sum, np.take}


def without_blas(function: Function) -> Function:
    """Mark a function that is traced as a whole and asks BLAS for nothing."""
    _WITHOUT_BLAS.add(function)
    return function


def _may_take_threads(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    if isinstance(function, np.ufunc) and function is not np.matmul:
        return False
    if function in (np.dot, np.matmul):
        a, b = args
        work = a.size * (b.shape[-1] if b.ndim > 1 else 1)
        return max(a.size, b.size) > _SMALL_PRODUCT or work > _SMALL_WORK
    function = getattr(function, "__func__", function)
    return not (function in _WITHOUT_BLAS or hasattr(function, "bind"))


class Trace:
    """Stands where ``xp`` is while a step is traced: array functions are listed, not done.

    Attributes:
        calls: the list.
        threads: whether BLAS may take several threads for one of them.
    """

    def __init__(self) -> None:
        self.calls: list[ArrayCall] = []
        self.threads = False
        self._once: set[Any] = set()

    def list_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """List one call; what it would be given is there already, or made by those before."""
        out: Any = kwargs.get("out")
        self.threads = self.threads or _may_take_threads(function, args)
        if isinstance(function, np.ufunc):
            dtype = kwargs.get("dtype", getattr(args[0], "dtype", None))
            if out.size <= SMALL:
                args = tuple(self._spread(_as_array(a, out.shape, dtype), out) for a in args)
            elif function in _SLOW_WITH_NUMBERS:
                args = tuple(_as_array(a, out.shape[-1:], dtype) for a in args)
            if kwargs.keys() == {"out"} and function not in _SLOW_WITH_NUMBERS:
                args, kwargs = (*args, out), {}  # NumPy wants a keyword for those two
        # A compiled operation keeps its arguments itself.
        bind = getattr(function, "bind", partial(partial, function))
        direct = _DIRECT.get(function, bind)
        self.calls.append(direct(*args, **kwargs))
        return out

    def _spread(self, arg: Any, out: Any) -> Any:
        """An array that is spread out over ``out``, as one of its shape."""
        if not isinstance(arg, np.ndarray) or arg.shape == out.shape:
            return arg
        whole = np.empty(out.shape, arg.dtype)
        self.calls.append(partial(whole.__setitem__, ..., arg))
        return whole

    def list_once(self, function: Callable[..., Any], *args: Any) -> None:
        """`list_call`, unless it stands there already: what it gives does not change in a step."""
        key = function.__name__, *map(id, args)
        if key not in self._once:
            self._once.add(key)
            self.list_call(function, *args)

    def __getattr__(self, name: str) -> Any:
        member = getattr(np, name)
        if name in _VIEWS or not callable(member) or isinstance(member, type):
            return member

        def listed(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("out") is None and name not in _IN_PLACE:
                raise NotTraceableError(f"xp.{name} without out= makes a new array")
            return self.list_call(member, *args, **kwargs)

        return listed


def _as_array(arg: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A number as an array of constants, if floating-point numbers are asked for."""
    if isinstance(arg, (int, float)) and dtype is not None and np.dtype(dtype).kind == "f":
        return np.full(shape, arg, dtype)
    return arg


# A loss that is no longer finite is reported as such, by the step that it came from.
quiet: Callable[[Function], Function] = np.errstate(all="ignore")
"""Make a function that computes with NumPy give no warnings of arithmetic."""


class NumpyProgram:
    """Performs a step again and again.

    Args:
        backend: whose operations the step asks for; nobody else's.
        step: what is to be repeated.
        traceable: whether it may be traced; if not, or if it turns out that it cannot be,
            it is called each time.
    """

    def __init__(self, backend: NumpyBackend, step: Step, traceable: bool) -> None:
        self._backend = backend
        self._step = step
        self._traceable = traceable
        self._begun = False
        self._repeat: Callable[[int], None] | None = None
        self._threads = True  # whether BLAS may take several: of a step as it stands, perhaps

    def run(self, steps: int) -> None:
        if current_profile(self._backend) is not None:  # it lists operations, not array calls
            self._perform(self._as_it_stands, steps)
            return
        if not self._begun and steps > 0:
            self._perform(self._as_it_stands, 1)  # makes work arrays and fills in constants
            self._begun = True
            steps -= 1
        if steps > 0:
            if self._repeat is None:
                self._repeat = self._find_out()
            self._perform(self._repeat, steps, self._threads)

    def _as_it_stands(self, steps: int) -> None:
        repeated([self._step], self._traceable)(steps)

    @staticmethod
    def _perform(run: Callable[[int], None], steps: int, threads: bool = True) -> None:
        if threads and not Session.of_this_thread():  # a helper is in that of whom it helps
            with Session():
                run(steps)
        else:
            run(steps)

    def _find_out(self) -> Callable[[int], None]:
        """What performs so many steps."""
        if self._traceable:
            try:
                trace = self._backend.trace(self._step)
            except NotTraceableError:
                self._traceable = False
            else:
                self._threads = trace.threads
                return self._backend.repeated(trace.calls)
        return repeated([self._step], False)


def repeated(calls: list[ArrayCall], ours: bool = True) -> Callable[[int], None]:
    """What performs the calls of a step so many times.

    Args:
        calls: the calls.
        ours: whether all of it is the framework's. Then an interrupt waits for the end of a
            step; what a user has written may be long, or hang.
    """

    def run(steps: int) -> None:
        for _ in range(steps):
            for call in calls:
                call()

    return partial(perform, calls) if ours else run

"""The NumPy backend's `Program`: a step as a list of array calls, found out once.

A small step spends more time in Python than in arithmetic: on the way from the plan to
the layer to the operation to the formula, which comes to the same calls on the same
arrays each time. The step is called once while they are noted, and these are repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .recorder import NotListableError

if TYPE_CHECKING:
    from .base import Step
    from .numpy_backend import NumpyBackend

ArrayCall = Callable[[], Any]

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


class Notes:
    """Stands where ``xp`` is while a step is listed: array functions are noted, not done."""

    def __init__(self) -> None:
        self.calls: list[ArrayCall] = []
        self._once: set[Any] = set()

    def note(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out: Any = kwargs.get("out")
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

    def note_once(self, function: Callable[..., Any], *args: Any) -> None:
        """`note`, unless it stands there already: what it gives does not change in a step."""
        key = function.__name__, *map(id, args)
        if key not in self._once:
            self._once.add(key)
            self.note(function, *args)

    def __getattr__(self, name: str) -> Any:
        member = getattr(np, name)
        if name in _VIEWS or not callable(member) or isinstance(member, type):
            return member

        def noted(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("out") is None and name not in _IN_PLACE:
                raise NotListableError(f"xp.{name} without out= makes a new array")
            return self.note(member, *args, **kwargs)

        return noted


def _as_array(arg: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A number as an array of constants, if floating-point numbers are asked for."""
    if isinstance(arg, (int, float)) and dtype is not None and np.dtype(dtype).kind == "f":
        return np.full(shape, arg, dtype)
    return arg


class ArrayCalls:
    """Performs a step again and again.

    Args:
        backend: whose operations the step asks for.
        step: what is to be repeated.
        listable: whether it may be listed; if not, or if it turns out that it cannot be,
            it is called each time.
    """

    def __init__(self, backend: NumpyBackend, step: Step, listable: bool) -> None:
        self._backend = backend
        self._step = step
        self._calls: list[ArrayCall] | None = None if listable else [step]
        self._repeat: Callable[[int], None] | None = None
        self._begun = False

    def run(self, steps: int) -> None:
        if self._backend.recorded:  # the recorder sees operations, not array calls
            for _ in range(steps):
                self._step()
            return
        if not self._begun and steps > 0:
            self._begun = True
            self._step()  # makes work arrays and fills in constants
            steps -= 1
        if steps > 0:
            if self._repeat is None:
                self._calls = self._calls or self._list()
                self._repeat = self._backend.repeated(self._calls)
            self._repeat(steps)

    def _list(self) -> list[ArrayCall]:
        try:
            with self._backend.noting() as calls:
                self._step()
        except NotListableError:
            return [self._step]
        return calls

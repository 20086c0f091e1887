"""What a recording of a function is told: the calls of the framework, and the values Python asks
for.

A call of a compiled function that has no program yet runs in Python. A `Recorder` records the calls
of the framework that it makes, and a `Replay` repeats them in a trace. See
`gpunn.ops.running.recorder`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Watcher(Protocol):
    """Is told what a function does, in its thread.

    Attributes:
        records: whether it is told of calls.
    """

    records: bool

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        """Return ``function(*args, **kwargs)``, a call of the framework.

        Args:
            always: whether it may differ from run to run whatever its arguments are, since it
                reads or changes a state.
        """

    def asked(self, x: Any, what: str) -> None:
        """Python asks for ``what``: values of a tensor, parameter or variable ``x``."""

    def substitute(self, x: Any) -> Any:
        """Return the substitute for a tensor in this run, or the tensor itself."""

    def number(self, x: Any, dtype: str) -> Any:
        """Return what stands for a number of `gpunn.ops.running.placed` here, as an operand of this
        dtype."""

    def introduce(self, x: Any, make: Callable[[], Any]) -> None:
        """Note an object that the function has made; ``make()`` makes one like it."""

    def refuse(self, why: str) -> None:
        """Python does something that no program does."""


class Placed:
    """Base of numbers that know which arguments of a function they come from.

    Attributes:
        formula: how to compute it from these; None for the result of a call.
        places: the places of those it depends on.
        owner: the watcher of the call that it belongs to.
    """

    formula: Any
    places: frozenset[int]
    owner: Any


class _Active(threading.local):
    watcher: Watcher | None = None


active = _Active()
"""The watcher of each thread; None outside such functions, and within a recorded call."""


def recorded(function: Function, always: bool = True) -> Function:
    """Return a function of the framework that records its calls; arguments as in `Watcher.call`."""

    @wraps(function)
    def performed(*args: Any, **kwargs: Any) -> Any:
        watcher = active.watcher
        if watcher is None or not watcher.records:
            return function(*args, **kwargs)
        return watcher.call(function, args, kwargs, always)

    return performed  # type: ignore[return-value]


def refuse(why: str) -> None:
    """Say that no program does what Python does now, if this is recorded."""
    if active.watcher is not None:
        active.watcher.refuse(why)

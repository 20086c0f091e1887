"""Replays: the calls of a recording, repeated in a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np

from gpunn.common.nested import any_in, replaced
from gpunn.core.recording import Placed, active
from gpunn.ops.dtypes import from_host
from gpunn.ops.tensor import NeedsValuesError, Tensor

from .effects import Unsupported
from .placed import Formula, evaluated, plain
from .recorder import Array, Closure, Made, Recorder


class Replay:
    """Repeats a recording in the active trace; a `Watcher`.

    What functions of the recording, such as the branches of `ops.cond`, hold of its tensors is
    replaced by tensors of the trace.

    Args:
        leaf: returns a leaf of the trace, from a shape and a dtype.
        fixed: the numbers among the arguments that are constants here, by their places.

    Attributes:
        inputs: leaves for other numbers: how each is computed, and its dtype.
    """

    records = False

    def __init__(
        self, recording: Recorder, leaf: Callable[..., Tensor], fixed: Mapping[int, Any]
    ) -> None:
        self._recording, self._leaf, self._fixed = recording, leaf, fixed
        self.inputs: dict[tuple[Formula, str], Tensor] = {}
        self._made: list[Any] = []
        self._objects, self._alive = recording.objects()
        self._substitutes: dict[int, Any] = {}  # by the `id` of objects of the recording

    def run(self, leaves: Sequence[Tensor]) -> Any:
        """Repeat the calls, with these leaves for the arguments; return the function's result."""
        before, active.watcher = active.watcher, self
        try:
            for leaf in leaves:
                self._put(len(self._made), leaf)
            for entry in self._recording.entries:
                function, args, kwargs = map(self._unpacked, entry[:3])
                result = function(*args, **kwargs)
                found = list[Any]()
                any_in(lambda x, found=found: found.append(x), result)  # type: ignore[misc]
                found = [x for x in found if isinstance(x, (Tensor, Placed))] or [result]
                if entry.results and len(found) != len(entry.results):
                    raise Unsupported("an operation returns another structure in a program.")
                for number, x in zip(entry.results, found, strict=False):
                    self._put(number, x)
            return self._unpacked(self._recording.result)
        finally:
            active.watcher = before

    def _put(self, number: int, value: Any) -> None:
        assert number == len(self._made)
        self._made.append(value)
        if number in self._objects:
            self._substitutes[self._objects[number]] = value

    def _unpacked(self, x: Any) -> Any:
        if isinstance(x, Made):
            return self._made[x.number]
        if isinstance(x, Array):
            return x.values
        if isinstance(x, Closure):
            return self._function(x)
        if isinstance(x, Placed):
            return self._number(x)
        if type(x) in (list, tuple):
            return type(x)([self._unpacked(one) for one in x])
        if type(x) is dict:
            return {name: self._unpacked(one) for name, one in x.items()}
        if isinstance(x, (list, tuple, slice)):
            return replaced(self._unpacked, x, lambda one: isinstance(one, (Made, Array, Closure)))
        return x

    def _function(self, x: Closure) -> Any:
        """Return a function that holds what the recorded one held when it was handed over: Python
        may have assigned to its variables since."""
        if isinstance(x.function, partial):
            args, kwargs = self._unpacked(x.captured[1])
            return partial(self._unpacked(x.captured[0]), *args, **kwargs)
        if isinstance(x.function, MethodType):
            return MethodType(self._unpacked(x.captured[0]), x.captured[1])
        cells, defaults, named = self._unpacked(x.captured[1])
        of: FunctionType = x.function
        made = FunctionType(
            of.__code__, of.__globals__, of.__name__, defaults, tuple(map(CellType, cells))
        )
        made.__kwdefaults__ = named
        vars(made).update(vars(of))
        made.__qualname__, made.__module__ = of.__qualname__, of.__module__
        return made

    def _number(self, x: Any) -> Any:
        """Return a number that is an input as it is; one that is a constant as one of Python."""
        if x.formula is not None and x.places <= self._fixed.keys():
            return plain(x)
        return x

    # -- as a watcher

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        return function(*args, **kwargs)

    def asked(self, x: Any, what: str) -> None:
        is_input = (
            isinstance(x, Placed) and x.owner is self._recording and self._number(x) is x
        )
        if is_input or id(x) in self._substitutes:
            raise NeedsValuesError(f"Python asks for {what}, of which each call has its own.")

    def substitute(self, x: Any) -> Any:
        return self._substitutes.get(id(x), x)

    def number(self, x: Any, dtype: str) -> Any:
        """Return the leaf of this dtype for a number among the arguments, or its value."""
        x = self._number(x)
        if not isinstance(x, Placed) or x.formula is None:
            return x
        key = x.formula, dtype
        if key not in self.inputs:
            self.inputs[key] = self._leaf((), dtype)
        return self.inputs[key]

    def introduce(self, x: Any, make: Callable[[], Any]) -> None:
        pass

    def refuse(self, why: str) -> None:
        raise Unsupported(why)


def values_of(inputs: Sequence[tuple[Formula, str]], numbers: Sequence[Any]) -> list[np.ndarray]:
    """Return the values of leaves for numbers in a call with these numbers.

    Raises:
        OverflowError: if a dtype cannot hold one.
    """
    return [from_host(np.asarray(evaluated(f, numbers)), dtype) for f, dtype in inputs]

"""A trace: a function of a user's, called once with tensors that stand for those of each step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gpunn.core.arena import Parameter

from .tensor import Tensor, leaf


class Trace:
    """What a function computes, found out by calling it.

    Args:
        training: whether it is called for a training step.
        batch: how many samples the step has.

    Attributes:
        parameters: the leaves that stand for the parameters it reads.
        variables: those that it reads or assigns to, the leaves that stand for what they hold
            before, and what they hold behind it.
        losses: scalars that are added to the model's loss.
        draws: how many random streams were given out.
        applied: what the layers applied in it give, in order.
        calls: their backward passes, in the order in which these were asked for.
    """

    def __init__(self, training: bool = False, batch: int = 0) -> None:
        self.training, self.batch = training, batch
        self.parameters: dict[int, tuple[Parameter, Tensor]] = {}
        self.variables: dict[int, tuple[Any, Tensor, Tensor]] = {}
        self.losses: list[Tensor] = []
        self.draws = 0
        self.applied: list[Tensor] = []
        self.calls: list[Tensor] = []
        self._first: dict[tuple[Any, ...], Tensor] = {}

    def read(self, p: Parameter) -> Tensor:
        """The leaf for a parameter: the same one each time."""
        if id(p) not in self.parameters:
            self.parameters[id(p)] = p, Tensor(p.shape, p.dtype or "float32", parameter=p)
        return self.parameters[id(p)][1]

    def variable(self, variable: Any, value: Tensor) -> Tensor:
        """What a variable holds at this point of a step."""
        return self._held(variable, value)[2]

    def assign(self, variable: Any, before: Tensor, value: Tensor) -> None:
        """From here on, a variable holds ``value``."""
        first = self._held(variable, before)[1]
        self.variables[id(variable)] = variable, first, value

    def _held(self, variable: Any, value: Tensor) -> tuple[Any, Tensor, Tensor]:
        if id(variable) not in self.variables:
            first = leaf(value.shape, value.dtype)
            self.variables[id(variable)] = variable, first, first
        return self.variables[id(variable)]

    def first_of(self, t: Tensor) -> Tensor:
        """The first tensor that is made of the same by the same operation: ``t``, if it is new."""
        made_of = [
            id(x) if x.value is None or x.size > 1 else (x.dtype, x.shape, x.value.tobytes())
            for x in t.inputs
        ]
        attributes = [(name, value, type(value)) for name, value in t.attributes.items()]
        key = t.primitive, *made_of, *attributes
        try:
            return self._first.setdefault(key, t)
        except TypeError:  # an attribute that cannot be looked up
            return t

    def next_draw(self) -> int:
        """A number for a stream of random numbers, from 1 on, in the order of the calls."""
        self.draws += 1
        return self.draws

    @contextmanager
    def active(self) -> Iterator[None]:
        """A block whose operations belong to this trace."""
        _active.traces.append(self)
        try:
            yield
        finally:
            _active.traces.pop()


class _Active(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace] = []


_active = _Active()


def current() -> Trace | None:
    """The trace that this thread is in, if it is in one."""
    return _active.traces[-1] if _active.traces else None


def trace_of(
    function: Callable[..., Any],
    shapes: Sequence[tuple[tuple[int, ...], str]],
    training: bool = False,
    batch: int = 0,
) -> tuple[Trace, list[Tensor], Any]:
    """Call ``function`` with leaves of these shapes and dtypes.

    Returns:
        the trace, the leaves, and what the function gave.
    """
    trace, leaves = Trace(training, batch), [leaf(*given) for given in shapes]
    with trace.active():
        return trace, leaves, function(*leaves)

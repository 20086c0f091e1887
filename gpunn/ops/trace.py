"""A trace: a function of a user's, called once with tensors that stand for those of each step."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.common.config import runs_eagerly
from gpunn.core.arena import Parameter

from .tensor import Tensor, leaf

_numbers = itertools.count(1)


@dataclass(eq=False)
class TracedVariable:
    """A parameter or a variable in a trace.

    Attributes:
        source: the parameter or variable.
        first: the leaf that stands for what it holds when the step begins.
        now: what it holds behind all that was assigned to it so far.
    """

    source: Any
    first: Tensor
    now: Tensor

    @property
    def is_assigned(self) -> bool:
        return self.now is not self.first


class Trace:
    """What a function computes, found out by calling it.

    Args:
        training: whether it is called for a training step.
        batch: how many samples the step has.

    Attributes:
        arrays: of the leaves that have one by now, by the ``id`` of their tensors.
        held: the parameters and variables that it reads or assigns to, by their ``id``.
        assigns: whether parameters may be assigned to.
        losses: scalars that are added to the model's loss.
        draws: how many random streams were given out.
        applied: what the layers applied in it give, in order.
        calls: their backward passes, in the order in which these were asked for.
        trains: whether these write the gradients of the layers' parameters.
        number: tells it from others; its tensors have it too.
    """

    def __init__(self, training: bool = False, batch: int = 0) -> None:
        self.training, self.batch = training, batch
        self.arrays: dict[int, Array] = {}
        self.held: dict[int, TracedVariable] = {}
        self.assigns = True
        self.losses: list[Tensor] = []
        self.draws = 0
        self.applied: list[Tensor] = []
        self.calls: list[Tensor] = []
        self.trains = True
        self.number = next(_numbers)
        self._first: dict[tuple[Any, ...], Tensor] = {}

    def leaf(self, shape: Sequence[int], dtype: str) -> Tensor:
        """A leaf: what it stands for is said later, or never."""
        t = leaf(shape, dtype)
        self.take(t)
        return t

    def placeholder(self, array: Array) -> Tensor:
        """A leaf for what an array holds in each step."""
        t = self.leaf(array.shape, array.dtype.name)
        self.arrays[id(t)] = array
        return t

    def read(self, source: Any) -> Tensor:
        """What a parameter or variable holds at this point of a step."""
        return self._held(source).now

    def assign(self, source: Any, value: Tensor) -> None:
        """From here on, a parameter or variable holds ``value``.

        Raises:
            TypeError: where a model only predicts.
        """
        if isinstance(source, Parameter) and not self.assigns:
            raise TypeError(
                f"{source.path} is assigned to by a call of predict or evaluate, which change "
                f"nothing. Write `if training:` in front of it; call(x, training=None) is told."
            )
        self._held(source).now = value

    def _held(self, source: Any) -> TracedVariable:
        if id(source) not in self.held:
            first = self.first_of(source)
            self.held[id(source)] = TracedVariable(source, first, first)
        return self.held[id(source)]

    def first_of(self, source: Any) -> Tensor:
        """The leaf for what a parameter or variable holds when a step begins."""
        return self.leaf(source.shape, source.dtype or "float32")

    @property
    def parameters(self) -> list[Parameter]:
        """Those that it reads or assigns to."""
        return [h.source for h in self.held.values() if isinstance(h.source, Parameter)]

    @property
    def assigned(self) -> list[TracedVariable]:
        """The parameters and variables that hold something else behind a step."""
        return [held for held in self.held.values() if held.is_assigned]

    def made(self, t: Tensor) -> Tensor:
        """What stands for the result of an operation: of two that are the same, the first."""
        self.take(t)
        operands = [
            (x.dtype, x.shape, x.value.tobytes()) if x.value is not None and x.size <= 1 else id(x)
            for x in t.inputs
        ]
        try:
            attributes = [(name, _known_by(value)) for name, value in t.attributes.items()]
            return self._first.setdefault((t.primitive, *operands, *attributes), t)
        except TypeError:  # an attribute that cannot be looked up
            return t

    def take(self, t: Tensor) -> None:
        """Let a tensor be one of this trace.

        Raises:
            ValueError: if it is made of one of another trace.
        """
        t.trace = self.number
        for x in t.inputs:
            if x.trace is not None and x.trace != self.number:
                raise ValueError(
                    f"A tensor of shape {x.shape} is of another call than the one it is used in: "
                    f"it cannot be kept from call to call, nor be handed to another thread. "
                    f"Compute it again, or keep it in a variable."
                )

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


def _known_by(value: Any) -> Any:
    """What an attribute of an operation is known by: of objects their identity, and numbers are
    told apart that are equal, as 1 and True, 0 and -0."""
    if isinstance(value, (tuple, frozenset)):
        return type(value), *map(_known_by, value)
    if isinstance(value, float):
        return type(value), value.hex()
    if isinstance(value, (int, str, bytes, type(None), type(...))):
        return type(value), value
    if isinstance(value, (slice, list, dict, set, np.ndarray)):
        raise TypeError(f"{value!r} may change.")
    return id(value)


def current() -> Trace | None:
    """The trace that this thread is in, if it is in one."""
    return _active.traces[-1] if _active.traces else None


class ShapeTrace(Trace):
    """A trace that only finds out shapes; where steps are eager, all numbers are 0 there."""

    def leaf(self, shape: Sequence[int], dtype: str) -> Tensor:
        return self._with_zeros(super().leaf(shape, dtype))

    def made(self, t: Tensor) -> Tensor:
        return self._with_zeros(super().made(t))

    def _with_zeros(self, t: Tensor) -> Tensor:
        if runs_eagerly():
            t.value = np.broadcast_to(np.zeros((), t.dtype), t.shape)
        return t


def trace_of(
    function: Callable[..., Any],
    shapes: Iterable[tuple[Sequence[int], str]],
    training: bool = False,
    batch: int = 0,
) -> tuple[Trace, Any]:
    """Call ``function`` with leaves of these shapes and dtypes, to see what becomes of them.

    Returns:
        the trace, and what the function gave.
    """
    trace = ShapeTrace(training, batch)
    with trace.active():
        return trace, function(*(trace.leaf(*given) for given in shapes))

"""Traces: a custom function is called once, with placeholders for the tensors of each step."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.control import Control
from gpunn.common.numeric.dtypes import name_of
from gpunn.core.arena import Parameter
from gpunn.core.draws import Draws
from gpunn.distribution.communicator import Share

from .dtypes import is_float
from .tensor import NeedsValuesError, Tensor, leaf

_numbers = itertools.count(1)


@dataclass(eq=False)
class TracedVariable:
    """A parameter or a variable in a trace."""

    source: Any  # the parameter or variable
    first: Tensor  # the leaf for its value when the step begins
    now: Tensor  # its value after all assignments so far

    @property
    def is_assigned(self) -> bool:
        return self.now is not self.first


class Unsupported(Exception):
    """A step cannot be one program; it runs operation by operation."""


class Effect:
    """What a traced step does besides computing tensors, at one point of the program: an optimizer
    updates weights, a metric counts.

    It reads ``inputs``, ``changes`` parameters and variables, and uses the settings of ``parts``.
    """

    position = 0  # that of the first tensor after it
    optimizer: Any = None
    """The optimizer of which it is a step."""
    counts = True
    """Whether it counts the steps of its optimizer; if not, the program around it does."""

    def __init__(
        self, inputs: Sequence[Tensor], changes: Sequence[Any] = (), parts: Sequence[Any] = ()
    ) -> None:
        self.inputs, self.changes, self.parts = list(inputs), list(changes), list(parts)

    def prepare(self, backend: Any) -> None:
        """Make what it needs on a backend, before that is this thread's turn."""

    def begin(self, backend: Any) -> list[tuple[Tensor, Array, bool]]:
        """Return its inputs, each with the array that it is written to, and whether it is added;
        None for one that is only computed.

        Raises:
            Unsupported: if it cannot be part of a program on this backend.
        """
        return [(t, None, False) for t in self.inputs]

    def bind(self, backend: Any, arrays: Callable[[Tensor], Any]) -> Callable[[], None]:
        """Return the work to do when the inputs are computed, if any; ``arrays`` gives their
        arrays."""
        return lambda: None

    def shares_part(self, other: Effect) -> bool:
        """Whether both use the settings, or the state, of a part."""
        return any(a is b for a in self.parts for b in other.parts)

    def is_current(self) -> bool:
        """Whether it still does what it was bound for."""
        return True

    by_host = False
    """Whether the host has something to do before each step."""

    def before_each(self) -> None:
        """Do it."""


class LateResult(Effect):
    """The result of a part's state, which is known after the step. As an effect, it keeps the
    state that there is at its place; as long as it is none, its value is that at the step's end."""

    def value(self) -> Any:
        """Return it, after the step."""
        raise NotImplementedError


class Trace:
    """The computation of a function, recorded by calling it.

    Args:
        training: whether it is called for a training step.
        batch: the number of samples in the step.

    Attributes:
        arrays: the arrays of leaves that have one, by the ``id`` of their tensors.
        held: the parameters and variables that it reads or assigns to, by their ``id``.
        assigns: whether parameters may be assigned to.
        losses: scalars that are added to the model's loss.
        share: the rank's share of the samples; None if there is only one process.
        controls: the blocks that it reads numbers of.
        lengths: of the axes passed to `entries`, in order.
        entries_of: the entries that each sample has along these axes; with a share only.
        draws: the number of random streams handed out.
        of_call: what numbers them, if they are among the draws of a call that Python runs.
        applied: the outputs of the layers applied in it, in order.
        calls: their backward passes, in the order in which they were requested.
        trains: whether these write the gradients of the layers' parameters.
        changes_nothing: whether assignments are those of a call that changes nothing.
        by_hand: whether a tape records it, and no step adds up its losses.
        stops: whether it is known that a step ends where a check finds an error; on a GPU it goes
            on until the host waits for it.
        knows: whether operations are computed at once, so that Python may read values.
        has_effects: whether it is a whole step, to which optimizers and metrics belong.
        counts: whether metrics that are updated in it count; None where they cannot be updated.
        effects: the updates of these metrics, in order.
        number: identifies the trace; its tensors have it too.
        shared: the results of several identical operations, by their ``id``.
        sources: tensors that stand for parameters and variables as the arguments of a function, and
            these, by the ``id`` of the tensors.
    """

    _positions = itertools.count(1)  # of all traces: what an earlier tape has computed comes before

    def __init__(self, training: bool = False, batch: int = 0) -> None:
        self.training, self.batch = training, batch
        self.arrays: dict[int, Array] = {}
        self.held: dict[int, TracedVariable] = {}
        self.assigns = True
        self.losses: list[Tensor] = []
        self.share: Share | None = None
        self.controls: list[Control] = []
        self.lengths: list[int] = []
        self.entries_of: Sequence[int] = ()
        self.draws = 0
        self.of_call: Draws | None = None
        self.applied: list[Tensor] = []
        self.calls: list[Tensor] = []
        self.trains = True
        self.by_hand = self.changes_nothing = self.has_effects = False
        self.stops = self.knows = False
        self.counts: bool | None = None
        self.effects: list[Effect] = []
        self.number = next(_numbers)
        self.sources: dict[int, tuple[Tensor, Any]] = {}
        self.shared: dict[int, Tensor] = {}
        self._first: dict[tuple[Any, ...], Tensor] = {}
        self._reads: dict[int, list[Tensor]] = {}

    def leaf(self, shape: Sequence[int], dtype: str) -> Tensor:
        """Create a leaf, whose array may be set later."""
        t = leaf(shape, dtype)
        self.take(t)
        return t

    def placeholder(self, array: Array) -> Tensor:
        """Create a leaf for the contents of an array in each step."""
        t = self.leaf(array.shape, name_of(array.dtype))
        self.arrays[id(t)] = array
        return t

    def read(self, source: Any) -> Tensor:
        """Return the value of a parameter or variable at this point of a step."""
        return self._held(source).now

    def values_of(self, source: Any) -> np.ndarray | None:
        """Return the values of a parameter or variable for Python; None for those stored now.

        Raises:
            NeedsValuesError: if they are those of each step.
        """
        name = getattr(source, "path", None) or source.name
        self.refuse_values(f"the values of {name}")
        return None

    def number_of(self, part: Any, control: Control, place: int, is_rate: bool) -> Tensor | None:
        """Return a number of a control block, which is that of ``part``, as a tensor of each step;
        None where each step is called in Python: then it is the number now.

        Args:
            place: in its rates, with ``is_rate``; else in its counters.
        """
        if self.knows:
            return None
        if not is_rate:
            self.refuse_values(f"the count of steps of {part.name}")
        self.controls.append(control)
        return self.placeholder(control.rates[place : place + 1])

    def refuse_values(self, what: str) -> None:
        """Raise an error, unless each step is called in Python.

        Raises:
            NeedsValuesError: since Python asks for something that each step has its own of.
        """
        if self.knows:
            return
        raise NeedsValuesError(
            f"Python asks for {what} in a step, of which each has its own. Compute with tensors "
            f"and gpunn.ops. To look at values while debugging, call "
            f"gpunn.config.run_eagerly(True) first."
        )

    def assign(self, source: Any, value: Tensor) -> None:
        """Assign ``value`` to a parameter or variable, from here on.

        In predict and evaluate it stays assigned until the end of the call, and a parameter that
        would change again by the next call is refused.
        """
        if isinstance(source, Parameter) and not self.assigns and not self._settles(source, value):
            raise TypeError(
                f"{source.path} is assigned to in predict or evaluate, which change nothing. "
                f"Write `if training:` before it; call(x, training=None) is passed this flag."
            )
        self._held(source).now = value

    def _settles(self, source: Any, value: Tensor) -> bool:
        """Whether to assign ``value`` a second time would change nothing: a weight that is masked,
        or bounded by numbers, as only its own value and constants determine it."""
        now, how = self._held(source).now, getattr(value.primitive, "lowering", None)
        others = [t for t in value.inputs if t is not now]
        if value is now or not all(t.is_constant for t in others):
            return value is now
        masks = how == "multiply" and all(np.isin(t.numpy(), (0, 1)).all() for t in others)
        return value.is_constant or (masks and len(others) == 1) or how in ("minimum", "maximum")

    def training_nothing(self) -> AbstractContextManager[None]:
        """Return a context in which `trains` is False: the step's own backward pass trains."""
        return self._having("trains", False)

    @contextmanager
    def _having(self, name: str, value: bool) -> Iterator[None]:
        before = getattr(self, name)
        setattr(self, name, value)
        try:
            yield
        finally:
            setattr(self, name, before)

    @contextmanager
    def reading(self, values: Iterable[tuple[Any, Tensor]], keeps: bool = True) -> Iterator[None]:
        """Return a context in which parameters and variables have given values; with ``keeps``,
        what is assigned to them in the context remains."""
        kept, before = [], self.changes_nothing
        self.changes_nothing = before or not keeps
        try:
            for source, value in values:
                held = self._held(source)
                kept.append((held, held.now, value))
                held.now = value
            yield
        finally:
            self.changes_nothing = before
            for held, earlier, value in reversed(kept):
                if held.now is value or not keeps:
                    held.now = earlier

    def _held(self, source: Any) -> TracedVariable:
        if id(source) not in self.held:
            first = self.first_of(source)
            self.held[id(source)] = TracedVariable(source, first, first)
        return self.held[id(source)]

    def first_of(self, source: Any) -> Tensor:
        """Return a leaf for the value of a parameter or variable: when a step begins, and in a
        trace whose assignments take effect at once, after each."""
        found = self.leaf(source.shape, source.dtype or "float32")
        self._reads.setdefault(id(source), []).append(found)
        return found

    def reads_of(self, source: Any) -> list[Tensor]:
        """Return the leaves for the value of a parameter or variable: more than one if a step
        changes it at once."""
        return self._reads.get(id(source), [])

    def watch(self, t: Tensor) -> None:
        """Let a tensor with values be one that gradients can be taken by."""
        if t.is_constant:
            raise TypeError(
                "watch takes tensors that a call is given or computes; this one is constant. "
                "Differentiate a function instead: gpunn.grad(f)(x)."
            )

    def called(self, part: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return ``function(*args)``, a call of a model or loss; ``args`` are tensors, numbers and
        names, in any structure."""
        return function(*args)

    def add_effect(self, effect: Effect) -> None:
        """Add an effect at this point of the step."""
        if self.counts is None:
            raise TypeError("only a whole step has effects; a call computes tensors.")
        self.effects.append(effect)

    @property
    def takes_metrics(self) -> bool:
        """Whether metrics may be updated in it."""
        return self.has_effects or self.counts is not None

    def late_value(self, result: LateResult) -> Tensor:
        """Return a tensor for a number that is known after the step."""
        raise NeedsValuesError(
            "The result of a metric is asked for in a call, where it is not known: it is that of "
            "the steps so far. Read it between steps, in a callback for example."
        )

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters that it reads or assigns to."""
        return [h.source for h in self.held.values() if isinstance(h.source, Parameter)]

    @property
    def assigned(self) -> list[TracedVariable]:
        """The parameters and variables whose value a step changes."""
        return [held for held in self.held.values() if held.is_assigned]

    def made(self, t: Tensor) -> Tensor:
        """Return the tensor of an operation's result; identical operations share one."""
        self.take(t)
        operands = [
            (x.dtype, x.shape, np.asarray(x.value).tobytes()) if x.is_number else id(x)
            for x in t.inputs
        ]
        try:
            told = t.primitive.told
            attributes = [(k, _known_by(v)) for k, v in t.attributes.items() if k not in told]
            found = self._first.setdefault((t.primitive, *operands, *attributes), t)
            if found is not t:
                self.shared[id(found)] = found
            return found
        except TypeError:  # an attribute that cannot be hashed
            return t

    def take(self, t: Tensor) -> None:
        """Add a tensor to this trace; one that is computed from a tensor of another is refused."""
        t.trace, t.position = self.number, next(self._positions)
        for x in t.inputs:
            if x.trace is not None and x.trace != self.number:
                raise ValueError(
                    f"A tensor of shape {x.shape} belongs to another call than the one that uses "
                    f"it. It cannot be kept between calls, nor be passed to another thread. "
                    f"Compute it again, or keep it in a variable."
                )

    def mark(self) -> int:
        """Return a position: tensors that are made from here on have a larger one, and are not
        identical with earlier ones that have a gradient."""
        without = set[int]()  # a gradient
        for t in self._first.values():
            differentiable = (is_float(x.dtype) and not x.is_constant for x in t.inputs
                              if id(x) not in without)
            if not (is_float(t.dtype) and any(differentiable)):
                without.add(id(t))
        self._first = {key: t for key, t in self._first.items() if id(t) in without}
        return next(self._positions)

    def next_draw(self) -> int:
        """Return the number of the next random stream, counted from 1 in the order of calls."""
        self.draws += 1
        return self.draws if self.of_call is None else self.of_call.next()

    def entries(self, shape: Sequence[int]) -> int:
        """Return how many entries along its first axis an array of this shape has for each sample.

        It is 0 if its length does not depend on the number of samples, and if there is no share.
        That a length equals the number of samples proves nothing: so a call is traced for two such
        numbers, see `entries_per_sample`, and asks for the same axes in the same order each time.
        """
        self.lengths.append(shape[0] if shape else 0)
        number = len(self.lengths) - 1
        return self.entries_of[number] if number < len(self.entries_of) else 0

    def share_of(self, shape: Sequence[int]) -> Share | None:
        """Return the rank's share of an array of this shape, which has entries of samples along its
        first axis; None if there is one process, or no such entries."""
        entries = self.entries(shape)
        return None if self.share is None else self.share.of(entries, shape[0])

    @contextmanager
    def active(self) -> Iterator[None]:
        """Return a context whose operations belong to this trace."""
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
    """Return a hashable key for an attribute of an operation: objects by identity; equal numbers
    such as 1 and True, or 0 and -0, are distinguished."""
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
    """Return the active trace of this thread, if any."""
    return _active.traces[-1] if _active.traces else None


def called(part: Any, function: Callable[..., Any], *args: Any) -> Any:
    """Return ``function(*args)``, a call of a model or loss; see `Trace.called`."""
    trace = current()
    return function(*args) if trace is None else trace.called(part, function, args)

"""Traces: a custom function is called once, with placeholders for the tensors of each step."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.control import Control
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.numeric.dtypes import name_of
from gpunn.core.draws import Draws
from gpunn.core.plan import Call
from gpunn.core.storage import Parameter
from gpunn.distribution.communicator import Shard

from .dtypes import is_float
from .tensor import NeedsValuesError, Tensor, leaf

if TYPE_CHECKING:
    from .running.effects import Effect, LateResult

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


class Mode(NamedTuple):
    """What kind of trace it is: chosen once, by the constructor named for what is traced.

    Attributes:
        training: whether it is called for a training step.
        assigns: whether parameters may be assigned to.
        counts: whether metrics that are updated in it count; None where they cannot be updated.
        shard: the rank's shard of the samples; None if there is only one process.
        entries: those that each sample has along the axes passed to `Trace.entries`, in order; with
            a shard only.
        draws: what numbers random streams, if they are among the draws of a call that Python runs.
        is_of_node: whether its first random stream belongs to a node in a plan.
        is_step: whether it is a whole step, to which optimizers and metrics belong.
        user_adds_losses: whether user code adds the losses up; else the step does.
        is_eager: whether operations are computed at once, so that Python may read values.
        stops: whether it is known that a step ends where a check finds an error; on a GPU it goes
            on until the host waits for it.
    """

    training: bool = False
    assigns: bool = True
    counts: bool | None = None
    shard: Shard | None = None
    entries: Sequence[int] = ()
    draws: Draws | None = None
    is_of_node: bool = False
    is_step: bool = False
    user_adds_losses: bool = False
    is_eager: bool = False
    stops: bool = False

    @classmethod
    def function(cls, training: bool = False, draws: Draws | None = None) -> Mode:
        """A function of tensors: a custom loss or activation, or one to differentiate."""
        return cls(training, draws=draws)

    @classmethod
    def formula(cls, call: Call) -> Mode:
        """The formula of a built-in layer, as a node of a plan."""
        return cls(call.training, call.assigns, is_of_node=True)

    @classmethod
    def call(cls, call: Call, entries: Sequence[int], is_formula: bool) -> Mode:
        """The `call` of a user's layer or model, or else the ``is_formula`` of a built-in one, as a
        node of a plan that may be one rank's."""
        given = call.training, call.assigns, call.counts, call.shard, entries
        return cls(*given, is_of_node=is_formula)

    @classmethod
    def step(cls, stops: bool) -> Mode:
        """A whole step: forward, gradients, updates of weights, and metrics."""
        return cls(is_step=True, user_adds_losses=True, stops=stops)

    @classmethod
    def tape(cls) -> Mode:
        """The operations inside a tape."""
        return cls(user_adds_losses=True)

    def eager(self, stops: bool) -> Mode:
        """The same, where each operation is computed when it is called."""
        return self._replace(is_eager=True, stops=stops)

    def shapes(self, is_eager: bool) -> Mode:
        """The same, where nothing is computed, and metrics do not count."""
        return self._replace(counts=False, is_eager=is_eager)


FUNCTION = Mode.function()
"""The mode of a function which computes tensors, and does nothing else."""


class Trace:
    """The computation of a function, recorded by calling it.

    Its `Mode` is chosen once; all else is recorded, and only grows. What holds for a while is a
    context of it, as in ``with trace.without_training()``.

    Attributes:
        mode: what kind of trace it is.
        arrays: the arrays of leaves that have one, by the ``id`` of their tensors.
        variables: the parameters and variables that it reads or assigns to, by their ``id``.
        losses: scalars that are added to the model's loss.
        controls: the blocks that it reads numbers of.
        lengths: of the axes passed to `entries`, in order.
        draws: the number of random streams handed out.
        applied: the outputs of the layers applied in it, in order.
        calls: their backward passes, in the order in which they were requested.
        asked: whether the call around was asked to train; None if it was not.
        trains: whether these write the gradients of the layers' parameters.
        changes_nothing: whether assignments belong to a call that changes nothing.
        effects: the updates of metrics, and in a step of weights, in order.
        number: identifies the trace; its tensors have it too.
        shared: the results of several identical operations, by their ``id``.
        sources: tensors that stand for parameters and variables as the arguments of a function, and
            these, by the ``id`` of the tensors.
    """

    _positions = itertools.count(1)  # of all traces: what an earlier tape has computed comes before

    def __init__(self, mode: Mode = FUNCTION) -> None:
        self.mode, self.number = mode, next(_numbers)
        self.arrays: dict[int, Array] = {}
        self.variables: dict[int, TracedVariable] = {}
        self.losses: list[Tensor] = []
        self.controls: list[Control] = []
        self.lengths: list[int] = []
        self.applied: list[Tensor] = []
        self.calls: list[Tensor] = []
        self.effects: list[Effect] = []
        self.sources: dict[int, tuple[Tensor, Any]] = {}
        self.shared: dict[int, Tensor] = {}
        self.draws, self.trains, self.changes_nothing = 0, True, False
        self.asked: bool | None = None
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
        self.put(t, array)
        return t

    def put(self, t: Tensor, array: Array) -> None:
        """Let a leaf have the contents of an array in each step."""
        self.arrays[id(t)] = array

    def read(self, source: Any) -> Tensor:
        """Return the value of a parameter or variable at this point of a step."""
        return self._variable(source).now

    def values_of(self, source: Any) -> np.ndarray | None:
        """Return the values of a parameter or variable for Python; None for those stored now.

        Raises:
            NeedsValuesError: if each step has its own.
        """
        name = getattr(source, "path", None) or source.name
        self.refuse_values(f"the values of {name}")
        return None

    def number_of(self, part: Any, control: Control, place: int, is_rate: bool) -> Tensor | None:
        """Return a number of the control block of ``part``, as a tensor of each step;
        None where each step is called in Python: then it is the number now.

        Args:
            place: in its rates, with ``is_rate``; else in its counters.
        """
        if self.mode.is_eager:
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
        if self.mode.is_eager:
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
        is_fixed = isinstance(source, Parameter) and not self.mode.assigns
        if is_fixed and not self._settles(source, value):
            raise TypeError(
                f"{source.path} is assigned to in predict or evaluate, which change nothing. "
                f"Write `if training:` before it; call(x, training=None) is passed this flag."
            )
        self._variable(source).now = value

    def _settles(self, source: Any, value: Tensor) -> bool:
        """Whether to assign ``value`` a second time would change nothing: a weight that is masked,
        or bounded by numbers, as only its own value and constants determine it."""
        now, how = self._variable(source).now, getattr(value.primitive, "lowering", None)
        others = [t for t in value.inputs if t is not now]
        if value is now or not all(t.is_constant for t in others):
            return value is now
        masks = how == "multiply" and all(np.isin(t.numpy(), (0, 1)).all() for t in others)
        return value.is_constant or (masks and len(others) == 1) or how in ("minimum", "maximum")

    @contextmanager
    def without_training(self) -> Iterator[None]:
        """Return a context in which `trains` is False: the step's own backward pass trains."""
        before, self.trains = self.trains, False
        try:
            yield
        finally:
            self.trains = before

    @contextmanager
    def calling(self, training: bool | None) -> Iterator[None]:
        """Return a context in which layers train as a call around them was asked to, if it was."""
        before, self.asked = self.asked, self.asked if training is None else training
        try:
            yield
        finally:
            self.asked = before

    @contextmanager
    def own_losses(self) -> Iterator[list[Tensor]]:
        """Return a context whose losses are only in the list that it gives."""
        before, self.losses = self.losses, []
        try:
            yield self.losses
        finally:
            self.losses = before

    @contextmanager
    def initial_values(
        self, values: Iterable[tuple[Any, Tensor]]
    ) -> Iterator[list[TracedVariable]]:
        """Return a context in which variables begin with given values, and what it gives has their
        last ones; the trace itself reads and assigns to none of them."""
        own = [TracedVariable(source, value, value) for source, value in values]
        self.variables.update((id(one.source), one) for one in own)
        try:
            yield own
        finally:
            for one in own:
                del self.variables[id(one.source)]

    @contextmanager
    def reading(self, values: Iterable[tuple[Any, Tensor]], keeps: bool = True) -> Iterator[None]:
        """Return a context in which parameters and variables have given values; with ``keeps``,
        what is assigned to them in the context remains."""
        kept, before = [], self.changes_nothing
        self.changes_nothing = before or not keeps
        try:
            for source, value in values:
                variable = self._variable(source)
                kept.append((variable, variable.now, value))
                variable.now = value
            yield
        finally:
            self.changes_nothing = before
            for variable, earlier, value in reversed(kept):
                if variable.now is value or not keeps:
                    variable.now = earlier

    def _variable(self, source: Any) -> TracedVariable:
        if id(source) not in self.variables:
            first = self.variable_leaf(source)
            self.variables[id(source)] = TracedVariable(source, first, first)
        return self.variables[id(source)]

    def variable_leaf(self, source: Any) -> Tensor:
        """Return a leaf for the value of a parameter or variable: when a step begins, and in a
        trace whose assignments take effect at once, after each."""
        found = self.leaf(source.shape, source.stored_dtype or "float32")
        self._reads.setdefault(id(source), []).append(found)
        return found

    def leaves_of(self, source: Any) -> list[Tensor]:
        """Return the leaves for the value of a parameter or variable: more than one if a step
        changes it at once."""
        return self._reads.get(id(source), [])

    def watch(self, t: Tensor) -> None:
        """Let gradients be taken with respect to a tensor with values."""
        if t.is_constant:
            raise TypeError(
                "watch takes tensors that a call is given or computes; this one is constant. "
                "Differentiate a function instead: gpunn.grad(f)(x)."
            )

    def add_source(self, t: Tensor, source: Any) -> None:
        """Let a tensor stand for a parameter or variable, as the argument of a function."""
        self.sources[id(t)] = t, source

    def called(self, part: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return ``function(*args)``, a call of a model or loss; ``args`` are tensors, numbers and
        names, in any structure."""
        return function(*args)

    def add_effect(self, effect: Effect) -> None:
        """Add an effect at this point of the step."""
        if self.mode.counts is None:
            raise TypeError("only a whole step has effects; a call computes tensors.")
        self.effects.append(effect)

    @property
    def takes_metrics(self) -> bool:
        """Whether metrics may be updated in it."""
        return self.mode.is_step or self.mode.counts is not None

    def late_value(self, result: LateResult) -> Tensor:
        """Return a tensor for a number that is known after the step."""
        raise NeedsValuesError(
            "The result of a metric is asked for in a call, where it is not known: it is that of "
            "the steps so far. Read it between steps, in a callback for example."
        )

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters that it reads or assigns to."""
        return [h.source for h in self.variables.values() if isinstance(h.source, Parameter)]

    def follow_parameters(self, backend: Any) -> None:
        """Let what is made from it be made anew when parameters move that it reads: it is no part
        of the model that holds them.

        Raises:
            ValueError: for those on another device.
        """
        for p in self.parameters:
            if p.storage is not None and not backend.reaches(p.storage.backend):
                raise ValueError(
                    f"{p.path} is a weight on {p.storage.backend.name!r}, which steps on "
                    f"{backend.name!r} cannot read: run both on one, see gpunn.use_backend."
                )
            p.is_followed = True

    @property
    def assigned(self) -> list[TracedVariable]:
        """The parameters and variables whose value a step changes."""
        return [v for v in self.variables.values() if v.is_assigned]

    def made(self, t: Tensor) -> Tensor:
        """Return the tensor of an operation's result; identical operations share one."""
        self.take(t)
        operands = [
            (x.dtype, x.shape, np.asarray(x.value).tobytes()) if x.is_number else id(x)
            for x in t.inputs
        ]
        try:
            metadata = t.primitive.metadata
            attributes = [(k, _known_by(v)) for k, v in t.attributes.items() if k not in metadata]
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
        """Return the number of the next random stream in the order of calls: from 1, or in a
        formula from 0, its node's own."""
        return self._numbered(self.mode.draws)

    def _numbered(self, draws: Draws | None) -> int:
        self.draws += 1
        return self.draws - self.mode.is_of_node if draws is None else draws.next()

    def entries(self, shape: Sequence[int]) -> int:
        """Return how many entries along its first axis an array of this shape has for each sample.

        It is 0 if its length does not depend on the number of samples, and if there is no shard.
        That a length equals the number of samples proves nothing: so a call is traced for two such
        numbers, see `entries_per_sample`, and asks for the same axes in the same order each time.
        """
        self.lengths.append(shape[0] if shape else 0)
        number = len(self.lengths) - 1
        known = self.mode.entries
        return known[number] if number < len(known) else 0

    def shard_of(self, shape: Sequence[int]) -> Shard | None:
        """Return the rank's shard of an array of this shape, which has entries of samples along its
        first axis; None if there is one process, or no such entries."""
        entries, shard = self.entries(shape), self.mode.shard
        return None if shard is None else shard.of(entries, shape[0])

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


def tracing() -> Trace:
    """Return the active trace of this thread, where there is one."""
    return _active.traces[-1]


def called(part: Any, function: Callable[..., Any], *args: Any) -> Any:
    """Return ``function(*args)``, a call of a model or loss; see `Trace.called`."""
    trace = current()
    return function(*args) if trace is None else trace.called(part, function, args)

"""`CompiledCall`: a call of a model or loss inside a tape, as two programs.

A tape computes operations when they are called, each at the cost of some Python. Where a built-in
model or loss is called, its operations are one program instead. The gradients with respect to its
inputs and weights are a second one. Custom code is called each time, since it may print or branch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.config import floatx, runs_eagerly
from gpunn.common.nested import replaced
from gpunn.core.draws import DrawPosition, context_at, count_from
from gpunn.core.settings import Dependencies, Settings
from gpunn.core.storage import Parameter
from gpunn.ops.dtypes import is_float
from gpunn.ops.fusion.joint import ACTIVATION
from gpunn.ops.gradients import gradients, topological_sort
from gpunn.ops.tensor import NeedsValuesError, Tensor

from .computation import Computation, Destination
from .effects import Unsupported
from .step_trace import StepTrace
from .tape_entries import RUNS, TapeEntry, Wanted, args_with, covers, found

PROGRAMS = 8
"""Compiled calls that a part keeps, each with arrays of its own."""
FORMS = 256
"""Forms of arguments that a part remembers."""

MOST = 1 << 22
"""Elements of the arguments and weights together, which each form has a copy of."""


def compiled_call(trace: Any, part: Any, function: Callable[..., Any], args: Any) -> Any:
    """Return what ``function(*args)`` returns, a call of a model or loss ``part`` in a `TapeTrace`.

    ``args`` are tensors, numbers and names, in any structure.
    """
    compiled = None if runs_eagerly() else _calls_of(part).compiled_for(trace, part, function, args)
    return function(*args) if compiled is None else compiled.applied(trace, args)


class _Calls:  # pickles of models name it
    """The compiled calls of one part, by the form of their arguments."""

    def __init__(self) -> None:
        self._compiled: dict[Any, CompiledCall] = {}
        self._seen: dict[Any, bool] = {}  # forms so far, and whether they can be compiled
        self._wanted: dict[Any, Wanted] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of the part has compiled calls of its own."""
        return _Calls, ()

    def compiled_for(
        self, trace: Any, part: Any, function: Callable[..., Any], args: Any
    ) -> CompiledCall | None:
        """Return the compiled call for arguments of this form; None if there is none.

        It is kept from the second call on.
        """
        backend = trace.computed.backend
        try:
            key = backend.root, floatx(), _form_of(args)
        except Unsupported:
            return None
        with self._lock:
            compiled = self._compiled.pop(key, None)
            if compiled is None or not compiled.dependencies.are_current():
                again = key in self._seen
                compiled = self._made(key, again, part, function, args, backend)
                if compiled is None or not again:
                    return compiled
            self._compiled[key] = compiled  # the last one used is the last one
            _shorten(self._compiled, PROGRAMS)
            return compiled

    def _made(
        self, key: Any, again: bool, part: Any, function: Callable[..., Any], args: Any,
        backend: Any,
    ) -> CompiledCall | None:
        if not self._seen.setdefault(key, True):
            return None
        _shorten(self._seen, FORMS)
        if not again and backend.xp is not np:  # a GPU compiles for seconds
            return None
        try:
            return CompiledCall(part, function, args, backend, self._wanted)
        except (Unsupported, NeedsValuesError):
            self._seen[key] = False
            return None


def _shorten(entries: dict[Any, Any], most: int) -> None:
    while len(entries) > most:
        del entries[next(iter(entries))]


def _calls_of(part: Any) -> _Calls:
    found: _Calls | None = vars(part).get(registry.COMPILED_CALLS)
    if found is None:  # in one step: another thread may set it
        found = vars(part).setdefault(registry.COMPILED_CALLS, _Calls())
    return found


def _form_of(x: Any) -> Any:
    """Return a key that is equal for arguments that one compiled call can take.

    Raises:
        Unsupported: for other arguments than tensors, numbers and names.
    """
    if isinstance(x, Tensor):
        return x.shape, x.dtype, x.is_constant
    if isinstance(x, (list, tuple)):
        return type(x), *map(_form_of, x)
    if isinstance(x, dict):
        return dict, *((type(name), name, _form_of(entry)) for name, entry in x.items())
    if isinstance(x, float):
        return type(x), float.hex(x)  # which tells 0 and -0 apart
    if isinstance(x, (bool, int, str, type(None))):
        return type(x), x
    raise Unsupported(f"an argument is a {type(x).__name__}.")


class CompiledCall:
    """The call of a model or loss in a tape, traced once for arguments of one form.

    `CallBuffers` binds it to arrays. A `TapeEntry` is one run of it.

    Args:
        all_wanted: which gradients the calls of the part were asked for, see `wanted`.

    Attributes:
        inputs: leaves for the tensors in the arguments, and then for what it reads.
        outputs: what it computes: results, losses that it adds, values that it assigns, and what
            links are applied to.
        links: the number of that output, by the number of the link: losses may take either.
        draws: how many random streams it reads.
        dependencies: what it was made from.
        is_checked: whether it refuses some values of its inputs.
        alive: runs that keep arrays, or have returned them since the last `take`.

    Raises:
        Unsupported, NeedsValuesError: if it has to be called in Python.
    """

    def __init__(
        self, part: Any, function: Callable[..., Any], args: Any, backend: Any,
        all_wanted: dict[Any, Wanted],
    ) -> None:
        self.dependencies = Dependencies(lambda: Settings([part]))
        if self.dependencies.settings.seen is None:
            raise Unsupported("its code may do anything.")
        self.function, self.backend = function, backend
        self.trace = trace = StepTrace(backend.stops)
        given = [trace.leaf(t.shape, t.dtype) for t in found(args)]
        self.form = args_with(args, given)
        with trace.active():
            self.result = function(*self.form)  # it may build the part
        if trace.effects or trace.late or trace.begins:
            raise Unsupported("it does more than computing tensors.")
        if any(t.attributes["layer"]._own_parameters for t in trace.applied):
            raise Unsupported("a layer defines its passes on arrays.")
        variables = list(trace.variables.values())
        if any(h.is_assigned and getattr(h.source, "trainable", True) for h in variables):
            raise Unsupported("it assigns to what is trained.")
        self.sources = [h.source for h in variables]
        if not all(is_on(backend, source) for source in self.sources):
            raise Unsupported("weights on another backend.")
        self.inputs = [*given, *(h.first for h in variables)]
        if sum(t.size for t in self.inputs) > MOST:
            raise Unsupported("its Python costs little beside what it computes.")
        assigned = [h for h in variables if h.is_assigned]
        self._assigned = [(h.source, h.now) for h in assigned]
        results = found(self.result)
        every = [*results, *trace.losses, *(h.now for h in assigned)]
        every += [t.inputs[0] for t in results if _is_link(t)]
        computed = {id(t): k for k, t in enumerate(every) if not t.is_constant}
        self.outputs = [every[k] for k in computed.values()]
        self.places = list(computed.values())
        self._numbers = {key: number for number, key in enumerate(computed)}
        number = self._numbers
        self.links = {number[id(t)]: number[id(t.inputs[0])] for t in results if _is_link(t)}
        self.draws, self._runs = trace.draws, 0
        graph = topological_sort(self.outputs)
        self.is_checked = any(t.primitive is not None and t.primitive.does_work for t in graph)
        self._all_wanted = all_wanted
        self._kind = len(self.inputs), *(t.is_constant for t in found(args))
        self._free: dict[Any, list[CallBuffers]] = {}
        self._returned: deque[CallBuffers | None] = deque()
        self.alive, self._lock = 0, threading.Lock()
        self._derivatives: dict[Wanted, tuple[dict[int, Tensor], dict[int, Tensor]]] = {}

    @property
    def wanted(self) -> Wanted | None:
        """The inputs whose gradients were taken so far, also with other shapes; None if none were
        taken."""
        return self._all_wanted.get(self._kind)

    def want(self, wanted: Wanted) -> None:
        with self._lock:
            if not covers(self.wanted, wanted):
                both = zip(wanted, self.wanted or wanted, strict=True)
                self._all_wanted[self._kind] = tuple(map(any, both))
                self._free.clear()

    def applied(self, trace: Any, args: Any) -> Any:
        """Return the result for these arguments."""
        self._runs += 1
        run = TapeEntry(self, trace, [*found(args), *map(trace.lent_to_call, self.sources)])
        made = run.made()

        def replacement(t: Any) -> Any:
            number = self._numbers.get(id(t))
            return t if number is None else made[number]

        for loss in self.trace.losses:
            trace.losses.append(replacement(loss))
        for source, value in self._assigned:
            trace.assign(source, replacement(value))
        return replaced(replacement, self.result)

    def derivatives(self, wanted: Wanted) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return leaves for the gradients of the outputs, and the gradients of the wanted inputs,
        by their numbers."""
        if wanted not in self._derivatives:
            ys = {k: y for k, y in enumerate(self.outputs) if is_float(y.dtype)}
            xs = {k: x for k, x in enumerate(self.inputs) if wanted[k]}
            with self.trace.active(), self.trace.without_training():
                dys = {k: self.trace.leaf(y.shape, y.dtype) for k, y in ys.items()}
                dxs = gradients([*ys.values()], [*xs.values()], [*dys.values()])
            known = {k: dx for k, dx in zip(xs, dxs, strict=True) if dx is not None}
            self._derivatives[wanted] = dys, known
        return self._derivatives[wanted]

    def take(self, wanted: Wanted | None, place: DrawPosition) -> CallBuffers:
        """Return arrays for a run that draws from a place on. Nothing else uses them until they are
        given back."""
        with self._lock:
            while self._returned:
                buffers = self._returned.popleft()
                self.alive -= 1
                if buffers is not None and buffers.wanted == self.wanted:
                    self._free.setdefault((buffers.wanted, buffers.stream), []).append(buffers)
                    _shorten(self._free, PROGRAMS)
            free = self._free.get((wanted, place.stream))
            buffers = free.pop() if free else CallBuffers(self, wanted, place)
            self.alive += 1
            return buffers

    def give_back(self, buffers: CallBuffers, is_whole: bool = True) -> None:
        """End the use of arrays; ``is_whole``: whether another run may take them.

        A garbage collection calls this, in any thread and whatever locks that has. So it takes no
        lock: who takes arrays next sorts those that were returned.
        """
        alive = self.alive - len(self._returned) - 1
        likely = self._runs > 1 and buffers.wanted == self.wanted and alive < RUNS
        self._returned.append(buffers if is_whole and likely else None)  # likely to be needed again


class CallBuffers:
    """The arrays of a `CompiledCall`, and the two programs on them: its results, its gradients.

    Without ``wanted`` there are no gradients. One run uses them at a time.

    Attributes:
        stream: what is the same wherever it draws, see `DrawPosition`.
    """

    def __init__(self, compiled: CompiledCall, wanted: Wanted | None, place: DrawPosition) -> None:
        self.wanted, self.stream = wanted, place.stream
        self._is_checked = compiled.is_checked and not compiled.backend.stops
        self._context = context = context_at(compiled.backend, place)
        self._backend = backend = context.backend
        self._draws = compiled.draws > 0
        empty = backend.empty
        self.xs = [empty(x.shape, x.dtype) for x in compiled.inputs]
        self.ys = [empty(y.shape, y.dtype) for y in compiled.outputs]
        self.dys: dict[int, Any] = {}  # by the numbers of the outputs
        self.dxs: list[tuple[int, Tensor, Any]] = []  # with the numbers of the inputs
        leaves = dict(zip(map(id, compiled.inputs), self.xs, strict=True))
        stages = [
            [Destination(y, array) for y, array in zip(compiled.outputs, self.ys, strict=True)]
        ]
        if wanted is not None:
            dys, dxs = compiled.derivatives(wanted)
            self.dys = {k: backend.zeros(dy.shape, dy.dtype) for k, dy in dys.items()}
            leaves.update({id(dy): self.dys[k] for k, dy in dys.items()})
            self.dxs = [(k, dx, empty(dx.shape, dx.dtype)) for k, dx in dxs.items()]
            stages.append([Destination(dx, array) for _, dx, array in self.dxs])
        with backend.stream_lock:
            computation = Computation(backend, leaves, stages, context)
        self._stages = [
            backend.program(_Stage(computation, number), True, {}) for number in range(len(stages))
        ]

    def forward(self, place: DrawPosition) -> None:
        """Compute the outputs from the inputs, with the random numbers of a place."""
        if self._draws:
            count_from(self._context, place)
        self._stages[0].run(1)
        if self._is_checked:  # a GPU complains when it is read
            self._backend.read(self.ys[0].reshape(-1)[:1])

    def backward(self) -> None:
        """Compute the gradients of the inputs from the outputs' gradients, once after `forward`."""
        self._stages[1].run(1)


class _Stage:
    def __init__(self, computation: Computation, number: int) -> None:
        self._computation, self._number = computation, number

    def __call__(self) -> None:
        self._computation.run(self._number)


def _is_link(t: Tensor) -> bool:
    """Whether a tensor is the result of an activation that losses are fused with."""
    made = t.primitive is not None and not t.is_constant and t.primitive.name == ACTIVATION
    return made and bool(t.attributes["formula"].is_link)


def is_on(backend: Any, source: Any) -> bool:
    """Whether a backend can read the values of a parameter or variable where they are."""
    if not isinstance(source, Parameter):
        return bool(source.is_on(backend))
    source.array_on(backend)  # which gives it one, if it has none
    home = backend if source.storage is None else source.storage.backend
    return bool(backend.reaches(home))

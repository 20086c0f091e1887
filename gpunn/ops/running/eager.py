"""Traces of steps and their execution: from one trace for all steps, or eagerly.

Normally a `Computation` binds a trace to its arrays. If `runs_eagerly` is set, each step is traced
again and computes every operation when it is called, so that its result has values; then only the
results remain to be stored in their destinations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.expression import TRUTHS
from gpunn.common.config import runs_eagerly
from gpunn.core.storage import Parameter
from gpunn.ops.fusion.joint import join
from gpunn.ops.fusion.schedule import Fused, scheduled
from gpunn.ops.fusion.storing import stored
from gpunn.ops.gradients import topological_sort
from gpunn.ops.primitive import Work
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import FUNCTION, Mode, Trace

from .computation import Computation, Destination

if TYPE_CHECKING:
    from .effects import Effect

QUICK = 1 << 15
"""Elements that NumPy computes in a few microseconds."""
EXACT = TRUTHS | {
    "abs", "add", "ceil", "divide", "floor", "maximum", "minimum", "multiply", "negative", "relu",
    "square", "sqrt", "subtract", "where",
}
"""Operations that give the same bits by NumPy."""


class Stages(Protocol):
    """Runs the stages of a step."""

    def run(self, stage: int) -> None: ...


def trace_for(backend: Backend, mode: Mode = FUNCTION, context: Any = None) -> Trace:
    """Create a trace of a step on a backend; arguments as in `Trace` and `Computation`."""
    return EagerTrace(backend, mode, context) if runs_eagerly() else Trace(mode)


def stages_of(
    trace: Trace,
    backend: Backend,
    stages: Sequence[Sequence[Destination]],
    context: Any = None,
    spent: Collection[Tensor] = (),
) -> Stages:
    """Return the stages of a trace, which may write over the leaves ``spent``.

    Assignments are stored after the first stage, if they stay: those to parameters in training
    only, those to the variables of metrics where these count, those to other variables, such as
    states, always. Metrics count in the first stage too.
    """
    kept = [v for v in trace.assigned if _stays(trace, v.source)]
    assigned = [Destination(v.now, v.source.array_on(backend)) for v in kept]
    stages = [[*stages[0], *assigned], *stages[1:]]
    if isinstance(trace, EagerTrace):
        return EagerStages(trace.computed, stages)
    groups: list[list[Effect]] = []
    if trace.effects and trace.mode.counts:
        from .effects import grouped

        groups = grouped(trace.effects)
    updates = [[Destination(*one) for effect in g for one in effect.begin(backend)] for g in groups]
    stages[:1] = [[*stages[0], *(updates[0] if updates else ())], *updates[1:]]
    for control in trace.controls:
        if not backend.reaches(control.backend):
            raise ValueError(
                f"a step on {backend.name!r} reads the learning rate of an optimizer on "
                f"{control.backend.name!r}: run both on one backend."
            )
    wanted = [destination.tensor for stage in stages for destination in stage]
    join(wanted)
    arrays, before = dict(trace.arrays), InitialCopies(backend)
    rewritten = rewritten_by(kept, wanted)
    for variable in trace.variables.values():
        if id(variable.first) not in arrays:
            array = variable.source.array_on(backend)
            if variable.is_assigned and id(variable.first) not in rewritten:
                # A later stage may read its initial value.
                array = before.copy(array)
            arrays[id(variable.first)] = array
    computation = Computation(backend, arrays, stages, context, spent=spent, rewritten=rewritten)
    for number, group in enumerate(groups):
        computation.work[number] += [effect.bind(backend, computation.array) for effect in group]
    last = max(1, len(groups))
    computation.work[:last] = [[*before.work, *chain.from_iterable(computation.work[:last])]]
    return computation


class InitialCopies:
    """Copies of what a step changes, made before it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.work: list[Work] = []

    def copy(self, array: Array) -> Array:
        found = self._backend.empty(array.shape, array.dtype)
        self.work.append(stored(self._backend, array, found))
        return found


def rewritten_by(assigned: Sequence[Any], wanted: Sequence[Tensor]) -> set[int]:
    """Return the `id` of values before the step that one operation alone reads, which writes the
    new value in their place."""
    firsts = {id(variable.first): variable.now for variable in assigned}
    readers: dict[int, list[Tensor]] = {key: [] for key in firsts}
    for t in topological_sort(wanted) if firsts else ():
        for x in t.inputs:
            if id(x) in readers:
                readers[id(x)].append(t)
    found = set[int]()
    for key, now in firsts.items():
        writes = now.inputs[0] if now.primitive is not None and now.primitive.is_result else now
        if len(readers[key]) == 1 and readers[key][0] is writes and writes.primitive.rewrites:
            found.add(key)
    return found


def _stays(trace: Trace, source: Any) -> bool:
    """Whether what is assigned to a parameter or variable in a trace stays."""
    if isinstance(source, Parameter):
        return trace.mode.assigns
    return trace.mode.counts is not False or not source.of_metric


class EagerTrace(Trace):
    """A trace whose operations are computed when they are called.

    Attributes:
        computed: the computation of all operations so far.
    """

    def __init__(self, backend: Backend, mode: Mode, context: Any) -> None:
        super().__init__(mode.eager(backend.stops))
        self.computed = _EagerComputation(backend, context, EagerOperations(backend.root))

    def put(self, t: Tensor, array: Array) -> None:
        super().put(t, array)
        self.computed.put(t, array)

    def variable_leaf(self, source: Any) -> Tensor:
        backend, t = self.computed.backend, super().variable_leaf(source)
        array = source.array_on(backend)
        copy = backend.empty(array.shape, array.dtype)  # it may be assigned to
        backend.write(copy, array)
        self.computed.put(t, copy, is_own=True)
        return t

    def values_of(self, source: Any) -> np.ndarray | None:
        variable = self.variables.get(id(source))
        if variable is None or not variable.is_assigned:
            return None
        return variable.now.numpy().astype(source.dtype, copy=False)

    def made(self, t: Tensor) -> Tensor:
        self.take(t)
        self.computed.compute(t)
        return t

    def add_effect(self, effect: Effect) -> None:
        if not self.mode.counts:
            return
        backend, array = self.computed.backend, self.computed.array
        with backend.stream_lock, np.errstate(all="ignore"):
            for t, into, accumulate in effect.begin(backend):
                if into is not None:
                    stored(backend, array(t), into, accumulate)()
            effect.bind(backend, array)()


class _EagerComputation(Computation):
    """A computation whose operations are added one by one and run immediately."""

    def __init__(self, backend: Backend, context: Any, home: EagerOperations) -> None:
        super().__init__(backend, {}, (), context)
        self._uses = defaultdict(lambda: 1 << 62)  # later uses are unknown
        self.home = home
        self.tensors: list[Tensor] = []  # kept alive: arrays are keyed by their `id`
        self._own = set[int]()  # the `id` of those whose arrays nothing else ever writes to

    def put(self, t: Tensor, array: Array, is_own: bool = False) -> None:
        """Set the array of a tensor; ``is_own``: nothing else ever writes to it."""
        self.tensors.append(t)
        self._arrays[id(t)], self._owner[id(t)] = array, id(t)
        self._show(t, is_own)

    def _show(self, t: Tensor, is_own: bool) -> None:
        """Let a tensor have the values of its array, or of a copy."""
        array = self._arrays[id(t)]
        if is_own:
            self._own.add(id(t))
            t.put(self.home, array)
        else:
            t.value = self.backend.read(array)

    def array(self, t: Tensor) -> Any:
        if id(t) not in self._arrays and t.is_constant:
            there = t.array_at(self.backend)
            if there is not None:
                self.put(t, there, is_own=True)
        return super().array(t)

    def compute(self, t: Tensor) -> None:
        """Compute the result of an operation."""
        self.tensors.append(t)  # also if it fails: another tensor must not get its `id`
        work: list[Work] = []
        if self.home.is_quick(t):
            self._alone(t, {}, {}, work)
        else:
            for step in scheduled([t], self._arrays.keys(), {id(t)}):
                if isinstance(step, Fused):
                    self._fused(step, {}, {}, work)
                else:
                    self._alone(step, {}, {}, work)
        with self.backend.stream_lock, np.errstate(all="ignore"):
            for do in work:
                do()
        self._show(t, not t.primitive.view or id(t.inputs[0]) in self._own)
        if t.primitive.does_work:
            self.backend.read(self._arrays[id(t)])  # a device complains when it is read


class EagerOperations:
    """Computes operations at once on a backend: those outside a trace on what a tape has computed,
    as the derivatives."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._on_host = backend.xp is np

    def is_quick(self, t: Tensor) -> bool:
        """Whether NumPy computes it in less time than an expression takes to begin with."""
        return self._on_host and 0 < t.size <= QUICK and t.primitive.lowering in EXACT

    def compute(
        self, primitive: Any, shape: tuple[int, ...], dtype: str, inputs: Sequence[Tensor],
        attributes: dict[str, Any],
    ) -> Tensor:
        backend = self.backend.isolated()  # so that its work arrays are freed
        backend.repeats = False
        if self._on_host:
            arrays = [t.value for t in inputs]
            found = primitive.now(backend, shape, dtype, arrays, attributes)
            return Tensor.at(self, found, shape, dtype)
        made = Tensor(shape, dtype, None, primitive, inputs, attributes)
        computed = _EagerComputation(backend, None, self)
        computed.compute(made)
        return Tensor.at(self, computed.array(made), shape, dtype)


class EagerStages:
    """Stages whose results are already computed and only stored in their destinations."""

    def __init__(self, computed: Computation, stages: Sequence[Sequence[Destination]]) -> None:
        self._computed, self._stages = computed, stages

    def run(self, stage: int) -> None:
        computed = self._computed
        with computed.backend.stream_lock:
            for target in self._stages[stage]:
                if target.array is not None:
                    source = computed.array(target.tensor)
                    stored(computed.backend, source, target.array, target.accumulate)()

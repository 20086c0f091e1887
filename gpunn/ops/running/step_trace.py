"""Traces of whole steps: forward, gradients, updates of weights, and metrics, in one program.

A step is called once, with leaves for its arguments. What it does besides computing tensors is a
list of effects. A stage of the computation computes what a group of effects reads. An effect that
changes weights ends a group, whose stage also computes what was written before and is read later.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import Control
from gpunn.ops.elementwise import copy
from gpunn.ops.fusion.joint import join
from gpunn.ops.fusion.storing import stored
from gpunn.ops.gradients import topological_sort
from gpunn.ops.primitive import Primitive, Work
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import Mode, Trace

from .computation import Computation, Destination
from .effects import Effect, LateResult, Unsupported, grouped


class _Assigned(Primitive):
    eager = False


_assigned = _Assigned(
    "assigned", lambda backend, out, x, number: copy(backend, out, x), lambda shape, number: shape,
    lowering="same",
)
"""The value of a variable after an assignment. As in TensorFlow, no gradient flows through it: it
is the variable itself, by which gradients are taken."""


def _copy_of(t: Tensor) -> Tensor:
    made = Tensor(t.shape, t.dtype, None, _assigned, [t], {"number": 0})
    made.trace, made.position = t.trace, t.position
    return made


class StepTrace(Trace):
    """The trace of a whole step. Layers have derivatives of every order.

    Args:
        stops: whether a step ends where a check finds an error.

    Attributes:
        effects: what it does besides computing tensors, in order.
        begins: leaves for numbers of control blocks when the step begins; see `number_of`.
        checks: whether some values of what it computes are errors.
        late: leaves whose values are known after the step, and the results that give them.
    """

    def __init__(self, stops: bool) -> None:
        super().__init__(Mode.step(stops))
        self.checks = False
        self.late: dict[int, tuple[Tensor, LateResult]] = {}
        self.begins: dict[Any, tuple[Tensor, Any, Control, int, bool]] = {}
        self._changed: dict[int, tuple[Any, Tensor, int]] = {}  # leaves, and when they begin
        self._watched: list[Tensor] = []
        self._assignments = itertools.count(1)

    def assign(self, source: Any, value: Tensor) -> None:
        if not self.changes_nothing:
            value = _assigned(value, number=next(self._assignments))
            self._reads.setdefault(id(source), []).append(value)
        super().assign(source, value)

    def made(self, t: Tensor) -> Tensor:
        self.checks = self.checks or t.primitive.does_work
        return super().made(t)

    def watch(self, t: Tensor) -> None:
        if t.is_constant:
            t.is_constant, t.trace = False, self.number
            t.position = next(self._positions)
            self._watched.append(t)

    def number_of(self, part: Any, control: Control, place: int, is_rate: bool) -> Tensor:
        key = id(control), place, is_rate
        if key not in self.begins:
            self.begins[key] = self.leaf((1,), "float64"), part, control, place, is_rate
        found = self.begins[key][0]
        done = sum(effect.optimizer is part for effect in self.effects)
        return found if is_rate or not done else found + done

    def late_value(self, result: LateResult) -> Tensor:
        found = self.leaf((), "float32")
        self.late[id(found)] = found, result
        return found

    def add_effect(self, effect: Effect) -> None:
        for _, result in self.late.values():
            if result.shares_part(effect) and not any(result is one for one in self.effects):
                self._append(result)  # it keeps the value that it has here
        self._append(effect)
        for source in effect.changes:
            variable = self._variable(source)
            if variable.is_assigned and not self._begins(variable.now):
                name = getattr(source, "path", None) or source.name
                raise Unsupported(f"{name} is assigned to, and then updated.")
            variable.now = self.variable_leaf(source)
            self._changed[id(variable.now)] = source, variable.now, effect.position

    def _append(self, effect: Effect) -> None:
        effect.position = next(self._positions)
        self.effects.append(effect)

    def _begins(self, t: Tensor) -> bool:
        return id(t) in self._changed

    @property
    def assigned(self) -> list[Any]:
        return [v for v in super().assigned if not self._begins(v.now)]

    def end(self) -> None:
        """Let tensors with values be constants from now on."""
        for t in self._watched:
            t.is_constant, t.trace = True, None


class StepComputation:
    """The computation of a traced step on a backend.

    Args:
        inputs: the arrays of the leaves for its arguments.
        outputs: tensors whose values are kept, in the arrays of the attribute ``kept``.
        context: the call that layers and random numbers inside it belong to.
    """

    def __init__(
        self,
        trace: StepTrace,
        backend: Backend,
        inputs: Sequence[tuple[Tensor, Array]],
        outputs: Sequence[Tensor],
        context: Any,
    ) -> None:
        self._trace, self._backend = trace, backend
        self.kept = backend.parcel([(t.shape, t.dtype) for t in outputs])
        groups = grouped(trace.effects)
        ends = [group[-1].position for group in groups]
        stages = [
            [Destination(*one) for effect in group for one in effect.begin(backend)]
            for group in groups
        ]
        assigned = [Destination(v.now, v.source.array_on(backend)) for v in trace.assigned]
        kept = [Destination(t, a) for t, a in zip(outputs, self.kept.arrays, strict=True)]
        stages.append([*kept, *assigned])
        join([destination.tensor for stage in stages for destination in stage])
        copied = self._in_program_order(groups, stages)
        arrays = {id(t): array for t, array in inputs}
        for t in trace._watched:
            arrays[id(t)] = backend.upload(t.value).reshape(t.shape)
        again = {id(variable.source) for variable in trace.assigned}
        copies: dict[int, list[Work]] = {}  # by the stage after which they are made
        for t, _, control, place, is_rate in trace.begins.values():
            if not backend.reaches(control.backend):
                raise Unsupported("it reads numbers of an optimizer on another backend.")
            block = control.rates if is_rate else control.counters
            arrays[id(t)] = array = backend.empty((1,), "float64")
            given = block[place : place + 1], 1.0, 0.0, array
            copies.setdefault(-1, []).append(partial(backend.affine, *given))
        for variable in trace.variables.values():
            whole = variable.source.array_on(backend)
            for t in trace.leaves_of(variable.source):
                if t.primitive is not None:  # assigned
                    continue
                array = whole
                if id(t) in copied or id(variable.source) in again:
                    array = backend.empty(whole.shape, whole.dtype)
                    _, _, begins = trace._changed.get(id(t), (None, None, 0))
                    after = ends.index(begins) if begins else -1
                    copies.setdefault(after, []).append(stored(backend, whole, array))
                arrays[id(t)] = array
        missing = [t for t, _ in trace.late.values() if self._is_read(t, stages)]
        if missing:
            raise Unsupported("a metric's result is computed with.")
        computation = Computation(backend, arrays, stages, context)
        work = list(copies.get(-1, ()))
        for number, of_stage in enumerate(computation.work):
            work += of_stage
            for effect in groups[number] if number < len(groups) else ():
                work.append(effect.bind(backend, computation.array))
            work += copies.get(number, ())
        self._work = work
        self._computation = computation

    def run(self) -> None:
        """Run the step."""
        for work in self._work:
            work()

    @staticmethod
    def _is_read(t: Tensor, stages: Sequence[Sequence[Destination]]) -> bool:
        return any(t is x for x in topological_sort(d.tensor for s in stages for d in s))

    def _in_program_order(
        self, groups: Sequence[Sequence[Effect]], stages: list[list[Destination]]
    ) -> set[int]:
        """Add to the stage of each group that changes something what later ones read and the
        program computes before it. Return the ``id`` of leaves whose array changes before they are
        read for the last time."""
        copied: set[int] = set()
        for number in range(len(groups) - 1, -1, -1):
            changes = {id(source) for source in groups[number][-1].changes}
            if not changes:
                continue
            end = groups[number][-1].position
            later = [d for stage in stages[number + 1 :] for d in stage]
            have: set[int] = set()
            wanted: list[Tensor] = [d.tensor for d in later]
            for t in topological_sort(wanted):
                if t.position >= end:
                    wanted += t.inputs
            changed = [h for h in self._trace.variables.values() if id(h.source) in changes]
            leaves = [t for h in changed for t in self._trace.leaves_of(h.source)]
            own = {id(t) for t in leaves if t.position < end and t.primitive is None}
            for t in wanted:
                if t.is_constant or t.position >= end:
                    continue
                base = t
                while base.primitive is not None and base.primitive.view:
                    base = base.inputs[0]
                if id(base) in own:
                    copied.add(id(base))
                elif t.primitive is not None and id(t) not in have:
                    have.add(id(t))
                    # What an effect is given may be overwritten by it.
                    for given in stages[number]:
                        if given.tensor is t:
                            given.tensor = _copy_of(t)
                    stages[number].append(Destination(t))
        return copied

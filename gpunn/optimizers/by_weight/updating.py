"""The update of one weight after the other by operations on tensors, as part of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import LEARNING_RATE, UPDATES, Control
from gpunn.core.settings import traced_call
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.ops.conversion import convert
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import Stages, stages_of, trace_for
from gpunn.ops.running.functions import places
from gpunn.ops.tensor import Tensor, ops

Tensors = Mapping[str, Tensor]


def decay_of(self: Any, weight: Parameter) -> float | None:
    """Return the weight decay of a weight to which it applies."""
    return cast("float | None", self.weight_decay)


def update_by_tensors(
    self: Any, backend: Backend, storage: ParameterStorage, control: Control
) -> None:
    """Issue the operations of an update of all trained weights of a storage, if it is due."""
    rates = control.rates[LEARNING_RATE : LEARNING_RATE + 1]
    steps = control.counters[UPDATES : UPDATES + 1]
    slots = [storage.slots[name] for name in self.slot_names]
    options = [(id(p), p.multiplier, storage.decays(p)) for p in storage.trained]

    def made() -> Stages:
        trace = trace_for(backend)
        rate, done = trace.placeholder(rates), trace.placeholder(steps)
        arrays = [
            {"": p.array, **{n: storage.segment(storage.slots[n], p) for n in self.slot_names}}
            for p in storage.trained
        ]
        given = [{n: trace.placeholder(a) for n, a in own.items()} for own in arrays]
        stages: list[list[Destination]] = []

        def update_each() -> None:
            for p, own, before in zip(storage.trained, arrays, given, strict=True):
                slots = {name: x for name, x in before.items() if name}
                gradient = trace.placeholder(p.gradient)
                now = self._updated(p, storage, before[""], gradient, slots, rate, done)
                changed(p, now)
                stages.append([Destination(x, own[name]) for name, x in now.items()])

        with trace.active(), self._state(trace, storage, given, done) as changed:
            traced_call(self, f"{type(self).__name__}.update_step", update_each)
        return stages_of(trace, backend, stages)

    key = "update", self, *options, places(storage.values, storage.gradients, *slots, rates)
    program = backend.kept(key, made)
    for number in range(len(storage.trained)):
        program.run(number)


@contextmanager
def no_state(*_: Any) -> Iterator[Callable[[Parameter, Tensors], None]]:
    """A context of the updates of weights that read nothing of each other.

    It gives a function to call after each, with the weight and what changed.
    """
    yield lambda weight, now: None


def is_due(self: Any, steps: Tensor, dtype: str) -> Tensor | None:
    """Return whether a step updates; None if each does, as none only gathers gradients."""
    every = self.steps_per_update
    done = ops.reshape(ops.cast(steps, dtype), ())
    return None if every == 1 else done + 1 >= (ops.floor(done / every) + 1) * every


def updated(
    self: Any, weight: Parameter, storage: ParameterStorage, w: Tensor, g: Tensor,
    slots: dict[str, Tensor], rates: Tensor, steps: Tensor,
) -> dict[str, Tensor]:
    """Return the new weights, named "", and the slots that change."""
    every, dtype = self.steps_per_update, w.dtype
    done = ops.reshape(ops.cast(steps, dtype), ())
    t = done + 1 if every == 1 else ops.floor(done / every) + 1
    rate = ops.reshape(ops.cast(rates, dtype), ())
    rate = rate if weight.multiplier == 1 else rate * weight.multiplier
    old = {"": w, **slots}
    for name in self.begins_at_weights:
        slots[name] = ops.where(t <= 1, w, slots[name])
    decay = self.decay_of(weight) if storage.decays(weight) else None
    decayed = w - w * decay * rate if decay else w
    w, changed = self.rule_of(weight, decayed, g, slots, rate, t)
    found = {"": w, **changed}
    if (due := is_due(self, steps, dtype)) is not None:
        found = {name: ops.where(due, x, old[name]) for name, x in found.items()}
    return {name: convert(x, dtype) for name, x in found.items()}

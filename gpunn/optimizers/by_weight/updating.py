"""The update of one weight after the other by operations on tensors, as part of a step."""

from __future__ import annotations

from typing import Any, cast

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import LEARNING_RATE, UPDATES, Control
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.ops.conversion import convert
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import Stages, stages_of, trace_for
from gpunn.ops.running.functions import places
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor


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
    treated = [(id(p), p.multiplier, storage.decays(p)) for p in storage.trained]

    def made() -> Stages:
        trace = trace_for(backend)
        numbers = trace.placeholder(rates), trace.placeholder(steps)
        stages = []
        for p in storage.trained:
            arrays = {n: storage.segment(storage.slots[n], p) for n in self.slot_names}
            given = [trace.placeholder(a) for a in (p.value, p.gradient, *arrays.values())]
            with trace.active():
                w, g, *before = given
                now = self._updated(p, storage, w, g, dict(zip(arrays, before, strict=True)),
                                    *numbers)  # fmt: skip
            stages.append([Destination(now.pop(""), p.value)])
            stages[-1] += [Destination(x, arrays[name]) for name, x in now.items()]
        return stages_of(trace, backend, stages)

    key = "update", self, *treated, places(storage.values, storage.gradients, *slots, rates)
    program = backend.kept(key, made)
    for number in range(len(storage.trained)):
        program.run(number)


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
    held = {"": w, **slots}
    for name in self.begins_at_weights:
        slots[name] = ops.where(t <= 1, w, slots[name])
    decay = self.decay_of(weight) if storage.decays(weight) else None
    decayed = w - w * decay * rate if decay else w
    w, changed = self.rule_of(weight, decayed, g, slots, rate, t)
    found = {"": w, **changed}
    if every > 1:
        due = done + 1 >= t * every
        found = {name: ops.where(due, x, held[name]) for name, x in found.items()}
    return {name: convert(x, dtype) for name, x in found.items()}

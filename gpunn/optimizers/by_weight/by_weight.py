"""The base class of optimizers that update each weight as a whole."""

from __future__ import annotations

from typing import ClassVar, cast

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import LEARNING_RATE, UPDATES, Control
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.ops.conversion import convert
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import Stages, stages_of, trace_for
from gpunn.ops.running.functions import places
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from ..optimizer import Optimizer, Tensors


class ByWeight(Optimizer):
    """Base class of optimizers that update each weight as a whole: `rule_of` computes with
    `gpunn.ops` on tensors of the weight's shape, as part of the step on every backend.

    Attributes:
        begins_at_weights: slots whose first value is the weights, before the first update.
    """

    _abstract = True
    _of_tensors = True
    functor = None
    begins_at_weights: ClassVar[tuple[str, ...]] = ()

    def rule_of(
        self, weight: Parameter, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensors]:
        """Return the new weights and the slots that change; arguments are those of `rule`, each of
        the shape of ``weight``, whose name and path may select what is computed."""
        raise TypeError(f"{type(self).__name__} must define rule_of(...).")

    def decay_of(self, weight: Parameter) -> float | None:
        """Return the weight decay of a weight to which it applies."""
        return cast("float | None", self.weight_decay)

    def _first_slots(self, storage: ParameterStorage) -> dict[str, Array]:
        made = super()._first_slots(storage)
        for name in self.begins_at_weights:
            storage.backend.write(made[name], storage.values)
        return made

    def _update_by_tensors(
        self, backend: Backend, storage: ParameterStorage, control: Control
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

    def _updated(
        self, weight: Parameter, storage: ParameterStorage, w: Tensor, g: Tensor,
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


def root_of_mean_square(x: Tensor) -> Tensor:
    """The root of the mean of all squares."""
    found: Tensor = ops.sqrt(ops.mean(x * x))
    return found

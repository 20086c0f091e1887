"""Optimizers written for Keras: `build` makes their slots, and `update_step` updates one weight.

`update_step` is traced once for each weight: in it, the weight and its slots are the variables that
`build` was given and has made, whose values are those of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.ops.tensor import Tensor, ops
from gpunn.ops.trace import Trace, current, tracing
from gpunn.ops.variable import Variable

from .updating import Tensors, decay_of, is_due, update_by_tensors, updated


class Slot(Variable):
    """A slot that `build` makes: it stands for the values that a step has in `update_step`."""

    may_be_weight = False

    def numpy(self) -> np.ndarray:
        """Raise a TypeError: outside of steps it has no values."""
        if current() is None:
            raise self._outside()
        return super().numpy()

    def write(self, numbers: np.ndarray) -> None:
        """Raise a TypeError: what is written outside of steps would be ignored."""
        raise self._outside()

    def _outside(self) -> TypeError:
        return TypeError(
            f"the slot {self.name!r} of an optimizer has values in update_step only. "
            f"model.training_state()[0] has those of now, as 'slot/{self.name}/...'."
        )

    def __repr__(self) -> str:
        return f"<Slot {self.name} {self.shape}>"


class Slots:
    """The weights that `build` was given, and the slots that it has made for each, in order."""

    def __init__(self, weights: Sequence[Any]) -> None:
        self.weights = list(weights)
        self.made: dict[int, list[Variable]] = {id(weight): [] for weight in weights}

    def index(self, weight: Any) -> int:
        return next(k for k, one in enumerate(self.weights) if one is weight)


def slots_for(optimizer: Any, weights: Sequence[Any]) -> Slots:
    """Let `build` make the slots of these weights."""
    slots = vars(optimizer)["_slots_made"] = Slots(weights)
    vars(optimizer)["_collects"] = True
    try:
        optimizer.build(slots.weights)
    finally:
        del vars(optimizer)["_collects"]
    return slots


def _probed(self: Any) -> dict[str, float]:
    """Return the names of the slots of a weight, and their first values."""
    found: dict[str, float] | None = vars(self).get("_slots_known")
    if found is None:
        weight = Parameter((1,), name="weight")
        before = dict(vars(self))
        slots = slots_for(self, [weight])
        vars(self).clear()
        vars(self).update(before)
        found = {}
        for number, slot in enumerate(slots.made[id(weight)]):
            name = slot.own_name or "slot"
            found[name if name not in found else f"{name}_{number}"] = float(slot.first[0])
        vars(self)["_slots_known"] = found
    return found


def add_variable_from_reference(
    self: Any, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
) -> Variable:
    """Make a slot of a weight, in `build`: an array of the weight's shape.

    Args:
        reference_variable: one of the weights that `build` is given.
        name: of the slot, such as "momentum": the same for each weight.
        initializer: its first value; all elements must be equal.

    Raises:
        ValueError: for other weights, and for an initializer of several values.
    """
    slots: Slots | None = vars(self).get("_slots_made")
    dtype = reference_variable.dtype or "float32"  # None before a weight has values
    made = Slot(initializer, shape=reference_variable.shape, dtype=dtype, name=name)
    if not np.all(made.first == made.first.reshape(-1)[:1]):
        raise ValueError(
            f"{self.name}: the first values of the slot {name!r} must be equal; got "
            f"initializer={initializer!r}."
        )
    if "_collects" in vars(self):
        if slots is None or id(reference_variable) not in slots.made:
            raise ValueError(f"{self.name}.build makes a slot for {reference_variable!r}, which "
                             f"is not one of the weights that it is given.")  # fmt: skip
        slots.made[id(reference_variable)].append(made)
    return made


def add_optimizer_variables(
    self: Any, trainable_variables: Sequence[Any], name: str | Sequence[str],
    initializer: Any = "zeros",
) -> Any:
    """Make a slot of each weight, in `build`, as a list; for several names, a tuple of lists.

    Args:
        trainable_variables: weights that `build` is given.
        name: of the slot, or of several.
        initializer: the first value of all of them, or a sequence with one for each name.

    Raises:
        ValueError: if names and initializers differ in number.
    """
    names = [name] if isinstance(name, str) else list(name)
    one_for_all = isinstance(name, str) or not isinstance(initializer, (list, tuple))
    firsts = [initializer] * len(names) if one_for_all else list(initializer)
    if len(firsts) != len(names):
        raise ValueError(
            f"{self.name}.add_optimizer_variables: an initializer for each of the names "
            f"{names} is expected; got {len(firsts)}."
        )
    made: tuple[list[Variable], ...] = tuple([] for _ in names)
    for variable in trainable_variables:
        for slots, own, first in zip(made, names, firsts, strict=True):
            slots.append(add_variable_from_reference(self, variable, own, first))
    return made[0] if isinstance(name, str) else made


def add_variable(self: Any, *args: Any, **options: Any) -> Any:
    """Refuse a variable of no weight."""
    raise TypeError(
        f"{type(self).__name__}.build makes a variable of no weight: slots have the shapes of "
        f"weights. Make it with add_variable_from_reference; self.iterations counts the updates."
    )


def _slots_of(self: Any, weight: Parameter) -> dict[str, Variable]:
    """Return the slots of a weight by name, which `build` makes if it has not."""
    known: Slots | None = vars(self).get("_slots_made")
    if known is None or id(weight) not in known.made:
        storage = weight.storage
        known = slots_for(self, [weight] if storage is None else list(storage.trained))
    return dict(zip(self.slot_names, known.made[id(weight)], strict=True))


@contextmanager
def _state(
    self: Any, trace: Trace, storage: ParameterStorage, given: Sequence[Tensors], steps: Tensor
) -> Iterator[Callable[[Parameter, Tensors], None]]:
    """A context in which each update reads all weights and slots, as those before it left them.

    It gives a function to call after each, with the weight and what changed. A variable of the
    class's own changes in steps that update only.
    """
    sources = {p: {"": p, **_slots_of(self, p)} for p in storage.trained}
    names = {id(x): (x, p, name) for p, own in sources.items() for name, x in own.items()}
    values = {id(sources[p][name]): x for p, own in zip(storage.trained, given, strict=True)
              for name, x in own.items()}  # fmt: skip

    def check(keys: Iterable[int]) -> None:
        for key in keys:
            source, p, name = names[key]
            if trace.read(source) is not values[key]:
                what = f"the slot {name!r} of {p.path}" if name else p.path
                raise TypeError(
                    f"{type(self).__name__}.update_step assigns to {what} in the update of another "
                    f"weight: assign to the variable that it is given, and to its slots."
                )

    def changed(weight: Parameter, now: Tensors) -> None:
        check(id(source) for source in sources[weight].values())
        for name, x in now.items():
            values[id(sources[weight][name])] = x
            trace.assign(sources[weight][name], x)

    with trace.reading([(names[key][0], x) for key, x in values.items()], keeps=False):
        yield changed
        check(names)
    for variable in trace.assigned:
        if (due := is_due(self, steps, "float32")) is not None:
            variable.now = ops.where(due, variable.now, variable.first)


def rule_of(
    self: Any, weight: Parameter, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
) -> tuple[Tensor, Tensors]:
    """Return the weight and the slots after the user's `update_step`."""
    own = _slots_of(self, weight)
    trace = tracing()
    vars(self)["_in_update"] = rate, t - 1
    try:
        values = [(weight, w), *((slot, slots[name]) for name, slot in own.items())]
        with trace.reading(values, keeps=False):
            self.update_step(g, weight, rate)
            return trace.read(weight), {name: trace.read(slot) for name, slot in own.items()}
    finally:
        del vars(self)["_in_update"]


def get_variable_index(self: Any, variable: Any) -> int:
    """Return the number of a weight among those that `build` was given."""
    return int(vars(self)["_slots_made"].index(variable))


def assign(self: Any, variable: Any, value: Any) -> None:
    """Set a weight or slot, in `update_step`."""
    variable.assign(value)


def assign_add(self: Any, variable: Any, value: Any) -> None:
    """Add to a weight or slot, in `update_step`."""
    variable.assign_add(value)


def assign_sub(self: Any, variable: Any, value: Any) -> None:
    """Subtract from a weight or slot, in `update_step`."""
    variable.assign_sub(value)


def _slot_names(self: Any) -> tuple[str, ...]:
    return tuple(_probed(self))


def _first_values(self: Any) -> Mapping[str, float]:
    return {name: value for name, value in _probed(self).items() if value}


# What a class with an `update_step` of its own gets.
INSTALLED: dict[str, Any] = {
    "_of_tensors": True, "functor": None, "begins_at_weights": (), "not_negative": (),
    "slot_names": property(_slot_names), "first_values": property(_first_values),
    "rule_of": rule_of, "decay_of": decay_of, "_updated": updated, "_state": _state,
    "_update_by_tensors": update_by_tensors, "add_variable": add_variable,
    "add_variable_from_reference": add_variable_from_reference,
    "add_optimizer_variables": add_optimizer_variables, "assign": assign,
    "assign_add": assign_add, "assign_sub": assign_sub, "_get_variable_index": get_variable_index,
}  # fmt: skip

"""One step of an optimizer on weights, variables or plain NumPy arrays, outside `fit`."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.control import UPDATES, Control
from gpunn.common.arguments import warn
from gpunn.core.arena import Arena, Parameter
from gpunn.core.operators import Operators


def apply_to_arrays(optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
    """Implement `Optimizer.apply`; see there."""
    gradients, variables = list(gradients), list(variables)
    wanting = [v for g, v in zip(gradients, variables, strict=False) if g is None]
    if wanting:
        names = ", ".join(getattr(v, "path", getattr(v, "name", "an array")) for v in wanting)
        if len(wanting) == len(variables):
            raise ValueError(
                f"There are no gradients for any of {names}: compute the loss from them inside "
                f"`with gpunn.GradientTape() as tape:`."
            )
        warn(f"There are no gradients for {names}: they stay as they are.")
    given = [np.zeros(v.shape) if g is None else np.asarray(g)
             for g, v in zip(gradients, variables, strict=False)]  # fmt: skip
    shapes = [g.shape for g in given], [tuple(np.shape(v)) for v in variables]
    if shapes[0] != shapes[1] or len(gradients) != len(variables):
        raise ValueError(f"gradients of shapes {shapes[0]} do not fit variables of {shapes[1]}.")
    arena = _arena_for(optimizer, variables)
    control = optimizer._control
    for parameter, g, v in zip(arena.parameters, given, variables, strict=True):
        parameter.value[...] = np.asarray(v)
        parameter.gradient[...] = np.divide(g, optimizer.loss_scale_factor or 1.0)
    optimizer.write_rates()
    optimizer.step(arena, control)
    control.set(UPDATES, int(control.get()[UPDATES]) + 1)
    for parameter, g, v in zip(arena.parameters, gradients, variables, strict=True):
        if g is None:
            continue
        if isinstance(v, np.ndarray):
            v[...] = parameter.value
        else:
            v.assign(parameter.value)


def _arena_for(optimizer: Any, variables: Sequence[Any]) -> Arena:
    """Return the arena with the optimizer's slots for these variables; the weights of a model are
    told apart by what they are, arrays by their shapes."""
    key: Any = tuple(np.shape(v) for v in variables)
    kept = vars(optimizer).setdefault("_loose", {})
    alive: Sequence[Any] = []
    if any(isinstance(v, Operators) for v in variables):
        key, alive = tuple(map(id, variables)), variables
    if key not in kept:
        backend = get_backend("numpy")
        dtype = str(variables[0].dtype) if variables else "float32"
        arena = Arena(backend, dtype, [_stand_in(n, v) for n, v in enumerate(variables)])
        for parameter, v in zip(arena.parameters, variables, strict=True):
            parameter.value[...] = np.asarray(v)
        control = optimizer._control if kept else None
        optimizer.add_slots(arena)
        optimizer.attach(control or Control(backend))
        kept[key] = arena, alive
    arena, _ = kept[key]
    optimizer._slots = weakref.ref(arena), arena.slots
    found: Arena = arena
    return found


def _stand_in(number: int, variable: Any) -> Parameter:
    """Return a parameter that is treated as a weight is."""
    if not isinstance(variable, Parameter):
        return Parameter(np.shape(variable), name=str(number))
    made = Parameter(
        variable.shape, name=str(number), multiplier=variable.multiplier, decay=variable.decay,
        constraint=variable.constraint,
    )  # fmt: skip
    made.connections = variable.connections
    return made

"""One step of an optimizer on plain NumPy arrays, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.control import UPDATES, Control
from gpunn.core.arena import Arena, Parameter


def apply_to_arrays(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[np.ndarray]
) -> None:
    """Implement `Optimizer.apply`; see there."""
    shapes = [tuple(np.shape(g)) for g in gradients], [np.shape(v) for v in variables]
    if shapes[0] != shapes[1]:
        raise ValueError(f"gradients of shapes {shapes[0]} do not fit variables of {shapes[1]}.")
    backend = get_backend("numpy")
    dtype = variables[0].dtype if variables else np.dtype("float32")
    arena: Arena | None = getattr(optimizer, "_loose", None)
    if arena is None or [p.shape for p in arena.parameters] != shapes[1]:
        arena = Arena(
            backend,
            dtype.name,
            [Parameter(shape, name=str(i)) for i, shape in enumerate(shapes[1])],
        )
        for parameter, v in zip(arena.parameters, variables, strict=True):
            parameter.value[...] = v
        optimizer.add_slots(arena)
        optimizer._loose = arena
        optimizer.attach(Control(backend))
    control = optimizer._control
    for parameter, g, v in zip(arena.parameters, gradients, variables, strict=True):
        parameter.value[...] = v
        parameter.gradient[...] = np.divide(g, optimizer.loss_scale_factor or 1.0)
    optimizer.write_rates()
    optimizer.step(arena, control)
    control.set(UPDATES, int(control.get()[UPDATES]) + 1)
    for parameter, v in zip(arena.parameters, variables, strict=True):
        v[...] = parameter.value

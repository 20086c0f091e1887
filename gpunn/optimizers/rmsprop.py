"""RMSprop: steps scaled by a running mean of the squared gradient."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_flag, check_fraction, check_not_negative
from gpunn.common.fields import field

from .means import averaged
from .optimizer import Optimizer, Slots


class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g^2, w -= a g / sqrt(v + eps) (Tieleman and Hinton, "Neural
    networks for machine learning", lecture 6.5, 2012).

    Args:
        learning_rate: a, at least 0.
        rho: decay of the mean, from 0 to 1.
        momentum: mu, from 0 to 1: the step becomes m = mu m + a g / sqrt(v + eps).
        epsilon: added to v.
        centered: divide by the root of v less the square of the mean gradient, the
            gradient's variance (Graves, 2013).
        weight_decay and others: see `Optimizer`.

    >>> import numpy as np
    >>> w = np.array([1.0])
    >>> RMSprop(learning_rate=0.1, rho=0.75).apply([[5.0]], [w]); w.round(6).tolist()
    [0.8]
    """

    functor = "RMSprop"
    parameter_names = ("rho", "momentum", "epsilon", "centered", "weight_decay")
    not_negative = ("velocity",)

    learning_rate: Any = 0.001
    rho: float = field(default=0.9, check=check_fraction)
    momentum: float = field(default=0.0, check=check_fraction)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    centered: bool = field(default=False, check=check_flag)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.01},
        {"learning_rate": 0.01, "momentum": 0.5, "rho": 0.8, "epsilon": 0.001},
        {"learning_rate": 0.01, "centered": True, "epsilon": 0.001, "weight_decay": 0.05},
        {"learning_rate": 0.01, "centered": True, "epsilon": 0.001, "momentum": 0.9},
    )

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (
            "velocity",
            *(["average_gradient"] if self.centered else []),
            *(["momentum"] if self.momentum else []),
        )

    def move(self, backend: Backend, w: Array, g: Array, slots: Slots, rate: Any, t: Any) -> None:
        xp = backend.xp
        step = backend.scratch(w.shape, w.dtype, "step")
        scaled = backend.scratch(w.shape, w.dtype, "scaled")
        v = slots["velocity"]
        xp.multiply(g, g, out=step)
        averaged(backend, v, step, self.rho, step)
        if self.centered:
            mean = slots["average_gradient"]
            averaged(backend, mean, g, self.rho, step)
            xp.multiply(mean, mean, out=step)
            xp.subtract(v, step, out=step)
            v = step
        xp.add(v, self.epsilon, out=step)
        xp.sqrt(step, out=step)
        xp.multiply(g, rate, out=scaled)
        xp.divide(scaled, step, out=step)
        if self.momentum:
            m = slots["momentum"]
            xp.multiply(m, self.momentum, out=m)
            xp.add(m, step, out=m)
            step = m
        xp.subtract(w, step, out=w)

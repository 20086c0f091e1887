"""RMSprop: steps scaled by a running mean of the squared gradient."""

from __future__ import annotations

from typing import Any

from gpunn import ops
from gpunn.common.arguments import check_flag, check_fraction, check_not_negative
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .means import averaged
from .optimizer import Moved, Optimizer, Tensors
from .rules import with_options


class RMSprop(Optimizer):
    """``v = rho v + (1 - rho) g^2, w -= a g / sqrt(v + eps)`` (Tieleman and Hinton, "Neural
    networks for machine learning", lecture 6.5, 2012).

    Gradients are divided by the root of a running mean of their squares, so that the size of a step
    depends little on the scale of the gradient.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        rho: decay of the mean, from 0 to 1.
        momentum: mu, from 0 to 1: the step becomes
            ``m = mu m + a g / sqrt(v + eps)``.
        epsilon: added to v.
        centered: divide by the root of the gradient's variance, v minus the square of the
            mean gradient (Graves, 2013).

    >>> import numpy as np
    >>> from gpunn.optimizers import RMSprop
    >>> w = np.array([1.0])
    >>> RMSprop(learning_rate=0.1, rho=0.75).apply([[5.0]], [w]); w.round(6).tolist()
    [0.8]
    """

    options = ("centered", "momentum")
    parameter_names = ("rho", "momentum", "epsilon", "weight_decay")
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
    def functor(self) -> str:  # type: ignore[override]
        return with_options("RMSprop", self)

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (
            "velocity",
            *(["average_gradient"] if self.centered else []),
            *(["momentum"] if self.momentum else []),
        )

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        v = averaged(slots["velocity"], g * g, self.rho)
        changed, spread = {"velocity": v}, v
        if self.centered:
            mean = averaged(slots["average_gradient"], g, self.rho)
            changed["average_gradient"], spread = mean, v - mean * mean
        step = rate * g / ops.sqrt(spread + self.epsilon)
        if "momentum" in slots:
            changed["momentum"] = step = self.momentum * slots["momentum"] + step
        return w - step, changed

"""AdaGrad: steps that shrink by the gradients so far."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_not_negative
from gpunn.common.fields import field

from .optimizer import Optimizer, Slots


class Adagrad(Optimizer):
    """s += g^2, w -= a g / sqrt(s + eps) (Duchi, Hazan and Singer, "Adaptive subgradient
    methods", 2011): a weight that has moved much moves less.

    Args:
        learning_rate: a, at least 0.
        initial_accumulator_value: s at first, at least 0.
        epsilon: added to s.
        weight_decay and others: see `Optimizer`.

    >>> import numpy as np
    >>> w, adagrad = np.array([1.0]), Adagrad(0.1, initial_accumulator_value=0.0)
    >>> for _ in range(4):
    ...     adagrad.apply([[5.0]], [w])
    >>> bool(np.isclose(w, 1 - 0.1 * (1 + 2**-0.5 + 3**-0.5 + 0.5)))
    True
    """

    functor = "Adagrad"
    parameter_names = ("epsilon", "weight_decay")
    slot_names = ("accumulator",)
    not_negative = ("accumulator",)

    learning_rate: Any = 0.001
    initial_accumulator_value: float = field(default=0.1, check=check_not_negative)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.05},
        {"initial_accumulator_value": 0.3, "weight_decay": 0.05, "epsilon": 0.01},
    )

    @property
    def first_values(self) -> dict[str, float]:  # type: ignore[override]
        return {"accumulator": self.initial_accumulator_value}

    def move(self, backend: Backend, w: Array, g: Array, slots: Slots, rate: Any, t: Any) -> None:
        xp = backend.xp
        step = backend.scratch(w.shape, w.dtype, "step")
        scaled = backend.scratch(w.shape, w.dtype, "scaled")
        s = slots["accumulator"]
        xp.multiply(g, g, out=step)
        xp.add(s, step, out=s)
        xp.add(s, self.epsilon, out=step)
        xp.sqrt(step, out=step)
        xp.multiply(g, rate, out=scaled)
        xp.divide(scaled, step, out=step)
        xp.subtract(w, step, out=w)

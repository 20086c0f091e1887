"""Adamax: Adam that divides by the largest gradient of late."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_fraction, check_number

from .optimizer import Optimizer, averaged, decayed


class Adamax(Optimizer):
    """m += (g - m)(1 - b1), u = max(b2 u, |g|), w -= a / (1 - b1^t) m / (u + eps)
    (Kingma and Ba, 2015, section 7.1).

    Args:
        learning_rate: a, at least 0.
        beta_1, beta_2: decay of the mean and of the largest, from 0 to below 1.
        epsilon: added to the largest.
        weight_decay, common: see `Optimizer`.

    >>> import numpy as np
    >>> w = np.array([1.0])
    >>> Adamax(learning_rate=0.1).apply([[5.0]], [w]); w.round(6).tolist()
    [0.9]
    """

    functor = "Adamax"
    slot_names = ("m", "u")
    not_negative = ("u",)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, **common)
        self.beta_1 = check_fraction("beta_1", beta_1, below_one=True)
        self.beta_2 = check_fraction("beta_2", beta_2, below_one=True)
        self.epsilon = check_number("epsilon", epsilon, 0)

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        return (self.beta_1, self.beta_2, self.epsilon, self.weight_decay or 0.0)

    def update(
        self,
        backend: Backend,
        w: Array,
        g: Array,
        slots: dict[str, Array],
        learning_rate: Any,
        updates: Any,
        decay: bool,
    ) -> None:
        xp = backend.xp
        step = backend.scratch(w.shape, w.dtype, "step")
        if self.weight_decay and decay:
            decayed(backend, w, self.weight_decay * learning_rate, step)
        rate = learning_rate / (1 - self.beta_1 ** (updates + 1))
        m, u = slots["m"], slots["u"]
        averaged(backend, m, g, self.beta_1, step)
        xp.multiply(u, self.beta_2, out=u)
        xp.abs(g, out=step)
        xp.maximum(u, step, out=u)
        xp.add(u, self.epsilon, out=step)
        xp.divide(m, step, out=step)
        xp.multiply(step, rate, out=step)
        xp.subtract(w, step, out=w)

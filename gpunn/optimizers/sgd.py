"""Stochastic gradient descent, plain, with momentum, with Nesterov momentum."""

from __future__ import annotations

from typing import Any

from ..arguments import check_fraction
from ..backends.base import Array, Backend
from .base import Optimizer, decayed


class SGD(Optimizer):
    """w -= a g; with momentum mu (Polyak, 1964): m = mu m - a g, w += m.

    With ``nesterov`` (Sutskever et al., 2013): w += mu m - a g, with the new m.

    Args:
        learning_rate: a, at least 0.
        momentum: mu, from 0 to 1.
        nesterov: whether to use Nesterov's form.
        weight_decay, clipnorm, clipvalue, global_clipnorm: see `Optimizer`.

    >>> import numpy as np
    >>> w, sgd = np.array([1.0]), SGD(learning_rate=0.1, momentum=0.9)
    >>> sgd.apply([[1.0]], [w]); sgd.apply([[1.0]], [w]); w.round(6).tolist()
    [0.71]
    """

    functor = "SGD"

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = "sgd",
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.momentum = check_fraction("momentum", momentum)
        self.nesterov = bool(nesterov)
        self.slot_names = ("momentum",) if momentum else ()

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        return (self.momentum, float(self.nesterov), self.weight_decay or 0.0)

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
        xp.multiply(g, learning_rate, out=step)
        if not self.momentum:
            xp.subtract(w, step, out=w)
            return
        m = slots["momentum"]
        xp.multiply(m, self.momentum, out=m)
        xp.subtract(m, step, out=m)
        if self.nesterov:
            xp.subtract(w, step, out=w)
            xp.multiply(m, self.momentum, out=step)
            xp.add(w, step, out=w)
        else:
            xp.add(w, m, out=w)

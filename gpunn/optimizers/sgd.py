"""Stochastic gradient descent: plain, with momentum, or with Nesterov momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.control import PARAMETERS
from gpunn.common.arguments import check_flag, check_fraction
from gpunn.common.fields import field
from gpunn.common.registry import is_own
from gpunn.ops.tensor import Tensor

from .learning_rate import given_schedule
from .optimizer import Moved, Optimizer, Tensors
from .rules import with_options
from .schedules import LearningRateSchedule


def _check_momentum(name: str, value: Any) -> Any:
    return given_schedule(value) or check_fraction(name, value)


class SGD(Optimizer):
    """``w -= a g``; with momentum mu (Polyak, 1964): ``m = mu m - a g``, ``w += m``.

    Stochastic gradient descent moves the weights w against their gradient g, by a step of the
    learning rate a times g. Momentum adds a share of the previous step, which speeds up directions
    in which the gradient keeps its sign.

    With ``nesterov`` (Sutskever et al., 2013): ``w += mu m - a g``, with the new m.

    Args:
        learning_rate: a, at least 0.
        momentum: mu, from 0 to 1; or a schedule, such as
            ``PiecewiseConstantDecay([n], [0.5, 0.9])`` for 0.5 until n updates are done.
        nesterov: whether to use Nesterov's form.
        weight_decay: see `Optimizer`, also for the arguments by keyword.

    Raises:
        ValueError: for an argument out of its range.

    >>> import numpy as np
    >>> from gpunn.optimizers import SGD
    >>> w, sgd = np.array([1.0]), SGD(learning_rate=0.1, momentum=0.9)
    >>> sgd.apply([[1.0]], [w]); sgd.apply([[1.0]], [w]); w.round(6).tolist()  # 1 - 0.1 - 0.19
    [0.71]
    """

    parameter_names = ("momentum", "weight_decay")
    options = ("momentum", "nesterov")

    learning_rate: Any = 0.01
    momentum: Any = field(default=0.0, check=_check_momentum)
    nesterov: bool = field(default=False, check=check_flag)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.1},
        {"learning_rate": 0.1, "momentum": 0.9},
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        {"learning_rate": 0.1, "weight_decay": 0.05},
        {"learning_rate": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.05},
        {"learning_rate": 0.1, "clipvalue": 0.01},
        {"learning_rate": 0.1, "clipnorm": 0.1},
        {"learning_rate": 0.1, "momentum": 0.9, "global_clipnorm": 0.1},
    )

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("momentum",) if self.momentum else ()

    @property
    def functor(self) -> str:  # type: ignore[override]
        return "SGD" if not self.momentum else with_options("SGD", self)

    @property
    def _skips_zeros(self) -> bool:
        return not self.momentum and is_own(self)

    @property
    def parameters(self) -> tuple[float, ...]:
        """The parameters, with a schedule's momentum for the next batch."""
        momentum = self.momentum
        now = momentum(self.steps_done) if isinstance(momentum, LearningRateSchedule) else momentum
        return float(now), float(self.weight_decay or 0.0)

    @property
    def schedules(self) -> dict[int, LearningRateSchedule]:
        momentum = self.momentum
        own = {PARAMETERS: momentum} if isinstance(momentum, LearningRateSchedule) else {}
        return {**super().schedules, **own}

    def number_now(self, name: str) -> Any:
        if not isinstance(self.momentum, LearningRateSchedule) or self._control is None:
            return super().number_now(name)
        momentum = self._control.rates[PARAMETERS]
        return float(momentum) if isinstance(momentum, np.floating) else momentum

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        step = rate * g
        if "momentum" not in slots:
            return w - step, {}
        m = self.momentum * slots["momentum"] - step
        return w - step + self.momentum * m if self.nesterov else w + m, {"momentum": m}

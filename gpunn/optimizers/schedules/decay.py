"""Schedules that stand still, go down in steps, or decay by a simple law."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from gpunn.common.arguments import check_number

from .schedule import LearningRateSchedule, check_rate, check_steps


class Constant(LearningRateSchedule):
    """Always ``value``.

    >>> Constant(0.1)(1000)
    0.1
    """

    functor = "ConstantValue"
    examples = ({"value": 0.1},)

    def __init__(self, value: float) -> None:
        self.value = check_rate("value", value)

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        return (self.value,)

    def __call__(self, step: Any) -> float:
        return self.value


class PiecewiseConstantDecay(LearningRateSchedule):
    """Steps: ``values[i]`` up to and including step ``boundaries[i]``, then the next one.

    Args:
        boundaries: strictly increasing numbers of updates.
        values: one more than there are boundaries.
        name: kept for Keras's scripts.

    >>> momentum = PiecewiseConstantDecay([100], [0.5, 0.9])
    >>> momentum(0), momentum(100), momentum(101)
    (0.5, 0.5, 0.9)
    """

    functor = "PiecewiseConstantDecay"
    examples = (
        {"boundaries": [5], "values": [0.5, 0.9]},
        {"boundaries": [2, 3, 7], "values": [1.0, 0.1, 0.5, 0.0]},
    )

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        boundaries, values = list(boundaries), list(values)
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"values must have one entry more than boundaries; got {len(values)} values "
                f"and {len(boundaries)} boundaries."
            )
        for number, boundary in enumerate(boundaries):
            check_number(f"boundaries[{number}]", boundary)
            if number and not boundary > boundaries[number - 1]:
                raise ValueError(f"boundaries must increase; got {boundaries!r}.")
        self.boundaries = boundaries
        self.values = [check_rate(f"values[{i}]", value) for i, value in enumerate(values)]
        self.name = name

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        return (len(self.boundaries), *self.boundaries, *self.values)

    def __call__(self, step: Any) -> float:
        return self.values[bisect_left(self.boundaries, float(step))]


class _Decay(LearningRateSchedule):
    """What falls with p = step / decay_steps, in whole numbers with ``staircase``."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool,
        name: str,
    ) -> None:
        self.initial_learning_rate = check_rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.decay_rate = check_rate("decay_rate", decay_rate)
        self.staircase = bool(staircase)
        self.name = name

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        return (self.initial_learning_rate, self.decay_steps, self.decay_rate, self.staircase)

    def _periods(self, step: Any) -> float:
        p = float(step) / self.decay_steps
        return math.floor(p) if self.staircase else p


class ExponentialDecay(_Decay):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    Args:
        initial_learning_rate: at step 0.
        decay_steps: steps in which it falls by the factor ``decay_rate``.
        decay_rate: that factor.
        staircase: round step / decay_steps down.
        name: kept for Keras's scripts.

    >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
    0.025
    """

    functor = "ExponentialDecay"
    examples = (
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7},
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7, "staircase": True},
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: Any) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._periods(step)


class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    Args:
        initial_learning_rate: at step 0.
        decay_steps: steps in which the denominator grows by ``decay_rate``.
        decay_rate: see there.
        staircase: round step / decay_steps down.
        name: kept for Keras's scripts.

    >>> InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)(10)
    0.05
    """

    functor = "InverseTimeDecay"
    examples = ExponentialDecay.examples

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: Any) -> float:
        return self.initial_learning_rate / (1.0 + self.decay_rate * self._periods(step))


class PolynomialDecay(LearningRateSchedule):
    """(initial - end) * (1 - step / decay_steps) ** power + end; then ``end`` for good.

    Args:
        initial_learning_rate: at step 0.
        decay_steps: step at which ``end_learning_rate`` is reached.
        end_learning_rate: the smallest value.
        power: 1 is a straight line.
        cycle: past the end, go on with the next multiple of ``decay_steps`` instead.
        name: kept for Keras's scripts.

    >>> PolynomialDecay(0.5, decay_steps=10, end_learning_rate=0.0)(5)
    0.25
    """

    functor = "PolynomialDecay"
    examples = (
        {"initial_learning_rate": 0.1, "decay_steps": 9, "power": 0.5},
        {"initial_learning_rate": 0.1, "decay_steps": 4, "end_learning_rate": 0.2, "cycle": True},
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = check_rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.end_learning_rate = check_rate("end_learning_rate", end_learning_rate)
        self.power = check_rate("power", power)
        self.cycle = bool(cycle)
        self.name = name

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        rates = self.initial_learning_rate, self.end_learning_rate
        return (*rates, self.decay_steps, self.power, self.cycle)

    def __call__(self, step: Any) -> float:
        step, steps = float(step), float(self.decay_steps)
        if self.cycle:
            steps *= max(1.0, math.ceil(step / steps))
        left = 1.0 - min(step, steps) / steps
        falls = self.initial_learning_rate - self.end_learning_rate
        return falls * left**self.power + self.end_learning_rate

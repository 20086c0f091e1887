"""Schedules that are constant, piecewise constant, or decay by a simple formula."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from gpunn.common.arguments import check_flag, check_number
from gpunn.common.fields import field
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor, ops

from .schedule import LearningRateSchedule, check_rate, check_steps


class Constant(LearningRateSchedule):
    """Always ``value``.

    The schedule for a fixed learning rate, where one is needed as an object. It is called with the
    number of batches so far, from 0.

    Args:
        value: the learning rate, at least 0.

    Raises:
        ValueError: for a value that is negative or not finite.

    >>> from gpunn.optimizers.schedules import Constant
    >>> Constant(0.1)(1000)
    0.1
    """

    functor = "ConstantValue"
    examples = ({"value": 0.1},)
    parameter_names = ("value",)

    value: float = field(check=check_rate)

    def rate(self, step: Tensor) -> Tensor:
        return convert(self.value, "float64")


def _listed(name: str, value: Any) -> list[Any]:
    return list(value)


class PiecewiseConstantDecay(LearningRateSchedule):
    """Steps: ``values[i]`` up to and including step ``boundaries[i]``, then the next one.

    The rate is constant between the boundaries, as in Keras. The
    step is the number of batches trained on so far, from 0.

    Args:
        boundaries: strictly increasing numbers of batches.
        values: one more than there are boundaries.
        name: kept for Keras's scripts.

    Raises:
        ValueError: if the boundaries do not increase, or the numbers of entries do not fit.

    >>> from gpunn.optimizers.schedules import PiecewiseConstantDecay
    >>> momentum = PiecewiseConstantDecay([100], [0.5, 0.9])
    >>> momentum(0), momentum(100), momentum(101)
    (0.5, 0.5, 0.9)
    """

    functor = "PiecewiseConstantDecay"
    examples = (
        {"boundaries": [5], "values": [0.5, 0.9]},
        {"boundaries": [2, 3, 7], "values": [1.0, 0.1, 0.5, 0.0]},
    )
    parameter_names = ("boundary_count", "boundaries", "values")

    boundaries: Sequence[float] = field(check=_listed)
    values: Sequence[float] = field(check=_listed)
    name: str = field(default="PiecewiseConstant")

    def __post_init__(self) -> None:
        boundaries, values = self.boundaries, self.values
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"values must have one entry more than boundaries; got {len(values)} values "
                f"and {len(boundaries)} boundaries."
            )
        for number, boundary in enumerate(boundaries):
            check_number(f"boundaries[{number}]", boundary)
            if number and not boundary > boundaries[number - 1]:
                raise ValueError(f"boundaries must increase; got {boundaries!r}.")
        self.values = [check_rate(f"values[{i}]", value) for i, value in enumerate(values)]

    @property
    def boundary_count(self) -> int:
        return len(self.boundaries)

    def __call__(self, step: Any) -> float:
        return self.values[bisect_left(self.boundaries, float(step))]


class _ByPeriods(LearningRateSchedule):
    """Base class of decays by a factor every ``decay_steps``."""

    parameter_names = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase")

    initial_learning_rate: float = field(check=check_rate)
    decay_steps: float = field(check=check_steps)
    decay_rate: float = field(check=check_rate)
    staircase: bool = field(default=False, check=check_flag)
    name: str = field(default="")

    def periods(self, step: Tensor) -> Tensor:
        """Return the number of periods that have passed."""
        passed = step / self.decay_steps
        periods = ops.where(self.staircase > 0, ops.floor(passed), passed)
        return periods


class ExponentialDecay(_ByPeriods):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    The rate falls by the same factor in each ``decay_steps`` steps, as in Keras. The
    step is the number of batches trained on so far, from 0.

    Args:
        initial_learning_rate: at step 0.
        decay_steps: steps in which it falls by the factor ``decay_rate``.
        decay_rate: that factor.
        staircase: round ``step / decay_steps`` down.
        name: kept for Keras's scripts.

    Raises:
        ValueError: for a negative rate, or steps that are not positive.

    >>> from gpunn.optimizers.schedules import ExponentialDecay
    >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
    0.025
    """

    functor = "ExponentialDecay"
    examples = (
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7},
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7, "staircase": True},
    )

    name = "ExponentialDecay"

    def rate(self, step: Tensor) -> Tensor:
        return self.initial_learning_rate * ops.power(self.decay_rate, self.periods(step))


class InverseTimeDecay(_ByPeriods):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    The rate falls fast at first and ever more slowly, as in Keras.

    Args:
        decay_steps: steps in which the denominator grows by ``decay_rate``.

    The step, the other arguments, and errors: as for `ExponentialDecay`.

    >>> from gpunn.optimizers.schedules import InverseTimeDecay
    >>> InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)(10)
    0.05
    """

    functor = "InverseTimeDecay"
    examples = ExponentialDecay.examples

    name = "InverseTimeDecay"

    def rate(self, step: Tensor) -> Tensor:
        return self.initial_learning_rate / (1.0 + self.decay_rate * self.periods(step))


class PolynomialDecay(LearningRateSchedule):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``; then ``end`` for good.

    The rate falls along a straight line or a power, as in Keras.

    Args:
        decay_steps: step at which ``end_learning_rate`` is reached.
        end_learning_rate: the smallest value.
        power: 1 gives a straight line.
        cycle: after the end, continue with the next multiple of ``decay_steps`` instead.

    The step, the other arguments, and errors: as for `ExponentialDecay`.

    >>> from gpunn.optimizers.schedules import PolynomialDecay
    >>> PolynomialDecay(0.5, decay_steps=10, end_learning_rate=0.0)(5)
    0.25
    """

    functor = "PolynomialDecay"
    examples = (
        {"initial_learning_rate": 0.1, "decay_steps": 9, "power": 0.5},
        {"initial_learning_rate": 0.1, "decay_steps": 4, "end_learning_rate": 0.2, "cycle": True},
    )
    parameter_names = (
        "initial_learning_rate", "end_learning_rate", "decay_steps", "power", "cycle",
    )

    initial_learning_rate: float = field(check=check_rate)
    decay_steps: float = field(check=check_steps)
    end_learning_rate: float = field(default=0.0001, check=check_rate)
    power: float = field(default=1.0, check=check_rate)
    cycle: bool = field(default=False, check=check_flag)
    name: str = field(default="PolynomialDecay")

    def rate(self, step: Tensor) -> Tensor:
        begun = ops.maximum(ops.ceil(step / self.decay_steps), 1.0)
        steps = self.decay_steps * ops.where(self.cycle > 0, begun, 1.0)
        left = 1.0 - ops.minimum(step, steps) / steps
        falls = self.initial_learning_rate - self.end_learning_rate
        return falls * ops.power(left, self.power) + self.end_learning_rate

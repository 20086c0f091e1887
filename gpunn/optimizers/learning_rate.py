"""Setting and reading an optimizer's learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.common.arguments import check_number
from gpunn.common.config import floatx

from . import schedules

if TYPE_CHECKING:
    from .schedules import LearningRateSchedule


class LearningRate(float):
    """A learning rate at the time it was read: a number with the methods of Keras's variable.

    >>> from gpunn.optimizers import SGD
    >>> optimizer = SGD(0.5)
    >>> optimizer.learning_rate.assign(0.25)
    >>> optimizer.learning_rate, float(optimizer.learning_rate.numpy())
    (0.25, 0.25)
    """

    _optimizer: Any

    def __new__(cls, value: Any, optimizer: Any) -> LearningRate:
        made = super().__new__(cls, value)
        made._optimizer = optimizer
        return made

    def __reduce__(self) -> tuple[type, tuple[float]]:  # a copy is a plain number
        return float, (float(self),)

    def numpy(self) -> Any:
        """The number, in the dtype of `gpunn.config.floatx`."""
        return np.dtype(floatx()).type(self)

    value = property(numpy)

    def assign(self, value: Any) -> None:
        """Set the optimizer's learning rate to ``value``."""
        self._optimizer.learning_rate = value

    def assign_part(self, key: Any, value: Any) -> None:
        """Assign to all of it, as to a part of a variable: it is what a tensor of it assigns to."""
        self.assign(value)


def given_schedule(value: Any) -> LearningRateSchedule | None:
    """Return the schedule for ``value``, an object, a configuration or a function; None for a
    number."""
    if isinstance(value, dict) or callable(value):
        return schedules.get(value)
    return None


def checked_rate(
    value: Any, before: float | LearningRateSchedule
) -> float | LearningRateSchedule:
    """Return the new learning rate for ``value``, a number, an array without axes, or a schedule.

    Raises:
        TypeError: for a number if ``before`` is a schedule.
        ValueError: for a number below 0, or one that is not finite.
    """
    schedule = given_schedule(value)
    if schedule is not None:
        return schedule
    if not isinstance(before, float):
        raise TypeError(
            f"learning_rate={value!r}: this optimizer was created with a "
            f"{type(before).__name__}, which computes the rate for each update. Set another "
            f"schedule, or compile with a number to set it yourself."
        )
    if getattr(value, "ndim", None) == 0:  # an array, a tensor or a variable
        value = np.asarray(value)[()]
    rate = float(check_number("learning_rate", value))
    if not rate >= 0 or math.isinf(rate):
        raise ValueError(f"learning_rate must be a finite number of at least 0; got {rate!r}.")
    return rate

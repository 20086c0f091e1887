"""The base class of schedules: a value for each number of batches trained on so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn.backends.contract.backend import Program
from gpunn.common import registry
from gpunn.common.arguments import check_number
from gpunn.common.parts import Formula, OfOneFunction, lookups
from gpunn.common.signatures import signature
from gpunn.ops.fusion.calls import function_of_numbers
from gpunn.ops.fusion.formulas import recorded
from gpunn.ops.fusion.in_place import Stated
from gpunn.ops.tensor import Tensor

__all__ = ["LearningRateSchedule", "deserialize", "get", "serialize"]


class LearningRateSchedule(Stated, Formula):
    """Base class of schedules. It counts batches, as in Keras, even if an optimizer with
    ``gradient_accumulation_steps`` makes one update from several.

    A schedule is called with the number of batches trained on so far, from 0, and returns the
    learning rate of the next one, a float. An optimizer takes it as its ``learning_rate``.

    A subclass defines ``__call__``, or `rate` with `gpunn.ops`. It is saved with the model. It
    needs ``get_config`` if the arguments of its constructor are not its attributes.

    Attributes:
        functor: name of the formula of the kernels, in ``kernels/formulas/schedules.cuh``, or in
            ``generated_schedules.cuh`` if the schedule defines `rate`. Without a functor the host
            computes each value, and a launch covers one step.
        parameter_names: attributes that are passed to this formula.

    >>> from gpunn.optimizers.schedules import LearningRateSchedule
    >>> class _Halving(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 * 0.5**step
    >>> _Halving()(2)
    0.025
    """

    _kind = "schedule"
    _rebuilt_when_set = True

    def rate(self, step: Tensor) -> Tensor:
        """Return the value for the batch after the first ``step`` batches, a float64 scalar."""
        raise TypeError(f"{type(self).__name__} must define __call__(step), or rate(step).")

    def __call__(self, step: Any) -> float:
        """Return the value for the batch after the first ``step`` batches."""
        (of_step,) = self.in_place("float64")
        return float(of_step(float(step)))

    def _functions(self, dtype: str) -> tuple[Callable[..., float]]:
        return (function_of_numbers(recorded(self, "rate", [], ["step"]), "step"),)

    __repr__ = registry.call_text


class FunctionSchedule(OfOneFunction, LearningRateSchedule):
    """A custom function as a schedule: of the number of batches so far or, as in Keras,
    without arguments.

    `get` creates one. It is saved by the name it was registered under, see
    `gpunn.saving.register_serializable`.

    >>> get(lambda step: 0.1 / (1 + step))(1), get(lambda: 0.5)(1)
    (0.05, 0.5)
    """

    _abstract = True
    reads = "a number of steps"

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._takes_step = bool(signature(function).parameters)

    def __call__(self, step: Any) -> float:
        return float(self.function(step) if self._takes_step else self.function())


def check_rate(name: str, value: Any) -> float:
    """Return ``value`` as a finite float of at least 0."""
    number = check_number(name, value, 0)
    if math.isinf(number):
        raise ValueError(f"{name} must be finite; got {value!r}.")
    return number


def check_steps(name: str, value: Any) -> float:
    """Return ``value``, a positive finite number of steps, unchanged (an int stays an int)."""
    number = check_number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be > 0; got {value!r}.")
    return int(value) if number == int(value) else number


class HostRates:
    """A program whose rates the host writes before each step, see `Optimizer.write_rates`."""

    def __init__(self, program: Program, optimizer: Any) -> None:
        self._program, self._optimizer = program, optimizer

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._optimizer.write_rates()
            self._program.run(1)


get, serialize, deserialize = lookups(LearningRateSchedule)

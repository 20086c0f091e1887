"""What reading an optimizer's learning rate gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.config import floatx


class LearningRate(float):
    """A learning rate as it was when it was read: a number, with what Keras's variable has.

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

    def __reduce__(self) -> tuple[type, tuple[float]]:  # a copy is a mere number
        return float, (float(self),)

    def numpy(self) -> Any:
        """The number, in the dtype of `gpunn.config.floatx`."""
        return np.dtype(floatx()).type(self)

    def assign(self, value: Any) -> None:
        """Set the optimizer's learning rate to ``value``."""
        self._optimizer.learning_rate = value

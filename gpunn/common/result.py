"""Results of metrics: numbers with the ``numpy()`` method of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np


class Number(float):
    """A Python number with a ``numpy()`` method, as Keras's tensors have.

    >>> Number(0.5), float(Number(0.5).numpy())
    (0.5, 0.5)
    """

    def numpy(self) -> np.float64:
        """Return the same value as a NumPy number."""
        return np.float64(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float(self),)

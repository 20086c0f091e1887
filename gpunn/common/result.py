"""Results on the host, with the ``numpy()`` method of Keras's tensors: arrays and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


class Result(np.ndarray):
    """A NumPy array with a ``numpy()`` method, as Keras's tensors have.

    >>> result(np.ones(2)).numpy()
    array([1., 1.])
    """

    def numpy(self) -> np.ndarray:
        """Return the same values as a plain array."""
        return self.view(np.ndarray)

    def __repr__(self) -> str:
        return repr(self.numpy())


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


def result(values: Any) -> Any:
    """Convert a NumPy array or a number to a `Result`; anything else, such as a GPU array, is
    returned unchanged."""
    if isinstance(values, (np.ndarray, np.generic, float)):
        return np.asarray(values).view(Result)
    return values

"""What calls on arrays give: arrays of NumPy, which can be asked as Keras's tensors are."""

from __future__ import annotations

from typing import Any

import numpy as np


class Result(np.ndarray):
    """An array of NumPy that has Keras's way to ask a tensor for its numbers.

    >>> result(np.ones(2)).numpy()
    array([1., 1.])
    """

    def numpy(self) -> np.ndarray:
        """The same numbers as a plain array."""
        return self.view(np.ndarray)

    def __repr__(self) -> str:
        return repr(self.numpy())


def result(values: Any) -> Any:
    """Numbers as a `Result`; what is neither an array of NumPy nor a number stays as it is, as
    an array of a card."""
    if isinstance(values, (np.ndarray, np.generic, float)):
        return np.asarray(values).view(Result)
    return values

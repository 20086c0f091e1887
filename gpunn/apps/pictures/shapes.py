"""Shapes of a model's samples as pictures."""

from __future__ import annotations

from typing import Any


def grey_shape(sample: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a sample shape without its channel axis if there is only one channel.

    >>> grey_shape((28, 28, 1)), grey_shape((1, 28, 28)), grey_shape((28, 28, 3))
    ((28, 28), (28, 28), (28, 28, 3))
    """
    if len(sample) == 3 and 1 in (sample[0], sample[2]):
        return sample[:2] if sample[2] == 1 else sample[1:]
    return sample

"""Shapes of a model's samples as pictures."""

from __future__ import annotations

import math
from typing import Any

from gpunn.feeding.mnist_form import PIXELS, SIDE


def picture_shape(sample: tuple[Any, ...], mnist: bool = False) -> tuple[Any, ...]:
    """Return a sample shape without its channel axis if there is only one channel.

    Args:
        sample: shape of a model's samples.
        mnist: whether the samples are MNIST's digits, which may be flat, row by row.

    >>> picture_shape((28, 28, 1)), picture_shape((1, 28, 28)), picture_shape((28, 28, 3))
    ((28, 28), (28, 28), (28, 28, 3))
    >>> picture_shape((784,), mnist=True), picture_shape((784,))
    ((28, 28), (784,))
    """
    if mnist and PIXELS in sample and None not in sample and math.prod(sample) == PIXELS:
        return SIDE, SIDE
    if len(sample) == 3 and 1 in (sample[0], sample[2]):
        return sample[:2] if sample[2] == 1 else sample[1:]
    return sample


def as_samples(images: Any, sample: tuple[Any, ...], mnist: bool = False) -> Any:
    """Give grey pictures (rows, height, width) the shape of the model's samples."""
    grey = images.shape[1:] == picture_shape(sample, mnist)
    return images.reshape(len(images), *sample) if grey else images

"""Pictures as samples of a model, and the shapes that it takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.feeding.mnist_form import PIXELS, SIDE
from gpunn.loaders.opening import MAX_PIXELS

from .reading import read_image


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


def read_sample(
    file: Any,
    sample: tuple[Any, ...],
    known: dict[str, Any],
    mnist: bool,
    invert: str = "auto",
    as_is: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray | None, list[str]]:
    """Read an image into pixels as in training, and list the conversion steps.

    Args:
        file: as for `read_image`, which says what is raised.
        sample: shape of the model's samples.
        known: what `trained_on.known` returned.
        mnist: whether the samples are MNIST's digits.
        invert: ``"yes"``, ``"no"``, or ``"auto"`` to invert a grey image with a light edge, unless
            training scaled images without.
        as_is: whether to omit the steps of MNIST's digits.
        max_pixels: maximum number of pixels.

    Returns:
        The sample, of shape ``sample``, or None for a blank image of a digit; and a list of
        strings.
    """
    if known.get("prepared") == "scaled" and invert == "auto":
        invert = "no"
    shape = picture_shape(sample, mnist)
    pixels, done = read_image(file, shape, invert, max_pixels, mnist and not as_is)
    if pixels is None:
        return None, done
    pixels, scaled = trained_on.scaled(pixels, known)
    return as_samples(pixels[np.newaxis], sample, mnist)[0], done + scaled

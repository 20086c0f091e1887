"""Read an image into a sample of a model, prepared as the model's training data were."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.loaders.opening import MAX_PIXELS

from .reading import read_image
from .shapes import as_samples, picture_shape


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

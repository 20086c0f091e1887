"""Convert a picture of a digit, of any size and position, to MNIST's form."""

from __future__ import annotations

from typing import Any

import numpy as np

INK = 0.25  # of the strongest ink: fainter pixels do not count for the digit's outline
FAINT = 24  # of 255: a picture with only fainter ink is blank
BOX = 20  # pixels along a digit's longer side


def as_mnist(image: Any, shape: tuple[int, int] = (28, 28)) -> np.ndarray | None:
    """Convert a grey picture to MNIST's form.

    The picture is cropped to the ink, scaled to fit 20 x 20 with its proportions, and placed with
    its centre of mass in the middle of 28 x 28, as MNIST's authors describe (LeCun, Cortes and
    Burges, "The MNIST database of handwritten digits"). Ink is what differs from the picture's
    edge.

    Args:
        image: a picture in Pillow's mode L, light on dark.
        shape: height and width of the result; for other sizes than MNIST's, in proportion.

    Returns:
        uint8 pixels of this shape, from 0 to 255; None for a blank picture, one without ink.

    A bar of 40 x 100 in a corner becomes 8 x 20, in the middle:

    >>> from PIL import Image
    >>> page = np.zeros((280, 280), np.uint8)
    >>> page[10:110, 230:270] = 200
    >>> digit = as_mnist(Image.fromarray(page))
    >>> [np.flatnonzero(digit.max(axis=axis))[[0, -1]].tolist() for axis in (1, 0)]
    [[4, 23], [10, 17]]
    >>> as_mnist(Image.fromarray(page[120:])) is None
    True
    """
    from PIL import Image

    pixels = np.asarray(image, np.float64)
    ink = np.maximum(pixels - np.median(edge(pixels)), 0)
    if ink.max() < FAINT:
        return None
    ink *= 255 / ink.max()
    seen = ink > INK * 255
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = BOX * min(shape) / 28 / max(cropped.shape)
    height, width = (max(1, round(length * factor)) for length in cropped.shape)
    small = Image.fromarray(cropped.round().astype(np.uint8))
    small = small.resize((width, height), Image.Resampling.BICUBIC)
    scaled = np.asarray(small, np.float64)
    scaled = np.minimum(scaled * (255 / max(scaled.max(), 1)), 255)
    place = []
    for axis, (length, most) in enumerate(zip((height, width), shape, strict=True)):
        mass = scaled.sum(axis=1 - axis)
        middle = mass @ np.arange(length) / mass.sum()
        # Pixel 14 of 28, as in MNIST: its images' centres of mass are at 14.0 on average.
        place.append(min(max(round(most / 2 - middle), 0), most - length))
    result = np.zeros(shape, np.uint8)
    top, left = place
    result[top : top + height, left : left + width] = scaled.round()
    return result


def edge(pixels: np.ndarray) -> np.ndarray:
    """Return the outermost pixels."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])

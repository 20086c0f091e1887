"""Recognize pictures in the form of MNIST's digits by their pixels.

MNIST's authors scaled each digit so that its longer side has 20 pixels, and placed its centre of
mass at pixel (14, 14) of 28 x 28. Pictures of other origin hardly ever have both properties, unless
they were prepared in the same way. So it does not matter where the arrays come from.
"""

from __future__ import annotations

import math

import numpy as np

SIDE = 28  # pixels of a picture in each direction
BOX = 20  # pixels along a digit's longer side
CENTRE = 14.0  # row and column of the centre of mass; each digit is moved by whole pixels
PIXELS = SIDE * SIDE
_LEAST_ROWS = 16  # fewer rows are no evidence
_MOST_ROWS = 64  # more are not looked at
_FRACTION = 0.9  # of the rows that must have the form: all but 1 in 4,000 of MNIST's have it
_MEAN_WITHIN = 0.3  # pixels: the mean of 16 rows of MNIST deviates by 0.07
_WHOLE_WITHIN = 0.2  # levels of 255; float16 rounds by up to 0.13


def scale_of(rows: np.ndarray) -> list[float] | None:
    """Return the factor and the offset that made rows of bytes in MNIST's form.

    Rows (rows, ...) have 784 numbers for each picture, in any shape.

    Returns:
        ``[factor, offset]``: a row is ``pixels * factor + offset``, where the pixels are light ink
        on dark, from 0 to 255. The factor is negative for dark ink on light. None if the rows are
        too few, or have another form.

    >>> from gpunn.datasets import mnist
    >>> (x, _), _ = mnist.load_data()
    >>> scale_of(x[:100].reshape(100, 784)), scale_of(x[:100] / 127.5 - 1) == [2 / 255, -1]
    ([1.0, 0.0], True)
    >>> scale_of(np.roll(x[:100], 2, axis=1)) is None
    True
    """
    rows = rows[:: -(-len(rows) // _MOST_ROWS) or 1]
    count = len(rows)
    if count < _LEAST_ROWS or math.prod(rows.shape[1:]) != PIXELS or rows.dtype.kind not in "iuf":
        return None
    values = rows.reshape(count, SIDE, SIDE).astype(np.float64)
    low, high, paper = values.min(), values.max(), values[0, 0, 0]
    if not (math.isfinite(high - low) and low < high and paper in (low, high)):
        return None
    factor = (high - low if paper == low else low - high) / 255
    pixels = (values - paper) / factor
    if abs(pixels - pixels.round()).max() > _WHOLE_WITHIN:
        return None
    pixels = pixels.round()
    down, across = pixels.sum(axis=2), pixels.sum(axis=1)
    mass = down.sum(axis=1)
    if not mass.all():
        return None
    longer = np.maximum(_extent(down), _extent(across))
    centres = np.stack([down, across]) @ np.arange(SIDE) / mass
    off = abs(centres - CENTRE).max(axis=0)
    fraction = ((longer == BOX) & (off <= 0.6)).mean()
    middle = abs(centres.mean(axis=1) - CENTRE).max()
    if fraction < _FRACTION or middle > _MEAN_WITHIN:
        return None
    return [float(factor), float(paper)]


def _extent(ink: np.ndarray) -> np.ndarray:
    """Return the number of pixels from the first to the last with ink, in each row."""
    there = ink > 0
    return SIDE - there.argmax(axis=1) - there[:, ::-1].argmax(axis=1)

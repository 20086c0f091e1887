"""Layers that change the colors of pictures: at random, or to use their whole range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.common.arguments import check_number
from gpunn.common.fields import field
from gpunn.layers.arguments import check_units
from gpunn.ops.gather_scatter.gather import put, take_unchecked
from gpunn.ops.image.filters import flat_of
from gpunn.ops.tensor import Tensor, ops

from .base import Pictures, RandomPictures, check_range

__all__ = ["AutoContrast", "Equalization", "RandomBrightness", "RandomContrast"]


def check_value_range(name: str, value: Any) -> tuple[float, float]:
    ends = [check_number(name, end) for end in value] if isinstance(value, (tuple, list)) else []
    if len(ends) != 2 or ends[0] == ends[1] or not all(map(math.isfinite, ends)):
        raise ValueError(
            f"{name} must hold the lowest and the highest value of pixels, such as (0, 255); got "
            f"{name}={value!r}."
        )
    return min(ends), max(ends)


class RandomContrast(RandomPictures):
    """Change the contrast of each picture in training, by a factor f drawn for each.

    ``y = (x - mean) f + mean``, with the mean of each channel of the picture, limited to the range
    of values. The rest: as for `RandomFlip`.

    Args:
        factor: two numbers from 0 to 1, (lower, upper), for f from ``1 - lower`` to ``1 + upper``;
            or one for both.
        value_range: lowest and highest value of pixels.

    >>> RandomContrast(0.5, seed=1)([[[[100.0], [140.0]]]]).round().tolist()
    [[[[108.0], [132.0]]]]
    """

    examples = ({"factor": 0.5, "value_range": [-9.0, 9.0]}, {"factor": [0.1, 0.9], "seed": 3})

    factor: Any = field(check=check_range(0, 1))
    value_range: Any = field(default=(0, 255), check=check_value_range)

    def _changed(self, x: Tensor) -> Tensor:
        low, high = self.factor if isinstance(self.factor, tuple) else (self.factor,) * 2
        (factor,) = self._drawn(x, (1.0 - low, 1.0 + high))
        batch, height, width, channels = x.shape
        mean = ops.reshape(ops.average_pool(x, (height, width)), (batch, channels))
        # Of each pixel: matrices of one row for each picture are one expression.
        rest = ops.take(ops.expand_dims(mean * (1.0 - factor), 1), [0] * (height * width), 1)
        y = flat_of(x) * factor + flat_of(rest)
        return ops.reshape(ops.clip(y, *self.value_range), x.shape)


class RandomBrightness(RandomPictures):
    """Make each picture brighter or darker in training, by a number f drawn for each.

    ``y = x + f (highest - lowest)``, limited to the range of values. The rest: as for
    `RandomContrast`.

    Args:
        factor: the range of f, from -1 to 1: (lower, upper), or one number for (-f, f).

    >>> RandomBrightness((0.2, 0.2))([[[[100.0], [240.0]]]]).round().tolist()
    [[[[151.0], [255.0]]]]
    """

    examples = (
        {"factor": 0.3, "value_range": [-9.0, 9.0]},
        {"factor": [0.1, 0.2], "value_range": [-1.0, 9.0], "seed": 3},
    )

    factor: Any = field(check=check_range(-1, 1))
    value_range: Any = field(default=(0, 255), check=check_value_range)

    def _changed(self, x: Tensor) -> Tensor:
        lowest, highest = self.value_range
        (share,) = self._drawn(x, self.factor)
        y = flat_of(x) + share * (highest - lowest)
        return ops.reshape(ops.clip(y, lowest, highest), x.shape)


class _OfChannels(Pictures):

    value_range: Any = field(default=(0, 255), check=check_value_range)

    def _changed(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        rows = ops.reshape(ops.moveaxis(x, -1, 1), (batch * channels, height * width))
        y = ops.reshape(self._spread(rows), (batch, channels, height, width))
        return ops.moveaxis(y, 1, -1)

    def _spread(self, rows: Tensor) -> Tensor:
        """Return channels of pictures (count, pixels) as the layer changes them."""
        raise TypeError(f"{type(self).__name__} must define _spread(rows).")


class AutoContrast(_OfChannels):
    """Stretch each channel of each picture, so that it reaches the lowest and the highest value.

    ``y = lowest + (x - min) (highest - lowest) / (max - min)``, in training and otherwise. A
    channel of one value stays as it is, and so does one with NaN.

    Shapes: x ``(batch, height, width, channels)`` -> y of the same shape.

    Args:
        value_range: lowest and highest value of pixels.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for inputs that are not pictures, and for another range.

    >>> AutoContrast()([[[[100.0], [110.0], [120.0]]]]).ravel().tolist()
    [0.0, 127.5, 255.0]
    """

    examples = ({"value_range": [-1.0, 1.0]}, {"data_format": "channels_first"})

    def _spread(self, rows: Tensor) -> Tensor:
        lowest, highest = self.value_range
        least, most = ops.min(rows, -1, keepdims=True), ops.max(rows, -1, keepdims=True)
        several = most > least
        scale = (highest - lowest) / ops.where(several, most - least, 1.0)
        y = ops.clip((rows - least) * scale + lowest, lowest, highest)
        return ops.where(several, y, rows)


class Equalization(_OfChannels):
    """Make all values of each channel of each picture about equally frequent, in training.

    A value becomes the share of the channel's pixels that are not above it, by a histogram:
    ``255 (c - c_min) / (pixels - c_min)``, rounded, with the count c of the pixels in its bin and
    those below, and that of the lowest bin. A channel with all pixels in one bin stays as it is,
    and so does NaN. Keras makes one histogram of the whole batch.

    Args:
        bins: number of bins.

    Shapes, the other arguments, and errors: as for `AutoContrast`. Outside of training the layer
    passes pictures unchanged; called on arrays, it trains, as `RandomFlip` does.

    >>> Equalization()([[[[10.0], [11.0], [13.0], [10.0]]]]).ravel().tolist()
    [0.0, 128.0, 255.0, 0.0]
    """

    examples = ({"value_range": [-9.0, 9.0]}, {"bins": 8, "data_format": "channels_first"})

    bins: int = field(default=256, check=check_units, after="value_range")

    def call(self, x: Tensor, training: bool | None = True) -> Tensor:
        return super().call(x, training)

    def _otherwise(self, x: Tensor) -> Tensor:
        return x

    def _spread(self, rows: Tensor) -> Tensor:
        (lowest, highest), (count, pixels) = self.value_range, rows.shape
        level = (rows - lowest) * ((self.bins - 1) / (highest - lowest))
        known = rows == rows  # not NaN
        level = ops.where(known, ops.clip(ops.floor(level), 0.0, self.bins - 1.0), 0.0)
        exact = rows.dtype if count * self.bins <= 1 << 24 else "float64"  # for all places
        first = np.arange(count, dtype=exact)[:, None] * self.bins
        places = ops.reshape(ops.cast(ops.cast(level, exact) + first, "int32"), (-1,))
        histogram = put(ops.ones(count * pixels, rows.dtype), places, (count * self.bins,))
        counts = ops.reshape(histogram, (count, self.bins))
        for k in range(math.ceil(math.log2(self.bins))):  # the sums up to each bin
            counts = counts + ops.pad(counts, [(0, 0), (2**k, 0)])[:, : self.bins]
        counts = ops.reshape(counts, (-1,))
        own = ops.reshape(take_unchecked(counts, places), rows.shape)
        rest = pixels - ops.min(own, -1, keepdims=True)  # beside those of the lowest bin
        several = rest > 0.0
        share = (own + (rest - pixels)) * 255.0 / ops.where(several, rest, 1.0)
        y = ops.round(share) * ((highest - lowest) / 255.0) + lowest
        return ops.where(ops.logical_and(several, known), y, rows)

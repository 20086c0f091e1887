"""Layers that change the colors of pictures at random."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.arguments import check_number
from gpunn.common.fields import field
from gpunn.ops.image.colors import flat_of
from gpunn.ops.tensor import Tensor, ops

from .base import RandomPictures, check_range

__all__ = ["RandomBrightness", "RandomContrast"]


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

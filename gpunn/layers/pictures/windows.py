"""Layers that change pixels by those around them, or a part of each picture, at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.common.arguments import check_number
from gpunn.common.fields import field
from gpunn.ops.image.colors import flat_of
from gpunn.ops.image.filters import blurred, check_kernel_size
from gpunn.ops.running.streams import drawn, normal_numbers
from gpunn.ops.tensor import Tensor, ops

from .base import RandomPictures, check_range, from_zero
from .colors import check_value_range
from .points import RandomHue, _Points

__all__ = ["RandomErasing", "RandomGaussianBlur", "RandomSharpness"]


class RandomSharpness(_Points):
    """Blur or sharpen each picture in training: ``y = x + (1 - 2 f) (smooth - x)``.

    ``smooth`` is the mean of the 3 x 3 pixels around, in which the pixel itself counts five times,
    and f is drawn for each picture: 0 blurs, 1/2 changes nothing, 1 sharpens. Pixels outside count
    as 0, and y is limited to the range of values. The rest: as for `RandomFlip`.

    Args:
        factor: the range of f, from 0 to 1: (lower, upper), or one number for (0, f).
        value_range: lowest and highest value of pixels.

    >>> RandomSharpness((0.0, 0.0))([[[[0.0], [130.0], [0.0]]]]).round().ravel().tolist()
    [10.0, 50.0, 10.0]
    """

    examples = RandomHue.examples

    factor: Any = field(check=check_range(0, 1))

    def _changed(self, x: Tensor) -> Tensor:
        (f,) = self._drawn(x, from_zero(self.factor))
        kernel = (np.ones((3, 3, x.shape[-1], 1)) / 13).astype(x.dtype)
        kernel[1, 1] *= 5
        smooth = flat_of(ops.depthwise_conv(x, kernel, padding="same"))
        rows = flat_of(x)
        y = rows + (1.0 - 2.0 * f) * (smooth - rows)
        return ops.reshape(ops.clip(y, *self.value_range), x.shape)


class RandomGaussianBlur(_Points):
    """Blur a picture in training, with a probability, by a window of Gaussian weights.

    Both deviations are drawn for each picture; see `gpunn.ops.image.gaussian_blur`. All pictures
    are limited to the range of values. The rest: as for `RandomFlip`.

    Args:
        factor: the range of the probability, from 0 to 1: (lower, upper), or one number p for
            (0, p), from which it is drawn for each picture.
        kernel_size: length of both sides of the window, an odd number, or twice the same.
        sigma: the range of the deviations, in pixels: (lower, upper), or one number for (0, s).
        value_range: lowest and highest value of pixels.

    >>> blur = RandomGaussianBlur((1.0, 1.0), 3, (0.5, 0.5))
    >>> blur([[[[0.0], [100.0], [0.0]]]]).round().ravel().tolist()
    [8.0, 62.0, 8.0]
    """

    examples = (
        {"value_range": [-9.0, 9.0]},
        {"factor": [0.4, 0.9], "kernel_size": 5, "sigma": [0.5, 2.0], "value_range": [-9.0, 9.0]},
    )

    factor: Any = field(default=1.0, check=check_range(0, 1))
    kernel_size: Any = field(default=3, check=check_kernel_size)
    sigma: Any = field(default=1.0, check=check_range(0, math.inf))

    def _changed(self, x: Tensor) -> Tensor:
        chosen = self._chosen(x, self.factor)
        sigmas = self._drawn(x, *[from_zero(self.sigma)] * 2)
        smooth = blurred(x, self.kernel_size, [sigma + 1e-6 for sigma in sigmas])
        rows, other = (flat_of(each) for each in (x, smooth))
        y = ops.clip(ops.where(chosen, other, rows), *self.value_range)
        return ops.reshape(y, x.shape)


def in_boxes(x: Tensor, sides: list[Tensor], places: list[Tensor]) -> Tensor:
    """Return which values (batch, height x width x channels) of pictures lie in a box of each.

    Its sides, and its place in the room that they leave, are parts from 0 to 1 (batch, 1) of height
    and width.
    """
    inside: Any = None
    numbers, lengths = np.indices(x.shape[1:])[:2], x.shape[1:3]
    for k, n, part, place in zip(numbers, lengths, sides, places, strict=True):
        at = k.reshape(1, -1).astype(x.dtype)
        first = place * (n - part * float(n))
        along = ops.logical_and(at >= first, at < first + part * float(n))
        inside = along if inside is None else ops.logical_and(inside, along)
    return inside


def _check_fill(name: str, value: Any) -> Any:
    several = isinstance(value, (tuple, list))
    if several and len(value) != 3:
        raise ValueError(
            f"{name} must be None, a number, or one for each of three channels; got "
            f"{name}={value!r}."
        )
    return [check_number(name, n) for n in value] if several else (
        None if value is None else check_number(name, value)
    )


class RandomErasing(RandomPictures):
    """Erase a box of a picture in training, with a probability.

    Of each picture, the share of its height and of its width that the box has is the root of a
    number from ``scale``, and all places are equally likely. Source: Zhong et al., "Random erasing
    data augmentation", 2020. The rest: as for `RandomFlip`.

    Args:
        factor: the range of the probability, from 0 to 1: (lower, upper), or one number p for
            (0, p), from which it is drawn for each picture.
        scale: the range of the box's share of the picture, from 0 to 1; one number s is (0, s).
        fill_value: a number, or three for the channels. By default, normal noise times the highest
            value. All are limited to the range of values.
        value_range: lowest and highest value of pixels.

    >>> RandomErasing((1.0, 1.0), (1.0, 1.0), fill_value=7.0)([[[[1.0], [2.0]]]]).ravel().tolist()
    [7.0, 7.0]
    """

    examples = (
        {"value_range": [-9.0, 9.0]},
        {"factor": [0.5, 0.9], "scale": 0.5, "fill_value": 2.0, "seed": 3},
    )

    factor: Any = field(default=1.0, check=check_range(0, 1))
    scale: Any = field(default=(0.02, 0.33), check=check_range(0, 1))
    fill_value: Any = field(default=None, check=_check_fill)
    value_range: Any = field(default=(0, 255), check=check_value_range)

    def _changed(self, x: Tensor) -> Tensor:
        chosen, rows = self._chosen(x, self.factor), flat_of(x)
        *shares, down, across = self._drawn(x, *[from_zero(self.scale)] * 2, *[(0.0, 1.0)] * 2)
        inside = in_boxes(x, [ops.sqrt(share) for share in shares], [down, across])
        lowest, highest = self.value_range
        if self.fill_value is None:
            noise = drawn(normal_numbers, rows.shape, x.dtype, self.seed)
            fill = ops.clip(noise * highest, lowest, highest)
        else:
            values = np.clip(np.ravel(self.fill_value), lowest, highest)
            if values.size not in (1, x.shape[-1]):
                raise ValueError(
                    f"{self.name}: fill_value has {values.size} numbers for pictures of "
                    f"{x.shape[-1]} channels; pass one number, or pictures of {values.size}."
                )
            fill = np.broadcast_to(values, x.shape[1:]).reshape(1, -1).astype(x.dtype)
        return ops.reshape(ops.where(ops.logical_and(chosen, inside), fill, rows), x.shape)

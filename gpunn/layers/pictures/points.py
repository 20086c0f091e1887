"""Layers that change the color of each pixel by itself, at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_fraction, optional
from gpunn.common.fields import field
from gpunn.ops.image.filters import flat_of, gray_of, hsv_of, joined, planes_of, rgb_of
from gpunn.ops.tensor import Tensor, ops

from .base import RandomPictures, check_range, from_zero
from .colors import RandomBrightness, RandomContrast, check_value_range

__all__ = [
    "RandomColorDegeneration", "RandomColorJitter", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPosterization", "RandomSaturation", "Solarization",
]


class _Points(RandomPictures):
    """Base class of layers whose pictures have values in a range."""

    value_range: Any = field(
        default=(0, 255), check=check_value_range, kw_only=True, placed=True
    )
    data_format: Any = field(default=None, kw_only=True, placed=True)

    def _by_pixel(self, x: Tensor, change: Callable[[Tensor, float], Tensor]) -> Tensor:
        """Return pictures changed by a function of their values, (batch, values), counted from the
        lowest, and of the highest value so counted."""
        lowest, highest = self.value_range
        y = change(flat_of(x) - lowest, highest - lowest)
        return ops.reshape(y + lowest, x.shape)

    def _by_hue(self, x: Tensor, change: Callable[..., Sequence[Tensor]]) -> Tensor:
        """Return pictures changed by a function of hue, saturation and value."""
        lowest, highest = self.value_range
        width = highest - lowest
        given = hsv_of(*((plane - lowest) / width for plane in planes_of(x)))
        planes = (ops.clip(plane, 0.0, 1.0) for plane in rgb_of(*change(*given)))
        return joined([plane * width + lowest for plane in planes], x.shape)


class RandomHue(_Points):
    """Turn the hues of each picture in training, by a part of the circle of colors.

    Half of f, drawn for each picture, is added to the hue or subtracted from it, equally likely;
    see `gpunn.ops.image.rgb_to_hsv`. The rest: as for `RandomFlip`.

    Shapes: x ``(batch, height, width, 3)`` -> y of the same shape.

    Args:
        factor: the range of f, from 0 to 1: (lower, upper), or one number for (0, f).
        value_range: lowest and highest value of pixels.

    >>> third = 2 / 3
    >>> turned = RandomHue((third, third), seed=1)([[[[255.0, 0.0, 0.0]]]]).round()
    >>> turned.ravel().tolist() in ([0.0, 255.0, 0.0], [0.0, 0.0, 255.0])
    True
    """

    examples = (
        {"factor": 0.5, "value_range": [-9.0, 9.0]},
        {"factor": [0.1, 0.9], "value_range": [-9.0, 9.0], "data_format": "channels_first"},
    )

    factor: Any = field(check=check_range(0, 1))

    def _changed(self, x: Tensor) -> Tensor:
        part, side = self._drawn(x, from_zero(self.factor), (0.0, 1.0))
        turn = 0.5 * ops.where(side < 0.5, part, -part)
        return self._by_hue(x, lambda hue, saturation, value: (hue + turn, saturation, value))


class RandomSaturation(_Points):
    """Make the colors of each picture paler or stronger in training.

    The saturation is multiplied by ``f / (1 - f)``, with f drawn for each picture, and is at most
    1: f = 0 gives gray, 1/2 changes nothing, 1 gives pure colors. Shapes and arguments: as for
    `RandomHue`; f may be below 0, which gives gray too. Keras draws from (-f, f) for one number,
    and lets values leave their range.

    >>> RandomSaturation((0.0, 0.0))([[[[100.0, 200.0, 50.0]]]]).round().ravel().tolist()
    [200.0, 200.0, 200.0]
    """

    examples = RandomHue.examples

    factor: Any = field(check=check_range(-1, 1))

    def _changed(self, x: Tensor) -> Tensor:
        (f,) = self._drawn(x, from_zero(self.factor))
        factor = f / (1.0 - f + 1e-7)
        return self._by_hue(x, lambda hue, saturation, value: (
            hue, ops.clip(saturation * factor, 0.0, 1.0), value))  # fmt: skip


class RandomColorDegeneration(_Points):
    """Mix each picture with its gray one in training: ``y = x + f (gray - x)``.

    f is drawn for each picture; y is limited to the range of values. For the gray, see
    `gpunn.ops.image.rgb_to_grayscale`. Shapes and arguments: as for `RandomHue`; f may be below 0,
    for stronger colors. Keras draws from (-f, f) for one number.

    >>> RandomColorDegeneration((1.0, 1.0))([[[[100.0, 0.0, 0.0]]]]).round().ravel().tolist()
    [30.0, 30.0, 30.0]
    """

    examples = RandomHue.examples

    factor: Any = field(check=check_range(-1, 1))

    def _changed(self, x: Tensor) -> Tensor:
        (f,) = self._drawn(x, from_zero(self.factor))
        planes = planes_of(x)
        gray = gray_of(*planes)
        mixed = (plane + f * (gray - plane) for plane in planes)
        return joined([ops.clip(plane, *self.value_range) for plane in mixed], x.shape)


class RandomGrayscale(RandomPictures):
    """Make a picture gray in training, with a probability; it keeps its channels.

    For the gray, see `gpunn.ops.image.rgb_to_grayscale`. Pictures of one channel stay as they are.
    The rest: as for `RandomFlip`.

    Args:
        factor: the probability, from 0 to 1.

    >>> RandomGrayscale(1.0)([[[[100.0, 0.0, 0.0]]]]).round().ravel().tolist()
    [30.0, 30.0, 30.0]
    """

    examples = ({}, {"factor": 1.0, "data_format": "channels_first"})

    factor: float = field(default=0.5, check=check_fraction)
    data_format: Any = field(default=None, kw_only=True, placed=True)

    def _changed(self, x: Tensor) -> Tensor:
        if x.shape[-1] == 1:
            return x
        chosen, planes = self._chosen(x, (self.factor, self.factor)), planes_of(x)
        gray = gray_of(*planes)
        return joined([ops.where(chosen, gray, plane) for plane in planes], x.shape)


class RandomInvert(_Points):
    """Turn a picture into its negative in training, with a probability.

    ``y = lowest + highest - x``, which for pictures from 0 is Keras's. The rest: as for
    `RandomFlip`.

    Args:
        factor: the range of the probability, from 0 to 1: (lower, upper), or one number p for
            (0, p), from which it is drawn for each picture.
        value_range: lowest and highest value of pixels.

    >>> RandomInvert((1.0, 1.0))([[[[0.0], [55.0]]]]).ravel().tolist()
    [255.0, 200.0]
    """

    examples = ({"value_range": [-9.0, 9.0]}, {"factor": [0.1, 0.9], "seed": 3})

    factor: Any = field(default=1.0, check=check_range(0, 1))
    value_range: Any = field(default=(0, 255), kw_only=True, placed=True)
    seed: int | None = field(default=None, kw_only=True, placed=True)

    def _changed(self, x: Tensor) -> Tensor:
        chosen = self._chosen(x, self.factor)
        return self._by_pixel(x, lambda v, most: ops.where(chosen, most - v, v))


def _check_bits(name: str, value: Any) -> Any:
    given = check_range(1, 8)(name, value)
    ends = given if isinstance(given, tuple) else (given,)
    if any(end != int(end) for end in ends):
        raise ValueError(f"{name} must be whole numbers of bits; got {name}={value!r}.")
    return tuple(map(int, ends)) if isinstance(given, tuple) else int(given)


class RandomPosterization(_Points):
    """Round the values of each picture down to fewer bits in training.

    Of the 8 bits of a value from 0 to 255, the n highest are kept. The rest: as for `RandomFlip`.

    Args:
        factor: the range of n, whole numbers from 1 to 8: (lower, upper), both of which are drawn,
            or one number n for (1, n).
        value_range: lowest and highest value of pixels.

    >>> RandomPosterization((1, 1))([[[[100.0], [150.0], [255.0]]]]).ravel().tolist()
    [0.0, 128.0, 128.0]
    """

    examples = ({"factor": 3, "value_range": [-9.0, 9.0]}, {"factor": [2, 5], "seed": 3})

    factor: Any = field(check=_check_bits)

    def _changed(self, x: Tensor) -> Tensor:
        low, high = self.factor if isinstance(self.factor, tuple) else (1, self.factor)
        (drawn,) = self._drawn(x, (float(low), float(high) + 1.0))
        bits = ops.cast(ops.clip(ops.floor(drawn), float(low), float(high)), "int32")
        step = ops.take(np.array([2.0 ** (8 - n) for n in range(9)], x.dtype), bits)

        def posterized(v: Tensor, most: float) -> Tensor:
            levels = ops.clip(v * (255.0 / most), 0.0, 255.0)
            return ops.floor(levels / step) * step * (most / 255.0)

        return self._by_pixel(x, posterized)


class Solarization(_Points):
    """Turn the bright pixels of each picture into their negative in training.

    ``v = x + a``, limited to the range of values, becomes ``highest - v`` where it is not below a
    threshold t, all counted from the lowest value. a and t are drawn for each picture. The rest:
    as for `RandomFlip`.

    Args:
        addition_factor: the range of a, as a part of the range of values, from 0 to 1: (lower,
            upper), or one number for (0, f).
        threshold_factor: likewise of t. 0 inverts all pixels, 1 those of the highest value.
        value_range: lowest and highest value of pixels.

    >>> Solarization(threshold_factor=(0.5, 0.5))([[[[100.0], [200.0]]]]).ravel().tolist()
    [100.0, 55.0]
    """

    examples = (
        {"value_range": [-9.0, 9.0]},
        {"addition_factor": 0.2, "threshold_factor": [0.3, 0.7], "value_range": [-9.0, 9.0],
         "seed": 3},
    )  # fmt: skip

    addition_factor: Any = field(default=0.0, check=check_range(0, 1))
    threshold_factor: Any = field(default=0.0, check=check_range(0, 1))
    value_range: Any = field(default=(0, 255), kw_only=True, placed=True)
    seed: int | None = field(default=None, kw_only=True, placed=True)

    def _changed(self, x: Tensor) -> Tensor:
        ranges = from_zero(self.addition_factor), from_zero(self.threshold_factor)
        more, limit = self._drawn(x, *ranges)

        def solarized(v: Tensor, most: float) -> Tensor:
            v = ops.clip(v + more * most, 0.0, most)
            return ops.where(v < limit * most, v, most - v)

        return self._by_pixel(x, solarized)


class RandomColorJitter(_Points):
    """Change brightness, contrast, saturation and hue of each picture in training, in this order.

    Each is done by the layer of that name, such as `RandomHue`, unless its factor is None. Shapes:
    as for `RandomHue`; without the last two, pictures of any channels.

    Args:
        value_range: lowest and highest value of pixels.
        brightness_factor, contrast_factor, saturation_factor, hue_factor: of these layers.

    >>> RandomColorJitter(brightness_factor=(0.2, 0.2))([[[[100.0], [240.0]]]]).ravel().tolist()
    [151.0, 255.0]
    """

    examples = (
        {"value_range": [-9.0, 9.0], "brightness_factor": 0.2, "contrast_factor": 0.3,
         "saturation_factor": 0.4, "hue_factor": 0.5},
        {"hue_factor": [0.1, 0.2], "value_range": [-9.0, 9.0], "seed": 3},
    )  # fmt: skip

    value_range: Any = field(default=(0, 255))
    brightness_factor: Any = field(default=None, check=optional(check_range(-1, 1)))
    contrast_factor: Any = field(default=None, check=optional(check_range(0, 1)))
    saturation_factor: Any = field(default=None, check=optional(check_range(0, 1)))
    hue_factor: Any = field(default=None, check=optional(check_range(0, 1)))
    seed: int | None = field(default=None, kw_only=True, placed=True)

    def _changed(self, x: Tensor) -> Tensor:
        changes: list[tuple[Any, Any]] = [
            (RandomBrightness, self.brightness_factor), (RandomContrast, self.contrast_factor),
            (RandomSaturation, self.saturation_factor), (RandomHue, self.hue_factor),
        ]  # fmt: skip
        for kind, factor in changes:
            if factor is not None:
                x = kind(factor, self.value_range, seed=self.seed, name=self.name)._changed(x)
        return x

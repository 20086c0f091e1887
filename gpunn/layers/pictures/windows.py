"""Layers that erase, blur, sharpen or exchange windows of pictures, or mix pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.common.arguments import check_number
from gpunn.common.fields import field
from gpunn.ops.gather_scatter.gather import take_unchecked
from gpunn.ops.image.filters import blurred, check_kernel_size, flat_of
from gpunn.ops.random import even
from gpunn.ops.running.streams import drawn, normal_numbers
from gpunn.ops.tensor import Tensor, ops

from .base import RandomPictures, check_range, from_zero
from .colors import check_value_range
from .points import RandomHue, _Points

__all__ = ["CutMix", "MixUp", "RandomErasing", "RandomGaussianBlur", "RandomSharpness"]


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


_TRIES = 24  # of which each passes with a probability of at least 1/2


def _check_alpha(name: str, value: Any) -> float:
    if not 0 < check_number(name, value) <= 1:
        raise ValueError(f"{name} must be above 0, and at most 1; got {name}={value!r}.")
    return float(value)


class _Mixing(RandomPictures):

    data_format: Any = field(default=None, kw_only=True, placed=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = None  # also of dictionaries

    def call(self, data: Any, training: bool | None = True) -> Any:
        given = data if isinstance(data, dict) else {"images": data}
        if set(given) - {"images", "labels"} or "images" not in given:
            raise ValueError(
                f"{self.name}: images, or a dictionary of 'images' and 'labels', are expected; got "
                f"the keys {sorted(map(str, given))}."
            )
        x, labels = given["images"], given.get("labels")
        if x.ndim != 4:
            raise ValueError(
                f"{self.name}: images (batch, height, width, channels) are expected; got shape "
                f"{tuple(x.shape)}."
            )
        if labels is not None and labels.ndim != 2:
            raise ValueError(
                f"{self.name}: labels must have the shape (batch, classes), as numbers that can be "
                f"mixed; got {tuple(labels.shape)}. Use ops.one_hot for class numbers."
            )
        if training:
            first = self.data_format == "channels_first"
            x = ops.moveaxis(x, 1, -1) if first else x
            places = self._partners(x)
            x, share = self._mixed(x, take_unchecked(x, places))
            x = ops.moveaxis(x, -1, 1) if first else x
            if labels is not None:
                labels = ops.cast(labels, x.dtype)
                labels = share * labels + (1.0 - share) * take_unchecked(labels, places)
        if not isinstance(data, dict):
            return x
        return {"images": x, **({} if labels is None else {"labels": labels})}

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        images = args[0].get("images") if args and isinstance(args[0], dict) else None
        if images is not None and np.ndim(images) == 3:
            raise ValueError(
                f"{self.name}: images (batch, height, width, channels) are expected beside labels; "
                f"got shape {np.shape(images)}. Mix batches: data.batch(32).map(...)."
            )
        return super()._run(*args, training=training, **kwargs)

    def _mixed(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed pictures, and the share (batch, 1) that each has of its own."""
        raise TypeError(f"{type(self).__name__} must define _mixed(x, other).")

    def _partners(self, x: Tensor) -> Tensor:
        """Draw the place of each picture's partner, (batch,): as many places ahead for all."""
        n = len(x)
        ahead = ops.floor(even((1,), x.dtype, self.seed) * (n - 1.0)) + 1.0
        places = np.arange(n, dtype=x.dtype) + ahead
        return ops.cast(ops.where(places >= n, places - n, places), "int32")

    def _share(self, x: Tensor, alpha: Any) -> Tensor:
        """Draw from the beta distribution of a number or tensor (batch, 1), twice, from 0 to 1.

        It is the first proposal that passes: ``u^(1 / a) / (u^(1 / a) + v^(1 / a))``, if the sum is
        at most 1. Source: Joehnk 1964.
        """
        logs = ops.log(1.0 - even((len(x), 2 * _TRIES), x.dtype, self.seed)) / alpha
        u, v = logs[:, :_TRIES], logs[:, _TRIES:]
        left = np.arange(_TRIES, 0, -1, dtype=x.dtype)[None]  # tries from each on
        rank = ops.where(ops.exp(u) + ops.exp(v) <= 1.0, left, (left == 1.0) * 0.5)
        first = rank == ops.max(rank, -1, keepdims=True)
        return ops.sum(ops.where(first, ops.sigmoid(u - v), 0.0), -1, keepdims=True)


class MixUp(_Mixing):
    """Mix each picture of a batch, and its label, with another one in training.

    ``y = s x + (1 - s) x'``, and the same for labels. x' is the picture that is k places ahead in
    the batch, with a k that is drawn in each step. s is drawn for each picture, from a beta
    distribution.
    Outside of training nothing changes; called on arrays it mixes, as `RandomFlip` does. In a chain
    of layers, which passes images alone, labels are not mixed. A process of several mixes the
    pictures that it has. Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018.

    Shapes: x ``(batch, height, width, channels)``, or a dictionary of such ``images`` and of
    ``labels`` ``(batch, classes)``, for example in `gpunn.data.Dataset.map` -> the same.

    Args:
        alpha: of the beta distribution, above 0 and at most 1. Larger ones mix more.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        seed: key of the random stream; the model's when None.

    Raises:
        ValueError: for another alpha, other keys, and labels that are class numbers.

    >>> y = MixUp(seed=1)({"images": [[[[1.0]]], [[[3.0]]]], "labels": [[1.0, 0.0], [0.0, 1.0]]})
    >>> share = y["labels"][:, 1]
    >>> bool(abs(y["images"][:, 0, 0, 0] - (1 + 2 * share)).max() < 1e-6)
    True
    """

    examples = ({}, {"alpha": 1.0, "seed": 3})

    alpha: float = field(default=0.2, check=_check_alpha)

    def _mixed(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        share = self._share(x, self.alpha)
        one, two = (flat_of(each) for each in (x, other))
        return ops.reshape(share * one + (1.0 - share) * two, x.shape), share


class CutMix(_Mixing):
    """Replace a box of each picture of a batch by that of another one in training.

    The box has the share ``1 - s`` of the picture, with an s from a beta distribution, and all
    places are equally likely. Labels are mixed by the share of pixels that the picture keeps.
    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers with
    localizable features", 2019. Shapes, errors and the rest: as for `MixUp`.

    Args:
        factor: the range, from 0 to 1, of the distribution's alpha: (lower, upper), or one number
            for (0, f), from which it is drawn for each picture.

    >>> y = CutMix(seed=1)({"images": [[[[1.0]] * 5], [[[3.0]] * 5]],
    ...                     "labels": [[1.0, 0.0], [0.0, 1.0]]})
    >>> share = y["labels"][:, 1]
    >>> bool(abs(y["images"][:, 0, :, 0].mean(1) - (1 + 2 * share)).max() < 1e-6)
    True
    """

    examples = ({}, {"factor": [0.5, 1.0], "seed": 3})

    factor: Any = field(default=1.0, check=check_range(0, 1))
    seed: int | None = field(default=None, kw_only=True, placed=True)

    def _mixed(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        alpha, down, across = self._drawn(x, from_zero(self.factor), *[(0.0, 1.0)] * 2)
        side = ops.sqrt(1.0 - self._share(x, alpha + 1e-6))
        inside = in_boxes(x, [side, side], [down, across])
        one, two = (flat_of(each) for each in (x, other))
        kept = ops.mean(ops.where(inside, 0.0, ops.ones((), x.dtype)), -1, keepdims=True)
        return ops.reshape(ops.where(inside, two, one), x.shape), kept

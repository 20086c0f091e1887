"""Layers that mix each picture of a batch, and its label, with another one."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.arguments import check_number
from gpunn.common.fields import field
from gpunn.ops.gather_scatter.gather import take_unchecked
from gpunn.ops.image.colors import flat_of
from gpunn.ops.random import even
from gpunn.ops.tensor import Tensor, ops

from .base import RandomPictures, check_range, from_zero
from .windows import in_boxes

__all__ = ["CutMix", "MixUp"]
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

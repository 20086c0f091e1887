"""Layers that move the pixels of pictures at random: flip, rotate, zoom, shift."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.arguments import check_number, choice, optional
from gpunn.common.fields import field
from gpunn.ops.image.sampling import FILL_MODES, INTERPOLATIONS, sampled_along, transformed
from gpunn.ops.tensor import Tensor, ops

from .base import RandomPictures, check_range

__all__ = ["RandomFlip", "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom"]

_MODES = ("horizontal", "vertical", "horizontal_and_vertical")


class RandomFlip(RandomPictures):
    """Flip each picture with probability 1/2 in training: left to right, upside down, or both.

    With both, each direction is drawn by itself. It does nothing in `predict` and `evaluate`.
    Called on arrays, alone or in a model, it flips as in training unless ``training=False``, as in
    Keras; one picture ``(height, width, channels)`` may be passed there.

    Shapes: x ``(batch, height, width, channels)`` -> y of the same shape.

    Args:
        mode: ``"horizontal"``, ``"vertical"`` or ``"horizontal_and_vertical"``.
        seed: key of the random stream; the model's when None.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for another mode; so do all layers of this kind for arguments out of bounds.

    >>> RandomFlip("horizontal", seed=2)([[[[1.0], [2.0]]]] * 4)[:, 0, :, 0].tolist()
    [[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 1.0]]
    """

    examples = ({}, {"mode": "horizontal"}, {"mode": "vertical", "data_format": "channels_first"})

    mode: str = field(default=_MODES[-1], check=choice(*_MODES))

    def _changed(self, x: Tensor) -> Tensor:
        axes = [axis for axis, name in ((2, "horizontal"), (1, "vertical")) if name in self.mode]
        for axis, share in zip(axes, self._drawn(x, *[(0.0, 1.0)] * len(axes)), strict=True):
            x = _mirrored(x, axis, share < 0.5)
        return x


def _mirrored(x: Tensor, axis: int, chosen: Tensor) -> Tensor:
    """Return pictures of which those chosen (batch, 1) are mirrored along an axis."""
    n = x.shape[axis]
    return sampled_along(
        x, axis, n, lambda k: ops.where(chosen, n - 1.0 - k, k), "nearest", "nearest"
    )


class _Moving(RandomPictures):
    """Base class of layers whose pictures have other pixels at other places."""

    fill_mode: str = field(
        default="reflect",
        check=choice(*(mode for mode in FILL_MODES if mode != "mirror")),
        kw_only=True,
        placed=True,
    )
    interpolation: str = field(
        default="bilinear", check=choice(*INTERPOLATIONS), kw_only=True, placed=True
    )
    seed: int | None = field(default=None, kw_only=True, placed=True)
    fill_value: float = field(default=0.0, check=check_number, kw_only=True, placed=True)
    data_format: Any = field(default=None, kw_only=True, placed=True)

    @property
    def _manner(self) -> tuple[str, str, float]:
        return self.interpolation, self.fill_mode, self.fill_value

    def _moved(self, x: Tensor, axis: int, scale: Any, shift: Any) -> Tensor:
        """Return pictures whose coordinates along an axis are scaled about the middle, and
        shifted by a part of its length."""
        n = x.shape[axis]
        middle = (n - 1) / 2
        return sampled_along(
            x, axis, n, lambda k: scale * (k - middle) + (middle - n * shift), *self._manner
        )


class RandomRotation(_Moving):
    """Rotate each picture about its middle in training, by an angle a drawn for each.

    The pixel (x, y) comes from ``(x cos a - y sin a, x sin a + y cos a)``, counted from the
    middle: a positive angle turns it counter-clockwise. The rest: as for `RandomFlip`.

    Args:
        factor: the range of the angle, as a part of a full turn, from -1 to 1: (lower, upper), or
            f for (-f, f). 0.1 is up to 36 degrees.
        fill_mode: what is outside: ``"reflect"``, ``"constant"``, ``"wrap"`` or ``"nearest"``; see
            `gpunn.ops.image.affine_transform`.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_value: for ``"constant"``.

    >>> quarter = RandomRotation((0.25, 0.25))
    >>> quarter([[[1.0], [2.0]], [[3.0], [4.0]]]).round(3)[:, :, 0].tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """

    examples = (
        {"factor": 0.1},
        {"factor": [0.05, 0.2], "fill_mode": "constant", "fill_value": 1.0, "seed": 3},
    )

    factor: Any = field(check=check_range(-1, 1))

    def _changed(self, x: Tensor) -> Tensor:
        (part,) = self._drawn(x, self.factor)
        cos, sin = ops.cos(part * (2 * math.pi)), ops.sin(part * (2 * math.pi))
        cx, cy = (x.shape[2] - 1) / 2, (x.shape[1] - 1) / 2
        matrix = (cos, -sin, cx - cx * cos + cy * sin, sin, cos, cy - cx * sin - cy * cos)
        return transformed(x, matrix, *self._manner)


class RandomZoom(_Moving):
    """Zoom into or out of each picture about its middle in training, by a factor f drawn for each.

    The pixel (x, y) comes from ``(x (1 + f), y (1 + f))``, counted from the middle: positive
    factors zoom out. The rest: as for `RandomRotation`.

    Args:
        height_factor: the range of the vertical factor, from -1 to 1: (lower, upper), or f for
            (-f, f).
        width_factor: likewise; None takes the vertical factor, which keeps the proportions.

    >>> RandomZoom((1.0, 1.0), fill_mode="constant")([[[1.0], [2.0], [3.0]]])[:, :, 0].tolist()
    [[0.0, 2.0, 0.0]]
    """

    examples = (
        {"height_factor": 0.2},
        {"height_factor": [-0.3, -0.1], "width_factor": 0.2, "fill_mode": "wrap", "seed": 3},
    )

    height_factor: Any = field(check=check_range(-1, 1))
    width_factor: Any = field(default=None, check=optional(check_range(-1, 1)))

    def _changed(self, x: Tensor) -> Tensor:
        ranges = [self.height_factor, self.width_factor]
        drawn = self._drawn(x, *(given for given in ranges if given is not None))
        for axis, factor in ((1, drawn[0]), (2, drawn[-1])):
            x = self._moved(x, axis, factor + 1.0, 0.0)
        return x


class RandomTranslation(_Moving):
    """Shift each picture in training, by a part of its size drawn for each.

    Positive factors shift down and to the right. The rest: as for `RandomRotation`.

    Args:
        height_factor: the range of the vertical shift, as a part of the height, from -1 to 1:
            (lower, upper), or f for (-f, f).
        width_factor: likewise, of the width.

    >>> third = 1 / 3
    >>> shift = RandomTranslation(0.0, (third, third), fill_mode="constant")
    >>> shift([[[1.0], [2.0], [3.0]]])[:, :, 0].round(3).tolist()
    [[0.0, 1.0, 2.0]]
    """

    examples = (
        {"height_factor": 0.2, "width_factor": 0.3},
        {"height_factor": [0.1, 0.2], "width_factor": 0.0, "interpolation": "nearest"},
    )

    height_factor: Any = field(check=check_range(-1, 1))
    width_factor: Any = field(check=check_range(-1, 1))

    def _changed(self, x: Tensor) -> Tensor:
        drawn = self._drawn(x, self.height_factor, self.width_factor)
        for axis, factor in zip((1, 2), drawn, strict=True):
            x = self._moved(x, axis, 1.0, factor)
        return x


class RandomShear(_Moving):
    """Shear each picture in training, by factors drawn for each.

    The pixel (x, y) comes from ``(x + a y, y + b x)``, counted from the first pixel; a and b are
    both turned into their negatives with probability 1/2. The rest: as for `RandomRotation`.

    Args:
        x_factor: the range of a, from -1 to 1: (lower, upper), or one number f for (-f, f).
        y_factor: likewise of b.

    >>> shear = RandomShear((1.0, 1.0), fill_mode="wrap")
    >>> y = shear([[[1.0], [2.0], [3.0]], [[1.0], [2.0], [3.0]]])
    >>> y[1, :, 0].tolist() in ([2.0, 3.0, 1.0], [3.0, 1.0, 2.0])
    True
    """

    examples = ({"x_factor": 0.2}, {"x_factor": [0.1, 0.2], "y_factor": 0.3, "seed": 3})

    x_factor: Any = field(default=0.0, check=check_range(-1, 1))
    y_factor: Any = field(default=0.0, check=check_range(-1, 1))
    interpolation: str = field(default="bilinear", kw_only=True, placed=True)
    fill_mode: str = field(default="reflect", kw_only=True, placed=True)
    fill_value: float = field(default=0.0, kw_only=True, placed=True)
    data_format: Any = field(default=None, kw_only=True, placed=True)

    def _changed(self, x: Tensor) -> Tensor:
        *factors, side = self._drawn(x, self.x_factor, self.y_factor, (0.0, 1.0))
        a, b = (ops.where(side < 0.5, factor, -factor) for factor in factors)
        return transformed(x, (1.0, a, 0.0, b, 1.0, 0.0), *self._manner)

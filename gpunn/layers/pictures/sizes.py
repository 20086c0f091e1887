"""Layers that bring pictures to one size."""

from __future__ import annotations

from gpunn.common.arguments import check_flag, check_number, choice
from gpunn.common.fields import field
from gpunn.layers.arguments import check_units
from gpunn.ops.image.framing import RESIZINGS, crop_of, resize, resized
from gpunn.ops.image.sampling import sampled_along
from gpunn.ops.tensor import Tensor, ops

from .base import Pictures, RandomPictures

__all__ = ["CenterCrop", "RandomCrop", "Resizing"]


class Resizing(Pictures):
    """Resize pictures, by `gpunn.ops.image.resize`, in training and otherwise.

    Pixels have their centres at halves, as in PyTorch and Pillow. One picture may be passed too,
    outside a model.

    Shapes: x ``(batch, any, any, channels)`` -> floats y ``(batch, height, width, channels)``.

    Args:
        height, width: the new size.

    The other arguments, and errors: as for this operation.

    >>> Resizing(1, 4)([[[[0.0], [1.0]]]]).tolist()
    [[[[0.0], [0.25], [0.75], [1.0]]]]
    """

    examples = (
        {"height": 3, "width": 5},
        {"height": 5, "width": 2, "interpolation": "bicubic", "data_format": "channels_first"},
        {"height": 2, "width": 2, "interpolation": "nearest", "pad_to_aspect_ratio": True},
        {"height": 2, "width": 4, "crop_to_aspect_ratio": True, "antialias": True},
    )

    height: int = field(check=check_units)
    width: int = field(check=check_units)
    interpolation: str = field(default="bilinear", check=choice(*RESIZINGS))
    crop_to_aspect_ratio: bool = field(default=False, check=check_flag)
    pad_to_aspect_ratio: bool = field(default=False, check=check_flag)
    fill_mode: str = field(default="constant", check=choice("constant"))
    fill_value: float = field(default=0.0, check=check_number)
    antialias: bool = field(default=False, check=check_flag)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ValueError(
                f"{self.name}: crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other."
            )

    def _changed(self, x: Tensor) -> Tensor:
        return resize(
            x, (self.height, self.width), self.interpolation, self.antialias,
            self.crop_to_aspect_ratio, self.pad_to_aspect_ratio, self.fill_mode, self.fill_value,
        )


class CenterCrop(Pictures):
    """Cut the middle out of pictures; smaller ones are resized, without distortion.

    If a picture has fewer rows or columns, its largest part of these proportions is resized,
    bilinearly. Shapes, arguments and errors: as for `Resizing`.

    >>> CenterCrop(1, 2)([[[[0.0], [1.0], [2.0], [3.0]]]]).tolist()
    [[[[1.0], [2.0]]]]
    """

    examples = ({"height": 2, "width": 2}, {"height": 5, "width": 2})

    height: int = field(check=check_units)
    width: int = field(check=check_units)

    def _changed(self, x: Tensor) -> Tensor:
        top, left = (x.shape[1] - self.height) // 2, (x.shape[2] - self.width) // 2
        if min(x.shape[1] - self.height, x.shape[2] - self.width) >= 0:
            return x[:, top : top + self.height, left : left + self.width]
        return _cut_and_resized(x, (self.height, self.width))


def _cut_and_resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the largest part in the middle with the proportions of a size, resized to it."""
    (top, rows), (left, columns) = crop_of(x.shape[1:3], size)
    return resized(x[:, top : top + rows, left : left + columns], size, "bilinear")


class RandomCrop(RandomPictures):
    """Cut a part out of each picture in training, at a place drawn for each.

    All places are equally likely. Outside of training, and for pictures without more rows and more
    columns, the largest part of these proportions in the middle is resized. Shapes: as for
    `CenterCrop`. The rest: as for `RandomFlip`.

    >>> RandomCrop(1, 2, seed=1)([[[[0.0], [1.0], [2.0]], [[3.0], [4.0], [5.0]]]]).shape
    (1, 1, 2, 1)
    """

    examples = ({"height": 2, "width": 2}, {"height": 5, "width": 2, "seed": 3})

    height: int = field(check=check_units)
    width: int = field(check=check_units)

    def _otherwise(self, x: Tensor) -> Tensor:
        return _cut_and_resized(x, (self.height, self.width))

    def _changed(self, x: Tensor) -> Tensor:
        places = [n - m + 1 for n, m in zip(x.shape[1:3], (self.height, self.width), strict=True)]
        if min(places) < 2:
            return self._otherwise(x)
        drawn = self._drawn(x, *((0.0, float(n)) for n in places))
        for axis, first, m in zip((1, 2), drawn, (self.height, self.width), strict=True):
            x = _part(x, axis, m, ops.floor(first))
        return x


def _part(x: Tensor, axis: int, length: int, first: Tensor) -> Tensor:
    """Return this many pixels along an axis, from one on (batch, 1) in each picture."""
    return sampled_along(x, axis, length, lambda k: first + k, "nearest", "nearest")

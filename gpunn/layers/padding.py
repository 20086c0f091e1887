"""Zeros around an image."""

from __future__ import annotations

from typing import Any

from gpunn.common.fields import field
from gpunn.core.plan import Call

from .arguments import check_pair
from .images import _ImageLayer
from .shapes import Shape


def _check_sides(name: str, value: Any) -> tuple[tuple[int, int], ...]:
    """((above, below), (left, right))."""
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"{name} must be an integer, two of them or two pairs; got {value!r}.")
    return tuple(check_pair(name, side, 0) for side in sides)


class ZeroPadding2D(_ImageLayer):
    """y = x with rows and columns of zeros around each image.

    Args:
        padding: zeros on each side; or (those above and below, those left and right), each
            a number or a pair of them.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    >>> ZeroPadding2D(((1, 0), (0, 1)))([[[[5.0]]]])[0, ..., 0].tolist()
    [[0.0, 0.0], [5.0, 0.0]]
    """

    examples = ({}, {"padding": ((1, 0), (2, 1)), "data_format": "channels_first"})

    padding: Any = field(default=(1, 1), check=_check_sides)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        (height, width), channels = self.image(input_shape)
        (top, bottom), (left, right) = self.padding
        padded = height + top + bottom, width + left + right
        return self.shape_of(input_shape[0], padded, channels)

    def forward(self, call: Call) -> None:
        (top, _), (left, _) = self.padding
        call.backend.crop_or_pad(self.planes(call.x), (-top, -left), self.planes(call.y))

    def backward(self, call: Call) -> None:
        (top, _), (left, _) = self.padding
        dy, dx = self.planes(call.dy), self.planes(call.dx)
        call.backend.crop_or_pad(dy, (top, left), dx, call.accumulate_dx)

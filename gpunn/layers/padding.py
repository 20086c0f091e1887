"""Zeros around an image."""

from __future__ import annotations

from typing import Any

from gpunn.core.plan import Call

from .images import _ImageLayer, check_pair
from .shapes import Shape


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

    def __init__(
        self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        sides = tuple(padding) if isinstance(padding, (tuple, list)) else (padding, padding)
        if len(sides) != 2:
            raise ValueError(
                f"padding must be an integer, two of them or two pairs; got {padding!r}."
            )
        self.padding = tuple(check_pair("padding", side, 0) for side in sides)

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

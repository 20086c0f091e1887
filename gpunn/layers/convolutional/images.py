"""Base class of layers on images: data formats, windows and padding; upsampling, zero padding."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.geometry import Geometry, Pair
from gpunn.common.arguments import check_choice
from gpunn.common.fields import field
from gpunn.core.plan import Call
from gpunn.layers.arguments import check_data_format, check_pair
from gpunn.layers.layer import Layer
from gpunn.layers.shapes import Shape
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor


class _ImageLayer(Layer):
    """A layer on images, (batch, height, width, channels) or (batch, channels, height, width)."""

    data_format: str | None = field(
        default=None, check=check_data_format, kw_only=True, placed=True
    )

    @property
    def channels_last(self) -> bool:
        return self.data_format == "channels_last"

    def image(self, input_shape: Shape) -> tuple[Pair, int]:
        """Return the size of an image, 0 if it may be any, and its channels."""
        shape = tuple(input_shape)[1:]
        if len(shape) != 3 or shape[-1 if self.channels_last else 0] is None:
            axes = "height, width, channels" if self.channels_last else "channels, height, width"
            raise ValueError(
                f"{self.name}: x must have the shape (batch, {axes}) for data_format="
                f"{self.data_format!r}; got {tuple(input_shape)}."
            )
        sizes = [int(n or 0) for n in shape]
        height, width, channels = sizes if self.channels_last else [*sizes[1:], sizes[0]]
        return (height, width), channels

    def shape_of(self, batch: int | None, image: Pair, channels: int) -> Shape:
        """Return the shape of a batch of images of this size."""
        return (batch, *image, channels) if self.channels_last else (batch, channels, *image)

    def windows_on(
        self, input_shape: Shape, window: Pair, strides: Pair, padding: str, dilation: Pair = (1, 1)
    ) -> Geometry:
        """Return how windows lie on images of this shape.

        Raises:
            ValueError: if not even one window fits.
        """
        image, _ = self.image(input_shape)
        try:
            return Geometry.fit(image, window, strides, padding, dilation)
        except ValueError as error:
            raise ValueError(
                f"{self.name}: {error}. Use a smaller window, padding='same', or larger images."
            ) from None

    def planes(self, x: Array) -> Array:
        """Reshape ``x`` to (samples, height, width, channels), for layers that treat channels
        separately: with channels first, each channel becomes a sample."""
        return x if self.channels_last else x.reshape(-1, *x.shape[2:], 1)


def _check_sides(name: str, value: Any) -> tuple[tuple[int, int], ...]:
    """((above, below), (left, right))."""
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"{name} must be an integer, two of them or two pairs; got {value!r}.")
    return tuple(check_pair(name, side, 0) for side in sides)


def _check_nearest(name: str, value: Any) -> str:
    return check_choice(name, value, ("nearest",))


class UpSampling2D(_ImageLayer):
    """Enlarge images by repeating each row and each column, nearest-neighbour upsampling.

    The gradient of a pixel is the sum of the gradients of its copies.

    Shapes: x ``(batch, height, width, channels)`` -> y
    ``(batch, size[0] height, size[1] width, channels)``; with channels first, channels are axis 1.

    Args:
        size: how often rows and columns are repeated, (rows, columns), or one number for both.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        interpolation: ``"nearest"``; others are not supported.

    Raises:
        ValueError: for another interpolation, and for inputs that are not images.

    >>> UpSampling2D((1, 2))([[[[5.0], [6.0]]]])[0, ..., 0].tolist()
    [[5.0, 5.0, 6.0, 6.0]]
    """

    _moves_values = True
    examples = ({}, {"size": (1, 3), "data_format": "channels_first"})

    size: Any = field(default=(2, 2), check=check_pair)
    data_format: str | None = field(default=None, kw_only=True, placed=True)
    interpolation: str = field(default="nearest", check=_check_nearest)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        (height, width), channels = self.image(input_shape)
        (down, across) = self.size
        return self.shape_of(input_shape[0], (height * down, width * across), channels)

    def _formula(self, x: Tensor, training: bool) -> Tensor:
        rows, columns = (1, 2) if self.channels_last else (2, 3)
        return ops.repeat(ops.repeat(x, self.size[0], rows), self.size[1], columns)

    def _parts(self, larger: Array) -> tuple[int, int]:
        """Return how many values are repeated together: in a pixel, and in a larger row."""
        _, _, width, channels = self.planes(larger).shape
        return channels, width * channels

    def forward(self, call: Call) -> None:
        pixel, row = self._parts(call.y)
        down, across = self.size
        wide = call.array("wide", (call.x.size // pixel, across * pixel))
        for k in range(across):
            call.backend.copy_columns(call.x.reshape(-1, pixel), 0, wide, k * pixel, pixel)
        rows = call.y.reshape(-1, down * row)
        for k in range(down):
            call.backend.copy_columns(wide.reshape(-1, row), 0, rows, k * row, row)

    def backward(self, call: Call) -> None:
        pixel, row = self._parts(call.y)
        down, across = self.size
        wide = call.array("wide", (call.x.size // pixel, across * pixel))
        rows, dx = call.dy.reshape(-1, down * row), call.dx.reshape(-1, pixel)
        for k in range(down):
            part = rows, k * row, wide.reshape(-1, row), 0, row
            call.backend.copy_columns(*part, accumulate=k > 0)
        for k in range(across):
            adds = call.accumulate_dx or k > 0
            call.backend.copy_columns(wide, k * pixel, dx, 0, pixel, accumulate=adds)


class ZeroPadding2D(_ImageLayer):
    """Add rows and columns of zeros around each image, before a convolution for example.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, above + height + below, left +
    width + right, channels)``; with channels first, channels are axis 1.

    Args:
        padding: zeros on each side, in pixels; or (vertical, horizontal), each a number or a pair:
            ((above, below), (left, right)).
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for padding of another form, and for inputs that are not images.

    >>> ZeroPadding2D(((1, 0), (0, 1)))([[[[5.0]]]])[0, ..., 0].tolist()
    [[0.0, 0.0], [5.0, 0.0]]
    """

    _moves_values = True
    examples = ({}, {"padding": ((1, 0), (2, 1)), "data_format": "channels_first"})

    padding: Any = field(default=(1, 1), check=_check_sides)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        (height, width), channels = self.image(input_shape)
        (top, bottom), (left, right) = self.padding
        padded = height + top + bottom, width + left + right
        return self.shape_of(input_shape[0], padded, channels)

    def _formula(self, x: Tensor, training: bool) -> Tensor:
        sides, whole = tuple(self.padding), ((0, 0),)
        widths = (*whole, *sides, *whole) if self.channels_last else (*whole, *whole, *sides)
        return ops.pad(x, widths)

    def forward(self, call: Call) -> None:
        (top, _), (left, _) = self.padding
        call.backend.crop_or_pad(self.planes(call.x), (-top, -left), self.planes(call.y))

    def backward(self, call: Call) -> None:
        (top, _), (left, _) = self.padding
        dy, dx = self.planes(call.dy), self.planes(call.dx)
        call.backend.crop_or_pad(dy, (top, left), dx, call.accumulate_dx)

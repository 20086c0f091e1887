"""What layers on images have in common: two formats of them, and windows."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.geometry import Geometry, Pair
from gpunn.common.arguments import check_choice, check_integer

from .layer import Layer
from .shapes import Shape

FORMATS = ("channels_last", "channels_first")


class _ImageLayer(Layer):
    """A layer on images, (batch, height, width, channels) or (batch, channels, height, width)."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = check_choice("data_format", data_format or FORMATS[0], FORMATS)

    @property
    def channels_last(self) -> bool:
        return self.data_format == "channels_last"

    def image(self, input_shape: Shape) -> tuple[Pair, int]:
        """The size of an image, and its channels."""
        shape = tuple(input_shape)[1:]
        if len(shape) != 3 or any(n is None for n in shape):
            axes = "height, width, channels" if self.channels_last else "channels, height, width"
            raise ValueError(
                f"{self.name}: x must have the shape (batch, {axes}), as {self.data_format} "
                f"says; got {tuple(input_shape)}."
            )
        sizes = [int(n or 0) for n in shape]
        height, width, channels = sizes if self.channels_last else [*sizes[1:], sizes[0]]
        return (height, width), channels

    def shape_of(self, batch: int | None, image: Pair, channels: int) -> Shape:
        """The shape of so many images of this size."""
        return (batch, *image, channels) if self.channels_last else (batch, channels, *image)

    def windows_on(
        self, input_shape: Shape, window: Pair, strides: Pair, padding: str, dilation: Pair = (1, 1)
    ) -> Geometry:
        """How windows lie on images of this shape.

        Raises:
            ValueError: if not one window lies on them.
        """
        image, _ = self.image(input_shape)
        try:
            return Geometry.fit(image, window, strides, padding, dilation)
        except ValueError as error:
            raise ValueError(
                f"{self.name}: {error}. Take a smaller window, padding='same', or larger images."
            ) from None

    def planes(self, x: Array) -> Array:
        """``x`` as (samples, height, width, channels), where channels do not mix: each of
        those that come first is a sample."""
        return x if self.channels_last else x.reshape(-1, *x.shape[2:], 1)


def check_pair(name: str, value: Any, least: int = 1) -> Pair:
    """``value`` as (height, width): one integer for both, or two.

    >>> check_pair("strides", 2), check_pair("strides", [1, 3])
    ((2, 2), (1, 3))
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{name} must be an integer or two of them; got {value!r}.")
    return check_integer(name, values[0], least), check_integer(name, values[1], least)


def check_padding(value: Any) -> str:
    """``"valid"`` or ``"same"``, in any case of letters."""
    value = value.lower() if isinstance(value, str) else value
    return check_choice("padding", value, ("valid", "same"))

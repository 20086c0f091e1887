"""What layers on images have in common: two formats of them, and windows."""

from __future__ import annotations

from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.geometry import Geometry, Pair
from gpunn.common.fields import field

from .arguments import check_data_format
from .layer import Layer
from .shapes import Shape


class _ImageLayer(Layer):
    """A layer on images, (batch, height, width, channels) or (batch, channels, height, width)."""

    data_format: str | None = field(
        default=None, check=check_data_format, kw_only=True, placed=True
    )

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
        """The shape of a batch of images of this size."""
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

"""Base class of layers on images: data formats, windows and padding; upsampling, zero padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gpunn.backends.shared.geometry import Geometry, Pair
from gpunn.common.arguments import check_pair, check_positive_integer, check_sizes, choice
from gpunn.common.fields import field
from gpunn.core.storage import Parameter
from gpunn.layers.arguments import check_data_format
from gpunn.layers.layer import Layer, formula
from gpunn.layers.shapes import Shape
from gpunn.ops.tensor import Tensor, ops


class _ImageLayer(Layer):
    """A layer on images, (batch, height, width, channels) or (batch, channels, height, width).

    With one axis, (batch, steps, channels) or (batch, channels, steps), they have the height 1.
    Volumes have a depth before the height.
    """

    _rank: ClassVar[int] = 2
    """The number of axes of an image."""

    data_format: str | None = field(
        default=None, check=check_data_format, kw_only=True, placed=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("kernel_size", "pool_size", "output_size", "strides", "dilation_rate"):
            if (value := getattr(self, name, None)) is not None:  # one for each axis, or for all
                setattr(self, name, check_sizes(name, value, self._rank))

    @property
    def channels_last(self) -> bool:
        return self.data_format == "channels_last"

    def sizes(self, input_shape: Shape) -> tuple[tuple[int, ...], int]:
        """Return the size of an image along each axis, 0 if it may be any, and its channels."""
        shape = tuple(input_shape)[1:]
        last = -1 if self.channels_last else 0
        if len(shape) != self._rank + 1 or shape[last] is None:
            axes = ("steps", "height, width", "depth, height, width")[self._rank - 1]
            axes = f"{axes}, channels" if self.channels_last else f"channels, {axes}"
            raise ValueError(
                f"{self.name}: x must have the shape (batch, {axes}) for data_format="
                f"{self.data_format!r}; got {tuple(input_shape)}."
            )
        sizes = [int(n or 0) for n in shape]
        *image, channels = sizes if self.channels_last else [*sizes[1:], sizes[0]]
        return tuple(image), channels

    def shape_of(self, batch: int | None, image: Sequence[int], channels: int) -> Shape:
        """Return the shape of a batch of images of this size."""
        axes = image[-self._rank :]
        return (batch, *axes, channels) if self.channels_last else (batch, channels, *axes)

    def windows_on(
        self,
        input_shape: Shape,
        window: Sequence[int],
        strides: Sequence[int],
        padding: str,
        dilation: Sequence[int] = (1, 1, 1),
    ) -> list[int]:
        """Return the number of windows along each axis; a ValueError if not even one fits."""
        sizes, _ = self.sizes(input_shape)
        whole = sizes, window, strides, dilation[: self._rank]
        parts: list[Any] = [whole]
        if self._rank == 3:  # each axis of a volume by itself
            parts = [[(n,) for n in axis] for axis in zip(*whole, strict=True)]
        found: list[int] = []
        try:
            for part in parts:
                image, shape, steps, apart = map(pair_of, part)
                windows = Geometry.fit(image, shape, steps, padding, apart).windows
                found += windows[-len(part[0]) :]
        except ValueError as error:
            things = "volumes" if self._rank == 3 else "images"
            raise ValueError(
                f"{self.name}: {error}. Use a smaller window, padding='same', or larger {things}."
            ) from None
        return found

    def _with_bias(self, y: Tensor, bias: Parameter | None) -> Tensor:
        """Return y + the bias of each channel, if there is one."""
        if bias is None:
            return y
        return y + ops.reshape(bias, (-1,) if self.channels_last else (-1, *(1,) * self._rank))


def pair_of(sizes: Sequence[int]) -> Pair:
    """Return one number for each axis as (height, width); the height of steps is 1."""
    height, width = (1, *sizes)[-2:]
    return height, width


def _check_ends(name: str, value: Any) -> tuple[int, int]:
    """(before, after)."""
    return check_pair(name, value, 0)


def _check_sides(name: str, value: Any) -> tuple[tuple[int, int], ...]:
    """((above, below), (left, right))."""
    return check_all_sides(name, value, 2)


def check_all_sides(name: str, value: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """(before, after) along each axis."""
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(sides) != rank:
        many = "two" if rank == 2 else "three"
        raise ValueError(
            f"{name} must be an integer, {many} of them or {many} pairs; got {value!r}."
        )
    return tuple(check_pair(name, side, 0) for side in sides)


class _UpSampling(_ImageLayer):
    _reads_integers = True

    size: Any

    def _factors(self) -> tuple[int, ...]:
        return (self.size,) if self._rank == 1 else self.size

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes, channels = self.sizes(input_shape)
        longer = [n * times for n, times in zip(sizes, self._factors(), strict=True)]
        return self.shape_of(input_shape[0], longer, channels)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        first = 1 if self.channels_last else 2
        for axis, times in reversed([*enumerate(self._factors(), first)]):
            x = ops.repeat(x, times, axis)
        return x

class UpSampling2D(_UpSampling):
    """Enlarge images by repeating each row and each column, or by interpolation between them.

    The gradient of a repeated pixel is the sum of the gradients of its copies.

    Shapes: x ``(batch, height, width, channels)`` -> y
    ``(batch, size[0] height, size[1] width, channels)``; with channels first, channels are axis 1.

    Args:
        size: the factors of the height and of the width, or one number for both.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        interpolation: ``"nearest"``: pixels are repeated; ``"bilinear"``, ``"bicubic"``,
            ``"lanczos3"`` or ``"lanczos5"``, as in `Resizing`.

    Raises:
        ValueError: for another interpolation, and for inputs that are not images.

    >>> UpSampling2D((1, 2))([[[[5.0], [6.0]]]])[0, ..., 0].tolist()
    [[5.0, 5.0, 6.0, 6.0]]
    """

    examples = (
        {},
        {"size": (1, 3), "data_format": "channels_first"},
        {"size": (2, 3), "interpolation": "bilinear"},
    )

    size: Any = field(default=(2, 2), check=check_pair)
    data_format: str | None = field(default=None, kw_only=True, placed=True)
    interpolation: str = field(
        default="nearest", check=choice("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    )

    @property
    def _reads_integers(self) -> bool:  # type: ignore[override]
        return self.interpolation == "nearest"

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        if self.interpolation == "nearest":
            return super().call(x, training)
        from gpunn.ops.image.framing import resized  # only for these

        y = x if self.channels_last else ops.transpose(x, (0, 2, 3, 1))
        size = [n * times for n, times in zip(y.shape[1:3], self._factors(), strict=True)]
        y = resized(y, size, self.interpolation)
        return y if self.channels_last else ops.transpose(y, (0, 3, 1, 2))


class UpSampling1D(_UpSampling):
    """Lengthen sequences by repeating each step; a step's gradient is the sum of its copies'.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, size steps, channels)``. Arguments and
    errors: as for `UpSampling2D`; the size is one number.

    >>> UpSampling1D(2)([[[5.0], [6.0]]]).ravel().tolist()
    [5.0, 5.0, 6.0, 6.0]
    """

    _rank = 1
    examples = ({}, {"size": 3})

    size: int = field(default=2, check=check_positive_integer)


class _Shifting(_ImageLayer):
    """A layer whose output is its input, with pixels less or more at each end of an axis."""

    _reads_integers = True

    def _ends(self) -> tuple[tuple[int, int], ...]:
        """Return the zeros added before and after along each axis; negative: pixels removed."""
        name, sign = ("padding", 1) if hasattr(self, "padding") else ("cropping", -1)
        given = getattr(self, name)
        sides = [given] if self._rank == 1 else given
        return tuple((sign * before, sign * after) for before, after in sides)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes, channels = self.sizes(input_shape)
        ends = zip(sizes, self._ends(), strict=True)
        left = [n + before + after for n, (before, after) in ends]
        if min(left) < 1:
            raise ValueError(
                f"{self.name}: Values in `cropping` argument should be smaller than the "
                f"corresponding spatial dimension of the input; got {self._ends()} and an input of "
                f"shape {tuple(input_shape)}: at least one pixel of each axis must be left."
            )
        return self.shape_of(input_shape[0], left, channels)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        whole = ((0, 0),)
        ends = (*whole, *self._ends(), *whole) if self.channels_last else 2 * whole + self._ends()
        if min(min(end) for end in ends) >= 0:
            return ops.pad(x, ends)
        return x[tuple(slice(-before or None, after or None) for before, after in ends)]

class ZeroPadding2D(_Shifting):
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

    examples = ({}, {"padding": ((1, 0), (2, 1)), "data_format": "channels_first"})

    padding: Any = field(default=(1, 1), check=_check_sides)


class ZeroPadding1D(_Shifting):
    """Add steps of zeros before and after each sequence, before a convolution for example.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, before + steps + after, channels)``.
    Arguments and errors: as for `ZeroPadding2D`; padding in steps, at both ends or (before, after).

    >>> ZeroPadding1D((2, 1))([[[5.0]]]).ravel().tolist()
    [0.0, 0.0, 5.0, 0.0]
    """

    _rank = 1
    examples = ({}, {"padding": (2, 1), "data_format": "channels_first"})

    padding: Any = field(default=1, check=_check_ends)


class Cropping2D(_Shifting):
    """Remove rows and columns at the edges of each image; their gradient is 0.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, height - above - below, width -
    left - right, channels)``. Arguments and errors: as for `ZeroPadding2D`, for pixels that are
    removed; one of each axis must stay.

    >>> Cropping2D(((1, 0), (0, 1)))([[[[1.0], [2.0]], [[3.0], [4.0]]]]).ravel().tolist()
    [3.0]
    """

    examples = (
        {},
        {"cropping": ((1, 0), (0, 1))},
        {"cropping": ((1, 0), (0, 0)), "data_format": "channels_first"},
    )

    cropping: Any = field(default=((0, 0), (0, 0)), check=_check_sides)


class Cropping1D(_Shifting):
    """Remove steps at the ends of each sequence; their gradient is 0.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, steps - before - after, channels)``.
    Arguments and errors: as for `Cropping2D`; cropping in steps, at both ends or (before, after).

    >>> Cropping1D((1, 0))([[[5.0], [6.0]]]).ravel().tolist()
    [6.0]
    """

    _rank = 1
    examples = ({"cropping": (1, 0)}, {"cropping": (0, 1)})

    cropping: Any = field(default=(1, 1), check=_check_ends)

"""Convolution and pooling with the backend's operations, with derivatives of any order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.formulas import LINEAR
from gpunn.backends.shared.geometry import Geometry, planes
from gpunn.ops.conversion import floats, promoted
from gpunn.ops.fusion.storing import fill
from gpunn.ops.primitive import Primitive
from gpunn.ops.shapes import expand_dims, listed, moveaxis, reshape, squeeze
from gpunn.ops.tensor import Shape, Tensor, operation

Sizes = int | Sequence[int]


# -- convolution: linear in both of its inputs, as are its gradients. The contract's gradients take
# arrays that they do not read here; scratch memory is passed for these. Images may have one axis.


def _write_convolution(
    backend: Backend, out: Array, x: Array, kernel: Array, geometry: Geometry,
    precision: str | None = None,
) -> None:
    x, out = planes(x), planes(out)
    backend.convolution(x, kernel, None, LINEAR, geometry, out, out, precision)


def _write_dx(
    backend: Backend, out: Array, dy: Array, kernel: Array, geometry: Geometry, channels: int,
    precision: str | None = None,
) -> None:
    dy, out = planes(dy), planes(out)
    x = backend.scratch(out.shape, out.dtype, "image")
    arrays = None, dy, None, None, out
    backend.convolution_gradient(x, kernel, LINEAR, geometry, *arrays, precision=precision)


def _write_dkernel(
    backend: Backend, out: Array, x: Array, dy: Array, geometry: Geometry, depth: int,
    precision: str | None = None,
) -> None:
    if not x.size:  # an empty sum
        fill(backend, 0.0, out)
        return
    x, dy = planes(x), planes(dy)
    kernel = backend.scratch(out.shape, out.dtype, "kernel")
    arrays = None, dy, out, None, None
    backend.convolution_gradient(x, kernel, LINEAR, geometry, *arrays, precision=precision)


convolved = Primitive(
    "conv", _write_convolution,
    lambda x, kernel, geometry: (x[0], *geometry.windows[4 - len(x) :], kernel[3]), gradient="conv",
)
image_gradient = Primitive(
    "conv's gradient by the image", _write_dx,
    lambda dy, kernel, geometry, channels: (dy[0], *geometry.image[4 - len(dy) :], channels),
    gradient="conv by the image",
)
kernel_gradient = Primitive(
    "conv's gradient by the kernel", _write_dkernel,
    lambda x, dy, geometry, depth: (*geometry.window, depth, dy[-1]), gradient="conv by the kernel",
)
for _primitive in (convolved, image_gradient, kernel_gradient):
    _primitive.rounds = True

# -- pooling


def _pooled_shape(x: Shape, geometry: Geometry) -> Shape:
    return (x[0], *geometry.windows, x[3])


def sides_of(geometry: Geometry) -> list[tuple[int, int]]:
    """Return the padding of each axis that makes all windows fit inside."""
    sizes = zip(geometry.extent, geometry.image, geometry.padding, strict=True)
    return [(0, 0), *((before, max(0, n - m - before)) for n, m, before in sizes), (0, 0)]


def cells_of(geometry: Geometry) -> Iterator[tuple[tuple[int, int], tuple[slice, ...]]]:
    """Yield the cells of a window: the index of each, and the slices of the padded images that
    hold it for all windows."""
    for at in np.ndindex(*geometry.window):
        firsts = [k * apart for k, apart in zip(at, geometry.dilation, strict=True)]
        sizes = zip(firsts, geometry.windows, geometry.strides, strict=True)
        yield at, (slice(None), *(slice(k, k + (n - 1) * by + 1, by) for k, n, by in sizes))


largest_of_windows = Primitive(
    "max_pool", lambda backend, out, x, geometry: backend.max_pooling(x, geometry, out),
    _pooled_shape, gradient="max_pool",
)
largest_gradient = Primitive(
    "max_pool's gradient",
    lambda backend, out, dy, x, y, geometry, accumulate=False: backend.max_pooling_gradient(
        x, y, dy, geometry, out, accumulate
    ),
    lambda dy, x, y, geometry: x, gradient="max_pool's gradient",
)


mean_of_windows = Primitive(
    "average_pool", lambda backend, out, x, geometry: backend.average_pooling(x, geometry, out),
    _pooled_shape, gradient="average_pool",
)
mean_gradient = Primitive(
    "average_pool's gradient",
    lambda backend, out, dy, geometry, accumulate=False: backend.average_pooling_gradient(
        dy, geometry, out, accumulate
    ),
    lambda dy, geometry: (dy[0], *geometry.image, dy[3]), gradient="average_pool's gradient",
)

largest_gradient.adds = mean_gradient.adds = True

# -- public operations


class _Images:
    """Images of one or two spatial axes, in either format, with channels last, and back.

    With ``by_channel``, channels that come first are samples of one channel.
    """

    def __init__(self, x: Tensor, data_format: str | None, by_channel: bool = False) -> None:
        if data_format not in (None, "channels_last", "channels_first"):
            raise ValueError(
                f"data_format must be 'channels_last' or 'channels_first'; got {data_format!r}."
            )
        if x.ndim not in (3, 4):
            raise ValueError(
                f"images (batch, height, width, channels), or (batch, steps, channels) of "
                f"one axis, are expected; got shape {x.shape}."
            )
        self._first, self._flat = data_format == "channels_first", x.ndim == 3
        self._apart = x.shape[:2] if self._first and by_channel else None
        if self._apart:
            x = reshape(x, (math.prod(self._apart), *x.shape[2:], 1))
        elif self._first:
            x = moveaxis(x, 1, -1)
        self.x, shape = x, x.shape
        self.image = (1, shape[1]) if self._flat else shape[1:3]
        self.channels = shape[-1]

    def sizes(self, argument: str, given: Sizes, least: int = 1) -> tuple[int, int]:
        """Return an argument as (height, width); the height is the least if there is one axis."""
        several = listed(given)
        if len(several) == 1 and not self._flat:
            several *= 2
        if len(several) != 2 - self._flat or not all(isinstance(n, int) for n in several):
            axes = "one number" if self._flat else "one number or two"
            raise ValueError(f"{argument} must be {axes}; got {given!r}.")
        if min(several) < least:
            raise ValueError(f"{argument} must be {least} or more; got {given!r}.")
        height, width = [least, *several] if self._flat else several
        return height, width

    def kernel(self, kernel: Tensor, axis: int = 2, grouped: bool = False) -> Tensor:
        """Return a kernel of two spatial axes, after checking the channels along ``axis``: as many
        as the images have, or if it is ``grouped`` as a group of these."""
        channels = self.channels
        kernel = expand_dims(kernel, 0) if self._flat and kernel.ndim == 3 else kernel
        depth = kernel.shape[axis] if kernel.ndim == 4 else 0
        groups = channels // depth if grouped and depth else 1
        if depth * groups != channels or (groups > 1 and kernel.shape[3] % groups):
            several = ", or of groups that divide channels and filters" if grouped else ""
            raise ValueError(
                f"the input channels must match the kernel: {channels} channels were expected"
                f"{several}; got a kernel of shape {kernel.shape}."
            )
        return kernel

    def geometry(
        self, window: Sequence[int], strides: Sizes, padding: str, dilation: Sizes = 1,
        image: Sequence[int] | None = None,
    ) -> Geometry:
        """Return how the windows are placed on images, of this size if it is given."""
        padding = str(padding).lower()
        if padding not in ("valid", "same") and not (padding == "causal" and self._flat):
            more = ", or 'causal' with one axis" if self._flat else ""
            raise ValueError(f"padding must be 'valid' or 'same'{more}; got {padding!r}.")
        steps, apart = self.sizes("strides", strides), self.sizes("dilation_rate", dilation)
        (height, width), (rows, columns) = image or self.image, window
        try:
            return Geometry.fit((height, width), (rows, columns), steps, padding, apart)
        except ValueError as error:
            raise ValueError(f"{error}.") from None

    def back(self, y: Tensor) -> Tensor:
        if self._apart:
            return reshape(y, (*self._apart, *y.shape[1:-1]))
        return moveaxis(y, -1, 1) if self._first else y


@operation
def conv(
    inputs: Any,
    kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Convolve images, or sequences, with a kernel that slides over their spatial axes.

    ``y[b, i, j, f] = sum_{u, v, c} x[b, i s + u d, j s + v d, c] kernel[u, v, c, f]`` for "valid"
    padding, with the strides s and the dilation rate d. As in other libraries, this is a
    cross-correlation.

    Args:
        inputs: images (batch, height, width, channels), sequences (batch, steps, channels), or
            volumes (batch, depth, height, width, channels); promoted with the kernel to one dtype,
            at least float32.
        kernel: (height, width, channels, filters), (steps, channels, filters), or (depth, height,
            width, channels, filters).
        strides: the distance between neighbouring windows: a number, or one for each axis.
        padding: "valid", or "same", which pads with zeros to ceil(length / stride) positions; with
            one axis also "causal", which pads before the first alone.
        data_format: "channels_last" (the default), or "channels_first" for (batch, channels, ...).
        dilation_rate: the distance between the pixels of a window.

    A kernel of fewer channels divides the images' channels, and the filters, into groups: each
    group's filters see its own channels.

    Returns:
        floats (batch, new height, new width, filters), or (batch, new steps, filters).

    Raises:
        ValueError: for other shapes, a kernel larger than the images, or another option.

    >>> from gpunn import ops
    >>> ops.conv(ops.ones((1, 4, 3)), ops.ones((2, 3, 5))).shape
    (1, 3, 5)
    """
    x, w = promoted(inputs, kernel, at_least="float")
    if x.ndim == 5:
        from gpunn.ops.gather_scatter.volumes import conv_volumes  # only few models use it

        return conv_volumes(conv, x, w, strides, padding, data_format, dilation_rate)
    images = _Images(x, data_format)
    w = images.kernel(w, grouped=True)
    geometry = images.geometry(w.shape[:2], strides, padding, dilation_rate)
    return images.back(convolved(images.x, w, geometry=geometry))


@operation
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Compute the transposed convolution, which upsamples: the gradient of `conv` for its images.

    The new sizes are ``length * stride`` for "same" and ``length * stride + max(span - stride, 0)``
    for "valid", unless ``output_padding`` is given. Source: Dumoulin & Visin, 2016,
    arXiv:1603.07285.

    Args:
        kernel: (height, width, filters, channels), or (steps, filters, channels): its last axis has
            the images' channels.
        output_padding: pixels that are added below and on the right to the sizes ``(length - 1) *
            stride + span`` for "valid", where a dilated kernel is as long as its span, and
            ``(length - 1) * stride + span % 2`` for "same": a number below the strides, or two.

    The other arguments, the result and errors: as for `conv`.

    >>> from gpunn import ops
    >>> ops.conv_transpose([[[1.0], [2.0]]], [[[1.0]], [[10.0]]], strides=2).tolist()
    [[[1.0], [10.0], [2.0], [20.0]]]
    """
    x, w = promoted(inputs, kernel, at_least="float")
    if x.ndim == 5:
        from gpunn.ops.gather_scatter.volumes import (
            conv_transpose_volumes,  # only few models use it
        )

        return conv_transpose_volumes(
            conv_transpose, lambda *of_steps: _transposed(*of_steps)[2], x, w, strides, padding,
            output_padding, data_format, dilation_rate,
        )
    images, w, geometry = _transposed(
        x, w, strides, padding, output_padding, dilation_rate, data_format
    )
    return images.back(image_gradient(images.x, w, geometry=geometry, channels=w.shape[2]))


def _transposed(
    x: Tensor, kernel: Tensor, strides: Any, padding: str, output_padding: Any, dilation_rate: Any,
    data_format: str | None = None,
) -> tuple[_Images, Tensor, Geometry]:
    """Return the images and the kernel of a transposed convolution, and where its windows lie."""
    images = _Images(x, data_format)
    w, steps = images.kernel(kernel, 3), images.sizes("strides", strides)
    apart = images.sizes("dilation_rate", dilation_rate)
    spans = [d * (k - 1) + 1 for k, d in zip(w.shape, apart, strict=False)]
    valid = str(padding).lower() == "valid"
    larger = [
        n * step + (max(span - step, 0) if valid else 0)
        for n, step, span in zip(images.image, steps, spans, strict=True)
    ]
    geometry = images.geometry(w.shape[:2], strides, padding, dilation_rate, larger)
    if output_padding is not None:
        more = images.sizes("output_padding", output_padding, 0)
        geometry = _with_more(geometry, images.image, spans, more, valid)
    return images, w, geometry


def _with_more(
    geometry: Geometry, image: Sequence[int], spans: Sequence[int], more: Sequence[int], valid: bool
) -> Geometry:
    """Return where windows lie on an image with an output padding, as in Keras: the windows of
    "same" begin before its first pixel by half of what they have in excess."""
    if any(n >= step for n, step in zip(more, geometry.strides, strict=True) if n):
        raise ValueError(
            f"output_padding must be below the strides, {geometry.strides}; got {tuple(more)}."
        )
    ends, before = [], []
    for n, step, span, extra in zip(image, geometry.strides, spans, more, strict=True):
        ends.append((n - 1) * step + (span if valid else span % 2) + extra)
        excess = span + span % 2 - 2 + extra
        before.append(0 if valid else span - 1 - min(excess // 2 + excess % 2, span - 1))
    (height, width), (top, left), (rows, columns) = ends, before, image
    return replace(
        geometry, image=(height, width), windows=(rows, columns), padding=(top, left)
    )


@operation
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Convolve each channel separately, with filters of its own; see `conv`.

    Args:
        kernel: (height, width, channels, multiplier), or (steps, channels, multiplier).

    The other arguments, and errors: as for `conv`.

    Returns:
        floats (batch, new height, new width, channels * multiplier); results of the first channel
        come first.

    >>> from gpunn import ops
    >>> ops.depthwise_conv(ops.ones((1, 5, 5, 3)), ops.ones((2, 2, 3, 4))).shape
    (1, 4, 4, 12)
    """
    x, w = promoted(inputs, kernel, at_least="float")
    images = _Images(x, data_format)
    w = images.kernel(w)
    geometry = images.geometry(w.shape[:2], strides, padding, dilation_rate)
    w = reshape(w, (*w.shape[:2], 1, w.shape[2] * w.shape[3]))  # a group for each channel
    return images.back(convolved(images.x, w, geometry=geometry))


@operation
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Apply a depthwise convolution, then a pointwise one with a kernel of one pixel.

    Source: Chollet 2016, arXiv:1610.02357.

    Args:
        depthwise_kernel: (height, width, channels, multiplier).
        pointwise_kernel: (1, 1, channels * multiplier, filters).

    The other arguments, the result and errors: as for `conv`.

    >>> from gpunn import ops
    >>> depthwise, pointwise = ops.ones((2, 2, 3, 4)), ops.ones((1, 1, 12, 6))
    >>> ops.separable_conv(ops.ones((1, 5, 5, 3)), depthwise, pointwise).shape
    (1, 4, 4, 6)
    """
    y = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(y, pointwise_kernel, 1, "valid", data_format)


@operation
def max_pool(
    inputs: Any,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Return the largest value in each window of images with one or two spatial axes.

    The first maximum of a window gets its gradient.

    Args:
        inputs: (batch, height, width, channels), or (batch, steps, channels), as floats.
        pool_size, strides: a number, or (vertical, horizontal); strides are pool_size by default.
        padding: "valid", or "same", whose windows overlap the border.
        data_format: "channels_last" (the default), or "channels_first".

    Returns:
        floats (batch, new height, new width, channels), or (batch, new steps, channels).

    Raises:
        ValueError: for other shapes, a window larger than the images, or another option.

    >>> from gpunn import ops
    >>> ops.max_pool([[[1.0], [3.0], [2.0], [4.0]]], 2).tolist()
    [[[3.0], [4.0]]]
    """
    return _pool(largest_of_windows, inputs, pool_size, strides, padding, data_format)


@operation
def average_pool(
    inputs: Any,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Compute the mean over each window of images with one or two spatial axes.

    Of windows that overlap the border only pixels inside count. Arguments, result and errors: as
    for `max_pool`.

    >>> from gpunn import ops
    >>> ops.average_pool([[[1.0], [3.0], [2.0], [4.0]]], 2).tolist()
    [[[2.0], [3.0]]]
    """
    return _pool(mean_of_windows, inputs, pool_size, strides, padding, data_format)


def _pool(
    primitive: Primitive, inputs: Any, pool_size: Sizes, strides: Sizes | None, padding: str,
    data_format: str | None,
) -> Tensor:
    images = _Images(floats(inputs), data_format, by_channel=True)
    window = images.sizes("pool_size", pool_size)
    steps = pool_size if strides is None else strides
    x, geometry = images.x, images.geometry(window, steps, padding)
    y = primitive(reshape(x, (len(x), *images.image, x.shape[-1])), geometry=geometry)
    return images.back(y if x.ndim == 4 else squeeze(y, 1))


@operation
def adaptive_max_pool(inputs: Any, output_size: Sizes, data_format: str | None = None) -> Tensor:
    """Return the largest value in each of as many windows as the result has places.

    Of n pixels, the window for place k of m begins at ``floor(k n / m)`` and ends before
    ``ceil((k + 1) n / m)``: windows cover the image, and may overlap by a pixel. The first maximum
    of a window gets its gradient.

    Args:
        inputs: (batch, height, width, channels), or (batch, steps, channels), as floats.
        output_size: a number, or (height, width).
        data_format: "channels_last" (the default), or "channels_first".

    Returns:
        floats (batch, height, width, channels), or (batch, steps, channels), of this size.

    Raises:
        ValueError: for other shapes, images without pixels, or another option.

    >>> from gpunn import ops
    >>> ops.adaptive_max_pool([[[1.0], [3.0], [2.0], [4.0], [0.0]]], 2).tolist()
    [[[3.0], [4.0]]]
    """
    return _adaptive_pool(inputs, output_size, data_format, mean=False)


@operation
def adaptive_average_pool(
    inputs: Any, output_size: Sizes, data_format: str | None = None
) -> Tensor:
    """Compute the mean over each of as many windows as the result has places.

    Windows, arguments, result and errors: as for `adaptive_max_pool`.

    >>> from gpunn import ops
    >>> ops.adaptive_average_pool([[[1.0], [3.0], [2.0], [4.0], [0.0]]], 2).tolist()
    [[[2.0], [2.0]]]
    """
    return _adaptive_pool(inputs, output_size, data_format, mean=True)


def _adaptive_pool(inputs: Any, size: Sizes, data_format: str | None, mean: bool) -> Tensor:
    from gpunn.ops.gather_scatter.volumes import adaptive_pool  # only few models use it

    images = _Images(floats(inputs), data_format, by_channel=True)
    return adaptive_pool(images, size, average_pool if mean else max_pool, mean)

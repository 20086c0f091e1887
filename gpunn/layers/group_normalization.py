"""Normalization over groups of channels of each sample, and of samples to unit length."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.fields import field
from gpunn.core.plan import Call
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .layer import Layer
from .normalization import _Normalization, check_axes, check_axis, last_axes
from .shapes import Shape


def _check_groups(name: str, value: Any) -> int:
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or (value < 1 and value != -1):
        raise ValueError(f"{name} must be a positive integer or -1; got {name}={value!r}.")
    return int(value)


class GroupNormalization(_Normalization):
    """Normalize each group of channels of each sample to mean 0 and variance 1, then scale.

    ``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, with the mean and the variance
    of a sample over all values in a group of adjacent channels, and gamma and beta for each
    channel. It is the same in training and inference, and for any batch size. One group is
    layer normalization over all axes; one group per channel is instance normalization. Source: Wu
    and He, "Group normalization", 2018.

    Shapes: x ``(batch, ..., channels)`` -> y of the same shape; gamma and beta have the shape
    ``(channels,)``.

    Args:
        groups: number of groups, a divisor of the number of channels. -1: one group per
            channel.
        axis: axis of the channels, not the batch axis; 1 for images with channels first.

    The other arguments: as in `BatchNormalization`.

    Raises:
        ValueError: for an invalid number of groups, and when the layer is built, for one that does
            not divide the channels, or an axis out of bounds.

    >>> GroupNormalization(groups=2)([[1.0, 3.0, 10.0, 30.0]]).round(2).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    examples = ({"groups": 1}, {"groups": -1, "axis": 1, "epsilon": 0.1})

    groups: int = field(default=32, check=_check_groups)
    axis: int = field(default=-1)

    def build(self, input_shape: Shape) -> None:
        self._place = check_axis(self.axis, input_shape, self.name)
        channels = input_shape[self._place]
        assert channels is not None
        self._count = channels if self.groups == -1 else self.groups
        if channels % self._count:
            raise ValueError(
                f"{self.name}: the {channels} channels of inputs of shape {tuple(input_shape)} "
                f"cannot be divided into groups={self.groups} of equal size."
            )
        self._declare((channels,))

    def forward(self, call: Call) -> None:
        backend = call.backend
        x = self._channels_first(call, call.x, "x")
        normal = call.array("normal", x.shape)
        groups = self._grouped(x)
        backend.layer_norm(
            groups, None, None, self.epsilon, *self._moments(call, len(groups)),
            normal.reshape(groups.shape),
        )  # fmt: skip
        y = self._by_channel(call.y) if self._first(call) else call.array("y", x.shape)
        backend.normalize(normal, *self._nothing(call), *self._affine(), 0.0, y)
        if not self._first(call):
            self._swap_back(call, y, call.y, False)

    def backward(self, call: Call) -> None:
        backend, first = call.backend, self._first(call)
        x = self._by_channel(call.x) if first else self._moved(call, call.x, "x")
        dy = self._channels_first(call, call.dy, "dy")
        normal, slope = call.array("normal", x.shape), call.array("slope", x.shape)
        wanted = call.dx is not None
        backend.normalize_gradient(
            normal, dy, *self._nothing(call), self._affine()[0], 0.0, *self._gradients(call),
            slope if wanted else None, constant=True,
            accumulate_gradients=call.accumulate_gradients,
        )  # fmt: skip
        if not wanted:
            return
        groups = self._grouped(x)
        dx = self._by_channel(call.dx) if first else dy  # dy is not read any more
        backend.layer_norm_gradient(
            groups, slope.reshape(groups.shape), None, self.epsilon,
            *self._moments(call, len(groups)), None, None, dx.reshape(groups.shape),
            accumulate_dx=first and call.accumulate_dx,
        )  # fmt: skip
        if not first:
            self._swap_back(call, dx, call.dx, call.accumulate_dx)

    def _formula(self, x: Tensor, training: bool) -> Tensor:
        first = ops.moveaxis(x, self.axis, 1)
        groups = ops.reshape(first, (x.shape[0], self._count, -1))
        groups = ops.layer_normalization(groups, epsilon=self.epsilon)
        y = ops.moveaxis(ops.reshape(groups, first.shape), 1, -1)
        y = y if self.gamma is None else y * self.gamma
        y = y if self.beta is None else y + self.beta
        return ops.moveaxis(y, -1, self.axis)

    def _sizes(self, x: Any) -> tuple[int, int, int, int]:
        """Number of samples; sizes of a sample before the channels, of these and after them."""
        shape, place = x.shape, self._place
        return shape[0], math.prod(shape[1:place]), shape[place], math.prod(shape[place + 1 :])

    def _first(self, call: Call) -> bool:
        return self._sizes(call.x)[1] == 1

    def _by_channel(self, x: Any) -> Any:
        """Reshape an array that has its channels first to (samples, channels, rest)."""
        samples, before, channels, behind = self._sizes(x)  # no -1: there may be no samples
        return x.reshape(samples, channels, before * behind)

    def _grouped(self, x: Any) -> Any:
        """Reshape (samples, channels, rest) to a row for each group of a sample."""
        return x.reshape(len(x) * self._count, math.prod(x.shape[1:]) // self._count)

    def _channels_first(self, call: Call, x: Any, name: str) -> Any:
        """Do the same for any array, in a work array if the channels must be moved."""
        if self._first(call):
            return self._by_channel(x)
        samples, before, channels, behind = self._sizes(x)
        moved = self._moved(call, x, name)
        call.backend.swap_axes(
            x.reshape(samples, before, channels * behind),
            moved.reshape(samples, channels * behind, before),
        )
        return moved

    def _moved(self, call: Call, x: Any, name: str) -> Any:
        """The work array (samples, channels, rest) that `_channels_first` moves ``x`` to."""
        samples, before, channels, behind = self._sizes(x)
        return call.array(name, (samples, channels, behind * before))

    def _swap_back(self, call: Call, moved: Any, out: Any, accumulate: bool) -> None:
        samples, before, channels, behind = self._sizes(out)
        call.backend.swap_axes(
            moved.reshape(samples, channels * behind, before),
            out.reshape(samples, before, channels * behind), accumulate=accumulate,
        )  # fmt: skip

    def _nothing(self, call: Call) -> tuple[Any, Any]:
        """Return a mean of 0 and a variance of 1 per channel: only gamma and beta apply."""
        shape = (call.x.shape[self._place],)
        return (
            call.array("no mean", shape, fill=lambda array: array.fill(0)),
            call.array("no variance", shape, fill=lambda array: array.fill(1)),
        )


class UnitNormalization(Layer):
    """Normalize each sample to length 1: ``y = x / sqrt(sum(x^2) + 1e-24)``, with the sum over
    ``axis``.

    Zeros stay zeros. This is Keras's definition.

    Shapes: x ``(batch, ..., features)`` -> y of the same shape.

    ``axis``, and its errors: as for `LayerNormalization`.

    >>> print(UnitNormalization()([[3.0, 4.0]]).numpy().round(3))
    [[0.6 0.8]]
    """

    supports_masking = True
    epsilon = 1e-24  # the square of the least length, as in Keras: zeros stay zeros

    axis: Any = field(default=-1, check=check_axes)

    def forward(self, call: Call) -> None:
        x, factors, epsilon, variance = self._rows(call)
        y = call.y.reshape(x.shape)
        call.backend.layer_norm(x, factors, None, epsilon, None, variance, y)

    def backward(self, call: Call) -> None:
        x, factors, epsilon, variance = self._rows(call)
        call.backend.layer_norm_gradient(
            x, call.dy.reshape(x.shape), factors, epsilon, None, variance, None, None,
            call.dx.reshape(x.shape), accumulate_dx=call.accumulate_dx,
        )  # fmt: skip

    def _formula(self, x: Tensor, training: bool) -> Tensor:
        squares = ops.sum(ops.square(x), self.axis, keepdims=True)
        return x / ops.sqrt(squares + self.epsilon)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        last_axes(self.axis, input_shape, self.name)
        return input_shape

    def _rows(self, call: Call) -> tuple[Any, ...]:
        """Return x as rows of n, and factors that turn the mean of squares into their sum."""
        n = math.prod(last_axes(self.axis, call.x.shape, self.name))
        x = call.x.reshape(-1, n)
        factors = call.array("factors", (n,), fill=lambda array: array.fill(n**-0.5))
        return x, factors, self.epsilon / n, call.array("variance", (len(x),))

"""Layers that draw random numbers in training and do nothing otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from gpunn.common.arguments import check_below_one, check_fraction, check_not_negative, optional
from gpunn.common.fields import field
from gpunn.common.random import check_seed, draw_seed
from gpunn.core.draws import active_draws
from gpunn.core.plan import Call
from gpunn.ops.random import kept_at_random
from gpunn.ops.running.streams import drawn, dropped, kept_numbers, noisy
from gpunn.ops.tensor import Tensor

from .arguments import check_data_format
from .layer import Layer, formula
from .shapes import Shape


def _check_noise_shape(name: str, value: Any) -> tuple[int | None, ...]:
    expected = ""
    if not isinstance(value, (tuple, list)):
        expected = "a tuple or list of integers"
    elif not all(n is None or isinstance(n, int) for n in value):
        expected = "all elements to be integers or None"
    elif not all(n is None or n > 0 for n in value):
        expected = "all dimensions to be positive integers or None"
    if expected:
        raise ValueError(
            f"Invalid value received for argument `{name}`. Expected {expected}. "
            f"Received: {value!r}."
        )
    return tuple(value)


class _RandomLayer(Layer):
    """Base class of layers with a random stream that run in training only.

    The draws depend only on the seed, the step and the position (Philox 4x64-10, Salmon et al.,
    2011), and are the same on every backend.
    """

    supports_masking = True
    seed: int | None = field(default=None, check=check_seed, kw_only=True, placed=True)

    def stream_seed(self, model_seed: int) -> int:
        return model_seed if self.seed is None else self.seed

    def is_view(self, call: Call) -> bool:
        return not call.training or not self.draws

    @property
    def draws(self) -> bool:
        """Whether anything is drawn in training."""
        return True

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        """Run the layer by itself; calls in training differ, like the steps of a model."""
        if self.seed is None and active_draws() is None:
            self.seed = draw_seed()
        return super()._run(*args, training=training, **kwargs)


class _Noisy(_RandomLayer):
    _changed: ClassVar[Callable[[Any, Tensor], Tensor]]
    """Return an input as it is in training."""

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return self._changed(x) if training and self.draws else x


class _Dropping(_Noisy):
    rate: float = field(check=check_fraction)

    @property
    def draws(self) -> bool:
        return self.rate > 0.0

    def _noise_shape(self, shape: Sequence[int]) -> Sequence[int | None] | None:
        """Return the shape of the mask for an input; None is the input's."""
        return None

    def _changed(self, x: Tensor) -> Tensor:
        shape = self._noise_shape(x.shape)
        if shape is None:
            return dropped(x, self.rate, self.seed)
        sizes = [n or m for n, m in zip(shape, x.shape, strict=True)]
        return x * drawn(kept_numbers, sizes, x.dtype, self.seed, rate=self.rate)

class Dropout(_Dropping):
    """Set a random fraction of the inputs to 0 in training, and divide the rest by ``1 - rate``.

    Outside training the layer passes its input unchanged. The choice depends only on the seed, the
    step and the position (Philox 4x64-10), and is the same on every backend. Source: Srivastava et
    al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape.

    Args:
        rate: the fraction, from 0 to 1.
        noise_shape: shape of the mask, broadcast over the input. A None in it means the
            length of the input's axis; None alone, the shape of the input. ``(None, 1, 8)``
            drops a feature of a sample for all of axis 1.
        seed: key of the random stream; the model's when None.

    Raises:
        ValueError: for a rate below 0 or above 1.

    >>> Dropout(0.5)([[1.0, 2.0]]).tolist()  # outside training: the identity
    [[1.0, 2.0]]
    >>> y = Dropout(0.5, seed=1)([[1.0, 1.0, 1.0, 1.0]], training=True)
    >>> set(y.ravel().tolist()) <= {0.0, 2.0}
    True
    """

    examples = ({"rate": 0.0}, {"rate": 0.3}, {"rate": 0.8, "seed": 7}, {"rate": 1.0})

    noise_shape: Any = field(default=None, check=optional(_check_noise_shape), after="rate")

    def _noise_shape(self, shape: Sequence[int]) -> Sequence[int | None] | None:
        return self.noise_shape


class _SpatialDropout(_Dropping):
    _axes: ClassVar[str]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        axes = self._axes.split(", ")
        if len(input_shape) != len(axes):
            raise ValueError(
                f"{self.name}: x must have the shape ({self._axes}); got {tuple(input_shape)}."
            )
        return input_shape

    def _noise_shape(self, shape: Sequence[int]) -> Sequence[int | None] | None:
        first = getattr(self, "data_format", None) == "channels_first"
        between = (1,) * (len(shape) - 2)
        return (None, None, *between) if first else (None, *between, None)


class SpatialDropout1D(_SpatialDropout):
    """Set random channels of sequences to 0 in training, each for all steps, as `Dropout`.

    Neighbouring steps are alike, so that dropping some of them hides little. Source: Tompson et
    al., "Efficient object localization using convolutional networks", 2014, arXiv:1411.4280.

    Shapes: x ``(batch, steps, channels)`` -> y of the same shape; a ValueError for other axes. The
    arguments: as in `Dropout`.

    >>> y = SpatialDropout1D(0.5, seed=1)([[[1.0, 1.0], [1.0, 1.0]]], training=True)
    >>> bool((y[0, 0] == y[0, 1]).numpy().all())
    True
    """

    _axes = "batch, steps, channels"
    examples = ({"rate": 0.3}, {"rate": 0.8, "seed": 7})


class SpatialDropout2D(_SpatialDropout):
    """Set random channels of images to 0 in training, each for all pixels, as `Dropout`.

    Shapes: x ``(batch, height, width, channels)`` -> y of the same shape; for the ``data_format``
    ``"channels_first"`` channels are axis 1. Source, arguments and errors: as for
    `SpatialDropout1D`.

    >>> y = SpatialDropout2D(0.5, seed=1)([[[[1.0, 1.0], [1.0, 1.0]]]], training=True)
    >>> bool((y[0, 0, 0] == y[0, 0, 1]).numpy().all())
    True
    """

    _axes = "batch, height, width, channels"
    examples = ({"rate": 0.3}, {"rate": 0.8, "seed": 7, "data_format": "channels_first"})

    data_format: str | None = field(default=None, check=check_data_format, after="rate")


class SpatialDropout3D(SpatialDropout2D):
    """Set random channels of volumes to 0 in training, each for all voxels, as `Dropout`.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y of the same shape. The rest: as for
    `SpatialDropout2D`.

    >>> y = SpatialDropout3D(0.5, seed=1)([[[[[1.0, 1.0], [1.0, 1.0]]]]], training=True)
    >>> bool((y[0, 0, 0, 0] == y[0, 0, 0, 1]).numpy().all())
    True
    """

    _axes = "batch, depth, height, width, channels"
    examples = SpatialDropout2D.examples


class GaussianNoise(_Noisy):
    """Add normal noise of mean 0 in training, ``y = x + noise``, to augment real-valued data.

    Outside training the layer passes its input unchanged. The gradient passes unchanged.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape.

    Args:
        stddev: standard deviation of the noise, at least 0, in the units of x.
        seed: key of the random stream; the model's when None.

    Raises:
        ValueError: for a negative ``stddev``.

    >>> GaussianNoise(0.1)([[1.0, 2.0]]).tolist()  # outside training: the identity
    [[1.0, 2.0]]
    >>> print(GaussianNoise(0.1, seed=5)([[1.0, 2.0]], training=True).numpy().round(3))
    [[0.993 1.932]]
    """

    examples = ({"stddev": 0.0}, {"stddev": 0.3, "seed": 7})

    stddev: float = field(check=check_not_negative)

    @property
    def draws(self) -> bool:
        return self.stddev > 0.0

    def _changed(self, x: Tensor) -> Tensor:
        return noisy(x, self.stddev, self.seed)


class GaussianDropout(_Dropping):
    """Multiply inputs by normal noise of mean 1 in training, with the standard deviation of
    dropout.

    ``y = x f``, where f has the standard deviation ``sqrt(rate / (1 - rate))``; the rate must be
    below 1. The rest, and the source (section 10): as for `Dropout`.

    >>> GaussianDropout(0.5)([[1.0, 2.0]]).tolist()  # outside training: the identity
    [[1.0, 2.0]]
    """

    examples = ({"rate": 0.0}, {"rate": 0.8})

    rate: float = field(check=check_below_one)

    def _changed(self, x: Tensor) -> Tensor:
        deviation = math.sqrt(self.rate / (1.0 - self.rate))
        return noisy(x, deviation, self.seed, multiplies=True)

class AlphaDropout(_RandomLayer):
    """Set a random fraction of the inputs to SELU's limit in training; mean and variance stay.

    Dropped inputs become ``-alpha scale = -1.758``, what `selu` gives for very negative inputs.
    Then ``a x + b`` restores a mean of 0 and a variance of 1. Shapes, arguments and errors: as for
    `Dropout`, but the rate must be below 1. Source: Klambauer et al., "Self-normalizing neural
    networks", 2017.

    >>> AlphaDropout(0.5)([[1.0, 2.0]]).tolist()  # outside training: the identity
    [[1.0, 2.0]]
    >>> y = AlphaDropout(0.5, seed=1)([[0.0] * 8], training=True)
    >>> [f"{value:.2f}" for value in sorted(set(y.ravel().tolist()))]
    ['-0.78', '0.78']
    """

    examples = ({"rate": 0.0}, {"rate": 0.3, "seed": 7})

    rate: float = field(check=check_below_one)
    noise_shape: Any = field(default=None, check=optional(_check_noise_shape))

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        if not training or self.rate == 0.0:
            return x
        given = x.shape if self.noise_shape is None else self.noise_shape
        sizes = [n or m for n, m in zip(given, x.shape, strict=True)]
        kept = kept_at_random(sizes, self.rate, x.dtype, self.seed)
        a = ((1.0 - self.rate) * (1.0 + self.rate * _LIMIT**2)) ** -0.5
        return a * (x * kept + _LIMIT * (1.0 - kept)) - a * _LIMIT * self.rate


_LIMIT = -1.6732632423543772 * 1.0507009873554805  # - alpha scale

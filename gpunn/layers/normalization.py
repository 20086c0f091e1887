"""Layers that normalize their inputs, over the batch, the features or groups; or to length 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpunn import initializers
from gpunn.common.arguments import (
    check_flag,
    check_fraction,
    check_not_negative,
    check_number,
    optional,
)
from gpunn.common.fields import field
from gpunn.common.registry import Examples
from gpunn.core.storage import Parameter
from gpunn.ops.conversion import convert
from gpunn.ops.fusion.normalizing import by_given_moments, by_moments_of, by_own_moments
from gpunn.ops.tensor import Tensor, ops
from gpunn.ops.trace import current

from .layer import Layer, formula
from .parameters import declared
from .shapes import Shape
from .wrapping import InputSpec


def check_axis(axis: Any, input_shape: Shape, layer: str) -> int:
    """Return an axis as a number from 1; the batch axis is rejected."""
    rank = len(input_shape)
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{layer}: axis must be an integer; got {axis!r}.")
    found = int(axis) + (rank if axis < 0 else 0)
    if not 1 <= found < rank:
        raise ValueError(
            f"{layer}: axis={axis!r} is out of bounds for inputs of shape {tuple(input_shape)}: "
            f"it must name an axis after the batch axis, 1 to {rank - 1} or -{rank - 1} to -1."
        )
    return found


def check_axes(name: str, axis: Any) -> Any:
    """Return an axis, or a list of axes."""
    given = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    if not all(hasattr(n, "__index__") for n in given):
        raise TypeError(f"{name} must be an integer or a list of integers; got {axis!r}.")
    return given if isinstance(axis, (list, tuple)) else axis


def named_axes(axis: Any, input_shape: Shape, layer: str) -> list[int]:
    """Return these axes in order, as numbers from 1."""
    given = axis if isinstance(axis, list) else [axis]
    axes = sorted(check_axis(n, input_shape, layer) for n in given)
    if not axes:
        raise ValueError(f"{layer}: axis must name an axis, or some of the last axes; got [].")
    if len(set(axes)) < len(axes):
        raise ValueError(f"{layer}: axis={axis!r} names an axis twice.")
    return axes


def last_axes(axis: Any, input_shape: Shape, layer: str) -> list[int]:
    """Return the lengths of these axes, which must be the last ones."""
    axes, rank = named_axes(axis, input_shape, layer), len(input_shape)
    if axes != list(range(rank - len(axes), rank)):
        raise ValueError(
            f"{layer}: axis must name the last axis, or several last axes; "
            f"got {axis!r} for inputs of shape {tuple(input_shape)}."
        )
    return list(input_shape[axes[0] :])  # type: ignore[arg-type]


def _refuse_true(name: str, value: Any) -> None:
    if value:
        raise ValueError(f"{name}=True is not supported by gpunn; leave it out.")


def _check_clipping(name: str, value: Any) -> dict[str, float]:
    keys = ["rmax", "rmin", "dmax"]
    if not isinstance(value, dict) or set(value) - set(keys):
        raise ValueError(
            f"Received invalid keys for `{name}` argument: {value!r}. Supported values: {keys}."
        )
    given = {key: check_number(f"{name}[{key!r}]", n) for key, n in value.items() if n is not None}
    if given.get("rmin", -math.inf) > given.get("rmax", math.inf):
        raise ValueError(f"rmax should be greater than rmin in `{name}`; got {value!r}.")
    if given.get("dmax", 0.0) < 0:
        raise ValueError(f"dmax should be non-negative in `{name}`; got {value!r}.")
    return given


def _root(initializer: Any, shape: Any, dtype: Any) -> Any:
    return np.sqrt(initializer(shape, dtype))


class _Normalization(Layer):
    """Base class of normalizations with gamma, beta and epsilon."""

    supports_masking = True
    centered = True
    epsilon: float = field(default=1e-3, check=check_not_negative, kw_only=True, placed=True)
    center: bool = field(default=True, check=check_flag, kw_only=True, placed=True)
    scale: bool = field(default=True, check=check_flag, kw_only=True, placed=True)
    beta_initializer: Any = field(default="zeros", kw_only=True, placed=True)
    gamma_initializer: Any = field(default="ones", kw_only=True, placed=True)
    beta_regularizer: Any = field(default=None, kw_only=True, placed=True)
    gamma_regularizer: Any = field(default=None, kw_only=True, placed=True)
    beta_constraint: Any = field(default=None, kw_only=True, placed=True)
    gamma_constraint: Any = field(default=None, kw_only=True, placed=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gamma: Parameter | None = None
        self.beta: Parameter | None = None

    def _declare(self, shape: Sequence[int]) -> None:
        if self.scale:
            self.gamma = declared(self, "gamma", shape)
        if self.center:
            self.beta = declared(self, "beta", shape)

    def _factors(self) -> tuple[Tensor | None, Tensor | None]:
        """Return gamma and beta, or None."""
        gamma = None if self.gamma is None else convert(self.gamma)
        return gamma, None if self.beta is None else convert(self.beta)

class BatchNormalization(_Normalization):
    """Normalize each feature to mean 0 and variance 1 over the batch, then scale.

    In training ``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, with the mean and the
    variance (divided by n) over the batch and all axes but ``axis``. The moving averages are
    updated: ``moving = momentum moving + (1 - momentum) now``. In inference, and in a frozen layer
    (``trainable=False``), the moving averages are used instead and do not change. Source: Ioffe and
    Szegedy, "Batch normalization", 2015.

    As in Keras the moving variance is the biased one, divided by n; PyTorch's is divided by
    n - 1.

    Shapes: x ``(batch, ..., features)`` -> y of the same shape; gamma, beta and the moving averages
    have the shape ``(features,)``. A mask of x, or of a call, has the shape of x without the last
    axis. In training the statistics are of the values where it is True.

    Args:
        axis: axis of the features, not the batch axis; 1 for images with channels first.
        momentum: momentum of the moving averages, from 0 to 1.
        epsilon: added to the variance.
        center: whether to add beta.
        scale: whether to multiply by gamma.
        beta_initializer, gamma_initializer: initializers of beta and gamma (features,).
        moving_mean_initializer, moving_variance_initializer: initializers of the moving averages.
        beta_regularizer, gamma_regularizer: penalties, see `gpunn.regularizers`.
        beta_constraint, gamma_constraint: see `gpunn.constraints`.
        renorm: whether training normalizes as if by moving averages, of which inference uses
            others: ``x' = r (x - mean) / s + d`` before gamma, where s is the root of the
            variance plus epsilon, ``r = s / renorm_stddev`` and ``d = (mean - renorm_mean) /
            renorm_stddev`` have no gradient. Source: Ioffe, "Batch renormalization", 2017.
        renorm_clipping: limits of r and d: a dictionary with some of "rmin", "rmax" and "dmax".
        renorm_momentum: momentum of ``renorm_mean`` and ``renorm_stddev``, from 0 to 1.
        synchronized: whether the statistics are over the rows of all ranks, where several
            processes train one model (see `gpunn.distribution`). By default each rank uses those
            of its own rows, and the moving averages are averaged over the ranks.

    Raises:
        ValueError: for other limits in ``renorm_clipping``, and when the layer is built, for an
            axis out of bounds; for a mask of another shape, and, with ``synchronized=True``, for
            any.

    >>> layer = BatchNormalization()
    >>> layer([[1.0], [3.0]], training=True).round(2).tolist()
    [[-1.0], [1.0]]
    >>> print(layer.moving_mean.numpy())  # by a hundredth towards 2
    [0.02]
    """

    examples = (
        {},
        {"axis": 1, "momentum": 0.5, "epsilon": 0.1, "center": False},
        {"scale": False, "beta_initializer": "ones", "moving_mean_initializer": "ones"},
        {"trainable": False},
    )

    _refused: ClassVar[Mapping[str, str]] = {"_moments": "write call(inputs, training)"}
    rows_are_independent = True  # that each rank has the statistics of its rows is meant

    axis: int = field(default=-1)
    momentum: float = field(default=0.99, check=check_fraction)
    moving_mean_initializer: Any = field(
        default="zeros", kw_only=True, placed=True, after="gamma_initializer"
    )
    moving_variance_initializer: Any = field(
        default="ones", kw_only=True, placed=True, after="moving_mean_initializer"
    )
    renorm: bool = field(default=False, check=check_flag, after="gamma_constraint")
    renorm_clipping: Any = field(default=None, check=optional(_check_clipping), after="renorm")
    renorm_momentum: float = field(default=0.99, check=check_fraction, after="renorm_clipping")
    synchronized: bool = field(default=False, check=check_flag, after="renorm_momentum")

    def build(self, input_shape: Shape) -> None:
        self.input_spec = InputSpec(ndim=len(input_shape))
        features = input_shape[check_axis(self.axis, input_shape, self.name)]
        assert features is not None
        self._declare((features,))
        self.moving_mean = self.parameter(
            (features,), self.moving_mean_initializer, "moving_mean", trained=False
        )
        self.moving_variance = self.parameter(
            (features,), self.moving_variance_initializer, "moving_variance", trained=False
        )
        if not self.renorm:
            return
        root = partial(_root, initializers.get(self.moving_variance_initializer))
        mean, shape = self.moving_mean_initializer, (features,)
        self.moving_stddev = self.parameter(shape, root, "moving_stddev", trained=False)
        self.renorm_mean = self.parameter(shape, mean, "renorm_mean", trained=False)
        self.renorm_stddev = self.parameter(shape, root, "renorm_stddev", trained=False)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()  # without what earlier versions of Keras lack
        return {k: v for k, v in config.items() if self.renorm or not k.startswith("renorm")}

    @formula
    def call(self, x: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        axis, sizes = self.axis % x.ndim, x.shape
        outer, inner = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
        features = ops.reshape(x, (outer, sizes[axis], inner))
        factors = self._factors()
        moving = convert(self.moving_mean), convert(self.moving_variance)
        if not (training and self.trainable):
            return ops.reshape(by_given_moments(features, moving, factors, self.epsilon), sizes)
        trace = current()
        shard = trace.shard_of(sizes) if self.synchronized and trace is not None else None
        settings = (
            (moving, 0.0, (None, None), self.epsilon, shard)  # the moments themselves
            if self.renorm else (moving, self.momentum, factors, self.epsilon, shard)
        )
        if mask is None:
            y, mean, variance = by_own_moments(features, *settings)
        else:
            counts = ops.reshape(self._counting(mask, sizes), features.shape)
            y, mean, variance = by_moments_of(counts, features, *settings)
        if self.renorm:
            return ops.reshape(self._renormalized(y, mean, variance, factors), sizes)
        if trace is not None and trace.mode.assigns:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return ops.reshape(y, sizes)

    def _renormalized(self, y: Tensor, mean: Tensor, variance: Tensor, factors: Any) -> Tensor:
        """Return features (outer, features, inner) that are normalized by their moments in the
        batch as if by the moving averages, and move these."""
        limits, deviation = self.renorm_clipping or {}, ops.sqrt(variance + self.epsilon)
        known = ops.maximum(convert(self.renorm_stddev), math.sqrt(self.epsilon))
        r, d = deviation / known, (mean - convert(self.renorm_mean)) / known
        r = ops.clip(r, limits.get("rmin", -math.inf), limits.get("rmax", math.inf))
        most = limits.get("dmax", math.inf)
        r, d, *factors = (
            None if x is None else ops.expand_dims(x, -1)
            for x in (ops.stop_gradient(r), ops.stop_gradient(ops.clip(d, -most, most)), *factors)
        )
        y, (gamma, beta) = y * r + d, factors
        y = y if gamma is None else y * gamma
        trace = current()
        if trace is not None and trace.mode.assigns:
            for weight, now, keep in (
                (self.renorm_mean, mean, self.renorm_momentum),
                (self.renorm_stddev, deviation, self.renorm_momentum),
                (self.moving_mean, mean, self.momentum),
                (self.moving_stddev, deviation, self.momentum),
            ):
                moved = convert(weight) * keep + now * (1 - keep)
                weight.assign(moved)
            self.moving_variance.assign(ops.relu(moved * moved - self.epsilon))
        return y if beta is None else y + beta

    def _counting(self, mask: Tensor, shape: Shape) -> Tensor:
        """Return which values of an input of this shape count, by a mask without its last axis."""
        if mask.ndim != len(shape) - 1 or any(
            n not in (1, m) for n, m in zip(mask.shape, shape[:-1], strict=True)
        ):
            raise ValueError(
                f"{self.name}: a mask must have the shape of x without its last axis, "
                f"{tuple(shape[:-1])}; got {tuple(mask.shape)}."
            )
        return ops.broadcast_to(ops.expand_dims(ops.cast(mask, "bool"), -1), shape)


class LayerNormalization(_Normalization):
    """Normalize each sample to mean 0 and variance 1 over its last axes, then scale.

    ``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, with the mean and the variance
    (divided by n) over ``axis``, the same in training and inference. Source: Ba, Kiros and Hinton,
    "Layer normalization", 2016.

    Shapes: x ``(batch, ..., features)`` -> y of the same shape; gamma and beta have the shape of
    the axes.

    Args:
        axis: the last axis, or several last axes, in any order.
        rms_scaling: whether to compute ``y = gamma x / sqrt(variance + epsilon)`` instead. It is
            outdated: for a root mean square, use `RMSNormalization`.

    The other arguments: as in `BatchNormalization`.

    Raises:
        TypeError: for an axis that is not an integer.
        ValueError: when the layer is built, unless the axes are different ones at the end.

    >>> LayerNormalization()([[0.0, 2.0], [5.0, 5.0]]).round(2).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """

    examples: ClassVar[Examples] = (
        {},
        {"axis": [-1], "epsilon": 0.1, "gamma_initializer": "normal", "center": False},
        {"scale": False},
    )

    axis: int | Sequence[int] = field(default=-1, check=check_axes)
    rms_scaling: bool = field(default=False, check=check_flag, kw_only=True)

    def build(self, input_shape: Shape) -> None:
        shape = last_axes(self.axis, input_shape, self.name)
        if self.centered and self.rms_scaling:  # with gamma alone, whatever center and scale say
            self.gamma = declared(self, "gamma", shape)
        else:
            self._declare(shape)
        self._size = math.prod(shape)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        if not self.centered:
            y = ops.rms_normalization(x, self.gamma, self.axis, self.epsilon)
            return y if self.beta is None else y + self.beta
        if not self.rms_scaling:
            factors = self.gamma, self.beta
            return ops.layer_normalization(x, *factors, self.axis, self.epsilon)
        axes = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        gamma, _ = self._factors()
        return x * ops.rsqrt(ops.var(x, axes, keepdims=True) + self.epsilon) * gamma


class RMSNormalization(LayerNormalization):
    """Divide each sample by its root mean square over its last axes, then scale.

    ``y = gamma x / sqrt(mean(x^2) + epsilon)``, with the mean over ``axis``, the same in training
    and inference. Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.

    Shapes: x ``(batch, ..., features)`` -> y of the same shape; gamma has the shape of the axes.

    Args:
        axis: the last axis, or several last axes, in any order.
        epsilon: added to the mean.

    >>> print(RMSNormalization()([[3.0, 4.0]]).numpy().round(3))  # divided by sqrt(12.5)
    [[0.849 1.131]]
    """

    supports_masking = False
    centered = False
    examples = ({"epsilon": 0.1},)

    axis: int | Sequence[int] = -1
    epsilon: float = 1e-6
    center: bool = False
    rms_scaling: bool = field(default=False, check=_refuse_true, attribute=None, kw_only=True)


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

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        first = ops.moveaxis(x, self.axis, 1)
        groups = ops.reshape(first, (x.shape[0], self._count, -1))
        groups = ops.layer_normalization(groups, epsilon=self.epsilon)
        n, channels, *rest = first.shape
        features = ops.reshape(groups, (n, channels, math.prod(rest)))
        nothing = ops.zeros(channels, x.dtype), ops.ones(channels, x.dtype)
        y = ops.reshape(by_given_moments(features, nothing, self._factors(), 0.0), first.shape)
        return ops.moveaxis(y, 1, self.axis)

class UnitNormalization(Layer):
    """Normalize each sample to length 1: ``y = x / sqrt(sum(x^2) + 1e-24)``, with the sum over
    ``axis``.

    Zeros stay zeros. This is Keras's definition.

    Shapes: x ``(batch, ..., features)`` -> y of the same shape.

    ``axis``, and its errors: as for `LayerNormalization`; the axes may be any after the batch axis.

    >>> print(UnitNormalization()([[3.0, 4.0]]).numpy().round(3))
    [[0.6 0.8]]
    """

    supports_masking = True
    epsilon = 1e-24  # the square of the least length, as in Keras: zeros stay zeros

    examples: ClassVar[Examples] = ({}, {"axis": 1})

    axis: Any = field(default=-1, check=check_axes)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        axes = named_axes(self.axis, x.shape, self.name)
        if axes != list(range(x.ndim - len(axes), x.ndim)):
            return x * ops.rsqrt(ops.sum(x * x, axes, keepdims=True) + self.epsilon)
        n = math.prod(x.shape[axes[0] :])
        root = np.full((n,), n**-0.5, x.dtype)  # the sum of squares is n times their mean
        return ops.rms_normalization(x, root, self.axis, self.epsilon / n)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        named_axes(self.axis, input_shape, self.name)
        return input_shape


"""Layers that normalize their inputs to mean 0 and variance 1, over the batch or the features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from gpunn.common.arguments import check_flag, check_fraction, check_not_negative
from gpunn.common.fields import field
from gpunn.common.registry import Examples
from gpunn.core.arena import Parameter
from gpunn.core.plan import Call
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current

from .layer import Layer
from .parameters import declared
from .shapes import Shape


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


def last_axes(axis: Any, input_shape: Shape, layer: str) -> list[int]:
    """Return the lengths of these axes, which must be the last ones."""
    given = axis if isinstance(axis, list) else [axis]
    axes = sorted(check_axis(n, input_shape, layer) for n in given)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{layer}: axis={axis!r} names an axis twice.")
    rank = len(input_shape)
    if not axes or axes != list(range(rank - len(axes), rank)):
        raise ValueError(
            f"{layer}: axis must name the last axis, or several last axes; "
            f"got {axis!r} for inputs of shape {tuple(input_shape)}."
        )
    return list(input_shape[axes[0] :])  # type: ignore[arg-type]


def _refuse_true(name: str, value: Any) -> None:
    if value:
        raise ValueError(f"{name}=True is not supported by gpunn; leave it out.")


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

    def _moments(self, call: Call, rows: int) -> tuple[Any, Any]:
        mean = call.array("mean", (rows,)) if self.centered else None
        return mean, call.array("variance", (rows,))

    def _affine(self) -> tuple[Any, Any]:
        """Return gamma and beta on the device, flat, or None."""
        found = (None if p is None else p.value.reshape(-1) for p in (self.gamma, self.beta))
        return next(found), next(found)

    def _gradients(self, call: Call) -> tuple[Any, Any]:
        """Return the arrays for the gradients of gamma and beta, or None."""
        wanted = (
            p.gradient.reshape(-1) if p is not None and call.trains else None
            for p in (self.gamma, self.beta)
        )  # fmt: skip
        return next(wanted), next(wanted)


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
    have the shape ``(features,)``.

    Args:
        axis: axis of the features, not the batch axis; 1 for images with channels first.
        momentum: momentum of the moving averages, from 0 to 1.
        epsilon: added to the variance.
        center: whether to add beta.
        scale: whether to multiply by gamma.
        beta_initializer, gamma_initializer: initializers of beta and gamma (features,).
        moving_mean_initializer, moving_variance_initializer: those of the moving averages.
        beta_regularizer, gamma_regularizer: penalties, see `gpunn.regularizers`.
        beta_constraint, gamma_constraint: see `gpunn.constraints`.
        renorm: not supported; must be False.
        synchronized: whether the statistics are those of the rows of all ranks, where several
            processes train one model (see `gpunn.distribution`). By default each rank uses those
            of its own rows, and the moving averages are averaged over the ranks.

    Raises:
        ValueError: for ``renorm=True``, and when the layer is built, for an axis out of bounds.

    >>> layer = BatchNormalization()
    >>> layer([[1.0], [3.0]], training=True).round(2).tolist()
    [[-1.0], [1.0]]
    >>> print(layer.moving_mean.numpy())  # by a hundredth towards 2
    [0.02]
    """

    _fixes_axes = True
    examples = (
        {},
        {"axis": 1, "momentum": 0.5, "epsilon": 0.1, "center": False},
        {"scale": False, "beta_initializer": "ones", "moving_mean_initializer": "ones"},
        {"trainable": False},
    )

    rows_are_independent = True  # that each rank has the statistics of its rows is meant

    axis: int = field(default=-1)
    momentum: float = field(default=0.99, check=check_fraction)
    moving_mean_initializer: Any = field(
        default="zeros", kw_only=True, placed=True, after="gamma_initializer"
    )
    moving_variance_initializer: Any = field(
        default="ones", kw_only=True, placed=True, after="moving_mean_initializer"
    )
    renorm: bool = field(
        default=False, check=_refuse_true, attribute=None, after="gamma_constraint"
    )
    synchronized: bool = field(default=False, check=check_flag, after="renorm")

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return None; raise a ValueError for a mask, as the statistics would be of all steps."""
        if mask is not None:
            raise ValueError(
                f"{self.name}: x has a mask, but the statistics would be of masked steps too. Put "
                f"the layer before the mask begins, or use LayerNormalization."
            )

    def build(self, input_shape: Shape) -> None:
        features = input_shape[check_axis(self.axis, input_shape, self.name)]
        assert features is not None
        self._declare((features,))
        self.moving_mean = self.parameter(
            (features,), self.moving_mean_initializer, "moving_mean", trained=False
        )
        self.moving_variance = self.parameter(
            (features,), self.moving_variance_initializer, "moving_variance", trained=False
        )

    def forward(self, call: Call) -> None:
        x = self._features(call.x)
        mean, variance = self._statistics(call)
        if self._learns(call) and self._is_shared(call):
            self._common_statistics(call, x)
        elif self._learns(call) and len(x):  # of several ranks, one may have no rows
            call.backend.batch_statistics(
                x, self.momentum, mean, variance,
                self.moving_mean.value, self.moving_variance.value,
            )  # fmt: skip
        call.backend.normalize(
            x, mean, variance, *self._affine(), self.epsilon, self._features(call.y)
        )

    def backward(self, call: Call) -> None:
        if self._learns(call) and self._is_shared(call):
            self._common_gradient(call)
            return
        call.backend.normalize_gradient(
            self._features(call.x), self._features(call.dy), *self._statistics(call),
            self._affine()[0], self.epsilon, *self._gradients(call),
            None if call.dx is None else self._features(call.dx),
            constant=not self._learns(call), accumulate_gradients=call.accumulate_gradients,
            accumulate_dx=call.accumulate_dx,
        )  # fmt: skip

    def _formula(self, x: Tensor, training: bool) -> Tensor:
        moments = [self.moving_mean, self.moving_variance]
        if training and self.trainable:
            trace = current()
            if self.synchronized and trace is not None and trace.share is not None:
                raise ValueError(
                    f"{self.name}: gradients of gradients are not known for statistics of several "
                    f"ranks. Use synchronized=False."
                )
            axes = [axis for axis in range(x.ndim) if axis != self.axis % x.ndim]
            now = [ops.mean(x, axes), ops.var(x, axes)]
            if trace is not None and trace.assigns:
                for moving, value in zip(moments, now, strict=True):
                    moving.assign(moving * self.momentum + value * (1 - self.momentum))
            moments = now
        factors = self.beta, self.gamma
        return ops.batch_normalization(x, *moments, self.axis, *factors, self.epsilon)

    def _is_shared(self, call: Call) -> bool:
        """Whether the statistics are those of the rows of all ranks."""
        return self.synchronized and call.share is not None

    def _common_statistics(self, call: Call, x: Any) -> None:
        """Compute mean and variance of the rows of all ranks, from those of each (Chan, Golub and
        LeVeque, "Updating formulae and a pairwise algorithm", 1979)."""
        share, backend, xp = call.share, call.backend, call.backend.xp
        assert share is not None
        part = share.rows / share.whole
        (mean, variance), shape = self._statistics(call), self.moving_mean.shape
        own, term = call.array("own mean", shape), call.array("term", shape)
        unread = call.array("unread mean", shape), call.array("unread variance", shape)
        if share.rows:
            backend.batch_statistics(x, 1.0, own, variance, *unread)
        else:
            xp.copyto(own, 0)
            xp.copyto(variance, 0)
        xp.multiply(own, part, out=mean)
        backend.sum_over_ranks(mean, share.ranks)
        xp.subtract(own, mean, out=term)
        xp.multiply(term, term, out=term)
        xp.add(variance, term, out=variance)
        xp.multiply(variance, part, out=variance)
        backend.sum_over_ranks(variance, share.ranks)
        moving = (self.moving_mean.value, mean), (self.moving_variance.value, variance)
        for average, now in moving:
            xp.multiply(average, self.momentum, out=average)
            xp.multiply(now, 1 - self.momentum, out=term)
            xp.add(average, term, out=average)

    def _common_gradient(self, call: Call) -> None:
        """The gradient through statistics of all ranks: that for constant statistics, plus
        -gamma / deviation * (mean of dy + n * mean of dy * n), with means over the rows of all."""
        share, backend, xp = call.share, call.backend, call.backend.xp
        assert share is not None
        shape = self.moving_mean.shape
        x, dy = self._features(call.x), self._features(call.dy)
        (mean, variance), (gamma, _) = self._statistics(call), self._affine()
        sums = call.array("sums of dy n", shape), call.array("sums of dy", shape)
        dx = None if call.dx is None else self._features(call.dx)
        backend.normalize_gradient(
            x, dy, mean, variance, gamma, self.epsilon, *sums, dx, constant=True,
            accumulate_dx=call.accumulate_dx,
        )  # fmt: skip
        for total, gradient in zip(sums, self._gradients(call), strict=True):
            if gradient is not None:
                backend.affine(total, 1.0, 0.0, gradient, accumulate=call.accumulate_gradients)
            backend.sum_over_ranks(total, share.ranks)
        if dx is None:
            return
        factor = call.array("term", shape)
        xp.add(variance, self.epsilon, out=factor)
        xp.sqrt(factor, out=factor)
        each = math.prod(call.x.shape[1:]) // self.moving_mean.size  # values of a feature in a row
        xp.multiply(factor, -share.whole * each, out=factor)
        for total in sums:
            xp.divide(total, factor, out=total)
            if gamma is not None:
                xp.multiply(total, gamma, out=total)
        rest = call.array("rest", x.shape)
        backend.normalize(x, mean, variance, *sums, self.epsilon, rest)
        backend.affine(rest, 1.0, 0.0, dx, accumulate=True)

    def _learns(self, call: Call) -> bool:
        """Whether the statistics are those of the batch."""
        return call.training and self.trainable

    def _statistics(self, call: Call) -> tuple[Any, Any]:
        if not self._learns(call):
            return self.moving_mean.value, self.moving_variance.value
        shape = self.moving_mean.shape
        # A rank without rows writes none, and computes its gradients, which are 0, from these.
        mean, variance = (
            call.array(name, shape, fill=lambda array: array.fill(0))
            for name in ("mean", "variance")
        )
        return mean, variance

    def _features(self, x: Any) -> Any:
        """Reshape x to (outer, features, inner)."""
        axis = self.axis % x.ndim
        inner = math.prod(x.shape[axis + 1 :])
        return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], inner)


class LayerNormalization(_Normalization):
    """Normalize each sample to mean 0 and variance 1 over its last axes, then scale.

    ``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, with the mean and the variance
    (divided by n) over ``axis``, the same in training and inference. Source: Ba, Kiros and Hinton,
    "Layer normalization", 2016.

    Shapes: x ``(batch, ..., features)`` -> y of the same shape; gamma and beta have the shape of
    the axes.

    Args:
        axis: the last axis, or several last axes, in any order.

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

    def build(self, input_shape: Shape) -> None:
        shape = last_axes(self.axis, input_shape, self.name)
        self._declare(shape)
        self._size = math.prod(shape)

    def forward(self, call: Call) -> None:
        x = call.x.reshape(-1, self._size)
        call.backend.layer_norm(
            x, *self._affine(), self.epsilon, *self._moments(call, len(x)),
            call.y.reshape(x.shape),
        )  # fmt: skip

    def backward(self, call: Call) -> None:
        x = call.x.reshape(-1, self._size)
        call.backend.layer_norm_gradient(
            x, call.dy.reshape(x.shape), self._affine()[0], self.epsilon,
            *self._moments(call, len(x)), *self._gradients(call),
            None if call.dx is None else call.dx.reshape(x.shape),
            accumulate_gradients=call.accumulate_gradients,
            accumulate_dx=call.accumulate_dx,
        )  # fmt: skip

    def _formula(self, x: Tensor, training: bool) -> Tensor:
        if self.centered:
            factors = self.gamma, self.beta
            return ops.layer_normalization(x, *factors, self.axis, self.epsilon)
        y = ops.rms_normalization(x, self.gamma, self.axis, self.epsilon)
        return y if self.beta is None else y + self.beta


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

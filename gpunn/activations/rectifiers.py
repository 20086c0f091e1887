"""ReLU and its variants: linear on the right, small or bounded on the left."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.shared.functions import bits_of
from gpunn.common.arguments import check_above_zero, check_not_negative, optional, requirement
from gpunn.common.fields import field
from gpunn.common.numeric.normal import SELU_DEPTH, SELU_SCALE
from gpunn.common.registry import Examples
from gpunn.ops.tensor import Tensor, ops

from .activation import Activation
from .neurons import Ramp
from .properties import INFINITY, Properties

_check_bound = requirement("at least 0", lambda value: value >= 0)


class Relu(Activation):
    """``f(x) = max(x, 0)``; its derivative at 0 is taken as 0.

    The rectified linear unit, the usual function of hidden layers. It is applied to each element:
    any shape, and the output has the same.

    Args:
        negative_slope: slope below ``threshold``.
        max_value: the largest output; None for no limit.
        threshold: where the slope changes from ``negative_slope`` to 1: below it
            ``f(x) = negative_slope * (x - threshold)``.

    Source: Nair and Hinton, Rectified linear units improve restricted Boltzmann
    machines, 2010.

    >>> from gpunn import activations
    >>> activations.relu([-2.0, 0.0, 3.0]).tolist()
    [0.0, 0.0, 3.0]
    >>> activations.relu([-2.0, 9.0], negative_slope=0.5, max_value=6).tolist()
    [-1.0, 6.0]
    """

    aliases = ("ReLU",)

    functor = "Relu"
    examples: ClassVar[Examples] = (
        {},
        {"negative_slope": 0.25},
        {"max_value": 1.0},
        {"negative_slope": 0.5, "max_value": 0.75, "threshold": 0.25},
    )

    negative_slope: float = field(default=0.0, check=_check_bound)
    max_value: float | None = field(default=None, check=optional(_check_bound))
    threshold: float = field(default=0.0)

    def __post_init__(self) -> None:
        # Bent at 0, y has the sign of x.
        self.bent = self.max_value is None and self.threshold == 0
        self.plain = self.bent and self.negative_slope == 0
        if self.plain:
            return
        if self.bent:
            self.functor = self.functor and "LeakyRelu"
            self.parameter_names = ("negative_slope",)
        else:
            self.functor = self.functor and "BoundedRelu"
            self.parameter_names = ("negative_slope", "most", "threshold")
            self.saves = "input"
        # No output reaches NaN: there is no limit.
        self.most = math.nan if self.max_value is None else self.max_value

    @property
    def properties(self) -> Properties:
        slope, most, threshold = self.negative_slope, self.max_value, self.threshold
        most = INFINITY if most is None else most
        # Between a negative threshold and 0, the output is x itself.
        low = -INFINITY if slope else min(0.0, threshold)
        flat = [] if slope else [(-INFINITY, threshold)]
        flat += [] if most == INFINITY else [(max(most, threshold), INFINITY)]
        right = (1, 0) if most == INFINITY else (0, most)
        return Properties(
            (low, most), threshold >= 0, (slope, -slope * threshold), right, tuple(flat)
        )

    def call(self, x: Tensor) -> Tensor:
        slope = self.negative_slope
        if self.plain:
            return ops.relu(x)
        if self.bent:
            if _is_known(slope):  # fewer calls for arrays
                return (ops.maximum if slope <= 1 else ops.minimum)(x, x * slope)
            return ops.leaky_relu(x, slope)
        if _is_known(slope) and not slope and self.threshold == 0.0:
            return ops.minimum(ops.relu(x), self.most)
        y = ops.where(x <= self.threshold, self._below(x - self.threshold) + 0.0, x)
        if not _is_known(self.most):
            return ops.where(y > self.most, self.most, y)
        return y if self.max_value is None else ops.minimum(y, self.most)

    def gradient(self, saved: Tensor, dy: Tensor) -> Tensor:
        if self.plain:
            return ops.where(saved <= 0.0, 0.0, dy)
        if self.bent:
            return self._chosen(saved > 0.0, dy)
        above, most = saved > self.threshold, self.most
        if not _is_known(most):
            below = self._below(dy)
            return ops.where(above, ops.where(saved >= most, 0.0, dy), below)
        if self.max_value is not None and not self.negative_slope:
            return ops.where(ops.logical_and(above, saved < most), dy, 0.0)
        dx = self._chosen(above, dy)
        if self.max_value is None:
            return dx
        return ops.where(saved >= most if most > self.threshold else above, 0.0, dx)

    def _below(self, distance: Tensor) -> Any:
        """Return f below the threshold. A slope of 0 makes infinity 0, too."""
        slope = self.negative_slope
        if _is_known(slope):
            return distance * slope if slope else 0.0
        return ops.where(slope == 0.0, 0.0, distance * slope)

    def _chosen(self, above: Tensor, dy: Tensor) -> Tensor:
        """Return dy, multiplied by the slope where ``above`` is False."""
        slope = self.negative_slope
        if not _is_known(slope):
            return ops.where(above, dy, dy * slope)
        if not slope:
            return ops.where(above, dy, 0.0)
        if slope <= 1:  # fewer calls for arrays
            return dy * ops.maximum(ops.cast(above, dy.dtype), slope)
        return dy * ops.maximum(ops.cast(ops.logical_not(above), dy.dtype) * slope, 1.0)

    def backward(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        if not self.plain:
            super().backward(backend, saved, dy, out)
            return
        # Computes `gradient` in the fewest calls: an output is neither negative nor -0, so its
        # bits are an integer of at least 0.
        xp, outputs = backend.xp, bits_of(saved)
        ones = backend.scratch(saved.shape, outputs.dtype, "ones", lambda array: array.fill(1))
        mask = backend.scratch(saved.shape, outputs.dtype, "mask")
        xp.minimum(outputs, ones, out=mask)
        xp.negative(mask, out=mask)  # no bit is 1, or all are
        xp.bitwise_and(bits_of(dy), mask, out=bits_of(out))


def _is_known(number: Any) -> bool:
    """Whether it is a number: in code that is generated for kernels it is a parameter."""
    return not isinstance(number, Tensor)


class LeakyRelu(Relu):
    """``f(x) = x`` for x > 0, ``negative_slope x`` below: a `Relu` without dead units.

    The small slope below 0 keeps a gradient where the input is negative. It is applied to each
    element: any shape, and the output has the same.

    Args:
        negative_slope: slope below 0. The default is from Keras's function; Keras's
            layer has 0.3, PyTorch 0.01, and textbooks often 0.1.

    Source: Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic
    models, 2013.

    >>> from gpunn import activations
    >>> print(activations.leaky_relu([-2.0, 3.0]).numpy().round(6))
    [-0.4  3. ]
    """

    aliases = ("LeakyReLU",)
    examples = ({}, {"negative_slope": 1.5})

    def __init__(self, negative_slope: float = 0.2) -> None:
        super().__init__(negative_slope)


class Relu6(Ramp):
    """``f(x) = min(max(x, 0), 6)``.

    A `Relu` that is at most 6, as used in MobileNet. It is applied to each element: any shape, and
    the output has the same.

    Source: Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.

    >>> from gpunn import activations
    >>> activations.relu6([-2.0, 3.0, 9.0]).tolist()
    [0.0, 3.0, 6.0]
    """

    aliases = ("ReLU6",)

    def __init__(self) -> None:
        super().__init__(0.0, 6.0, 0.0, 6.0)


class Elu(Activation):
    """``f(x) = x`` for x > 0, ``alpha (exp(x) - 1)`` below.

    A ReLU whose negative side falls to -alpha, so that the mean of outputs is nearer to 0; smooth
    for alpha = 1. It is applied to each element: any shape, and the output has the same.

    Args:
        alpha: f falls to -alpha on the left; at least 0.

    Source: Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by
    exponential linear units, 2015.

    >>> from gpunn import activations
    >>> print(activations.elu([-1e4, -1.0, 2.0]).numpy().round(4))
    [-1.     -0.6321  2.    ]
    """

    aliases = ("ELU",)
    examples = ({}, {"alpha": 0.5})

    alpha: float = field(default=1.0, check=check_not_negative)

    functor = "Elu"

    def __post_init__(self) -> None:
        if self.alpha != 1:
            self.functor, self.parameter_names = self.functor and "EluOf", ("alpha",)

    @property
    def properties(self) -> Properties:
        flat = () if self.alpha else ((-INFINITY, 0),)
        return Properties((-self.alpha, INFINITY), True, (0, -self.alpha), (1, 0), flat)

    def call(self, x: Tensor) -> Tensor:
        if self.parameter_names:
            return ops.elu(x, self.alpha)
        return ops.elu(x)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        if self.parameter_names:
            return dy * ops.where(y > 0.0, 1.0, y + self.alpha)
        return dy * (ops.minimum(y, 0.0) + 1.0)


class Celu(Activation):
    """``f(x) = x`` for x > 0, ``alpha (exp(x / alpha) - 1)`` below: smooth for every alpha.

    A ReLU whose negative side falls smoothly to -alpha. It is applied to each element: any shape,
    and the output has the same.

    Args:
        alpha: f falls to -alpha on the left; above 0.

    Source: Barron, Continuously differentiable exponential linear units, 2017.

    >>> from gpunn import activations
    >>> activations.celu([-1e4, 0.0, 2.0], alpha=0.5).tolist()
    [-0.5, 0.0, 2.0]
    """

    aliases = ("CELU",)
    examples = ({"alpha": 0.5},)

    alpha: float = field(default=1.0, check=check_above_zero)

    functor = "Celu"
    parameter_names = ("alpha",)

    @property
    def properties(self) -> Properties:
        return Properties((-self.alpha, INFINITY), True, (0, -self.alpha), (1, 0))

    def call(self, x: Tensor) -> Tensor:
        if _is_known(self.alpha):
            return ops.celu(x, self.alpha)
        return ops.where(x > 0.0, x, self.alpha * ops.expm1(x * (1 / self.alpha)) + 0.0)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        if _is_known(self.alpha):  # fewer calls for arrays
            return dy * ((ops.minimum(y, 0.0) + self.alpha) * (1 / self.alpha))
        return dy * ops.where(y > 0.0, 1.0, (y + self.alpha) * (1 / self.alpha))


class Selu(Activation):
    """``f(x) = s x`` for x > 0, ``s alpha (exp(x) - 1)`` below, alpha = 1.6733, s = 1.0507.

    The scaled exponential linear unit. It is applied to each element: any shape, and the output has
    the same.

    With these constants, outputs keep mean 0 and variance 1 from layer to layer, for
    weights drawn by ``lecun_normal``.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural
    networks, 2017.

    >>> from gpunn import activations
    >>> print(activations.selu([-1e4, 1.0]).numpy().round(4))
    [-1.7581  1.0507]
    """

    aliases = ("SELU",)

    functor = "Selu"
    properties = Properties((-SELU_DEPTH, INFINITY), True, (0, -SELU_DEPTH), (SELU_SCALE, 0))

    def call(self, x: Tensor) -> Tensor:
        return ops.selu(x)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return dy * ops.where(y > 0.0, SELU_SCALE, y + SELU_DEPTH)


class Exponential(Activation):
    """``f(x) = exp(x) = f'(x)``. Infinite from 88.8 on in float32, from 709.8 on in float64.

    For outputs that must be positive, such as the rate of a Poisson distribution. It is applied to
    each element: any shape, and the output has the same.

    >>> from gpunn import activations
    >>> activations.exponential([-1e4, 0.0, 1e4]).tolist()
    [0.0, 1.0, inf]
    """

    functor = "Exponential"
    properties = Properties((0, INFINITY), True, (0, 0), None)

    def call(self, x: Tensor) -> Tensor:
        return ops.exp(x)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return dy * y


class Softplus(Activation):
    """``f(x) = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))``, ``f' = 1 - exp(-f)``.

    A smooth `Relu`, which is positive everywhere. The second form does not overflow. It is applied
    to each element: any shape, and the output has the same.

    Source: Dugas, Bengio, Belisle, Nadeau and Garcia, Incorporating second-order
    functional knowledge for better option pricing, 2000.

    >>> from gpunn import activations
    >>> print(activations.softplus([-1e4, 0.0, 1.0]).numpy().round(4))
    [0.     0.6931 1.3133]
    """

    functor = "Softplus"
    properties = Properties((0, INFINITY), True, (0, 0), (1, 0))

    def call(self, x: Tensor) -> Tensor:
        return ops.relu(x) + ops.log1p(ops.exp(-ops.abs(x)))  # without overflow

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return dy * -ops.expm1(-y)

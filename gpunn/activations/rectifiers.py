"""ReLU and what grew out of it: linear on the right, small or bounded on the left."""

from __future__ import annotations

import math
from typing import ClassVar

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.shared.choices import bits_of, select
from gpunn.common.arguments import check_above_zero, check_not_negative, optional, requirement
from gpunn.common.fields import field
from gpunn.common.registry import Examples

from .activation import Activation
from .neurons import Ramp
from .properties import INFINITY, Properties

_check_bound = requirement("at least 0", lambda value: value >= 0)


class Relu(Activation):
    """f(x) = max(x, 0); its derivative at 0 is taken as 0.

    Args:
        negative_slope: slope below ``threshold``.
        max_value: the largest output; None for no limit.
        threshold: where the slope changes from ``negative_slope`` to 1: below it
            f(x) = negative_slope * (x - threshold).

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
        bent = self.max_value is None and self.threshold == 0  # at 0: the sign of y is that of x
        self.plain = bent and self.negative_slope == 0
        if self.plain:
            return
        if bent:
            self.functor = self.functor and "LeakyRelu"
            self.parameter_names = ("negative_slope",)
        else:
            self.functor = self.functor and "BoundedRelu"
            self.parameter_names = ("negative_slope", "most", "threshold")
            self.saves = "input"
        # Nothing reaches NaN.
        self.most = math.nan if self.max_value is None else self.max_value

    @property
    def properties(self) -> Properties:
        slope, most, threshold = self.negative_slope, self.max_value, self.threshold
        most = INFINITY if most is None else most
        # Between a threshold below 0 and 0 the outputs are those of x itself.
        low = -INFINITY if slope else min(0.0, threshold)
        flat = [] if slope else [(-INFINITY, threshold)]
        flat += [] if most == INFINITY else [(max(most, threshold), INFINITY)]
        right = (1, 0) if most == INFINITY else (0, most)
        return Properties(
            (low, most), threshold >= 0, (slope, -slope * threshold), right, tuple(flat)
        )

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        if self.plain:
            backend.xp.maximum(x, 0.0, out=out)
        elif self.saves == "output":
            xp = backend.xp
            below = backend.scratch(x.shape, x.dtype, "below")
            xp.multiply(x, self.negative_slope, out=below)
            (xp.maximum if self.negative_slope <= 1 else xp.minimum)(x, below, out=out)
        else:
            self._bounded(backend, x, out)

    def _bounded(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        above = backend.scratch(x.shape, bool, "above")
        below = backend.scratch(x.shape, x.dtype, "below")
        xp.less_equal(x, self.threshold, out=above)
        xp.logical_not(above, out=above)  # NaN stays NaN
        if self.negative_slope:
            xp.minimum(x, self.threshold, out=below)
            xp.subtract(below, self.threshold, out=below)
            xp.multiply(below, self.negative_slope, out=below)
        select(backend, above, x, out)
        if self.negative_slope:
            xp.add(out, below, out=out)
        if self.max_value is not None:
            xp.minimum(out, self.max_value, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        if self.plain:
            # As `select`, in fewer calls: an output is not below 0 and no -0, its bits count up.
            outputs = bits_of(saved)
            ones = backend.scratch(saved.shape, outputs.dtype, "ones", lambda array: array.fill(1))
            mask = backend.scratch(saved.shape, outputs.dtype, "mask")
            xp.minimum(outputs, ones, out=mask)
            xp.negative(mask, out=mask)  # no bit is 1, or all are
            xp.bitwise_and(bits_of(dy), mask, out=bits_of(out))
            return
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        where = backend.scratch(saved.shape, bool, "where")
        if self.negative_slope == 0:
            xp.greater(saved, self.threshold, out=where)
            select(backend, where, dy, out)
        elif self.negative_slope <= 1:  # 1 above the threshold, the smaller slope elsewhere
            xp.greater(saved, self.threshold, out=where)
            xp.copyto(slope, where)
            xp.maximum(slope, self.negative_slope, out=slope)
            xp.multiply(dy, slope, out=out)
        else:
            xp.less_equal(saved, self.threshold, out=where)
            xp.copyto(slope, where)
            xp.multiply(slope, self.negative_slope, out=slope)
            xp.maximum(slope, 1.0, out=slope)
            xp.multiply(dy, slope, out=out)
        if self.max_value is not None:
            if self.max_value > self.threshold:
                xp.greater_equal(saved, self.max_value, out=where)
            else:
                xp.greater(saved, self.threshold, out=where)
            xp.logical_not(where, out=where)
            select(backend, where, out, out)


class LeakyRelu(Relu):
    """f(x) = x for x > 0, negative_slope x below: `Relu` that is never quite dead.

    Args:
        negative_slope: slope below 0. The default is Keras's for the function; its
            layer has 0.3, PyTorch 0.01, and textbooks often 0.1.

    Source: Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic
    models, 2013.

    >>> from gpunn import activations
    >>> print(activations.leaky_relu([-2.0, 3.0]).round(6))
    [-0.4  3. ]
    """

    aliases = ("LeakyReLU",)
    examples = ({}, {"negative_slope": 1.5})

    def __init__(self, negative_slope: float = 0.2) -> None:
        super().__init__(negative_slope)


class Relu6(Ramp):
    """f(x) = min(max(x, 0), 6).

    Source: Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.

    >>> from gpunn import activations
    >>> activations.relu6([-2.0, 3.0, 9.0]).tolist()
    [0.0, 3.0, 6.0]
    """

    aliases = ("ReLU6",)

    def __init__(self) -> None:
        super().__init__(0.0, 6.0, 0.0, 6.0)


class _Exponential(Activation):
    """f(x) = scale x for x > 0, else depth (exp(rate x) - 1); f' = rate (f + depth) there."""

    functor = "Elu"
    parameter_names = ("scale", "depth", "rate")
    scale = depth = rate = 1.0

    @property
    def properties(self) -> Properties:
        return Properties(
            (-self.depth, INFINITY), True, (0, -self.depth), (self.scale, 0),
            () if self.depth else ((-INFINITY, 0),),
        )  # fmt: skip

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        below = backend.scratch(x.shape, x.dtype, "below")
        xp.minimum(x, 0.0, out=below)
        if self.rate != 1.0:
            xp.multiply(below, self.rate, out=below)
        xp.expm1(below, out=below)
        if self.depth != 1.0:
            xp.multiply(below, self.depth, out=below)
        xp.maximum(x, 0.0, out=out)
        if self.scale != 1.0:
            xp.multiply(out, self.scale, out=out)
        xp.add(out, below, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        xp.minimum(saved, 0.0, out=slope)
        xp.add(slope, self.depth, out=slope)
        if self.rate != 1.0:
            xp.multiply(slope, self.rate, out=slope)
        if self.scale != self.rate * self.depth:
            above = backend.scratch(saved.shape, bool, "above")
            xp.greater(saved, 0.0, out=above)
            xp.copyto(slope, self.scale, where=above)
        xp.multiply(dy, slope, out=out)


class Elu(_Exponential):
    """f(x) = x for x > 0, alpha (exp(x) - 1) below.

    Args:
        alpha: how deep it goes, at least 0.

    Source: Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by
    exponential linear units, 2015.

    >>> from gpunn import activations
    >>> print(activations.elu([-1e4, -1.0, 2.0]).round(4))
    [-1.     -0.6321  2.    ]
    """

    aliases = ("ELU",)
    examples = ({}, {"alpha": 0.5})

    alpha: float = field(default=1.0, check=check_not_negative)

    def __post_init__(self) -> None:
        self.depth = self.alpha


class Celu(_Exponential):
    """f(x) = x for x > 0, alpha (exp(x / alpha) - 1) below: smooth for every alpha.

    Args:
        alpha: how deep it goes, above 0.

    Source: Barron, Continuously differentiable exponential linear units, 2017.

    >>> from gpunn import activations
    >>> activations.celu([-1e4, 0.0, 2.0], alpha=0.5).tolist()
    [-0.5, 0.0, 2.0]
    """

    aliases = ("CELU",)
    examples = ({"alpha": 0.5},)

    alpha: float = field(default=1.0, check=check_above_zero)

    def __post_init__(self) -> None:
        self.depth, self.rate = self.alpha, 1 / self.alpha


class Selu(_Exponential):
    """f(x) = s x for x > 0, s alpha (exp(x) - 1) below, alpha = 1.6733, s = 1.0507.

    With these two, outputs of mean 0 and variance 1 keep them from layer to layer, for
    weights drawn by ``lecun_normal``.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural
    networks, 2017.

    >>> from gpunn import activations
    >>> print(activations.selu([-1e4, 1.0]).round(4))
    [-1.7581  1.0507]
    """

    aliases = ("SELU",)

    scale = 1.0507009873554804934
    depth = scale * 1.6732632423543772848


class Exponential(Activation):
    """f(x) = exp(x) = f'(x). Infinite from 88.8 on in float32, from 709.8 on in float64.

    >>> from gpunn import activations
    >>> activations.exponential([-1e4, 0.0, 1e4]).tolist()
    [0.0, 1.0, inf]
    """

    functor = "Exponential"
    properties = Properties((0, INFINITY), True, (0, 0), None)

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        backend.xp.exp(x, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        backend.xp.multiply(dy, saved, out=out)


class Softplus(Activation):
    """f(x) = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), f' = 1 - exp(-f).

    Source: Dugas, Bengio, Belisle, Nadeau and Garcia, Incorporating second-order
    functional knowledge for better option pricing, 2000.

    >>> from gpunn import activations
    >>> print(activations.softplus([-1e4, 0.0, 1.0]).round(4))
    [0.     0.6931 1.3133]
    """

    functor = "Softplus"
    properties = Properties((0, INFINITY), True, (0, 0), (1, 0))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        rest = backend.scratch(x.shape, x.dtype, "rest")
        xp.absolute(x, out=rest)
        xp.negative(rest, out=rest)
        xp.exp(rest, out=rest)
        xp.log1p(rest, out=rest)
        xp.maximum(x, 0.0, out=out)
        xp.add(out, rest, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        xp.negative(saved, out=slope)
        xp.expm1(slope, out=slope)
        xp.negative(slope, out=slope)
        xp.multiply(dy, slope, out=out)

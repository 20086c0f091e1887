"""Textbook neurons: linear, threshold, ramp, sigmoid, Gaussian, tanh."""

from __future__ import annotations

import math
from typing import Any

from gpunn.backends.contract import formulas
from gpunn.common.arguments import check_above_zero, check_flag, check_number
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .activation import Activation
from .properties import INFINITY, Properties

FAR = 40.0  # standard deviations: exp(-FAR^2 / 2) is 0 in either precision


class Linear(Activation):
    """``f(x) = x``.

    The identity: a layer without an activation function, as for outputs of any value in a
    regression. It is applied to each element: any shape, and the output has the same.

    >>> from gpunn import activations
    >>> activations.linear([1.0, -2.0]).tolist()
    [1.0, -2.0]
    """

    functor = "Linear"
    properties = Properties((-INFINITY, INFINITY), True, (1, 0), (1, 0))

    def call(self, x: Tensor) -> Tensor:
        return x

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return dy

    forward, backward = formulas.Linear.forward, formulas.Linear.backward


class Step(Activation):
    """The threshold unit: ``f(x) = low`` for x < threshold, else high.

    The first model of a neuron. It is applied to each element: any shape, and the output has the
    same.

    Its derivative is 0 (taken as 0 at the jump too), so gradient descent cannot train the
    layers before it, and training through it warns. Train with `sigmoid` and replace it by
    the step afterwards, or use the perceptron learning rule.

    Args:
        low: output below the threshold.
        high: output above it.
        threshold: where the output changes.
        high_at_threshold: whether f(threshold) is ``high``; if not, it is ``low``.

    Source: McCulloch and Pitts, A logical calculus of the ideas immanent in nervous
    activity, 1943.

    >>> from gpunn import activations
    >>> activations.step([-1.0, 0.0, 1.0]).tolist()
    [0.0, 1.0, 1.0]
    >>> activations.Step(-1, 1, threshold=2, high_at_threshold=False)([2.0, 3.0]).tolist()
    [-1.0, 1.0]
    """

    functor = "Step"
    parameter_names = ("low", "high", "threshold")
    zero_gradient = True
    examples = ({}, {"low": 2.0, "high": -1.0, "threshold": 0.5, "high_at_threshold": False})

    low: float = field(default=0.0, check=check_number)
    high: float = field(default=1.0, check=check_number)
    threshold: float = field(default=0.0, check=check_number)
    high_at_threshold: bool = field(default=True, check=check_flag)

    @property
    def properties(self) -> Properties:
        low, high = self.low, self.high
        ends = (min(low, high), max(low, high))
        return Properties(ends, low <= high, (0, low), (0, high), ((-INFINITY, INFINITY),))

    def __post_init__(self) -> None:
        if not self.high_at_threshold:
            self.functor = self.functor and "OpenStep"

    def call(self, x: Tensor) -> Tensor:
        above = x >= self.threshold if self.high_at_threshold else x > self.threshold
        return ops.where(above, self.high, self.low)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return ops.zeros_like(dy)


class Sign(Step):
    """The perceptron's ``f(x) = 1`` for x >= 0, else -1. Its derivative is 0, see `Step`.

    Gradients do not pass through it, so it is for prediction, not for training by gradients. It is
    applied to each element: any shape, and the output has the same.

    Source: Rosenblatt, The perceptron, 1958.

    >>> from gpunn import activations
    >>> activations.sign([-3.0, 0.0, 3.0]).tolist()
    [-1.0, 1.0, 1.0]
    """

    def __init__(self) -> None:
        super().__init__(-1.0, 1.0)


class Ramp(Activation):
    """f(x) = low for x < start, high for x > end, and the straight line between.

    A sigmoid in three straight pieces. It is applied to each element: any shape, and the output has
    the same.

    With a, b the outputs and c, d the ends: ``f(x) = a + (x - c) (b - a) / (d - c)`` for
    ``c <= x <= d``. The derivative at both ends is taken as 0.

    Args:
        low: output up to ``start`` (a).
        high: output from ``end`` on (b).
        start: where the line begins (c).
        end: where it ends (d).

    >>> from gpunn import activations
    >>> activations.ramp([-2.0, -1.0, 0.0, 0.5, 2.0]).tolist()
    [0.0, 0.0, 0.5, 0.75, 1.0]
    """

    functor = "Ramp"
    examples = ({}, {"low": 2.0, "high": -1.0, "start": -0.5, "end": 1.5})
    parameter_names = ("slope", "intercept", "least", "most")

    low: float = field(default=0.0, check=check_number)
    high: float = field(default=1.0, check=check_number)
    start: float = field(default=-1.0, check=check_number)
    end: float = field(default=1.0, check=check_number)

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(f"start must be below end; got {self.start!r} and {self.end!r}.")
        if self.low == self.high:
            raise ValueError(f"low and high must differ; both are {self.low!r}.")
        self.slope = (self.high - self.low) / (self.end - self.start)
        self.intercept = self.low - self.start * self.slope
        self.least, self.most = min(self.low, self.high), max(self.low, self.high)

    @property
    def properties(self) -> Properties:
        flat = (-INFINITY, self.start), (self.end, INFINITY)
        range_ = self.least, self.most
        return Properties(range_, self.low < self.high, (0, self.low), (0, self.high), flat)

    def call(self, x: Tensor) -> Tensor:
        return ops.clip(x * self.slope + self.intercept, self.least, self.most)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        between = ops.logical_and(y > self.least, y < self.most)
        return ops.where(between, dy * self.slope, 0.0)


class HardSigmoid(Ramp):
    """``f(x) = min(max(x / 6 + 1/2, 0), 1)``: the ramp from 0 at -3 to 1 at 3.

    `Sigmoid` in three straight pieces, without an exponential. It is applied to each element: any
    shape, and the output has the same.

    Source: Courbariaux, Bengio and David, BinaryConnect, 2015; with this slope in Keras 3.

    >>> from gpunn import activations
    >>> activations.hard_sigmoid([-5.0, 0.0, 5.0]).tolist()
    [0.0, 0.5, 1.0]
    """

    def __init__(self) -> None:
        super().__init__(0.0, 1.0, -3.0, 3.0)


def _check_slope(name: str, value: Any) -> float:
    if check_number(name, value) == 0.0:
        raise ValueError("slope must not be 0: the sigmoid would be a constant.")
    return float(value)


class Sigmoid(Activation):
    """The logistic function: ``f(x) = 1 / (1 + exp(-x))``, ``f' = f (1 - f)``.

    It maps numbers to the range from 0 to 1, as for the probability of one of two classes. It is
    applied to each element: any shape, and the output has the same.

    With three parameters, ``f(x) = offset + 1 / (1 + exp(-slope x + shift))``. It crosses
    ``offset + 1/2`` at ``x = shift / slope``, where the derivative is slope / 4.

    Args:
        slope: steepness; the curve falls if it is negative.
        shift: moves the curve along x.
        offset: added to the output.

    Source: Verhulst, 1845; as an activation for backpropagation: Rumelhart, Hinton and
    Williams, Learning representations by back-propagating errors, 1986.

    >>> from gpunn import activations
    >>> print(activations.sigmoid([0.0, 1e4, -1e4]).numpy().round(9))
    [0.5 1.  0. ]
    >>> print(activations.Sigmoid(slope=3, shift=15)([4.0, 5.0]).numpy().round(4))
    [0.0474 0.5   ]
    """

    functor = "Sigmoid"
    is_link = True
    examples = ({}, {"slope": 2.0, "shift": 0.5, "offset": -0.25})

    slope: float = field(default=1.0, check=_check_slope)
    shift: float = field(default=0.0, check=check_number)
    offset: float = field(default=0.0, check=check_number)

    def __post_init__(self) -> None:
        self.plain = (self.slope, self.shift, self.offset) == (1.0, 0.0, 0.0)
        if not self.plain:
            self.saves = "input"
            self.parameter_names = ("slope", "shift", "offset")
            self.functor = self.functor and "ShapedSigmoid"

    @property
    def properties(self) -> Properties:
        low, high = self.offset, self.offset + 1
        ends = ((0, low), (0, high)) if self.slope > 0 else ((0, high), (0, low))
        return Properties((low, high), self.slope > 0, *ends)

    def call(self, x: Tensor) -> Tensor:
        if self.plain:
            return ops.sigmoid(x)
        return ops.sigmoid(x * self.slope - self.shift) + self.offset

    def gradient(self, saved: Tensor, dy: Tensor) -> Tensor:
        if self.plain:
            return dy * saved * (1.0 - saved)
        e = ops.exp(-ops.abs(saved * self.slope - self.shift))
        rest = 1.0 + e  # e / rest^2 is exact at both ends
        return dy * self.slope * (e / rest / rest)


class Tanh(Activation):
    """``f(x) = tanh(x) = 2 sigmoid(2 x) - 1``, ``f' = 1 - f^2``.

    The hyperbolic tangent maps numbers to the range from -1 to 1; it is a `Sigmoid` around 0. It is
    applied to each element: any shape, and the output has the same.

    >>> from gpunn import activations
    >>> activations.tanh([0.0, 1e4]).tolist()
    [0.0, 1.0]
    """

    functor = "Tanh"
    properties = Properties((-1, 1), True, (0, -1), (0, 1))

    def call(self, x: Tensor) -> Tensor:
        return ops.tanh(x)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return dy * (1.0 - y * y)


class Softsign(Activation):
    """``f(x) = x / (1 + |x|)``, ``f' = (1 - |f|)^2``: tanh with tails that fall as 1/x.

    It maps numbers to the range from -1 to 1, which it approaches more slowly than `Tanh`. It is
    applied to each element: any shape, and the output has the same.

    Source: Bergstra, Desjardins, Lamblin and Bengio, Quadratic polynomials learn better
    image features, 2009.

    >>> from gpunn import activations
    >>> activations.softsign([-1.0, 0.0, 3.0]).tolist()
    [-0.5, 0.0, 0.75]
    """

    functor = "Softsign"
    properties = Properties((-1, 1), True, (0, -1), (0, 1))

    def call(self, x: Tensor) -> Tensor:
        return ops.softsign(x)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        rest = 1.0 - ops.abs(y)
        return dy * rest * rest


class Gaussian(Activation):
    """The normal density: ``f(x) = exp(-((x - mu) / sigma)^2 / 2) / (sqrt(2 pi) sigma)``.

    A bell around ``mu``, as in radial basis networks. It is applied to each element: any shape, and
    the output has the same.

    ``f' = -f (x - mu) / sigma^2``.

    Args:
        mu: center of the bell.
        sigma: its width, above 0.

    >>> from gpunn import activations
    >>> print(activations.gaussian([0.0, 1.0, 1e4]).numpy().round(4))
    [0.3989 0.242  0.    ]
    """

    functor = "Gaussian"
    parameter_names = ("mu", "sigma", "height")
    saves = "input"
    examples = ({}, {"mu": 0.5, "sigma": 2.0})

    mu: float = field(default=0.0, check=check_number)
    sigma: float = field(default=1.0, check=check_above_zero)

    def __post_init__(self) -> None:
        self.height = 1 / (math.sqrt(2 * math.pi) * self.sigma)

    @property
    def properties(self) -> Properties:
        return Properties((0, self.height), False, (0, 0), (0, 0), ((self.mu, self.mu),))

    def call(self, x: Tensor) -> Tensor:
        return self._bell(self._standardised(x))

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        z = self._standardised(x)
        return -(dy * self._bell(z) * z / self.sigma)

    def _standardised(self, x: Tensor) -> Tensor:
        # Clipped to where the bell is not 0: further out, 0 would be multiplied by infinity.
        return ops.clip((x - self.mu) / self.sigma, -FAR, FAR)

    def _bell(self, z: Tensor) -> Tensor:
        return ops.exp(z * z * -0.5) * self.height

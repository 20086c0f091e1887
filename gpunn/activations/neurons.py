"""The neurons of the textbooks: linear, threshold, ramp, sigmoid, Gaussian, tanh."""

from __future__ import annotations

import math
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.shared.choices import select
from gpunn.common.arguments import check_above_zero, check_flag, check_number
from gpunn.common.fields import field

from .activation import Activation
from .properties import INFINITY, Properties

FAR = 40.0  # standard deviations: exp(-FAR^2 / 2) is 0 in either precision


class Linear(Activation):
    """f(x) = x.

    >>> from gpunn import activations
    >>> activations.linear([1.0, -2.0]).tolist()
    [1.0, -2.0]
    """

    functor = "Linear"
    properties = Properties((-INFINITY, INFINITY), True, (1, 0), (1, 0))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        if out is not x:
            backend.xp.copyto(out, x)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        if out is not dy:
            backend.xp.copyto(out, dy)


class Step(Activation):
    """The threshold unit: f(x) = low for x < threshold, else high.

    Its derivative is 0 (taken as 0 at the jump too), so gradient descent moves nothing
    that stands before it: training through it warns. Train with `sigmoid` and put the
    step in its place afterwards, or use a perceptron's own rule.

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
    parameter_names = ("low", "high", "threshold", "high_at_threshold")
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

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        above = backend.scratch(x.shape, bool, "above")
        (xp.greater_equal if self.high_at_threshold else xp.greater)(x, self.threshold, out=above)
        xp.copyto(out, self.low)
        xp.copyto(out, self.high, where=above)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        backend.xp.copyto(out, 0.0)


class Sign(Step):
    """The perceptron's f(x) = 1 for x >= 0, else -1. Its derivative is 0, see `Step`.

    Source: Rosenblatt, The perceptron, 1958.

    >>> from gpunn import activations
    >>> activations.sign([-3.0, 0.0, 3.0]).tolist()
    [-1.0, 1.0, 1.0]
    """

    def __init__(self) -> None:
        super().__init__(-1.0, 1.0)


class Ramp(Activation):
    """f(x) = low for x < start, high for x > end, and the straight line between.

    With a, b the outputs and c, d the ends: f(x) = a + (x - c) (b - a) / (d - c) for
    c <= x <= d. The derivative at both ends is taken as 0.

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

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        if self.slope != 1.0:
            x = xp.multiply(x, self.slope, out=out)
        xp.add(x, self.intercept, out=out)  # of 0, too: -0 becomes 0
        xp.maximum(out, self.least, out=out)
        xp.minimum(out, self.most, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        between = backend.scratch(saved.shape, bool, "between")
        below = backend.scratch(saved.shape, bool, "below")
        xp.greater(saved, self.least, out=between)
        xp.less(saved, self.most, out=below)
        xp.logical_and(between, below, out=between)
        select(backend, between, dy, out)
        if self.slope != 1.0:
            xp.multiply(out, self.slope, out=out)


class HardSigmoid(Ramp):
    """f(x) = min(max(x / 6 + 1/2, 0), 1): the ramp from 0 at -3 to 1 at 3.

    Source: Courbariaux, Bengio and David, BinaryConnect, 2015; with this slope in Keras 3.

    >>> from gpunn import activations
    >>> activations.hard_sigmoid([-5.0, 0.0, 5.0]).tolist()
    [0.0, 0.5, 1.0]
    """

    def __init__(self) -> None:
        super().__init__(0.0, 1.0, -3.0, 3.0)


def logistic(backend: Backend, x: Array, out: Array) -> None:
    """out = 1 / (1 + exp(-x)); ``out`` may be ``x``."""
    xp = backend.xp
    # exp of more overflows, or its reciprocal is subnormal, which is slow.
    largest = 87.0 if x.dtype.itemsize == 4 else 708.0
    xp.negative(x, out=out)
    xp.minimum(out, largest, out=out)
    xp.exp(out, out=out)
    xp.add(out, 1.0, out=out)
    xp.reciprocal(out, out=out)


def _check_slope(name: str, value: Any) -> float:
    if check_number(name, value) == 0.0:
        raise ValueError("slope must not be 0: the sigmoid would be a constant.")
    return float(value)


class Sigmoid(Activation):
    """The logistic function: f(x) = 1 / (1 + exp(-x)), f' = f (1 - f).

    In its form with three parameters, f(x) = offset + 1 / (1 + exp(-slope x + shift)):
    it crosses offset + 1/2 at x = shift / slope, with the derivative slope / 4.

    Args:
        slope: how steep it is; below 0 it falls.
        shift: where it stands.
        offset: added to the output.

    Source: Verhulst, 1845; as the activation of backpropagation Rumelhart, Hinton and
    Williams, Learning representations by back-propagating errors, 1986.

    >>> from gpunn import activations
    >>> print(activations.sigmoid([0.0, 1e4, -1e4]).round(9))
    [0.5 1.  0. ]
    >>> print(activations.Sigmoid(slope=3, shift=15)([4.0, 5.0]).round(4))
    [0.0474 0.5   ]
    """

    functor = "Sigmoid"
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

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        if self.plain:
            logistic(backend, x, out)
            return
        xp.multiply(x, self.slope, out=out)
        xp.subtract(out, self.shift, out=out)
        logistic(backend, out, out)
        xp.add(out, self.offset, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        if self.plain:
            xp.subtract(1.0, saved, out=slope)
            dy = xp.multiply(dy, saved, out=out)
        else:  # e / (1 + e)^2 with e = exp(-|z|) is exact at both ends
            rest = backend.scratch(saved.shape, saved.dtype, "rest")
            xp.multiply(saved, self.slope, out=slope)
            xp.subtract(slope, self.shift, out=slope)
            xp.absolute(slope, out=slope)
            xp.negative(slope, out=slope)
            xp.exp(slope, out=slope)
            xp.add(slope, 1.0, out=rest)
            xp.divide(slope, rest, out=slope)
            xp.divide(slope, rest, out=slope)
            dy = xp.multiply(dy, self.slope, out=out)
        xp.multiply(dy, slope, out=out)


class Tanh(Activation):
    """f(x) = tanh(x) = 2 sigmoid(2 x) - 1, f' = 1 - f^2.

    >>> from gpunn import activations
    >>> activations.tanh([0.0, 1e4]).tolist()
    [0.0, 1.0]
    """

    functor = "Tanh"
    properties = Properties((-1, 1), True, (0, -1), (0, 1))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        backend.xp.tanh(x, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        xp.multiply(saved, saved, out=slope)
        xp.subtract(1.0, slope, out=slope)
        xp.multiply(dy, slope, out=out)


class Softsign(Activation):
    """f(x) = x / (1 + |x|), f' = (1 - |f|)^2: tanh with tails that fall as 1/x.

    Source: Bergstra, Desjardins, Lamblin and Bengio, Quadratic polynomials learn better
    image features, 2009.

    >>> from gpunn import activations
    >>> activations.softsign([-1.0, 0.0, 3.0]).tolist()
    [-0.5, 0.0, 0.75]
    """

    functor = "Softsign"
    properties = Properties((-1, 1), True, (0, -1), (0, 1))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        size = backend.scratch(x.shape, x.dtype, "size")
        xp.absolute(x, out=size)
        xp.add(size, 1.0, out=size)
        xp.divide(x, size, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        xp.absolute(saved, out=slope)
        xp.subtract(1.0, slope, out=slope)
        xp.multiply(dy, slope, out=out)
        xp.multiply(out, slope, out=out)


class Gaussian(Activation):
    """The normal density: f(x) = exp(-((x - mu) / sigma)^2 / 2) / (sqrt(2 pi) sigma).

    f' = -f (x - mu) / sigma^2.

    Args:
        mu: where the bell stands.
        sigma: its width, above 0.

    >>> from gpunn import activations
    >>> print(activations.gaussian([0.0, 1.0, 1e4]).round(4))
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

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        self._standardise(backend, x, out)
        self._bell(backend, out, out)

    def _standardise(self, backend: Backend, x: Array, out: Array) -> None:
        """out = (x - mu) / sigma, as far as the bell is not 0."""
        xp = backend.xp
        xp.subtract(x, self.mu, out=out)
        xp.divide(out, self.sigma, out=out)
        xp.maximum(out, -FAR, out=out)
        xp.minimum(out, FAR, out=out)

    def _bell(self, backend: Backend, z: Array, out: Array) -> None:
        xp = backend.xp
        xp.multiply(z, z, out=out)
        xp.multiply(out, -0.5, out=out)
        xp.exp(out, out=out)
        xp.multiply(out, self.height, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        z = backend.scratch(saved.shape, saved.dtype, "standardised")
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        self._standardise(backend, saved, z)
        self._bell(backend, z, slope)
        xp.multiply(dy, slope, out=out)
        xp.multiply(out, z, out=out)
        xp.divide(out, -self.sigma, out=out)

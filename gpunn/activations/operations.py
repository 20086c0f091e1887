"""Activations that operations of `gpunn.ops` define: shrinking, sparse and algebraic functions."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_above_zero, check_integer, check_not_negative, check_number
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .activation import Activation
from .neurons import Ramp
from .properties import INFINITY, Properties

OUTSIDE = ((-INFINITY, -1.0), (1.0, INFINITY))


def _operation(name: str, *arguments: str) -> Any:
    """Return a `call` that does an operation with these attributes as further arguments."""

    def call(self: Any, x: Tensor) -> Tensor:
        return getattr(ops, name)(x, *(getattr(self, a) for a in arguments))

    return call


class HardTanh(Ramp):
    """``f(x) = min(max(x, -1), 1)``: a piecewise linear `Tanh`, applied to each element.

    >>> from gpunn import activations
    >>> activations.hard_tanh([-2.0, 0.5, 2.0]).tolist()
    [-1.0, 0.5, 1.0]
    """

    def __init__(self) -> None:
        super().__init__(-1.0, 1.0, -1.0, 1.0)


class HardShrink(Activation):
    """``f(x) = x`` where ``|x| > threshold``, else 0, for each element.

    Args:
        threshold: at least 0.

    >>> from gpunn import activations
    >>> activations.hard_shrink([-2.0, 0.25]).tolist()
    [-2.0, 0.0]
    """

    functor = "HardShrink"
    call = _operation("hard_shrink", "threshold")
    parameter_names = ("threshold",)
    examples = ({}, {"threshold": 1.0})

    threshold: float = field(default=0.5, check=check_not_negative)

    @property
    def properties(self) -> Properties:
        t = self.threshold
        return Properties((-INFINITY, INFINITY), True, (1, 0), (1, 0), ((-t, t),))


class SoftShrink(Activation):
    """``f(x) = sign(x) max(|x| - threshold, 0)``: each element moves towards 0.

    Args:
        threshold: how far, at least 0.

    >>> from gpunn import activations
    >>> activations.soft_shrink([-2.0, 0.25]).tolist()
    [-1.5, 0.0]
    """

    functor = "SoftShrink"
    saves = "input"
    call = _operation("soft_shrink", "threshold")
    parameter_names = ("threshold",)
    examples = ({}, {"threshold": 1.0})

    threshold: float = field(default=0.5, check=check_not_negative)

    @property
    def properties(self) -> Properties:
        t = self.threshold
        return Properties((-INFINITY, INFINITY), True, (1, t), (1, -t), ((-t, t),))

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        return ops.where(ops.abs(x) <= self.threshold, 0.0, dy)


class TanhShrink(Activation):
    """``f(x) = x - tanh(x)``, for each element.

    >>> from gpunn import activations
    >>> print(activations.tanh_shrink([1.0]).numpy().round(4))
    [0.2384]
    """

    functor = "TanhShrink"
    saves = "input"
    call = _operation("tanh_shrink")
    properties = Properties((-INFINITY, INFINITY), True, (1, 1), (1, -1), ((0.0, 0.0),))

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        return dy * ops.square(ops.tanh(x))


class Threshold(Activation):
    """``f(x) = x`` where ``x > threshold``, else ``default_value``, for each element.

    Keras gives no defaults; these make a `Relu`.

    >>> from gpunn import activations
    >>> activations.threshold([1.0, 2.0], 1.5, 0.5).tolist()
    [0.5, 2.0]
    """

    functor = "Threshold"
    call = _operation("threshold", "threshold", "default_value")
    parameter_names = ("threshold", "default_value")
    examples = ({}, {"threshold": 0.5, "default_value": -0.25})

    threshold: float = field(default=0.0, check=check_number)
    default_value: float = field(default=0.0, check=check_number)

    @property
    def properties(self) -> Properties:
        t, low = self.threshold, self.default_value
        flat = ((-INFINITY, t),)
        return Properties((min(t, low), INFINITY), low <= t, (0, low), (1, 0), flat)


class LogSigmoid(Activation):
    """``f(x) = -log(1 + exp(-x))``: the logarithm of `Sigmoid`, without overflow.

    >>> from gpunn import activations
    >>> print(activations.log_sigmoid([-100.0, 0.0]).numpy().round(4))
    [-100.       -0.6931]
    """

    functor = "LogSigmoid"
    saves = "input"
    call = _operation("log_sigmoid")
    properties = Properties((-INFINITY, 0), True, (1, 0), (0, 0))

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        return dy * ops.sigmoid(-x)


class SparseSigmoid(Ramp):
    """``f(x) = min(max((x + 1) / 2, 0), 1)``: a linear sigmoid, the slope of `SparsePlus`.

    Source: Blondel, Martins and Niculae, Learning with Fenchel-Young losses, 2020.

    >>> from gpunn import activations
    >>> activations.sparse_sigmoid([-2.0, 0.0, 0.5]).tolist()
    [0.0, 0.5, 0.75]
    """

    def __init__(self) -> None:
        super().__init__(0.0, 1.0, -1.0, 1.0)


class SparsePlus(Activation):
    """``f(x) = (x + 1)^2 / 4`` between -1 and 1, 0 below and x above: a `Softplus` that ends.

    >>> from gpunn import activations
    >>> activations.sparse_plus([-2.0, 0.0, 2.0]).tolist()
    [0.0, 0.25, 2.0]
    """

    functor = "SparsePlus"
    saves = "input"
    call = _operation("sparse_plus")
    properties = Properties((0, INFINITY), True, (0, 0), (1, 0), OUTSIDE[:1])

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        return ops.where(x <= -1.0, 0.0, dy * ops.minimum((x + 1.0) * 0.5, 1.0))


class Squareplus(Activation):
    """``f(x) = (x + sqrt(x^2 + b)) / 2``: a smooth `Relu` without exponentials.

    Args:
        b: width of the bend, above 0.

    Source: Barron, Squareplus: a softplus-like algebraic rectifier, 2021.

    >>> from gpunn import activations
    >>> activations.squareplus([-1.5, 0.0, 1.5]).tolist()
    [0.5, 1.0, 2.0]
    """

    functor = "Squareplus"
    call = _operation("squareplus", "b")
    parameter_names = ("b",)
    examples = ({}, {"b": 1.0})
    properties = Properties((0, INFINITY), True, (0, 0), (1, 0))

    saves = "input"

    b: float = field(default=4.0, check=check_above_zero)

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        z = ops.clip(x, -1e18, 1e18)
        root = ops.sqrt(ops.square(z) + self.b)
        below = self.b / (2.0 * (root + ops.abs(z)) * root)  # of -|x|; of |x|, 1 less this
        return dy * ops.where(x >= 0.0, 1.0 - below, below)


class Sparsemax(Activation):
    """The probabilities nearest to the elements of a row: many of them are exactly 0.

    It maps logits (..., classes) to the point of the same shape with ``y >= 0`` and ``sum y = 1``
    that has the smallest ``||y - x||``, as a `Softmax` that ends.

    Args:
        axis: of the sum, counted with the batch axis.

    Source: Martins and Astudillo, From softmax to sparsemax, 2016.

    >>> from gpunn import activations
    >>> activations.sparsemax([[1.0, 0.5, 0.0]]).tolist()
    [[0.75, 0.25, 0.0]]
    """

    rowwise = True
    call = _operation("sparsemax", "axis")
    properties = Properties((0, 1), True, (0, 0), (0, 1), OUTSIDE)

    axis: int = field(default=-1, check=lambda name, value: check_integer(name, value, -99))

"""Activations of whole rows: softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .activation import Activation
from .properties import INFINITY, Properties


def check_axis(name: str, value: Any) -> int | tuple[int, ...]:
    return value if isinstance(value, int) else tuple(value)


class _Rowwise(Activation):
    """Activation along an axis. Kernels compute the last axis, expressions the others."""

    rowwise = True

    axis: int | Sequence[int] = field(default=-1, check=check_axis)

    def __post_init__(self) -> None:
        if self.axis not in (-1, (-1,)):
            self.functor = None


class Softmax(_Rowwise):
    """``f(x)_i = exp(x_i) / sum_j exp(x_j)``, along the last axis.

    It maps logits (..., classes) to probabilities of the same shape: positive numbers with a sum of
    1.

    The largest x of the row is subtracted first, so that nothing overflows. With
    dy the gradient of the output y: ``dx = y (dy - sum_j dy_j y_j)``.

    Args:
        axis: the axis of the sum, or several, counted with the batch axis.

    Source: Bridle, Probabilistic interpretation of feedforward classification network
    outputs, 1990.

    >>> from gpunn import activations
    >>> activations.softmax([[1e4, 1e4]]).tolist()
    [[0.5, 0.5]]
    """

    functor = "Softmax"
    is_link = True
    properties = Properties((0, 1), True, (0, 0), (0, 1))

    def call(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.axis)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return y * (dy - ops.sum(y * dy, self.axis, keepdims=True))


class LogSoftmax(_Rowwise):
    """``f(x)_i = x_i - log(sum_j exp(x_j))``, along the last axis: the logarithm of softmax.

    It maps logits (..., classes) to log-probabilities of the same shape, where small
    probabilities do not underflow.

    With dy the gradient of the output y: ``dx = dy - exp(y) sum_j dy_j``. Its outputs are
    logits too: a cross-entropy after it needs ``from_logits=True``.

    Args:
        axis: the axis of the sum, or several, counted with the batch axis.

    >>> from gpunn import activations
    >>> print(activations.log_softmax([[1e4, 1e4]]).numpy().round(4))
    [[-0.6931 -0.6931]]
    """

    functor = "LogSoftmax"
    properties = Properties((-INFINITY, 0), True, (1, 0), (0, 0))

    def call(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, self.axis)

    def gradient(self, y: Tensor, dy: Tensor) -> Tensor:
        return dy - ops.exp(y) * ops.sum(dy, self.axis, keepdims=True)

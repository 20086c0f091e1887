"""Activations of the form f(x) = x g(x), with a gate g that opens from 0 to 1."""

from __future__ import annotations

import math

from gpunn.common.arguments import check_flag
from gpunn.common.fields import field
from gpunn.ops.library.activations import gelu_gate
from gpunn.ops.tensor import Tensor, ops

from .activation import Activation
from .properties import INFINITY, Properties

FAR = 1e4  # further out every gate is 0 or 1 in either precision, and no square overflows


class _Gated(Activation):
    """f(x) = x g(x), f' = g + x g'. A subclass implements `gate` and, from it, `gradient`."""

    saves = "input"
    lowest = (0.0, 0.0)  # the only x where the derivative is 0, and f there

    @property
    def properties(self) -> Properties:
        at, value = self.lowest
        return Properties((value, INFINITY), False, (0, 0), (1, 0), ((at, at),))

    def gate(self, x: Tensor) -> Tensor:
        """g(x)."""
        raise TypeError(f"{type(self).__name__} must define gate(x).")

    def call(self, x: Tensor) -> Tensor:
        return ops.maximum(x, -FAR) * self.gate(x)


def _near(x: Tensor) -> Tensor:
    """Clip x to the range outside which every gate is 0 or 1: 0 times infinity is NaN."""
    return ops.clip(x, -FAR, FAR)


class Silu(_Gated):
    """``f(x) = x sigmoid(x)``, also called swish.

    A smooth `Relu` with a small dip below 0. It is applied to each element: any shape, and the
    output has the same.

    Source: Elfwing, Uchibe and Doya, Sigmoid-weighted linear units, 2017; Ramachandran,
    Zoph and Le, Searching for activation functions, 2017.

    >>> from gpunn import activations
    >>> print(activations.silu([-1.0, 0.0, 1.0]).numpy().round(4))
    [-0.2689  0.      0.7311]
    """

    functor = "Silu"
    aliases = ("swish", "SiLU")
    lowest = (-1.2784645427610738, -0.2784645427610738)

    def gate(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        z = _near(x)
        g = self.gate(z)
        return dy * (g + (1.0 - g) * g * z)


class HardSilu(_Gated):
    """``f(x) = x min(max(x / 6 + 1/2, 0), 1)``: `Silu` in three straight or square pieces.

    It needs no exponential. Also called hard swish. It is applied to each element: any shape, and
    the output has the same.

    Source: Howard et al., Searching for MobileNetV3, 2019.

    >>> from gpunn import activations
    >>> activations.hard_silu([-4.0, 0.0, 3.0]).tolist()
    [-0.0, 0.0, 3.0]
    """

    functor = "HardSilu"
    aliases = ("hard_swish", "HardSwish")
    properties = Properties(
        (-0.375, INFINITY), False, (0, 0), (1, 0), ((-INFINITY, -3.0), (-1.5, -1.5))
    )

    def gate(self, x: Tensor) -> Tensor:
        return ops.hard_sigmoid(x)

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        between = dy * (x * (1 / 3) + 0.5)
        return ops.where(x <= -3.0, 0.0, ops.where(x >= 3.0, dy, between))


class Gelu(_Gated):
    """``f(x) = x P(X <= x)`` with X standard normal: ``x (1 + erf(x / sqrt 2)) / 2``.

    The Gaussian error linear unit, a smooth `Relu`, the usual function in transformers. It is
    applied to each element: any shape, and the output has the same.

    Args:
        approximate: use ``x sigmoid(2 u)`` instead, ``u = sqrt(2 / pi) (x + 0.044715 x^3)``.
            This equals ``x (1 + tanh u) / 2`` and is within 0.0005 of the exact value.

    Source: Hendrycks and Gimpel, Gaussian error linear units, 2016.

    >>> from gpunn import activations
    >>> print(activations.gelu([-1.0, 0.0, 1.0]).numpy().round(4))
    [-0.1587  0.      0.8413]
    """

    aliases = ("GELU",)

    functor = "Gelu"
    examples = ({}, {"approximate": True})
    lowest = (-0.7517915246935645, -0.1699712074799166)

    approximate: bool = field(default=False, check=check_flag)

    def __post_init__(self) -> None:
        if self.approximate:
            self.functor = self.functor and "GeluTanh"
            self.lowest = -0.7524614220710162, -0.1700407505712846

    def gate(self, x: Tensor) -> Tensor:
        return gelu_gate(x, self.approximate)

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        z = _near(x)
        g = self.gate(z)
        if self.approximate:
            slope = (z * z * (3 * 0.044715) + 1.0) * (2 * math.sqrt(2 / math.pi))
            return dy * (g + slope * ((1.0 - g) * g) * z)
        return dy * (g + ops.exp(z * z * -0.5) * (1 / math.sqrt(2 * math.pi)) * z)


class Mish(_Gated):
    """``f(x) = x tanh(softplus(x)) = x n / (n + 2)`` with ``n = e (e + 2)``, ``e = exp(x)``.

    A smooth function like `Silu`, with a small dip below 0. It is applied to each element: any
    shape, and the output has the same.

    Source: Misra, Mish: a self regularized non-monotonic activation function, 2019.

    >>> from gpunn import activations
    >>> print(activations.mish([-1.0, 0.0, 1.0]).numpy().round(4))
    [-0.3034  0.      0.8651]
    """

    functor = "Mish"
    lowest = (-1.1924312145154283, -0.30884341301811556)

    def gate(self, x: Tensor) -> Tensor:
        e = self._exp(x)
        n = e * (e + 2.0)
        return n / (n + 2.0)

    def gradient(self, x: Tensor, dy: Tensor) -> Tensor:
        z = _near(x)
        e = self._exp(z)
        n = e * (e + 2.0)
        m = n + 2.0
        return dy * (n / m + 4.0 * e * (e + 1.0) / (m * m) * z)

    def _exp(self, x: Tensor) -> Tensor:
        # Above the limit n / (n + 2) is 1; at the limit the square of n is still finite.
        return ops.exp(ops.minimum(x, 20.0 if x.dtype == "float32" else 40.0))

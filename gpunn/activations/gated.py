"""Activations of the form f(x) = x g(x), with a gate g that opens from 0 to 1."""

from __future__ import annotations

import math

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.shared.choices import select
from gpunn.common.arguments import check_flag
from gpunn.common.fields import field
from gpunn.common.numeric.normal import LONG, SHORT, SQUEEZE

from .activation import Activation
from .properties import INFINITY, Properties

FAR = 1e4  # further out every gate is 0 or 1 in either precision, and no square overflows


class _Gated(Activation):
    """f(x) = x g(x), f' = g + x g'. A subclass writes `gate` and `gate_slope`."""

    saves = "input"
    lowest = (0.0, 0.0)  # the one place where the derivative is 0, and the value there

    @property
    def properties(self) -> Properties:
        at, value = self.lowest
        return Properties((value, INFINITY), False, (0, 0), (1, 0), ((at, at),))

    def gate(self, backend: Backend, x: Array, out: Array) -> None:
        """out = g(x), for x from -FAR on; ``out`` is another array."""
        raise TypeError(f"{type(self).__name__} must define gate(backend, x, out).")

    def gate_slope(self, backend: Backend, x: Array, gate: Array, out: Array) -> None:
        """out = g'(x) from x and g(x)."""
        raise TypeError(f"{type(self).__name__} must define gate_slope(backend, x, gate, out).")

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        near = backend.scratch(x.shape, x.dtype, "near")
        gate = backend.scratch(x.shape, x.dtype, "gate")
        xp.maximum(x, -FAR, out=near)
        self.gate(backend, near, gate)
        xp.multiply(near, gate, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        near = backend.scratch(saved.shape, saved.dtype, "near")
        gate = backend.scratch(saved.shape, saved.dtype, "gate")
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        xp.maximum(saved, -FAR, out=near)
        xp.minimum(near, FAR, out=near)
        self.gate(backend, near, gate)
        self.gate_slope(backend, near, gate, slope)
        xp.multiply(slope, near, out=slope)
        xp.add(slope, gate, out=slope)
        xp.multiply(dy, slope, out=out)


def sigmoid_gate(backend: Backend, x: Array, out: Array) -> None:
    """out = exp(min(x, 0)) / (1 + exp(-|x|)), the sigmoid, which ends at 0; ``out`` may be x."""
    xp = backend.xp
    numerator = backend.scratch(x.shape, x.dtype, "numerator")
    xp.minimum(x, 0.0, out=numerator)
    xp.exp(numerator, out=numerator)
    xp.absolute(x, out=out)
    xp.negative(out, out=out)
    xp.exp(out, out=out)
    xp.add(out, 1.0, out=out)
    xp.divide(numerator, out, out=out)


class Silu(_Gated):
    """f(x) = x sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, Sigmoid-weighted linear units, 2017; Ramachandran,
    Zoph and Le, Searching for activation functions, 2017.

    >>> from gpunn import activations
    >>> print(activations.silu([-1.0, 0.0, 1.0]).round(4))
    [-0.2689  0.      0.7311]
    """

    functor = "Silu"
    aliases = ("swish", "SiLU")
    lowest = (-1.2784645427610738, -0.2784645427610738)

    def gate(self, backend: Backend, x: Array, out: Array) -> None:
        sigmoid_gate(backend, x, out)

    def gate_slope(self, backend: Backend, x: Array, gate: Array, out: Array) -> None:
        backend.xp.subtract(1.0, gate, out=out)
        backend.xp.multiply(out, gate, out=out)


class HardSilu(_Gated):
    """f(x) = x min(max(x / 6 + 1/2, 0), 1): `Silu` in three straight or square pieces.

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

    def gate(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        xp.multiply(x, 1 / 6, out=out)
        xp.add(out, 0.5, out=out)
        xp.maximum(out, 0.0, out=out)
        xp.minimum(out, 1.0, out=out)

    def gate_slope(self, backend: Backend, x: Array, gate: Array, out: Array) -> None:
        xp = backend.xp
        opening = backend.scratch(x.shape, bool, "opening")
        wide = backend.scratch(x.shape, x.dtype, "wide")
        xp.absolute(x, out=wide)
        xp.less(wide, 3.0, out=opening)
        xp.copyto(out, opening)
        xp.multiply(out, 1 / 6, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        open_ = backend.scratch(saved.shape, bool, "open")
        backend.xp.less_equal(saved, -3.0, out=open_)
        backend.xp.logical_not(open_, out=open_)
        super().gradient(backend, saved, dy, out)
        select(backend, open_, out, out)


class Gelu(_Gated):
    """f(x) = x P(X <= x) with X standard normal: x (1 + erf(x / sqrt 2)) / 2.

    Args:
        approximate: take x sigmoid(2 u) instead, u = sqrt(2 / pi) (x + 0.044715 x^3),
            which is x (1 + tanh u) / 2: within 0.0005 of it.

    Source: Hendrycks and Gimpel, Gaussian error linear units, 2016.

    >>> from gpunn import activations
    >>> print(activations.gelu([-1.0, 0.0, 1.0]).round(4))
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

    def gate(self, backend: Backend, x: Array, out: Array) -> None:
        if not self.approximate:
            normal_distribution(backend, x, out)
            return
        xp = backend.xp
        xp.multiply(x, x, out=out)
        xp.multiply(out, 0.044715, out=out)
        xp.add(out, 1.0, out=out)
        xp.multiply(out, x, out=out)
        xp.multiply(out, 2 * math.sqrt(2 / math.pi), out=out)
        sigmoid_gate(backend, out, out)

    def gate_slope(self, backend: Backend, x: Array, gate: Array, out: Array) -> None:
        xp = backend.xp
        xp.multiply(x, x, out=out)
        if not self.approximate:
            xp.multiply(out, -0.5, out=out)
            xp.exp(out, out=out)
            xp.multiply(out, 1 / math.sqrt(2 * math.pi), out=out)
            return
        rest = backend.scratch(x.shape, x.dtype, "rest")
        xp.multiply(out, 3 * 0.044715, out=out)
        xp.add(out, 1.0, out=out)
        xp.multiply(out, 2 * math.sqrt(2 / math.pi), out=out)
        xp.subtract(1.0, gate, out=rest)
        xp.multiply(rest, gate, out=rest)
        xp.multiply(out, rest, out=out)


def normal_distribution(backend: Backend, x: Array, out: Array) -> None:
    """out = P(X <= x), X standard normal; ``out`` is another array."""
    xp = backend.xp
    z = backend.scratch(x.shape, x.dtype, "z")
    t = backend.scratch(x.shape, x.dtype, "t")
    above = backend.scratch(x.shape, bool, "above")
    xp.absolute(x, out=z)
    xp.multiply(z, math.sqrt(0.5), out=z)
    xp.multiply(z, SQUEEZE, out=t)
    xp.add(t, 1.0, out=t)
    xp.reciprocal(t, out=t)
    xp.multiply(z, z, out=z)
    u = backend.scratch(x.shape, x.dtype, "u")
    xp.multiply(t, 2.0, out=u)
    xp.subtract(u, 1.0, out=u)
    *rest, last = SHORT if x.dtype.itemsize == 4 else LONG
    xp.multiply(u, last, out=out)
    for coefficient in reversed(rest[1:]):
        xp.add(out, coefficient, out=out)
        xp.multiply(out, u, out=out)
    xp.add(out, rest[0], out=out)
    xp.subtract(out, z, out=out)
    xp.exp(out, out=out)
    xp.multiply(out, t, out=out)
    xp.multiply(out, 0.5, out=out)  # P(X > |x|), or 1 less that
    xp.greater(x, 0.0, out=above)
    xp.subtract(above, out, out=out, dtype=x.dtype)
    xp.absolute(out, out=out)


class Mish(_Gated):
    """f(x) = x tanh(softplus(x)) = x n / (n + 2) with n = e (e + 2), e = exp(x).

    Source: Misra, Mish: a self regularized non-monotonic activation function, 2019.

    >>> from gpunn import activations
    >>> print(activations.mish([-1.0, 0.0, 1.0]).round(4))
    [-0.3034  0.      0.8651]
    """

    functor = "Mish"
    lowest = (-1.1924312145154283, -0.30884341301811556)

    @staticmethod
    def _exp(backend: Backend, x: Array, out: Array) -> None:
        # Further up n / (n + 2) is 1, and the square of n is still finite.
        backend.xp.minimum(x, 20.0 if x.dtype.itemsize == 4 else 40.0, out=out)
        backend.xp.exp(out, out=out)

    def gate(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        n = backend.scratch(x.shape, x.dtype, "n")
        self._exp(backend, x, out)
        xp.add(out, 2.0, out=n)
        xp.multiply(n, out, out=n)
        xp.add(n, 2.0, out=out)
        xp.divide(n, out, out=out)

    def gate_slope(self, backend: Backend, x: Array, gate: Array, out: Array) -> None:
        """4 e (e + 1) / (n + 2)^2."""
        xp = backend.xp
        n = backend.scratch(x.shape, x.dtype, "n")
        e = backend.scratch(x.shape, x.dtype, "e")
        self._exp(backend, x, e)
        xp.add(e, 2.0, out=n)
        xp.multiply(n, e, out=n)
        xp.add(n, 2.0, out=n)
        xp.multiply(n, n, out=n)
        xp.add(e, 1.0, out=out)
        xp.multiply(out, e, out=out)
        xp.multiply(out, 4.0, out=out)
        xp.divide(out, n, out=out)

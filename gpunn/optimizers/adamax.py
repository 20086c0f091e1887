"""Adamax: Adam that divides by a decaying maximum of the gradient."""

from __future__ import annotations

from gpunn import ops
from gpunn.ops.tensor import Tensor

from .means import _TwoMeans, one_minus_power
from .optimizer import Moved, Tensors


class Adamax(_TwoMeans):
    """``m += (g - m)(1 - b1), u = max(b2 u, |g|), w -= a / (1 - b1^t) m / (u + eps)``
    (Kingma and Ba, 2015, section 7.1).

    `Adam` with the largest recent gradient, which decays, instead of a root mean square.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        beta_1, beta_2: decay of the mean and of the maximum, from 0 to below 1.
        epsilon: added to the maximum.

    >>> import numpy as np
    >>> from gpunn.optimizers import Adamax
    >>> w = np.array([1.0])
    >>> Adamax(learning_rate=0.1).apply([[5.0]], [w]); w.round(6).tolist()
    [0.9]
    """

    functor = "Adamax"
    slot_names = ("m", "u")
    not_negative = ("u",)

    examples = ({"learning_rate": 0.01}, {"beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.05})

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        m = slots["m"] + (g - slots["m"]) * (1 - self.beta_1)
        u = ops.maximum(self.beta_2 * slots["u"], ops.abs(g))
        a = rate / one_minus_power(self.beta_1, t)
        return w - a * m / (u + self.epsilon), {"m": m, "u": u}

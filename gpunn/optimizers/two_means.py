"""Adam's relatives: steps by means of gradients and of their sizes."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.tensor import Tensor

from .means import _TwoMeans, one_minus_power
from .optimizer import Moved, Slots, Tensors


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


class Nadam(_TwoMeans):
    """Adam with Nesterov momentum (Dozat, "Incorporating Nesterov momentum into Adam", 2016).

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    With ``mu_t = b1 (1 - .96^t / 2)`` and ``p_t`` the product of ``mu_1`` to ``mu_t``:
    ``m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2),
    w -= a (mu_{t+1} m / (1 - p_{t+1}) + (1 - mu_t) g / (1 - p_t))
    / (sqrt(v / (1 - b2^t)) + eps)``.


    >>> import numpy as np
    >>> from gpunn.optimizers import Nadam
    >>> w = np.array([1.0])
    >>> Nadam(learning_rate=0.1).apply([[5.0]], [w]); w.round(6).tolist()
    [0.893721]
    """

    functor = "Nadam"
    _refused = MappingProxyType({"rule": "write update(...): Nadam does not use a rule"})
    parameter_names = (*_TwoMeans.parameter_names, "product_count", "products")
    slot_names = ("m", "v")
    not_negative = ("v",)
    # Products of the factors by which the momentum grows, 1 - .96^i / 2 for i from 1 on, until
    # they no longer change; later updates use the last one.
    products = tuple(np.cumprod(1 - 0.5 * 0.96 ** np.arange(1, 1001)).tolist())
    product_count = len(products)

    examples = ({"learning_rate": 0.01}, {"beta_1": 0.99, "weight_decay": 0.05, "epsilon": 0.001})

    # Written by hand, here and in kernels/formulas/updates.cuh: the products are looked up.
    def move(self, backend: Backend, w: Array, g: Array, slots: Slots, rate: Any, t: Any) -> None:
        xp, t = backend.xp, int(t)
        step = backend.scratch(w.shape, w.dtype, "step")
        ahead = backend.scratch(w.shape, w.dtype, "ahead")
        m, v = slots["m"], slots["v"]
        now, following = (min(i, self.product_count - 1) for i in (t - 1, t))
        products, power = self.products, 1 - _one_minus_power(self.beta_1, t)
        mu = self.beta_1 * (products[now] / products[now - 1] if now else products[0])
        mu_next = self.beta_1 * products[following] / products[now]
        of_mean = rate * mu_next / (1 - power * self.beta_1 * products[following])
        of_gradient = rate * (1 - mu) / (1 - power * products[now])
        xp.subtract(g, m, out=step)
        xp.multiply(step, 1 - self.beta_1, out=step)
        xp.add(m, step, out=m)
        xp.multiply(g, g, out=step)
        xp.subtract(step, v, out=step)
        xp.multiply(step, 1 - self.beta_2, out=step)
        xp.add(v, step, out=v)
        xp.multiply(m, of_mean, out=ahead)
        xp.multiply(g, of_gradient, out=step)
        xp.add(ahead, step, out=ahead)
        xp.multiply(v, 1 / _one_minus_power(self.beta_2, t), out=step)
        xp.sqrt(step, out=step)
        xp.add(step, self.epsilon, out=step)
        xp.divide(ahead, step, out=step)
        xp.subtract(w, step, out=w)


def _one_minus_power(beta: float, t: int) -> float:
    """`means.one_minus_power` for numbers."""
    return -math.expm1(t * math.log1p(-(1 - beta))) if beta else 1.0


class Lamb(_TwoMeans):
    """``m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2),
    r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)``, and for each parameter by itself
    ``w -= a |w| / |r| r`` (You et al., "Large batch optimization for deep learning", 2020).

    `Adam`'s direction r with a step in proportion to the norm of the weights, for training with
    very large batches.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Where w or r is zero, the step is a r. Weight decay is applied first, as in Keras;
    the paper adds it to r.

    Args:
        learning_rate: a, at least 0: the size of a step relative to the weights' size.

    >>> import numpy as np
    >>> from gpunn.optimizers import Lamb
    >>> w = np.array([3.0, 4.0])  # of norm 5; the step is a tenth of that
    >>> Lamb(learning_rate=0.1).apply([[0.5, 0.5]], [w]); w.round(4).tolist()
    [2.6464, 3.6464]
    """

    functor = "Lamb"
    slot_names = ("m", "v", "direction")
    not_negative = ("v",)
    steps_by_norms = True

    examples = ({"learning_rate": 0.01}, {"learning_rate": 0.02, "weight_decay": 0.5})

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        m = slots["m"] + (g - slots["m"]) * (1 - self.beta_1)
        v = slots["v"] + (g * g - slots["v"]) * (1 - self.beta_2)
        scale, root_scale = (1 / one_minus_power(beta, t) for beta in (self.beta_1, self.beta_2))
        direction = scale * m / (ops.sqrt(v * root_scale) + self.epsilon)
        return w, {"m": m, "v": v, "direction": direction}  # the norms give the length

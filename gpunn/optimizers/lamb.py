"""LAMB: Adam with steps in proportion to the size of the weights."""

from __future__ import annotations

from gpunn import ops
from gpunn.ops.tensor import Tensor

from .means import _TwoMeans, one_minus_power
from .optimizer import Moved, Tensors


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

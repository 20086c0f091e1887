"""Adadelta: steps in the units of the weights, scaled by earlier steps."""

from __future__ import annotations

from typing import Any

from gpunn import ops
from gpunn.common.arguments import check_fraction, check_not_negative
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .means import averaged
from .optimizer import Moved, Optimizer, Tensors


class Adadelta(Optimizer):
    """``s = rho s + (1 - rho) g^2, d = g sqrt(e + eps) / sqrt(s + eps), w -= a d,
    e = rho e + (1 - rho) d^2`` (Zeiler, "ADADELTA", 2012).

    Steps are the gradient times a ratio of two root mean squares: of the previous steps, and of the
    gradients. The size of a step thus has the unit of the weights.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        learning_rate: a, at least 0; the paper uses 1.
        rho: decay of the two means, from 0 to 1.
        epsilon: added to them; it determines the size of the first steps.

    >>> import numpy as np
    >>> from gpunn.optimizers import Adadelta
    >>> w = np.array([1.0])
    >>> Adadelta(learning_rate=1.0, rho=0.75, epsilon=1e-4).apply([[5.0]], [w]); w.round(4).tolist()
    [0.98]
    """

    functor = "Adadelta"
    parameter_names = ("rho", "epsilon", "weight_decay")
    slot_names = ("accumulated_grad", "accumulated_delta_var")
    not_negative = slot_names

    learning_rate: Any = 0.001
    rho: float = field(default=0.95, check=check_fraction)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    weight_decay: float | None = None

    examples = ({"learning_rate": 1.0}, {"rho": 0.8, "weight_decay": 0.05, "clipnorm": 0.1})

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        s = averaged(slots["accumulated_grad"], g * g, self.rho)
        e = slots["accumulated_delta_var"]
        d = ops.sqrt(e + self.epsilon) * g / ops.sqrt(s + self.epsilon)
        e = averaged(e, d * d, self.rho)
        return w - rate * d, {"accumulated_grad": s, "accumulated_delta_var": e}

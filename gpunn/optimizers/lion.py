"""Lion: steps of equal size, by the sign of a running mean of the gradient."""

from __future__ import annotations

from typing import Any

from gpunn import ops
from gpunn.common.arguments import check_fraction
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .means import averaged
from .optimizer import Moved, Optimizer, Tensors


def _check_share(name: str, value: Any) -> float:
    if check_fraction(name, value) == 0:
        raise ValueError("beta_1 must be above 0: with 0 the mean has no effect.")
    return float(value)


class Lion(Optimizer):
    """``w -= a sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g`` (Chen et al., "Symbolic
    discovery of optimization algorithms", 2023).

    Every weight moves by exactly a, in the direction given by the sign of a running mean m of the
    gradient. The paper recommends learning rates three to ten times smaller than Adam's.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        learning_rate: a, at least 0: how far every weight moves in an update.
        beta_1: share of the mean in the argument of the sign, above 0, up to 1.
        beta_2: decay of the mean, from 0 to 1.

    >>> import numpy as np
    >>> from gpunn.optimizers import Lion
    >>> w = np.array([1.0, 1.0])
    >>> Lion(learning_rate=0.1).apply([[5.0, -0.01]], [w]); w.round(6).tolist()
    [0.9, 1.1]
    """

    functor = "Lion"
    parameter_names = ("beta_1", "beta_2", "weight_decay")
    slot_names = ("m",)

    learning_rate: Any = 0.001
    beta_1: float = field(default=0.9, check=_check_share)
    beta_2: float = field(default=0.99, check=check_fraction)
    weight_decay: float | None = None

    examples = ({"learning_rate": 0.01}, {"beta_1": 0.5, "beta_2": 0.8, "weight_decay": 0.05})

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        c = averaged(slots["m"], g, self.beta_1)
        m = averaged(slots["m"], g, self.beta_2)
        return w - rate * ops.sign(c), {"m": m}

"""AdaGrad: steps that shrink as gradients accumulate."""

from __future__ import annotations

from typing import Any

from gpunn import ops
from gpunn.common.arguments import check_not_negative
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .optimizer import Moved, Optimizer, Tensors


class Adagrad(Optimizer):
    """``s += g^2, w -= a g / sqrt(s + eps)`` (Duchi, Hazan and Singer, "Adaptive subgradient
    methods", 2011): a weight that has moved much moves less.

    The steps of a weight are divided by the root of the sum of all its squared gradients, so that
    rare features learn as fast as frequent ones.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        initial_accumulator_value: initial s, at least 0.
        epsilon: added to s.

    >>> import numpy as np
    >>> from gpunn.optimizers import Adagrad
    >>> w, adagrad = np.array([1.0]), Adagrad(0.1, initial_accumulator_value=0.0)
    >>> for _ in range(4):
    ...     adagrad.apply([[5.0]], [w])
    >>> bool(np.isclose(w, 1 - 0.1 * (1 + 2**-0.5 + 3**-0.5 + 0.5)))
    True
    """

    functor = "Adagrad"
    parameter_names = ("epsilon", "weight_decay")
    slot_names = ("accumulator",)
    not_negative = ("accumulator",)

    learning_rate: Any = 0.001
    initial_accumulator_value: float = field(default=0.1, check=check_not_negative)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.05},
        {"initial_accumulator_value": 0.3, "weight_decay": 0.05, "epsilon": 0.01},
    )

    @property
    def first_values(self) -> dict[str, float]:  # type: ignore[override]
        return {"accumulator": self.initial_accumulator_value}

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        s = slots["accumulator"] + g * g
        return w - rate * g / ops.sqrt(s + self.epsilon), {"accumulator": s}

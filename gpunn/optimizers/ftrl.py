"""FTRL: the regularized leader, whose l1 term keeps weights at exactly 0."""

from __future__ import annotations

from typing import Any

from gpunn import ops
from gpunn.common.arguments import check_not_negative, requirement
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .optimizer import Moved, Optimizer, Tensors

_check_power = requirement("a number of at most 0", lambda value: value <= 0)


class Ftrl(Optimizer):
    """``n' = n + g^2, z += g + 2 s w - (n'^p - n^p) / a w``, and then
    ``w = (clip(z, -l1, l1) - z) / (n'^p / a + beta / a + 2 l2)`` (McMahan et al., "Ad click
    prediction: a view from the trenches", 2013).

    Follow the regularized leader: w is the minimum of all linear terms so far and the penalties. It
    follows from z alone, whatever it was before, and is exactly 0 while \\|z\\| is below l1.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        learning_rate: a, above 0.
        learning_rate_power: -p, at most 0; -0.5 is Adagrad's root, and 0 a rate that stays.
        initial_accumulator_value: initial n, at least 0.
        l1_regularization_strength, l2_regularization_strength: l1 and l2, at least 0.
        l2_shrinkage_regularization_strength: s, a penalty that enters by the gradient.
        beta: beta, at least 0.

    >>> import numpy as np
    >>> from gpunn.optimizers import Ftrl
    >>> w = np.array([0.0, 0.0])
    >>> Ftrl(0.5, l1_regularization_strength=1.0).apply([[3.0, 0.5]], [w]); w.round(4).tolist()
    [-0.3315, 0.0]
    """

    functor = "Ftrl"
    parameter_names = (
        "learning_rate_power", "l1_regularization_strength", "l2_regularization_strength",
        "l2_shrinkage_regularization_strength", "beta", "weight_decay",
    )
    slot_names = ("accumulator", "linear")
    not_negative = ("accumulator",)

    learning_rate: Any = 0.001
    learning_rate_power: float = field(default=-0.5, check=_check_power)
    initial_accumulator_value: float = field(default=0.1, check=check_not_negative)
    l1_regularization_strength: float = field(default=0.0, check=check_not_negative)
    l2_regularization_strength: float = field(default=0.0, check=check_not_negative)
    l2_shrinkage_regularization_strength: float = field(default=0.0, check=check_not_negative)
    beta: float = field(default=0.0, check=check_not_negative)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.05},
        {"learning_rate": 0.1, "l1_regularization_strength": 0.01, "beta": 0.1,
         "l2_regularization_strength": 0.02, "l2_shrinkage_regularization_strength": 0.03,
         "learning_rate_power": -0.7, "initial_accumulator_value": 0.3, "weight_decay": 0.05},
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fixed_learning_rate == 0:
            raise ValueError("learning_rate must be above 0 for Ftrl, which divides by it; got 0.")

    @property
    def first_values(self) -> dict[str, float]:  # type: ignore[override]
        return {"accumulator": self.initial_accumulator_value}

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        n, power = slots["accumulator"] + g * g, -self.learning_rate_power
        now, before = ops.power(n, power), ops.power(slots["accumulator"], power)
        z = slots["linear"] + g + 2 * self.l2_shrinkage_regularization_strength * w
        z = z - (now - before) / rate * w
        curvature = (now + self.beta) / rate + 2 * self.l2_regularization_strength
        most = self.l1_regularization_strength
        return (ops.clip(z, -most, most) - z) / curvature, {"accumulator": n, "linear": z}

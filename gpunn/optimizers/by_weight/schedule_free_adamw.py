"""Schedule-free AdamW: an average of the weights in place of a schedule of the learning rate."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_below_one, check_count, check_not_negative
from gpunn.common.fields import field
from gpunn.core.storage import Parameter
from gpunn.ops.tensor import Tensor, ops

from ..means import one_minus_power
from ..optimizer import Moved, Tensors
from .by_weight import ByWeight


def _check_beta(name: str, value: Any) -> float:
    if value == 0:
        raise ValueError(f"{name} must be above 0; got {value!r}.")
    return check_below_one(name, value)


class ScheduleFreeAdamW(ByWeight):
    """``z -= a g / (sqrt(v / (1 - b2^t)) + eps)``, ``x += (z - x) / t``, ``w = b1 x + (1 - b1) z``
    with v as in `Adam` (Defazio et al., "The road less scheduled", 2024).

    z takes the steps, and x is the mean of all z: it needs no schedule that falls. Gradients are
    those at w, between both. As in Keras, the model keeps w when training ends.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        beta_1: b1, the share of the mean in w, above 0 and below 1.
        beta_2: b2, the decay of the mean of squares, from 0 to below 1.
        epsilon: added to the root.
        warmup_steps: updates over which a rises from 0; 0 for none.

    >>> import numpy as np
    >>> from gpunn.optimizers import ScheduleFreeAdamW
    >>> w = np.array([1.0])
    >>> ScheduleFreeAdamW(learning_rate=0.1).apply([[5.0]], [w]); w.round(6).tolist()
    [0.9]
    """

    slot_names = ("momentum", "velocity")
    begins_at_weights = ("momentum",)
    not_negative = ("velocity",)

    learning_rate: Any = 0.0025
    beta_1: float = field(default=0.9, check=_check_beta)
    beta_2: float = field(default=0.999, check=check_below_one)
    epsilon: float = field(default=1e-8, check=check_not_negative)
    warmup_steps: int = field(default=0, check=check_count)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.01},
        {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "warmup_steps": 5,
         "weight_decay": 0.05},
    )  # fmt: skip

    def rule_of(
        self, weight: Parameter, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> Moved:
        if self.warmup_steps:
            rate = rate * ops.minimum(t / self.warmup_steps, 1.0)
        before, b = slots["momentum"], self.beta_1
        v = slots["velocity"] + (g * g - slots["velocity"]) * (1 - self.beta_2)
        root = ops.sqrt(v / one_minus_power(self.beta_2, t))
        z = before - rate * g / (root + self.epsilon)
        # b x + (1 - b) z, with x from w = b x + (1 - b) before, by what changes in w.
        toward = (b * (z - w) + (1 - b) * (before - w)) / t
        return w + (1 - b) * (z - before) + toward, {"momentum": z, "velocity": v}

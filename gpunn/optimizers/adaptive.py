"""Optimizers with a rate for each weight, by the squares of its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn import ops
from gpunn.common.arguments import check_flag, check_fraction, check_not_negative, check_number
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .means import averaged
from .optimizer import Moved, Optimizer, Tensors
from .rules import with_options


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


def _signed(sign: int, wording: str) -> Callable[[str, Any], float]:
    """Return the check of a number of this sign, or 0, in Keras's words."""

    def check(name: str, value: Any) -> float:
        if not check_number(name, value) * sign >= 0:
            raise ValueError(
                f"`{name}` needs to be {wording} or zero. Received: {name}={value}."
            )
        return float(value)

    return check


_check_power, _check_strength = _signed(-1, "negative"), _signed(1, "positive")


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
    initial_accumulator_value: float = field(default=0.1, check=_check_strength)
    l1_regularization_strength: float = field(default=0.0, check=_check_strength)
    l2_regularization_strength: float = field(default=0.0, check=_check_strength)
    l2_shrinkage_regularization_strength: float = field(default=0.0, check=_check_strength)
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


class RMSprop(Optimizer):
    """``v = rho v + (1 - rho) g^2, w -= a g / sqrt(v + eps)`` (Tieleman and Hinton, "Neural
    networks for machine learning", lecture 6.5, 2012).

    Gradients are divided by the root of a running mean of their squares, so that the size of a step
    depends little on the scale of the gradient.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`.

    Args:
        rho: decay of the mean, from 0 to 1.
        momentum: mu, from 0 to 1: the step becomes
            ``m = mu m + a g / sqrt(v + eps)``.
        epsilon: added to v.
        centered: divide by the root of the gradient's variance, v minus the square of the
            mean gradient (Graves, 2013).

    >>> import numpy as np
    >>> from gpunn.optimizers import RMSprop
    >>> w = np.array([1.0])
    >>> RMSprop(learning_rate=0.1, rho=0.75).apply([[5.0]], [w]); w.round(6).tolist()
    [0.8]
    """

    options = ("centered", "momentum")
    parameter_names = ("rho", "momentum", "epsilon", "weight_decay")
    not_negative = ("velocity",)

    learning_rate: Any = 0.001
    rho: float = field(default=0.9, check=check_fraction)
    momentum: float = field(default=0.0, check=check_fraction)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    centered: bool = field(default=False, check=check_flag)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.01},
        {"learning_rate": 0.01, "momentum": 0.5, "rho": 0.8, "epsilon": 0.001},
        {"learning_rate": 0.01, "centered": True, "epsilon": 0.001, "weight_decay": 0.05},
        {"learning_rate": 0.01, "centered": True, "epsilon": 0.001, "momentum": 0.9},
    )

    @property
    def functor(self) -> str:  # type: ignore[override]
        return with_options("RMSprop", self)

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (
            "velocity",
            *(["average_gradient"] if self.centered else []),
            *(["momentum"] if self.momentum else []),
        )

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        v = averaged(slots["velocity"], g * g, self.rho)
        changed, spread = {"velocity": v}, v
        if self.centered:
            mean = averaged(slots["average_gradient"], g, self.rho)
            changed["average_gradient"], spread = mean, v - mean * mean
        step = rate * g / ops.sqrt(spread + self.epsilon)
        if "momentum" in slots:
            changed["momentum"] = step = self.momentum * slots["momentum"] + step
        return w - step, changed

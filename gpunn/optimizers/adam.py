"""Adam: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunn import ops
from gpunn.common.arguments import check_below_one, check_flag, check_not_negative
from gpunn.common.fields import field
from gpunn.common.registry import Examples
from gpunn.ops.tensor import Tensor

from .means import one_minus_power
from .optimizer import Moved, Optimizer, Tensors
from .rules import with_options


class Adam(Optimizer):
    """``m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2), w -= a_t m / (sqrt(v) + eps),
    a_t = a sqrt(1 - b2^t) / (1 - b1^t)`` (Kingma and Ba, 2015, end of section 2).

    Steps are a running mean of the gradient, divided by the root of a running mean of its square: a
    step of each weight is about a or smaller, whatever the scale of the gradient.

    Here w are the weights, g is their gradient, a the learning rate and t the number of the update,
    from 1; all arrays have the shape of w.

    Args:
        learning_rate: a, at least 0.
        beta_1, beta_2: decay of the two means, from 0 to below 1.
        epsilon: added to the root (the paper's "epsilon hat"; PyTorch adds its own to
            the bias-corrected root).
        amsgrad: use the largest v so far (Reddi et al., 2018).
        weight_decay: see `Optimizer`, also for the arguments by keyword.
        lazy: update only those rows of the tables of `gpunn.layers.Embedding` that the batch reads,
            each once, by the sum of its gradients. m, v and w of other rows stay as they are: their
            means do not decay, while t counts all updates. Thus a step costs what its batch costs,
            for any number of rows. These are TensorFlow's LazyAdam and PyTorch's SparseAdam. All
            other weights are updated as usual.

    Raises:
        ValueError: for an argument out of its range, and for ``lazy`` beside one that concerns all
            weights, such as ``weight_decay``; in training, for ``lazy`` and a table that is not
            read by one Embedding alone, has a regularizer or constraint, or that several processes
            train.

    >>> import numpy as np
    >>> from gpunn.optimizers import Adam
    >>> w = np.array([1.0])
    >>> Adam(learning_rate=0.1).apply([[5.0]], [w]); w.round(6).tolist()
    [0.9]
    """

    options = ("amsgrad",)
    parameter_names = ("beta_1", "beta_2", "epsilon", "weight_decay")
    not_negative = ("v", "v_max")

    learning_rate: Any = 0.001
    beta_1: float = field(default=0.9, check=check_below_one)
    beta_2: float = field(default=0.999, check=check_below_one)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    amsgrad: bool = field(default=False, check=check_flag)
    weight_decay: float | None = None
    lazy: bool = field(default=False, check=check_flag, kw_only=True)

    examples: ClassVar[Examples] = (
        {"learning_rate": 0.01},
        {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.001},
        {"learning_rate": 0.01, "amsgrad": True, "beta_2": 0.9},
        {"learning_rate": 0.01, "weight_decay": 0.05},
        {"learning_rate": 0.01, "clipvalue": 0.01},
        {"learning_rate": 0.01, "clipnorm": 0.1},
        {"learning_rate": 0.01, "global_clipnorm": 0.1},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lazy and (reason := self._needs_all_rows()):
            raise ValueError(f"lazy=True updates rows of tables, but {reason}. Leave one out.")

    @property
    def _is_lazy(self) -> bool:  # type: ignore[override]
        return self.lazy

    @property
    def functor(self) -> str:  # type: ignore[override]
        return with_options("Adam", self)

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def rule(self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor) -> Moved:
        m, v = slots["m"], slots["v"]
        m = m + (g - m) * (1 - self.beta_1)
        v = v + (g * g - v) * (1 - self.beta_2)
        changed, largest = {"m": m, "v": v}, v
        if self.amsgrad:
            changed["v_max"] = largest = ops.maximum(slots["v_max"], v)
        of_m, of_v = one_minus_power(self.beta_1, t), one_minus_power(self.beta_2, t)
        a = rate * ops.sqrt(of_v) / of_m
        return w - a * m / (ops.sqrt(largest) + self.epsilon), changed

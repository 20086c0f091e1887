"""AdamW: Adam with weight decay that is on by default."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_not_negative
from gpunn.common.fields import field

from .adam import Adam


def _check_decay(name: str, value: Any) -> float:
    if value is None:
        raise ValueError("weight_decay must be a number; got None. Use Adam without it.")
    return check_not_negative(name, value)


class AdamW(Adam):
    """`Adam` that subtracts ``weight_decay * learning_rate * w`` from the weights in each update
    (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).

    Unlike a penalty in the loss, the decay does not pass through Adam's means, so that it is the
    same for weights with large and with small gradients.

    Args:
        learning_rate, beta_1, beta_2, epsilon, amsgrad: see `Adam`.
        weight_decay: at least 0.
        clipnorm, clipvalue, global_clipnorm, use_ema: see `Optimizer`, also for the rest.

    Raises:
        ValueError: for an argument out of its range.

    >>> import numpy as np
    >>> from gpunn.optimizers import AdamW
    >>> w = np.array([1.0])  # 1 - 0.5 * 0.1 * 1, and Adam's first step of 0.1
    >>> AdamW(learning_rate=0.1, weight_decay=0.5).apply([[5.0]], [w]); w.round(6).tolist()
    [0.85]
    """

    learning_rate: Any = 0.001
    weight_decay: float = field(default=0.004, check=_check_decay)

    examples = ({"learning_rate": 0.01}, {"learning_rate": 0.01, "weight_decay": 0.1})

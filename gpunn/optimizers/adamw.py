"""AdamW: Adam with weight decay that is on by default."""

from __future__ import annotations

from typing import Any

from .adam import Adam


class AdamW(Adam):
    """`Adam` whose weights lose ``weight_decay * learning_rate`` of themselves in each update
    (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).

    Args:
        learning_rate, beta_1, beta_2, epsilon, amsgrad: see `Adam`.
        weight_decay: at least 0.
        common: see `Optimizer`.

    >>> import numpy as np
    >>> w = np.array([1.0])
    >>> AdamW(learning_rate=0.1, weight_decay=0.5).apply([[5.0]], [w]); w.round(6).tolist()
    [0.85]
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError("weight_decay must be a number; got None. Adam needs none.")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **common)

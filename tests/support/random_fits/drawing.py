"""The choices from which configurations are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Config = dict[str, Any]
Part = list[Any]  # the name of a class, and its arguments by name

# Without "exponential": it saturates outputs, whose gradients differ from Keras's on purpose.
ACTIVATIONS = (
    "relu", "tanh", "sigmoid", "elu", "selu", "softplus", "softsign", "gelu", "silu", "mish",
    "leaky_relu", "hard_sigmoid", "relu6", "celu", "hard_silu", "linear", "softmax", "log_softmax",
)  # fmt: skip


class Draw:
    """Random choices from a seed."""

    def __init__(self, seed: Any) -> None:
        self.random = np.random.default_rng(seed)

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def one(self, values: Any) -> Any:
        values = list(values)
        return values[self.random.integers(len(values))]

    def some(self, values: Any, most: int) -> list[Any]:
        values = list(values)
        count = self.random.integers(0, min(most, len(values)) + 1)
        return [values[k] for k in self.random.permutation(len(values))[:count]]

    def between(self, low: float, high: float) -> float:
        return round(float(self.random.uniform(low, high)), 4)

    def whole(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def options(self, **each: tuple[float, Callable[[], Any]]) -> dict[str, Any]:
        """Return the result of each argument's function, each with this probability."""
        return {name: make() for name, (share, make) in each.items() if self.chance(share)}


def activation(d: Draw) -> Any:
    return d.one([None, "relu", "tanh", "tanh", *ACTIVATIONS])


def regularizer(d: Draw) -> Part:
    return d.one(
        [["L1", {"l1": 0.01}], ["L2", {"l2": 0.02}], ["L1L2", {"l1": 0.01, "l2": 0.01}]]
    )


def constraint(d: Draw) -> Part:
    return d.one(
        [
            ["MaxNorm", {"max_value": 0.7}], ["UnitNorm", {}], ["NonNeg", {}],
            ["MinMaxNorm", {"min_value": 0.3, "max_value": 0.8, "rate": 0.7}],
        ]
    )  # fmt: skip

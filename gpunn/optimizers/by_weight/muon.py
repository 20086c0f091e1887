"""Muon: steps of matrices whose singular values are all about 1."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from gpunn.common.arguments import (
    check_below_one,
    check_flag,
    check_fraction,
    check_not_negative,
    check_number,
    check_positive_integer,
    optional,
)
from gpunn.common.fields import field
from gpunn.core.storage import Parameter
from gpunn.ops.tensor import Tensor, ops

from ..means import one_minus_power
from ..optimizer import Moved, Tensors
from .by_weight import ByWeight


def _check_patterns(name: str, value: Any) -> list[str]:
    """Return regular expressions as a list; None is none."""
    if isinstance(value, str) or not all(isinstance(one, str) for one in value or ()):
        raise ValueError(f"{name} must be a list of strings or None; got {value!r}.")
    for pattern in value or ():
        try:
            re.compile(pattern)
        except re.error as error:
            message = f"{name} must be regular expressions; got {pattern!r}: {error}."
            raise ValueError(message) from None
    return list(value or ())


class Muon(ByWeight):
    """``m = mu m + g``, ``w -= a k sqrt(max(rows, columns)) orthogonal(g + mu m)`` for matrices,
    and `Adam` for all other weights (Jordan et al., "Muon", 2024).

    ``orthogonal`` takes the singular values of a matrix to about 1, by Newton-Schulz steps
    ``x = c1 x + (c2 x x^T + c3 (x x^T)^2) x`` from x divided by its norm. So a step moves all
    directions alike. As in Keras, weights with one or more than two axes are updated as by `Adam`,
    and so are embeddings and the layers that are excluded.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`. The weight
    decay of matrices is ``weight_decay``.

    Args:
        adam_beta_1, adam_beta_2, epsilon: of the weights that are updated as by `Adam`.
        adam_weight_decay: their weight decay, at least 0, or None.
        exclude_layers: regular expressions; a weight whose path contains a match of one is updated
            as by `Adam`.
        exclude_embeddings: whether weights with "embedding" in their path are.
        muon_a, muon_b, muon_c: c1, c2 and c3.
        adam_lr_ratio: factor on a of the weights that are updated as by `Adam`.
        momentum: mu, from 0 to 1.
        ns_steps: number of Newton-Schulz steps.
        nesterov: whether ``g + mu m`` or m itself is made orthogonal.
        rms_rate: k (Liu et al., "Muon is scalable for LLM training", 2025); None for steps of a.

    >>> import numpy as np
    >>> from gpunn.optimizers import Muon
    >>> w, b = np.zeros((2, 2)), np.zeros(2)
    >>> Muon(0.1, rms_rate=None).apply([[[3.0, 0.0], [0.0, 1.0]], [5.0, -5.0]], [w, b])
    >>> w.round(2).tolist(), b.round(6).tolist()
    ([[-0.08, 0.0], [0.0, -0.11]], [-0.1, 0.1])
    """

    slot_names = ("momentum", "velocity")
    not_negative = ("velocity",)

    learning_rate: Any = 0.001
    adam_beta_1: float = field(default=0.9, check=check_below_one)
    adam_beta_2: float = field(default=0.999, check=check_below_one)
    adam_weight_decay: float | None = field(default=0.004, check=optional(check_not_negative))
    epsilon: float = field(default=1e-7, check=check_not_negative)
    weight_decay: float | None = 0.004
    exclude_layers: Sequence[str] | None = field(default=None, check=_check_patterns, kw_only=True)
    exclude_embeddings: bool = field(default=True, check=check_flag, kw_only=True)
    muon_a: float = field(default=3.4445, check=check_number, kw_only=True)
    muon_b: float = field(default=-4.7750, check=check_number, kw_only=True)
    muon_c: float = field(default=2.0315, check=check_number, kw_only=True)
    adam_lr_ratio: float = field(default=1.0, check=check_not_negative, kw_only=True)
    momentum: float = field(default=0.95, check=check_fraction, kw_only=True)
    ns_steps: int = field(default=5, check=check_positive_integer, kw_only=True)
    nesterov: bool = field(default=True, check=check_flag, kw_only=True)
    rms_rate: float | None = field(default=0.2, check=optional(check_number), kw_only=True)

    examples = (
        {"learning_rate": 0.02},
        {"learning_rate": 0.02, "nesterov": False, "ns_steps": 3, "rms_rate": None,
         "adam_lr_ratio": 0.5, "adam_weight_decay": None, "weight_decay": 0.05},
        {"learning_rate": 0.02, "exclude_layers": ["."]},
    )  # fmt: skip

    def is_by_adam(self, weight: Parameter) -> bool:
        """Whether a weight is updated as by `Adam`."""
        path = weight.path
        embeds = self.exclude_embeddings and "embedding" in path.lower()
        excluded = any(re.search(pattern, path) for pattern in self.exclude_layers or ())
        return len(weight.shape) != 2 or embeds or excluded

    def _keeps(self, slot: str, weight: Parameter) -> bool:
        return slot != "velocity" or self.is_by_adam(weight)

    def decay_of(self, weight: Parameter) -> float | None:
        return self.adam_weight_decay if self.is_by_adam(weight) else self.weight_decay

    def rule_of(
        self, weight: Parameter, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> Moved:
        m, v = slots["momentum"], slots["velocity"]
        if self.is_by_adam(weight):
            m = m + (g - m) * (1 - self.adam_beta_1)
            v = v + (g * g - v) * (1 - self.adam_beta_2)
            a = rate * self.adam_lr_ratio * ops.sqrt(one_minus_power(self.adam_beta_2, t))
            a = a / one_minus_power(self.adam_beta_1, t)
            return w - a * m / (ops.sqrt(v) + self.epsilon), {"momentum": m, "velocity": v}
        m = self.momentum * m + g
        step = self._orthogonal(g + self.momentum * m if self.nesterov else m)
        if self.rms_rate is not None:
            rate = rate * (math.sqrt(max(weight.shape)) * self.rms_rate)
        return w - rate * step, {"momentum": m}

    def _orthogonal(self, x: Tensor) -> Tensor:
        """Return a matrix with its singular values taken to about 1."""
        tall = x.shape[0] > x.shape[1]
        x = ops.transpose(x) if tall else x
        x = x / (ops.sqrt(ops.sum(x * x)) + 1e-7)
        for _ in range(self.ns_steps):
            square = ops.matmul(x, ops.transpose(x))
            both = self.muon_b * square + self.muon_c * ops.matmul(square, square)
            x = self.muon_a * x + ops.matmul(both, x)
        return ops.transpose(x) if tall else x

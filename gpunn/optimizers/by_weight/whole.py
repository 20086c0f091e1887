"""Optimizers whose rule reads a whole weight: Adafactor, Muon and schedule-free AdamW."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from gpunn.backends.contract.backend import Array
from gpunn.common.arguments import (
    check_below_one,
    check_count,
    check_flag,
    check_fraction,
    check_not_negative,
    check_number,
    check_positive,
    check_positive_integer,
    optional,
    requirement,
)
from gpunn.common.fields import field
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.ops.tensor import Tensor, ops

from ..means import averaged, one_minus_power
from ..optimizer import Moved, Optimizer, Tensors
from .updating import decay_of, no_state, update_by_tensors, updated


class ByWeight(Optimizer):
    """Base class of optimizers that update each weight as a whole: `rule_of` computes with
    `gpunn.ops` on tensors of the weight's shape, as part of the step on every backend.

    Attributes:
        begins_at_weights: slots whose first value is the weights, before the first update.
    """

    _abstract = True
    _of_tensors = True
    functor = None
    begins_at_weights: ClassVar[tuple[str, ...]] = ()

    def rule_of(
        self, weight: Parameter, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> Moved:
        """Return the new weights and the slots that change; arguments are those of `rule`, each of
        the shape of ``weight``, whose name and path may select what is computed."""
        raise TypeError(f"{type(self).__name__} must define rule_of(...).")

    decay_of = decay_of

    def _first_slots(self, storage: ParameterStorage) -> dict[str, Array]:
        made = super()._first_slots(storage)
        for name in self.begins_at_weights:
            storage.backend.write(made[name], storage.values)
        return made

    _update_by_tensors = update_by_tensors
    _updated = updated
    _state = staticmethod(no_state)


def root_of_mean_square(x: Tensor) -> Tensor:
    """The root of the mean of all squares."""
    return ops.sqrt(ops.mean(x * x))


_check_decay = requirement("a number below 0", lambda value: value < 0)


class Adafactor(ByWeight):
    """``u = g / sqrt(v)``, ``w -= max(eps2, rms w) min(a, 1 / sqrt(t)) u / max(1, rms u / d)``
    (Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018).

    Of a weight with several axes, v is the product of r and c, means of ``g^2 + eps1`` along its
    last axis and the one before, divided by the mean of r; of a vector it is a mean itself. Means
    decay by ``1 - t^p``. A step has a size in proportion to the weights'.

    w, g, a and t, the shapes, the arguments not named here, and errors: as for `Adam`. r and c are
    kept in arrays of the weights' size.

    Args:
        learning_rate: a, the largest rate.
        beta_2_decay: p, below 0.
        epsilon_1: eps1, at least 0.
        epsilon_2: eps2, at least 0.
        clip_threshold: d, above 0.
        relative_step: accepted as in Keras, where it changes nothing either.

    >>> import numpy as np
    >>> from gpunn.optimizers import Adafactor
    >>> w = np.array([[3.0, 4.0]])  # its root mean square is 3.5; the step is a tenth of it
    >>> Adafactor(learning_rate=0.1).apply([[[0.5, 0.5]]], [w]); w.round(4).tolist()
    [[2.6464, 3.6464]]
    """

    slot_names = ("row_means", "column_means")
    not_negative = slot_names

    learning_rate: Any = 0.001
    beta_2_decay: float = field(default=-0.8, check=_check_decay)
    epsilon_1: float = field(default=1e-30, check=check_not_negative)
    epsilon_2: float = field(default=1e-3, check=check_not_negative)
    clip_threshold: float = field(default=1.0, check=check_positive)
    relative_step: bool = field(default=True, check=check_flag)
    weight_decay: float | None = None

    examples = (
        {"learning_rate": 0.05},
        {"learning_rate": 0.02, "beta_2_decay": -0.6, "clip_threshold": 0.5, "epsilon_1": 1e-8,
         "epsilon_2": 0.02, "weight_decay": 0.05},
    )  # fmt: skip

    def rule_of(
        self, weight: Parameter, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> Moved:
        keep, square = 1 - t**self.beta_2_decay, g * g + self.epsilon_1
        r, c = slots["row_means"], slots["column_means"]  # each mean at all places it is of
        if w.ndim < 2:
            v = r = averaged(r, square, keep)
            changed = {"row_means": r}
        else:
            r = averaged(r, ops.mean(square, axis=-1, keepdims=True), keep)
            c = averaged(c, ops.mean(square, axis=-2, keepdims=True), keep)
            v = r / ops.mean(r, axis=-2, keepdims=True) * c
            changed = {"row_means": r, "column_means": c}
        u = g / ops.sqrt(v)
        u = u / ops.maximum(root_of_mean_square(u) / self.clip_threshold, 1.0)
        step = ops.maximum(root_of_mean_square(w), self.epsilon_2)
        return w - step * ops.minimum(rate, 1 / ops.sqrt(t)) * u, changed


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

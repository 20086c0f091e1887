"""Adafactor: squares of gradients that are kept as means of rows and of columns."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_flag, check_not_negative, check_positive, requirement
from gpunn.common.fields import field
from gpunn.core.storage import Parameter
from gpunn.ops.tensor import Tensor, ops

from ..means import averaged
from ..optimizer import Moved, Tensors
from .by_weight import ByWeight, root_of_mean_square

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

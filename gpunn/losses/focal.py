"""Focal cross-entropies: what is predicted well already counts less."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.arguments import check_flag, check_fraction, check_not_negative
from gpunn.common.config import epsilon
from gpunn.common.fields import field
from gpunn.ops.library.networks import binary_cost, binary_cost_of_logits
from gpunn.ops.tensor import Tensor, ops

from .loss import ReductionFirst


class _Focal(ReductionFirst):
    """Base class of both: the weight (1 - p)^gamma, smoothed targets, probabilities or logits."""

    gamma: float = field(default=2.0, check=check_not_negative)
    from_logits: bool = field(default=False, check=check_flag)
    label_smoothing: float = field(default=0.0, check=check_fraction)
    axis: int = field(default=-1)

    @property
    def predictions(self) -> str:  # type: ignore[override]
        return "logits" if self.from_logits else "probabilities"

    @property
    def link(self) -> str | None:  # type: ignore[override]
        return self.fuses

    def fuses_with(self, activation: Any) -> bool:
        return False  # `fuses` names what makes probabilities of logits

    def _smoothed(self, t: Tensor, classes: int) -> Tensor:
        s = self.label_smoothing
        return t * (1.0 - s) + s / classes if s else t

    def _left(self, rest: Tensor) -> Tensor:
        """Compute rest^gamma, whose slope is finite where the rest is 0."""
        rest = ops.maximum(rest, epsilon())
        # NumPy's power gives other last digits for arrays than for numbers of exponents.
        return ops.square(rest) if self.gamma == 2.0 else ops.exp(self.gamma * ops.log(rest))


class BinaryFocalCrossentropy(_Focal):
    """``l = mean_j (1 - q_j)^gamma b_j`` over the last axis, with the binary cross-entropy b.

    Here ``q = t p + (1 - t) (1 - p)`` is the probability of the target t. Outputs that are
    predicted well count less, so that rare positives are not lost among many easy negatives. Both
    arrays have the shape (..., n), and the rows' values (...).

    The formula is Keras's. For logits z, p is ``sigmoid(z)``, and b is not limited to
    ``-log(1e-7)``, as it is in Keras.

    Args:
        apply_class_balancing: whether to multiply by ``t alpha + (1 - t) (1 - alpha)``.
        alpha: weight of targets of 1, from 0 to 1; targets of 0 get the rest.
        gamma: at least 0; with 0 this is `BinaryCrossentropy`.
        from_logits: whether y_pred holds logits.
        label_smoothing: s, from 0 to 1; targets become ``t (1 - s) + s / 2``.
        axis: the axis of the mean.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: for an argument outside of its range; when called, for shapes that do not match.

    Source: Lin et al., Focal loss for dense object detection, 2017.

    >>> from gpunn.losses import BinaryFocalCrossentropy
    >>> round(float(BinaryFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])), 6)  # log(2) / 4
    0.173287
    """

    fuses = "Sigmoid"
    targets = "bits"
    examples = (
        {},
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5},
        {"from_logits": True},
        {"from_logits": True, "label_smoothing": 0.2, "gamma": 0.5},
    )

    apply_class_balancing: bool = field(default=False, check=check_flag)
    alpha: float = field(default=0.25, check=check_fraction)
    name = "binary_focal_crossentropy"

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        self.check(y_true.shape, y_pred.shape)
        t, logits = self._smoothed(y_true, 2), self.from_logits
        cost = binary_cost_of_logits(t, y_pred) if logits else binary_cost(t, y_pred)
        p = ops.sigmoid(y_pred) if logits else y_pred
        cost = cost * self._left(1.0 - (t * p + (1.0 - t) * (1.0 - p)))
        if self.apply_class_balancing:
            cost = cost * (t * self.alpha + (1.0 - t) * (1.0 - self.alpha))
        return ops.mean(cost, self.axis)


def _check_alpha(name: str, value: Any) -> Any:
    if not isinstance(value, (list, tuple, np.ndarray)):
        return check_not_negative(name, value)
    return [check_not_negative(f"{name}[{k}]", x) for k, x in enumerate(value)]


class CategoricalFocalCrossentropy(_Focal):
    """``l = -sum_j alpha_j (1 - p_j)^gamma t_j log p_j`` over the last axis.

    `CategoricalCrossentropy` in which classes that are predicted well count less. Both arrays have
    the shape (..., classes), and the rows' values (...).

    The formula is Keras's: rows of probabilities are divided by their sum and clipped to
    [1e-7, 1 - 1e-7]. For logits, p is their softmax, and ``log p`` is not clipped, as it is in
    Keras.

    Args:
        alpha: a factor of at least 0, or a list of one for each class.
        gamma: at least 0.
        label_smoothing: s, from 0 to 1; targets become ``t (1 - s) + s / classes``.
        axis: the axis of the classes.

    Source: Lin et al., Focal loss for dense object detection, 2017. The other arguments, and
    errors: as for `BinaryFocalCrossentropy`; when called, also for another number of ``alpha``.

    >>> from gpunn.losses import CategoricalFocalCrossentropy
    >>> round(float(CategoricalFocalCrossentropy(1.0)([[0, 1]], [[0.5, 0.5]])), 6)  # log(2) / 4
    0.173287
    """

    fuses = "Softmax"
    examples = (
        {},
        {"alpha": 0.5, "gamma": 1.0},
        {"from_logits": True},
        {"from_logits": True, "label_smoothing": 0.2, "gamma": 0.5, "reduction": "sum"},
    )

    alpha: Any = field(default=0.25, check=_check_alpha)
    name = "categorical_focal_crossentropy"

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        self.check(y_true.shape, y_pred.shape)
        y_true, y_pred = (ops.moveaxis(x, self.axis, -1) for x in (y_true, y_pred))
        classes = y_pred.shape[-1]
        if np.ndim(self.alpha) and len(self.alpha) != classes:
            raise ValueError(
                f"{self.name}: alpha has {len(self.alpha)} factors, but there are {classes} "
                f"classes; one for each is expected, or a number."
            )
        if self.from_logits:
            logs = ops.log_softmax(y_pred, -1)
            rest = -ops.expm1(logs)
        else:
            p = y_pred / ops.sum(y_pred, -1, keepdims=True)
            p = ops.clip(p, epsilon(), 1.0 - epsilon())
            logs, rest = ops.log(p), 1.0 - p
        t = self._smoothed(y_true, classes)
        costs = ops.where(t == 0.0, 0.0, -logs)  # an impossible class may have the logit -inf
        factors = self._left(rest) * np.asarray(self.alpha, y_pred.dtype)
        return ops.sum(factors * t * costs, -1)

"""Losses with a margin between classes: hinge losses, the perceptron criterion, Circle."""

from __future__ import annotations

from gpunn.common.arguments import check_flag, check_number
from gpunn.common.fields import field
from gpunn.ops.gather_scatter.checks import integers
from gpunn.ops.tensor import Tensor, ops

from .elements import ElementLoss, RowLoss, row_max, row_sum
from .loss import ReductionFirst


class _Margin(ElementLoss):
    """Base class of losses that depend on the margin t y, with t = -1 or 1.

    Each target of 0 counts as -1. Keras converts targets only if a whole batch holds nothing
    but 0 and 1, so the two differ only for other targets. Here a step treats every batch
    alike.
    """

    predictions = "scores"
    link = "Sigmoid"
    targets = "signs"

    def side(self, t: Tensor) -> Tensor:
        """Return the targets with -1 instead of 0."""
        return t - ops.cast(t == 0.0, t.dtype)


class Hinge(_Margin):
    """``l = mean_j max(1 - t_j y_j, 0)`` with t = -1 or 1; ``dl/dy = -t / n`` where ``t y < 1``,
    else 0.

    It penalizes predictions on the wrong side of 0, or right ones within a margin of 1, as in a
    support vector machine and in Keras. Targets may also be 0 and 1: a 0 counts as -1.
    Predictions may have any value, as from a linear output.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import Hinge
    >>> float(Hinge()([[1.0, -1.0]], [[0.5, -3.0]]))
    0.25
    """

    functor = "Hinge"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.maximum(1.0 - self.side(t) * y, 0.0)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        s = self.side(t)
        return -(ops.sign(ops.maximum(1.0 - s * y, 0.0)) * s)


class SquaredHinge(_Margin):
    """``l = mean_j max(1 - t_j y_j, 0)^2`` with t = -1 or 1 (0 counts as -1).

    It is `Hinge` with squared terms, which penalizes large violations of the margin more.
    ``dl/dy = -2 t max(1 - t y, 0) / n``. The formula is Keras's.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import SquaredHinge
    >>> float(SquaredHinge()([[1.0, -1.0]], [[0.5, -3.0]]))
    0.125
    """

    functor = "SquaredHinge"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.square(ops.maximum(1.0 - self.side(t) * y, 0.0))

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        s = self.side(t)
        return -2.0 * (ops.maximum(1.0 - s * y, 0.0) * s)


class PerceptronCriterion(_Margin):
    """``l = mean_j max(-t_j y_j, 0)`` with t = -1 or 1 (0 counts as -1): Rosenblatt's criterion.

    Only predictions on the wrong side contribute, in proportion to their distance
    (Rosenblatt, 1958; Bishop, Pattern Recognition and Machine Learning, 4.1.7).
    ``dl/dy = -t / n`` where ``t y <= 0``. This includes 0, so that training moves away from
    all-zero weights, as with the perceptron's rule.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import PerceptronCriterion
    >>> float(PerceptronCriterion()([[1.0], [-1.0]], [[-3.0], [-1.0]]))
    1.5
    """

    functor = "PerceptronCriterion"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.maximum(-(self.side(t) * y), 0.0)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        s = self.side(t)
        return ops.where(s * y <= 0.0, -s, 0.0)


class CategoricalHinge(RowLoss):
    """``l = max(0, 1 + max_j (1 - t_j) y_j - sum_j t_j y_j)`` for one-hot t over the last axis.

    The score of the true class must exceed the largest other score by 1; what is missing is the
    loss, as in Keras. ``y_true`` and ``y_pred`` have the shape (..., classes), and the rows'
    values (...). Where l > 0, ``dl/dy_i = -t_i``, plus ``1 - t_i`` at the largest of the other
    classes (shared equally on ties).

    Arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import CategoricalHinge
    >>> float(CategoricalHinge()([[0.0, 1.0]], [[0.75, 0.5]]))
    1.25
    """

    functor = "CategoricalHinge"
    predictions = "scores"

    name = "categorical_hinge"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.maximum(self._missing(t, y), 0.0)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        others = self._others(t, y)
        hits = ops.cast(others == row_max(others), y.dtype)
        share = hits / row_sum(hits) * (1.0 - t)
        return (share - t) * ops.sign(ops.maximum(self._missing(t, y), 0.0))

    def slope_of_targets(self, t: Tensor, y: Tensor) -> Tensor:
        others = self._others(t, y)  # whose largest is a constant in derivatives
        hits = ops.cast(others == row_max(others), y.dtype)
        share = hits / row_sum(hits)
        return -(_product(share, y) + y) * ops.sign(ops.maximum(self._missing(t, y), 0.0))

    def _missing(self, t: Tensor, y: Tensor) -> Tensor:
        return row_max(self._others(t, y)) - row_sum(_product(t, y)) + 1.0

    def _others(self, t: Tensor, y: Tensor) -> Tensor:
        return _product(1.0 - t, y)


def _product(a: Tensor, y: Tensor) -> Tensor:
    """Return a y, where 0 times infinity is 0."""
    return a * ops.where(ops.logical_and(a == 0.0, y == y), 0.0, y)


class Circle(ReductionFirst):
    """``l_i = log(1 + P_i N_i)``: samples of one class near each other, of two classes far apart.

    ``y_true`` has the number of the class of each sample (batch,) or (batch, 1), and ``y_pred`` its
    embedding (batch, n), a vector of length 1, as of `layers.UnitNormalization`. With the distances
    ``d = max(1 - y_i . y_j, 0)``, P sums ``exp(gamma (d + margin) (d - margin))`` over the other
    samples of the class, and N ``exp(gamma max(1 + margin - d, 0) (1 - margin - d))`` over those of
    other classes.

    A sample without either has a value of 0, and does not count in the mean, as in Keras. Samples
    are compared within their batch. So several processes, of which each has a part of the batch,
    cannot compute it: an error says so.

    Args:
        gamma: scale of the distances.
        margin: how close a pair may be, or how far, without a cost.
        remove_diagonal: whether to leave out the pair of each sample with itself.
        reduction: see `Loss`; not ``"mean_with_sample_weight"``.
        name, dtype: see `Loss`.

    Raises:
        ValueError: for that reduction; when called, for predictions that are not (batch, n).

    Source: Sun et al., Circle loss: a unified perspective of pair similarity optimization, 2020.

    >>> from gpunn.losses import Circle
    >>> embeddings = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    >>> round(float(Circle(gamma=1.0)([0, 0, 1], embeddings)), 4)
    1.1444
    """

    sparse = True
    _compares_samples = True
    examples = (
        {"gamma": 4.0},
        {"gamma": 2.0, "margin": 0.25, "remove_diagonal": False, "reduction": "sum"},
    )

    gamma: float = field(default=80.0, check=check_number)
    margin: float = field(default=0.4, check=check_number)
    remove_diagonal: bool = field(default=True, check=check_flag)
    name = "circle"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction == "mean_with_sample_weight":
            raise ValueError(
                f"{self.name} has no reduction 'mean_with_sample_weight', since samples without a "
                f"pair do not count. Use 'sum_over_batch_size', or 'sum'."
            )

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        n = y_pred.shape[0]
        if y_pred.ndim != 2 or y_true.size != n:
            raise ValueError(
                f"{self.name}: y_true has shape {y_true.shape} and y_pred {y_pred.shape}; (batch,) "
                f"and (batch, n) are expected."
            )
        # In float64, which holds every label, since kernels compare numbers with fractions.
        labels = ops.cast(integers(y_true, f"{self.name}: labels"), "float64")
        labels = ops.reshape(labels, (n, 1))
        same = labels == ops.transpose(labels)
        other = ops.logical_not(same)
        if self.remove_diagonal:
            same = ops.logical_and(same, ops.logical_not(ops.eye(n, dtype="bool")))
        d = ops.maximum(1.0 - y_pred @ ops.transpose(y_pred), 0.0)  # (batch, batch)
        near = self.gamma * (d + self.margin) * (d - self.margin)
        far = self.gamma * ops.maximum(1.0 + self.margin - d, 0.0) * (1.0 - self.margin - d)
        pairs = (ops.sum(ops.cast(x, d.dtype), 1) for x in (same, other))
        counts = ops.minimum(*pairs) > 0.0
        both = ops.where(counts, _log_sum(near, same) + _log_sum(far, other), 0.0)
        values = ops.where(counts, ops.softplus(both), 0.0)
        if self.reduction in ("sum_over_batch_size", "mean"):
            some = ops.sum(ops.cast(values > 0.0, values.dtype))
            values = values * (n / ops.maximum(some, 1.0))
        return values


def _log_sum(x: Tensor, chosen: Tensor) -> Tensor:
    """Return log(sum(exp(x))) of the chosen entries of each row; of a row without one, a number."""
    x = ops.where(chosen, x, -1e30)
    most = ops.stop_gradient(ops.max(x, -1, keepdims=True))
    total = ops.sum(ops.where(chosen, ops.exp(x - most), 0.0), -1)
    return ops.log(ops.maximum(total, 1e-30)) + ops.squeeze(most, -1)

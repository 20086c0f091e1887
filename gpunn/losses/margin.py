"""Losses on classes that differ in sign: hinge losses and the perceptron criterion."""

from __future__ import annotations

from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .elements import ElementLoss, RowLoss, row_max, row_sum


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

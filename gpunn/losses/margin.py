"""Losses on classes told apart by a sign: hinge losses and the perceptron criterion."""

from __future__ import annotations

from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .elements import ElementLoss, RowLoss, row_max, row_sum


class _Margin(ElementLoss):
    """What is a function of the margin t y, with t = -1 or 1.

    A target of 0 counts as -1, each by itself. That is what Keras does, which looks whether
    a whole batch holds 0 and 1 only: the two differ for targets of other kinds alone, and so
    a step does the same for every batch.
    """

    predictions = "scores"
    link = "Sigmoid"
    targets = "signs"

    def side(self, t: Tensor) -> Tensor:
        """The targets with -1 in place of 0."""
        return t - ops.cast(t == 0.0, t.dtype)


class Hinge(_Margin):
    """l = mean_j max(1 - t_j y_j, 0) with t = -1 or 1; dl/dy = -t / n where t y < 1, else 0.

    Targets may be 0 and 1 instead: a 0 counts as -1. Predictions are any numbers, as
    from a linear output.

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
    """l = mean_j max(1 - t_j y_j, 0)^2 with t = -1 or 1 (0 counts as -1).

    dl/dy = -2 t max(1 - t y, 0) / n.

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
    """l = mean_j max(-t_j y_j, 0) with t = -1 or 1 (0 counts as -1): Rosenblatt's criterion.

    Only what is on the wrong side costs, by how far it is (Rosenblatt, 1958; Bishop,
    Pattern Recognition and Machine Learning, 4.1.7). dl/dy = -t / n where t y <= 0: at 0
    too, so that weights that are all 0 are left, as by the perceptron's rule.

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
    """l = max(0, 1 + max_j (1 - t_j) y_j - sum_j t_j y_j) for one-hot t over the last axis.

    Where it is above 0, dl/dy_i = -t_i, and 1 - t_i more at the largest of the others
    (shared by those that are equally large).

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

    def _missing(self, t: Tensor, y: Tensor) -> Tensor:
        return row_max(self._others(t, y)) - row_sum(_product(t, y)) + 1.0

    def _others(self, t: Tensor, y: Tensor) -> Tensor:
        return _product(1.0 - t, y)


def _product(a: Tensor, y: Tensor) -> Tensor:
    """a y; 0 times infinity is 0."""
    return a * ops.where(ops.logical_and(a == 0.0, y == y), 0.0, y)

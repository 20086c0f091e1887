"""Losses on classes told apart by a sign: hinge losses and the perceptron criterion."""

from __future__ import annotations

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .elements import ElementLoss
from .loss import BothAtOnce


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


class CategoricalHinge(BothAtOnce):
    """l = max(0, 1 + max_j (1 - t_j) y_j - sum_j t_j y_j) for one-hot t over the last axis.

    Where it is above 0, dl/dy_i = -t_i, and 1 - t_i more at the largest of the others
    (shared by those that are equally large).

    >>> float(CategoricalHinge()([[0.0, 1.0]], [[0.75, 0.5]]))
    1.25
    """

    functor = "CategoricalHinge"
    predictions = "scores"

    name = "categorical_hinge"

    def forward_backward(
        self, backend: Backend, y_true: Array, y_pred: Array, values: Array, gradient: Array | None
    ) -> None:
        xp = backend.xp
        shape, dtype = y_pred.shape, y_pred.dtype
        other, others = backend.scratch(shape, dtype, "other"), backend.scratch(shape, dtype, "a")
        largest = backend.scratch((shape[0], 1), dtype, "largest")
        row = backend.scratch((shape[0], 1), dtype, "row")
        zero = backend.scratch(shape, bool, "zero")
        xp.subtract(1.0, y_true, out=other)
        xp.equal(other, 0.0, out=zero)
        xp.multiply(other, y_pred, out=others)
        xp.copyto(others, 0.0, where=zero)  # infinity times 0 is 0 here
        backend.row_max(others, largest)
        if gradient is not None:
            share = backend.scratch(shape, dtype, "share")
            xp.equal(others, largest, out=share)
        xp.equal(y_true, 0.0, out=zero)
        xp.multiply(y_true, y_pred, out=others)
        xp.copyto(others, 0.0, where=zero)
        backend.row_sums(others, row)
        xp.subtract(largest, row, out=row)
        xp.add(row, 1.0, out=row)
        xp.maximum(row, 0.0, out=row)
        xp.copyto(values, row[:, 0])
        if gradient is not None:
            backend.row_sums(share, largest)
            xp.divide(share, largest, out=share)
            xp.multiply(share, other, out=share)
            xp.subtract(share, y_true, out=gradient)
            xp.sign(row, out=row)
            xp.multiply(gradient, row, out=gradient)

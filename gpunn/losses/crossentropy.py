"""Cross-entropies on probabilities or, fused with the activation, on logits.

A model that ends in softmax (sigmoid) and uses a categorical (binary) cross-entropy
is trained on its logits, by `fit` and in custom steps. `on_logits` returns the loss of this
fused step, which takes no logarithm of a small number and divides by none.
"""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_number, optional, requirement
from gpunn.common.config import epsilon
from gpunn.common.fields import field
from gpunn.ops.dtypes import probabilities_kept
from gpunn.ops.gradients import with_gradient
from gpunn.ops.tensor import Tensor, ops

from .elements import ElementLoss, RowLoss
from .loss import BothAtOnce, Loss, ReductionFirst
from .rows import check_class_number, row_argmax, row_starts

_check_smoothing = requirement("from 0 to 1", lambda value: 0.0 <= value <= 1.0)


class _Crossentropy(BothAtOnce):
    """Base class of the three: from_logits, label smoothing, the last axis."""

    logits_functor: ClassVar[str]
    probabilities_functor: ClassVar[str]
    label_smoothing = 0.0
    clipped = False
    """Whether it replaces a loss on probabilities: logits give the same value as those."""

    parameter_names = ("label_smoothing",)
    from_logits: bool = field(default=False)

    @property
    def predictions(self) -> str:  # type: ignore[override]
        return "logits" if self.from_logits else "probabilities"

    @property
    def link(self) -> str | None:  # type: ignore[override]
        return self.fuses

    @property
    def functor(self) -> str:  # type: ignore[override]
        if not self.from_logits:
            return self.probabilities_functor
        return self.logits_functor + ("Kept" if self.clipped else "")

    def on_logits(self) -> Loss:
        """Return the same loss on the input of the softmax or sigmoid.

        Its value is computed from probabilities clipped to [1e-7, 1 - 1e-7], as without fusing. Its
        gradient is the unclipped loss's, so that saturated outputs still learn.
        """
        loss = copy.copy(self)
        loss.from_logits = loss.clipped = True
        return loss


class BinaryCrossentropy(_Crossentropy, ElementLoss):
    """``l = mean_j -(t log p + (1 - t) log(1 - p))`` over the last axis.

    It compares targets of 0 and 1, or shares between them, with predicted probabilities: the
    negative log-likelihood of independent yes-or-no outputs, as in Keras. Both arrays have the
    shape (..., n), and the rows' values (...).

    Probabilities p are clipped to [1e-7, 1 - 1e-7]. For logits z, each term is
    ``max(z, 0) - z t + log(1 + exp(-|z|))`` and the gradient ``(sigmoid(z) - t) / n``. A model
    that ends in sigmoid has the same gradient for every p.

    Args:
        from_logits: whether y_pred holds logits.
        label_smoothing: s, from 0 to 1; targets become ``t (1 - s) + s / 2``.
        axis: the axis of the mean.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: for smoothing outside of 0 to 1; when called, for shapes that do not match.

    >>> from gpunn.losses import BinaryCrossentropy
    >>> round(float(BinaryCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])), 6)  # log 2
    0.693147
    """

    aliases = ("bce", "BCE")
    fuses = "Sigmoid"
    targets = "bits"
    logits_functor = "SigmoidCrossentropy"
    probabilities_functor = "BinaryCrossentropy"
    examples = (
        {},
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"from_logits": True, "label_smoothing": 0.2},
    )

    label_smoothing: float = field(default=0.0, check=_check_smoothing, after="from_logits")
    axis: int = field(default=-1, after="label_smoothing")
    name = "binary_crossentropy"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        from gpunn.ops.library.networks import binary_cost, binary_cost_of_logits  # of no kernel

        target = self._smoothed(t)
        if self.from_logits:
            return binary_cost_of_logits(target, y, self.clipped)
        return binary_cost(target, y)

    def _smoothed(self, t: Tensor) -> Tensor:
        s = self.label_smoothing
        if not isinstance(s, Tensor) and not s:
            return t
        shift = 0.5 * s
        return t * (1.0 - s) + shift


class CategoricalCrossentropy(_Crossentropy, RowLoss):
    """``l = -sum_j t_j log p_j`` over the last axis; y_true holds a target for each class.

    It compares one-hot rows, or rows of class probabilities, with predicted probabilities: the
    negative log-likelihood of the true class, as in Keras. Both arrays have the shape
    (..., classes), and the rows' values (...).

    Rows of probabilities are divided by their sum and clipped to [1e-7, 1 - 1e-7].
    For logits z, ``log p_j = z_j - log sum_k exp(z_k)``, with the largest z subtracted
    first, and the gradient is ``softmax(z) sum_j t_j - t``. A model that ends in softmax has
    the same gradient for every p.

    Args:
        label_smoothing: s, from 0 to 1; targets become ``t (1 - s) + s / classes``.
        axis: the axis of the classes.

    The other arguments, and errors: as for `BinaryCrossentropy`; when called, also for one class.

    >>> from gpunn.losses import CategoricalCrossentropy
    >>> round(float(CategoricalCrossentropy()([[0, 1]], [[0.5, 0.5]])), 6)  # log 2
    0.693147
    """

    fuses = "Softmax"
    counts_matches = True
    logits_functor = "SoftmaxCrossentropy"
    probabilities_functor = "CategoricalCrossentropy"
    examples = (
        {},
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"from_logits": True, "label_smoothing": 0.2, "reduction": "sum"},
    )

    label_smoothing: float = field(default=0.0, check=_check_smoothing, after="from_logits")
    axis: int = field(default=-1, after="label_smoothing")
    name = "categorical_crossentropy"

    def target(self, t: Tensor, classes: Tensor) -> Tensor:  # type: ignore[override]
        s = self.label_smoothing
        if not isinstance(s, Tensor) and not s:
            return t
        return t * (1.0 - s) + s / classes

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        from gpunn.ops.library.networks import categorical_cost, categorical_cost_of_logits

        if self.from_logits:
            return categorical_cost_of_logits(t, y, clips=self.clipped)
        return categorical_cost(t, y)

    def check(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        super().check(y_true_shape, y_pred_shape)
        if y_pred_shape[-1] == 1:
            raise ValueError(
                f"{self.name} over one class is 0 for every prediction: use "
                f"binary_crossentropy, or one output per class."
            )

    def matches(self, backend: Backend, y_true: Array, y_pred: Array, hits: Array) -> None:
        """hits (rows,) bool = whether the largest prediction is at the largest target."""
        truth, answer = row_argmax(backend, y_true, "true"), row_argmax(backend, y_pred, "pred")
        backend.xp.equal(answer, truth, out=hits)


class SparseCategoricalCrossentropy(_Crossentropy):
    """Categorical cross-entropy where y_true holds the number of the class.

    ``l = -log p_c`` for the class c of each row, as in Keras: the values of
    `CategoricalCrossentropy` without one-hot targets. ``y_true`` has the shape (...) and
    ``y_pred`` (..., classes); the rows' values are (...).

    Args:
        ignore_class: class number whose rows have zero loss and do not count in the mean.
        axis: the axis of the classes.

    The other arguments: as for `BinaryCrossentropy`. A ValueError when called, for a label that is
    not a whole number from 0 to classes - 1.

    >>> from gpunn.losses import SparseCategoricalCrossentropy
    >>> round(float(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]])), 6)  # log 2
    0.693147
    """

    sparse = True
    fuses = "Softmax"
    counts_matches = True
    logits_functor = "SoftmaxCrossentropy"
    probabilities_functor = "CategoricalCrossentropy"
    examples = ({}, {"from_logits": True})

    from_logits: bool = False
    ignore_class: int | None = field(default=None, check=optional(check_class_number))
    reduction: str | None = field(default="sum_over_batch_size", kw_only=True, placed=True)
    axis: int = field(default=-1, kw_only=True, placed=True)
    name = "sparse_categorical_crossentropy"

    @property
    def functor(self) -> str | None:  # type: ignore[override]
        return super().functor if self.ignore_class is None else None

    @property
    def _functor_of_rows(self) -> str | None:  # type: ignore[override]
        return None if self.ignore_class is None else super().functor

    def forward_backward(
        self, backend: Backend, y_true: Array, y_pred: Array, values: Array, gradient: Array | None
    ) -> None:
        if self.ignore_class is None:
            self._rows(backend, y_true, y_pred, values, gradient)
            return
        xp, rows = backend.xp, values.shape
        ignored = backend.scratch(rows, bool, "ignored")
        labels = backend.scratch(rows, y_true.dtype, "labels")
        xp.equal(y_true, self.ignore_class, out=ignored)
        xp.copyto(labels, y_true)
        xp.copyto(labels, 0, where=ignored)  # a valid class
        self._rows(backend, labels, y_pred, values, gradient)
        factor = 1.0
        if self.reduction in ("sum_over_batch_size", "mean"):  # over the rows that count
            factor = len(values) / xp.maximum(len(values) - xp.sum(ignored), 1)
        xp.multiply(values, factor, out=values)
        xp.copyto(values, 0, where=ignored)  # whatever the prediction, even NaN
        if gradient is not None:
            xp.multiply(gradient, factor, out=gradient)
            xp.copyto(gradient, 0, where=ignored[:, np.newaxis])

    def slope_of_rows(self, labels: Tensor, y: Tensor) -> Tensor:
        """Return the derivative (rows, classes) of the value of each row by its predictions."""
        counted = True if self.ignore_class is None else labels != self.ignore_class
        t = ops.one_hot(ops.where(counted, labels, 0), y.shape[-1], dtype=y.dtype)
        dense = CategoricalCrossentropy(from_logits=self.from_logits)
        slope = dense.slope_of_rows(t, y)
        if self.ignore_class is None:
            return slope
        factor: Any = 1.0
        if self.reduction in ("sum_over_batch_size", "mean"):  # over the rows that count
            rows = ops.sum(ops.cast(counted, y.dtype))
            factor = y.shape[0] / ops.maximum(rows, 1.0)
        return ops.where(ops.expand_dims(counted, -1), slope * factor, 0.0)

    def _rows(
        self, backend: Backend, y_true: Array, y_pred: Array, values: Array, gradient: Array | None
    ) -> None:
        xp = backend.xp
        rows, classes = y_pred.shape
        dtype = y_pred.dtype
        p = gradient if gradient is not None else backend.scratch((rows, classes), dtype, "p")
        flat = p.reshape(-1)
        at_label = backend.scratch((rows,), np.int64, "at_label")
        xp.add(row_starts(backend, rows, classes), y_true, out=at_label)
        row = backend.scratch((rows, 1), dtype, "row")
        sums, picked = row[:, 0], backend.scratch((rows,), dtype, "picked")
        if self.from_logits:
            backend.row_max(y_pred, row)
            xp.subtract(y_pred, row, out=p)
            xp.take(flat, at_label, out=values)
            xp.exp(p, out=p)
            backend.row_sums(p, row)
            if gradient is not None:
                xp.divide(p, row, out=p)
                xp.take(flat, at_label, out=picked)
                xp.subtract(picked, 1.0, out=picked)
                xp.put(flat, at_label, picked)
            xp.log(sums, out=sums)
            xp.subtract(sums, values, out=values)
            if self.clipped:
                _clip_costs(xp, values)
            return
        backend.row_sums(y_pred, row)
        xp.divide(y_pred, row, out=p)
        xp.take(flat, at_label, out=picked)
        xp.clip(picked, epsilon(), 1.0 - epsilon(), out=values)
        if gradient is not None:
            # As for dense targets: (1 - [label] / q) / S, 0 where q was clipped.
            inside = backend.scratch((rows,), bool, "inside")
            xp.equal(picked, values, out=inside)
            xp.divide(inside, sums, out=sums)
            xp.copyto(gradient, row)
            xp.divide(sums, values, out=picked)
            xp.subtract(sums, picked, out=picked)
            xp.put(flat, at_label, picked)
        xp.log(values, out=values)
        xp.negative(values, out=values)

    def matches(self, backend: Backend, y_true: Array, y_pred: Array, hits: Array) -> None:
        """hits (rows,) bool = whether the largest prediction is at the label."""
        backend.xp.equal(row_argmax(backend, y_pred, "pred"), y_true, out=hits)


def _check_q(name: str, value: Any) -> float:
    if not 0.0 < check_number(name, value) < 1.0:
        raise ValueError(f"{name} must be between 0 and 1; got {value!r}.")
    return float(value)


class CategoricalGeneralizedCrossEntropy(ReductionFirst):
    """``l = (1 - p_c^q) / q`` for the probability p_c of the class c of each row.

    Between cross-entropy (q towards 0) and the absolute error (q towards 1): wrong labels, whose
    probability stays small, have less influence. As in Keras, ``y_true`` has the numbers of the
    classes (...), or (..., 1), and ``y_pred`` probabilities (..., classes); values are (...).

    The gradient is ``-p_c^(q - 1)``, with at least 1e-7 for p_c.

    Args:
        q: between 0 and 1.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: for another q; when called, for labels of another shape.
        IndexError: for a label that is not from 0 to classes - 1.

    Source: Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks
    with noisy labels, 2018.

    >>> from gpunn.losses import CategoricalGeneralizedCrossEntropy
    >>> float(CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]]))
    1.0
    """

    sparse = True
    fuses = "Softmax"
    from_logits = False
    predictions = "probabilities"
    link = "Softmax"
    examples = ({}, {"q": 0.8, "reduction": "sum"})

    q: float = field(default=0.5, check=_check_q)
    name = "categorical_generalized_cross_entropy"

    def fuses_with(self, activation: Any) -> bool:
        return False

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        from gpunn.ops.library.networks import of_class

        p = ops.maximum(of_class(y_pred, y_true, self.name), 0.0)
        loss = (1.0 - ops.power(p, self.q)) / self.q

        def gradient(dy: Tensor) -> list[Tensor]:
            return [-dy * ops.power(ops.maximum(p, epsilon()), self.q - 1.0)]

        return with_gradient(loss, [p], gradient)


def _clip_costs(xp: Any, costs: Array) -> None:
    """Clip -log p to its range for probabilities clipped away from 0 and 1; NaN stays."""
    low, high = probabilities_kept(costs.dtype)
    xp.clip(costs, -math.log(high), -math.log(low), out=costs)

"""Losses as metrics: the mean of a loss over rows, whatever the training loss is."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any, ClassVar, cast

import numpy as np

from gpunn import losses
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.arguments import optional
from gpunn.common.fields import field
from gpunn.common.names import snake_case
from gpunn.common.signatures import arguments
from gpunn.core.recording import recorded
from gpunn.losses.rows import check_class_number

from .means import MeanOfRows, add_samples
from .metric import taking


class _LossMetric(MeanOfRows):
    """The mean over rows of the loss of the same name, or ``of`` another one.

    The loss takes all arguments of the metric but ``name`` and ``dtype``.
    """

    direction = "down"
    accumulates = "losses"
    of: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        own = registry.built_in(type(self))
        options = {name: getattr(self, name) for name in {*arguments(own)} - {"name", "dtype"}}
        self.loss = getattr(losses, self.of or own.__name__)(reduction="none", **options)
        self.sparse = self.loss.sparse

    functor = property(attrgetter("loss.functor"))
    predictions = property(attrgetter("loss.predictions"))
    targets = property(attrgetter("loss.targets"))
    parameters = property(attrgetter("loss.parameters"))

    def values(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The loss of each row, along the loss's axis."""
        axis, axes = self.loss.axis, np.ndim(y_pred)
        if axes > 1 and axis not in (-1, axes - 1):
            if np.ndim(y_true) == axes:
                y_true = np.moveaxis(np.asarray(y_true), axis, -1)
            y_pred = np.moveaxis(np.asarray(y_pred), axis, -1)
        return super().values(y_true, y_pred)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.loss.forward(backend, y_true, y_pred, values)


class _PlainLossMetric(_LossMetric):
    name = cast("str | None", None)

    def __post_init__(self) -> None:
        # A subclass inherits the name, as in Keras.
        self.name = self.name or snake_case(registry.built_in(type(self)).__name__)
        super().__post_init__()


class MeanSquaredError(_PlainLossMetric):
    """The mean of ``(y - t)^2`` over rows and outputs.

    The square of the targets' unit; 0 is perfect. See `gpunn.losses.MeanSquaredError`.
    ``y_true`` and ``y_pred`` have the shape (..., n), and each row counts once.

    Args:
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import MeanSquaredError
    >>> MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    0.25
    """

    aliases = ("mse", "MSE")


class RootMeanSquaredError(_PlainLossMetric):
    """The square root of the mean of ``(y - t)^2`` over all rows and outputs.

    It has the unit of the targets; 0 is perfect. The definition is Keras's: the root of the mean
    over all batches, not the mean of the batches' roots. Shapes and arguments: as for
    `MeanSquaredError`.

    >>> from gpunn.metrics import RootMeanSquaredError
    >>> RootMeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    0.5
    """

    of = "MeanSquaredError"
    aliases = ("rmse", "RMSE")
    elementwise = True

    def compute(self, state: np.ndarray) -> float:
        return math.sqrt(super().compute(state))


class HalfSquaredError(_PlainLossMetric):
    """The mean over rows of ``1/2 ||y - t||^2``.

    It is half the sum of squared errors of a sample; see `gpunn.losses.HalfSquaredError`. Shapes
    and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import HalfSquaredError
    >>> HalfSquaredError()([[0, 1], [0, 0]], [[2, 1], [0, 0]])  # the mean of 2 and 0
    1.0
    """


class EuclideanDistance(_PlainLossMetric):
    """The mean over rows of ``||y - t||``.

    It is the mean distance between target and prediction as points, in their unit; see
    `gpunn.losses.EuclideanDistance`. Shapes and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import EuclideanDistance
    >>> EuclideanDistance()([[0, 0], [1, 1]], [[3, 4], [1, 1]])  # the mean of 5 and 0
    2.5
    """


class MeanAbsoluteError(_PlainLossMetric):
    """The mean of ``|y - t|`` over rows and outputs.

    It has the unit of the targets; 0 is perfect. See `gpunn.losses.MeanAbsoluteError`. Shapes and
    arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import MeanAbsoluteError
    >>> MeanAbsoluteError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    0.25
    """

    aliases = ("mae", "MAE")


class MeanAbsolutePercentageError(_PlainLossMetric):
    """The mean of ``100 |y - t| / |t|`` over rows and outputs, in per cent.

    Targets nearer to 0 than 1e-7 count as 1e-7, so that one of them makes the mean huge. See
    `gpunn.losses.MeanAbsolutePercentageError`. Shapes and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import MeanAbsolutePercentageError
    >>> MeanAbsolutePercentageError()([[2.0], [4.0]], [[1.0], [4.0]])  # the mean of 50 and 0
    25.0
    """

    aliases = ("mape", "MAPE")


class MeanSquaredLogarithmicError(_PlainLossMetric):
    """The mean of ``(log(1 + y) - log(1 + t))^2`` over rows and outputs.

    It measures errors by a factor, for targets of very different size. Values below 1e-7 count as
    1e-7. See `gpunn.losses.MeanSquaredLogarithmicError`. Shapes and arguments: as for
    `MeanSquaredError`.

    >>> from gpunn.metrics import MeanSquaredLogarithmicError
    >>> round(MeanSquaredLogarithmicError()([[0.0]], [[1.7182818]]), 6)  # log(1 + y) = 1
    1.0
    """

    aliases = ("msle", "MSLE")


class Huber(_LossMetric):
    """The mean Huber loss: squared for small errors, absolute for large ones.

    ``e^2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta^2 / 2``, for e = y - t: see
    `gpunn.losses.Huber`. Shapes, name and dtype: as for `MeanSquaredError`.

    Args:
        delta: the error at which the squared part becomes the absolute part.

    >>> from gpunn.metrics import Huber
    >>> Huber()([[0.0], [0.0]], [[1.0], [3.0]])  # the mean of 0.5 and 2.5
    1.5
    """

    examples = ({}, {"delta": 0.5})

    name = "huber"
    delta: float = field(default=1.0, after="dtype")


class LogCoshError(_PlainLossMetric):
    """The mean of ``log(cosh(y - t))`` over rows and outputs.

    About ``e^2 / 2`` for small errors e and ``|e| - log 2`` for large ones; see
    `gpunn.losses.LogCosh`. Shapes and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import LogCoshError
    >>> round(LogCoshError()([[0.0], [2.0]], [[1.0], [2.0]]), 6)
    0.21689
    """

    of = "LogCosh"
    aliases = ("logcosh", "LogCosh", "log_cosh")

    name = "logcosh"


class CosineSimilarity(_LossMetric):
    """The mean over rows of ``(y . t) / (||y|| ||t||)``: 1 where both point the same way.

    -1 is the opposite direction, 0 a right angle. The loss of this name is minus the similarity, as
    in Keras: `gpunn.losses.CosineSimilarity`. Shapes, name and dtype: as for `MeanSquaredError`.

    Args:
        axis: the axis of the vectors.

    >>> from gpunn.metrics import CosineSimilarity
    >>> CosineSimilarity()([[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]])
    0.5
    """

    direction = "up"

    name = "cosine_similarity"
    axis: int = field(default=-1, after="dtype")

    def compute(self, state: np.ndarray) -> float:
        return -super().compute(state)


class KLDivergence(_PlainLossMetric):
    """The mean over rows of ``sum t log(t / p)``: how far the distributions p are from t.

    Both are clipped to [1e-7, 1], as in Keras; see `gpunn.losses.KLDivergence`. Shapes and
    arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import KLDivergence
    >>> round(KLDivergence()([[0.0, 1.0]], [[0.5, 0.5]]), 5)  # log 2
    0.69315
    """

    aliases = ("kld", "KLD")


class Poisson(_PlainLossMetric):
    """The mean of ``p - t log p`` over rows and outputs, for counts t and predicted rates p.

    Up to a constant, the negative log-likelihood of the counts; see `gpunn.losses.Poisson`. Shapes
    and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import Poisson
    >>> round(Poisson()([[1.0]], [[2.0]]), 5)  # 2 - log 2
    1.30685
    """


class Hinge(_PlainLossMetric):
    """The mean of ``max(1 - t y, 0)``, t = -1 or 1 (0 counts as -1).

    It is 0 if every prediction is on the right side by a margin of 1; see `gpunn.losses.Hinge`.
    Predictions are scores of any value. Shapes and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import Hinge
    >>> Hinge()([[1.0, -1.0]], [[0.5, -3.0]])  # the mean of 0.5 and 0
    0.25
    """


class SquaredHinge(_PlainLossMetric):
    """The mean of ``max(1 - t y, 0)^2``, t = -1 or 1 (0 counts as -1).

    It counts large violations of the margin more than `Hinge`; see `gpunn.losses.SquaredHinge`.
    Predictions are scores of any value. Shapes and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import SquaredHinge
    >>> SquaredHinge()([[1.0, -1.0]], [[0.5, -3.0]])  # the mean of 0.25 and 0
    0.125
    """


class CategoricalHinge(_PlainLossMetric):
    """The mean over rows of ``max(0, 1 + max (1 - t) y - sum t y)`` for one-hot t.

    What the score of the true class lacks to exceed the largest other one by 1; see
    `gpunn.losses.CategoricalHinge`. Shapes and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import CategoricalHinge
    >>> CategoricalHinge()([[0.0, 1.0]], [[0.75, 0.5]])  # 1 + 0.75 - 0.5
    1.25
    """


class PerceptronCriterion(_PlainLossMetric):
    """The mean of ``max(-t y, 0)``, t = -1 or 1 (0 counts as -1).

    How far predictions on the wrong side are from 0; see `gpunn.losses.PerceptronCriterion`.
    Predictions are scores of any value. Shapes and arguments: as for `MeanSquaredError`.

    >>> from gpunn.metrics import PerceptronCriterion
    >>> PerceptronCriterion()([[1.0], [-1.0]], [[-3.0], [-1.0]])  # the mean of 3 and 0
    1.5
    """


class BinaryCrossentropy(_LossMetric):
    """The mean binary cross-entropy: ``-(t log p + (1 - t) log(1 - p))`` over rows and outputs.

    For targets of 0 and 1 and probabilities p, clipped to [1e-7, 1 - 1e-7]; see
    `gpunn.losses.BinaryCrossentropy`. Shapes, name and dtype: as for `MeanSquaredError`.

    Args:
        from_logits: whether y_pred holds logits.
        label_smoothing: s; targets become ``t (1 - s) + s / 2``.

    >>> from gpunn.metrics import BinaryCrossentropy
    >>> round(BinaryCrossentropy()([[0.0], [1.0]], [[0.5], [0.5]]), 6)  # log 2
    0.693147
    """

    aliases = ("bce", "BCE")
    examples = ({}, {"from_logits": True, "label_smoothing": 0.1})

    name = "binary_crossentropy"
    from_logits: bool = field(default=False, after="dtype")
    label_smoothing: float = field(default=0, after="from_logits")


class CategoricalCrossentropy(_LossMetric):
    """The mean categorical cross-entropy of one-hot targets: ``-sum_j t_j log p_j`` of each row.

    ``y_true`` and ``y_pred`` have the shape (..., classes). Rows of probabilities are divided by
    their sum; see `gpunn.losses.CategoricalCrossentropy`.

    Args:
        from_logits: whether y_pred holds logits.
        label_smoothing: s; targets become ``t (1 - s) + s / classes``.
        axis: the axis of the classes.
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import CategoricalCrossentropy
    >>> round(CategoricalCrossentropy()([[0, 1]], [[0.5, 0.5]]), 6)  # log 2
    0.693147
    """

    examples = ({}, {"from_logits": True, "label_smoothing": 0.1})

    name = "categorical_crossentropy"
    from_logits: bool = field(default=False, after="dtype")
    label_smoothing: float = field(default=0, after="from_logits")
    axis: int = field(default=-1, after="label_smoothing")


class SparseCategoricalCrossentropy(_LossMetric):
    """The mean categorical cross-entropy of class numbers: ``-log p_c`` for the class c of each
    row.

    ``y_true`` has the shape (...) and ``y_pred`` (..., classes); see
    `gpunn.losses.SparseCategoricalCrossentropy`.

    Args:
        from_logits, axis, name, dtype: as for `CategoricalCrossentropy`.
        ignore_class: class number whose rows have zero loss. As in Keras, they count in the mean
            unless there are sample weights.

    >>> from gpunn.metrics import SparseCategoricalCrossentropy
    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]), 6)  # log 2
    0.693147
    """

    sparse = True
    examples = ({}, {"from_logits": True})

    name = "sparse_categorical_crossentropy"
    from_logits: bool = field(default=False, after="dtype")
    ignore_class: int | None = field(
        default=None, check=optional(check_class_number), after="from_logits"
    )
    axis: int = field(default=-1, after="ignore_class")

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        if self.ignore_class is not None and weights is not None:
            ignored = backend.scratch(weights.shape, bool, "ignored")
            kept = backend.scratch(weights.shape, weights.dtype, "weights that count")
            backend.xp.equal(y_true, self.ignore_class, out=ignored)
            backend.xp.copyto(kept, weights)
            backend.xp.copyto(kept, 0, where=ignored)
            weights = kept
        super().accumulate(backend, y_true, y_pred, weights, state)

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch; as in Keras, ignored rows count unless there are weights."""
        if self.ignore_class is not None and sample_weight is not None:
            counted = np.reshape(y_true, np.shape(sample_weight)) != self.ignore_class
            sample_weight = np.asarray(sample_weight) * counted
        elif self.ignore_class is not None and taking() is None:
            # Rows count, as in steps, where weights would leave out those that are ignored.
            values = self.values(y_true, y_pred).astype(np.float64)
            add_samples(self._state, values, np.full(len(values), math.prod(values.shape[1:])))
            return
        super().update_state(y_true, y_pred, sample_weight)

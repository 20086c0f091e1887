"""Losses on real-valued targets."""

from __future__ import annotations

from gpunn.common.arguments import requirement
from gpunn.common.config import epsilon
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .elements import ElementLoss, RowLoss, one_for_zero, row_max, row_sum


class MeanSquaredError(ElementLoss):
    """``l = mean_j (y_j - t_j)^2`` over the last axis; ``dl/dy = 2 (y - t) / n``.

    It is the usual loss of regression, as in Keras: large errors count more than in proportion.
    ``y_true`` and ``y_pred`` have the shape (..., n). Each row gives one value, (...), and
    ``reduction`` combines the values, by default to their mean.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: when called, for shapes that do not match.

    >>> from gpunn.losses import MeanSquaredError
    >>> float(MeanSquaredError()([[0.0, 1.0]], [[1.0, 1.0]]))
    0.5
    """

    functor = "MeanSquaredError"
    aliases = ("mse", "MSE")
    examples = ({}, {"reduction": "sum"})

    name = "mean_squared_error"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.square(y - t)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        return 2.0 * (y - t)


class HalfSquaredError(ElementLoss):
    """``l = 1/2 sum_j (y_j - t_j)^2`` over the last axis; ``dl/dy = y - t``.

    The textbook cost (Rumelhart et al., 1986): ``1/2 ||y - t||^2`` summed over the
    outputs, averaged over the samples.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import HalfSquaredError
    >>> float(HalfSquaredError()([[0.0, 1.0]], [[1.0, 1.0]]))
    0.5
    """

    functor = "HalfSquaredError"

    mean = False
    name = "half_squared_error"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.5 * ops.square(y - t)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        return y - t


class EuclideanDistance(RowLoss):
    """``l = ||y - t||``, the unsquared norm over the last axis; ``dl/dy = (y - t) / ||y - t||``.

    It is the distance between target and prediction as points, in their unit. Differences are
    divided by the largest one before squaring, so that nothing overflows. Where y = t the
    gradient is 0, which is a subgradient.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import EuclideanDistance
    >>> float(EuclideanDistance()([[0.0, 0.0]], [[3.0, 4.0]]))
    5.0
    """

    functor = "EuclideanDistance"

    name = "euclidean_distance"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        unit, part = _in_units(y - t)
        return ops.sqrt(row_sum(ops.square(part))) * unit

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        _, part = _in_units(y - t)
        return part / _length(part)

    def slope_of_targets(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.slope(t, y)  # the derivative of the root in `cost` is infinite where y = t


class MeanAbsoluteError(ElementLoss):
    """``l = mean_j |y_j - t_j|``; ``dl/dy = sign(y - t) / n``, 0 where y = t.

    It is less sensitive to outliers than `MeanSquaredError`: its minimum is at the median of the
    targets instead of their mean. The formula is Keras's.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import MeanAbsoluteError
    >>> float(MeanAbsoluteError()([[0.0, 1.0]], [[1.0, 1.0]]))
    0.5
    """

    functor = "MeanAbsoluteError"
    aliases = ("mae", "MAE")
    examples = ({}, {"reduction": "sum"})

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.abs(y - t)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.sign(y - t)


class MeanAbsolutePercentageError(ElementLoss):
    """``l = 100 mean_j |y_j - t_j| / max(|t_j|, 1e-7)``; a target of 0 makes it huge.

    It is the error relative to the target, in per cent, as in Keras: an error of 1 at a target of
    2 is 50.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import MeanAbsolutePercentageError
    >>> float(MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 4.0]]))
    25.0
    """

    functor = "MeanAbsolutePercentageError"
    aliases = ("mape", "MAPE")

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.abs(y - t) * self._factor(t)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.sign(y - t) * self._factor(t)

    def _factor(self, t: Tensor) -> Tensor:
        return 100.0 / ops.maximum(ops.abs(t), epsilon())


class MeanSquaredLogarithmicError(ElementLoss):
    """``l = mean_j (log(1 + y_j) - log(1 + t_j))^2``: an error by a factor, whatever the size.

    It is for targets that are not negative and differ by orders of magnitude. Targets and
    predictions below 1e-7 count as 1e-7 (as in Keras); there the gradient is 0.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import MeanSquaredLogarithmicError
    >>> round(float(MeanSquaredLogarithmicError()([[0.0]], [[1.7182818]])), 6)
    1.0
    """

    functor = "MeanSquaredLogarithmicError"
    aliases = ("msle", "MSLE")

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.square(self._error(t, y))

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        p = ops.maximum(y, epsilon())
        return ops.where(p == y, 2.0 * self._error(t, y) / (1.0 + p), 0.0)

    def _error(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.log1p(ops.maximum(y, epsilon())) - ops.log1p(ops.maximum(t, epsilon()))


_check_delta = requirement("a positive number", lambda value: value > 0)


class Huber(ElementLoss):
    """Squared for small errors, absolute for large ones (Huber, 1964).

    With e = y - t: ``l = mean e^2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta^2 / 2``;
    the gradient is e clipped to [-delta, delta], divided by n. The formula is Keras's.

    Args:
        delta: the error, above 0, at which the squared part becomes the absolute part.

    Shapes, the other arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import Huber
    >>> float(Huber()([[0.0, 0.0]], [[1.0, 3.0]]))  # the mean of 0.5 and 2.5
    1.5
    """

    functor = "Huber"
    examples = ({}, {"delta": 0.5})
    parameter_names = ("delta",)

    delta: float = field(default=1.0, check=_check_delta)
    name = "huber_loss"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        # With c the clipped error, c (e - c / 2) covers both cases.
        e, c = y - t, self.slope(t, y)
        return c * (e - 0.5 * c)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        least = -self.delta
        return ops.clip(y - t, least, self.delta)


class LogCosh(ElementLoss):
    """``l = mean_j log(cosh(y_j - t_j))``: ``e^2 / 2`` for small errors, ``|e| - log 2`` for large
    ones.

    It is a smooth relative of `Huber`, as in Keras. The gradient is ``tanh(y - t) / n``. Computed
    as ``|e| + log(1 + (exp(-2|e|) - 1) / 2)``, which does not overflow.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import LogCosh
    >>> round(float(LogCosh()([[0.0]], [[1.0]])), 6)
    0.433781
    """

    functor = "LogCosh"
    aliases = ("logcosh",)

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        size = ops.abs(y - t)
        return size + ops.log1p(0.5 * ops.expm1(-2.0 * size))

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.tanh(y - t)


class CosineSimilarity(RowLoss):
    """``l = -(y . t) / (||y|| ||t||)``: -1 if both point the same way, whatever their lengths.

    With ``u = y / ||y||`` and ``v = t / ||t||``, ``dl/dy = -(v - (u . v) u) / ||y||``. Where y or
    t is 0, loss and gradient are 0. (Keras's metric of this name has the opposite sign.)

    Args:
        axis: the axis of the vectors.

    Shapes, the other arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import CosineSimilarity
    >>> float(CosineSimilarity()([[0.0, 2.0]], [[0.0, 5.0]]))
    -1.0
    """

    functor = "CosineSimilarity"

    axis: int = field(default=-1)
    name = "cosine_similarity"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        _, part = _in_units(y)
        return -(row_sum(part * t) / _length(part) / self._of_targets(t))

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        unit, part = _in_units(y)
        length, target = _length(part), self._of_targets(t)
        along = row_sum(part * t) / length / target  # u . v
        something = ops.cast(row_sum(ops.square(part)) != 0.0, y.dtype)
        return (part * (along / length) - t / target) * (something / (length * unit))

    def _of_targets(self, t: Tensor) -> Tensor:
        return ops.sqrt(one_for_zero(row_sum(ops.square(t))))


def _in_units(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest magnitude of each row (1 instead of 0), and the row divided by it."""
    unit = one_for_zero(row_max(ops.abs(x)))
    return unit, x / unit


def _length(part: Tensor) -> Tensor:
    """Return the norm of a row scaled by `_in_units`: at least 1, also for zeros."""
    return ops.sqrt(ops.maximum(row_sum(ops.square(part)), 1.0))

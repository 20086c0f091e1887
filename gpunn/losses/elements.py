"""Losses defined once with `gpunn.ops`, by a formula for an element or for a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.overrides import is_framework
from gpunn.ops.fusion.in_place import Function, Stated, function
from gpunn.ops.gradients import gradients, gradients_of
from gpunn.ops.reductions import largest
from gpunn.ops.tensor import Tensor, constant, ops

from .loss import BothAtOnce

__all__ = ["ElementLoss"]


class _StatedLoss(Stated, BothAtOnce):
    """Base class of both kinds."""

    _not_watched = Stated._not_watched | BothAtOnce._not_watched
    states_slope = False
    mean = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.states_slope = cls.slope is not _StatedLoss.slope

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the derivative of `cost` with respect to the prediction."""
        from gpunn.ops.library.derivatives import derivative  # most losses state theirs

        return derivative(lambda y: self.cost(t, y), y)

    def _functions(self, dtype: str) -> tuple[Function, Function]:
        """Return a function for costs alone, and one for costs and slopes."""
        from gpunn.ops.fusion.formulas import recorded  # kernels compute most losses

        rows = isinstance(self, RowLoss)
        arrays, numbers = ["t", "y"], ["classes"] if rows else []
        alone, both = (
            recorded(self, method, arrays, numbers, rows, dtype) for method in ("_cost", "_both")
        )
        return (
            function(alone, [*arrays, *numbers], {"cost": "costs"}),
            function(both, [*arrays, *numbers], {"cost": "costs", "slope": "slopes"}),
        )

    def _cost(self, t: Tensor, y: Tensor, *classes: Tensor) -> dict[str, Tensor]:
        return {"cost": self.cost(self.target(t, *classes), y)}

    def _both(self, t: Tensor, y: Tensor, *classes: Tensor) -> dict[str, Tensor]:
        return self.both(self.target(t, *classes), y)

    def both(self, t: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return `cost` and `slope` for targets as they are."""
        cost = self.cost(t, y)
        if self.states_slope:
            return {"cost": cost, "slope": self.slope(t, y)}
        (slope,) = gradients([cost], [y])  # common parts are computed once
        return {"cost": cost, "slope": ops.zeros_like(y) if slope is None else slope}

    def slope_of_rows(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the derivative (rows, n) of the value of each row by its predictions."""
        classes = constant(float(y.shape[-1]), y.dtype)
        slope = self.both(self.target(t, classes), y)["slope"]
        return slope / y.shape[-1] if self.mean else slope

    def slope_of_targets(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the derivative (rows, n) of the value of each row by its targets."""
        classes = constant(float(y.shape[-1]), y.dtype)

        def costs(t: Tensor) -> Tensor:
            return ops.sum(self.cost(self.target(t, classes), y))

        (slope,) = gradients_of(costs, [t], constant(1.0, y.dtype))
        assert slope is not None
        return slope / y.shape[-1] if self.mean else slope

    def target(self, t: Tensor, *classes: Tensor) -> Tensor:
        """Return the targets for `cost` and `slope`, maybe smoothed; a row has ``classes``."""
        return t


class ElementLoss(_StatedLoss):
    """Base class of losses whose row values are means (or sums) of element-wise costs.

    A subclass defines `cost` with `gpunn.ops`, and gpunn derives its gradient. It may define
    `elements`, on arrays, instead.

    Args:
        reduction, name, dtype: see `Loss`.

    Attributes:
        mean: False if a row's value is the sum over its elements.

    >>> from gpunn import losses, ops
    >>> class _Quartic(losses.ElementLoss):
    ...     def cost(self, y_true, y_pred):
    ...         return ops.square(ops.square(y_pred - y_true))
    >>> float(_Quartic()([[1.0, 2.0]], [[1.0, 4.0]]))
    8.0
    """

    _abstract = True
    mean = True
    _refused: ClassVar[Mapping[str, str]] = {
        "slope": "write cost(y_true, y_pred), which gpunn differentiates, or elements(backend, "
        "y_true, y_pred, terms, slopes)"
    }

    def __init_subclass__(cls) -> None:
        if "cost" in vars(cls) and "call" not in vars(cls) and not is_framework(cls):
            cls.call = _mean_cost  # type: ignore[assignment,method-assign]
        super().__init_subclass__()

    def cost(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the cost of each element."""
        raise TypeError(
            f"{type(self).__name__} must define cost(y_true, y_pred), in terms of gpunn.ops, or "
            f"elements(backend, y_true, y_pred, terms, slopes)."
        )

    def elements(
        self, backend: Backend, y_true: Array, y_pred: Array, terms: Array, slopes: Array | None
    ) -> None:
        """terms = the cost of each element; slopes, unless None, the derivatives.

        All are (rows, n). ``terms`` and ``slopes`` are different arrays.
        """
        costs, both = self.in_place(y_pred.dtype.name)
        if slopes is None:
            costs(backend, y_true, y_pred, terms)
        else:
            both(backend, y_true, y_pred, terms, slopes)

    def forward_backward(
        self, backend: Backend, y_true: Array, y_pred: Array, values: Array, gradient: Array | None
    ) -> None:
        terms = backend.scratch(y_pred.shape, y_pred.dtype, "terms")
        self.elements(backend, y_true, y_pred, terms, gradient)
        backend.row_sums(terms, values)
        n = y_pred.shape[-1]
        if self.mean and n > 1:
            backend.xp.divide(values, n, out=values)
            if gradient is not None:
                backend.xp.divide(gradient, n, out=gradient)


def _mean_cost(loss: ElementLoss, y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`Loss.call` of a custom loss that defines `cost`."""
    return (ops.mean if loss.mean else ops.sum)(loss.cost(y_true, y_pred), -1)


class RowLoss(_StatedLoss):
    """Base class of losses whose formula uses sums over a row, or its largest element."""

    _abstract = True

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the cost of each row; (rows, n) -> (rows, 1)."""
        raise NotImplementedError

    def forward_backward(
        self, backend: Backend, y_true: Array, y_pred: Array, values: Array, gradient: Array | None
    ) -> None:
        costs, both = self.in_place(y_pred.dtype.name)
        if gradient is None:
            costs(backend, y_true, y_pred, y_pred.shape[-1], values)
        else:
            both(backend, y_true, y_pred, y_pred.shape[-1], values, gradient)


def row_sum(x: Tensor) -> Tensor:
    """(rows, n) -> (rows, 1)."""
    return ops.sum(x, -1, keepdims=True)


def row_max(x: Tensor) -> Tensor:
    """(rows, n) -> (rows, 1)."""
    return largest(x, -1)


def one_for_zero(x: Tensor) -> Tensor:
    """Return x with 1 instead of 0, for use as a divisor."""
    return x + ops.cast(x == 0.0, x.dtype)

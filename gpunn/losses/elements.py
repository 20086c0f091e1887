"""Losses whose formula is stated once, with `gpunn.ops`: for an element, or for a row of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.overrides import is_framework
from gpunn.ops.fusion.formulas import Formula, Recorder
from gpunn.ops.fusion.in_place import Function, Stated, function
from gpunn.ops.gradients import gradients
from gpunn.ops.reductions import largest
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .loss import BothAtOnce

__all__ = ["ElementLoss"]


class _StatedLoss(Stated, BothAtOnce):
    """What both kinds have in common."""

    abstract = True
    _not_watched = Stated._not_watched | BothAtOnce._not_watched

    def _functions(self, dtype: str) -> tuple[Function, Function]:
        """What gives costs alone, and what gives costs and slopes."""
        given = ["t", "y", "classes"] if isinstance(self, RowLoss) else ["t", "y"]
        costs = recorded(self, dtype, outputs=("cost",))
        return (
            function(costs, given, {"cost": "costs"}),
            function(recorded(self, dtype), given, {"cost": "costs", "slope": "slopes"}),
        )


class ElementLoss(_StatedLoss):
    """A loss whose rows' values are means (or sums) of what each element costs by itself.

    A subclass writes `cost`, in terms of `gpunn.ops`; its derivative follows. On arrays it may
    write `elements` instead.

    Attributes:
        mean: False if a row's value is the sum over its elements.

    >>> from gpunn import losses, ops
    >>> class _Quartic(losses.ElementLoss):
    ...     def cost(self, y_true, y_pred):
    ...         return ops.square(ops.square(y_pred - y_true))
    >>> float(_Quartic()([[1.0, 2.0]], [[1.0, 4.0]]))
    8.0
    """

    abstract = True
    mean = True
    refused: ClassVar[Mapping[str, str]] = {
        "slope": "write cost(y_true, y_pred), whose derivative follows, or elements(backend, "
        "y_true, y_pred, terms, slopes)"
    }

    def __init_subclass__(cls) -> None:
        if "cost" in vars(cls) and "call" not in vars(cls) and not is_framework(cls):
            cls.call = _mean_cost  # type: ignore[assignment,method-assign]
        super().__init_subclass__()

    def cost(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """What each element costs."""
        raise TypeError(
            f"{type(self).__name__} must define cost(y_true, y_pred), in terms of gpunn.ops, or "
            f"elements(backend, y_true, y_pred, terms, slopes)."
        )

    def slope(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The derivative of `cost` by the prediction."""
        (found,) = gradients([self.cost(y_true, y_pred)], [y_pred])
        return ops.zeros_like(y_pred) if found is None else found

    def elements(
        self, backend: Backend, y_true: Array, y_pred: Array, terms: Array, slopes: Array | None
    ) -> None:
        """terms = what each element costs; slopes, unless None, their derivatives.

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
    """`Loss.call` of a loss of a user's that states `cost`."""
    return (ops.mean if loss.mean else ops.sum)(loss.cost(y_true, y_pred), -1)


class RowLoss(_StatedLoss):
    """A loss whose formula takes sums over its row, or the largest number in it."""

    abstract = True

    def target(self, t: Tensor, classes: Any) -> Tensor:
        """What `cost` and `slope` get as targets: smoothed, maybe. A row has ``classes``."""
        return t

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        """What each row costs; (rows, n) -> (rows, 1)."""
        raise NotImplementedError

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        """The derivative of `cost` by the prediction; (rows, n) -> (rows, n)."""
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
    """1 where x is 0, to be divided by."""
    return x + ops.cast(x == 0.0, x.dtype)


def recorded(
    loss: Any,
    dtype: str = "float64",
    read_by: Callable[[Any, Recorder], Any] = lambda loss, recorder: loss,
    names: Mapping[int, str] = MappingProxyType({}),
    outputs: tuple[str, ...] = ("cost", "slope"),
    smoothed: bool = True,
) -> Formula:
    """What an element (or a row) costs, "cost", and its derivative, "slope", of "t" and "y".

    Args:
        dtype, read_by: as for `gpunn.activations.on_arrays.recorded`.
        names: see `Recorder.record`.
        outputs: which of the two.
        smoothed: whether it is of targets as they come, if those of a `RowLoss` are smoothed.

    Raises:
        TypeError: if they do more than work on single numbers (or on rows).
    """
    cls, of_rows = type(loss), isinstance(loss, RowLoss)
    recorder = Recorder(dtype, of_rows)
    part, t, y = read_by(loss, recorder), recorder.array("t"), recorder.array("y")

    def both() -> dict[str, Tensor]:
        target = t
        if of_rows and smoothed:
            target = cls.target(part, t, recorder.number("classes"))
        return {name: getattr(cls, name)(part, target, y) for name in outputs}

    return recorder.record(both, lambda found: found, names=names)


def recorded_target(
    loss: RowLoss,
    dtype: str,
    read_by: Callable[[Any, Recorder], Any],
    names: Mapping[int, str],
) -> dict[str, Formula]:
    """What a `RowLoss` makes of targets, as "target" of "t" and "classes"; none if nothing."""
    recorder = Recorder(dtype)
    part, t = read_by(loss, recorder), recorder.array("t")
    classes = recorder.array("classes")
    formula = recorder.record(type(loss).target, lambda x: {"": x}, part, t, classes, names=names)
    return {"target": formula} if formula.outputs[""].operands else {}

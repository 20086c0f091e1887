"""Losses of which each element costs something by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.overrides import is_framework
from gpunn.ops.fusion.formulas import Formula, Recorder
from gpunn.ops.fusion.in_place import Function, InPlace, function
from gpunn.ops.gradients import gradients
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .loss import BothAtOnce

__all__ = ["ElementLoss"]


class ElementLoss(BothAtOnce):
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
    _not_watched = frozenset({"_on_arrays"})
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
        found: InPlace | None = self.__dict__.get("_on_arrays")
        if found is None or not found.is_of(self):
            found = self.__dict__["_on_arrays"] = InPlace(self, _functions)
        costs, both = found.of(y_pred.dtype.name)
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

    def __getstate__(self) -> dict[str, Any]:
        return {name: x for name, x in vars(self).items() if name != "_on_arrays"}


def _mean_cost(loss: ElementLoss, y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`Loss.call` of a loss of a user's that states `cost`."""
    return (ops.mean if loss.mean else ops.sum)(loss.cost(y_true, y_pred), -1)


def recorded(
    loss: Any,
    dtype: str = "float64",
    read_by: Callable[[Any, Recorder], Any] = lambda loss, recorder: loss,
    names: Mapping[int, str] = MappingProxyType({}),
    outputs: tuple[str, ...] = ("cost", "slope"),
) -> Formula:
    """What an element costs, "cost", and its derivative, "slope", of "t" and "y".

    Args:
        dtype, read_by: as for `gpunn.activations.on_arrays.recorded`.
        names: see `Recorder.record`.
        outputs: which of the two.

    Raises:
        TypeError: if they do more than work on single numbers.
    """
    recorder = Recorder(dtype)
    part, t, y = read_by(loss, recorder), recorder.array("t"), recorder.array("y")

    def both() -> dict[str, Tensor]:
        return {name: getattr(type(loss), name)(part, t, y) for name in outputs}

    return recorder.record(both, lambda found: found, names=names)


def _functions(loss: Any, dtype: str) -> tuple[Function, Function]:
    costs = recorded(loss, dtype, outputs=("cost",))
    return (
        function(costs, ["t", "y"], {"cost": "terms"}),
        function(recorded(loss, dtype), ["t", "y"], {"cost": "terms", "slope": "slopes"}),
    )

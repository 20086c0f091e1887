"""Protocols of the formulas that operations apply, as seen by a backend.

Each has a ``functor``, the name of its C++ functor in ``kernels/formulas/`` (None for a
custom one), and ``parameters``, the numbers that the functor takes. Its methods compute the same
with ``backend.xp`` and ``out=``. The classes are in `gpunn.activations`, `gpunn.losses` and so on:
a backend knows them only by these protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .device import Array


class FormulaProtocol(Protocol):
    """The common part of all formulas."""

    @property
    def functor(self) -> str | None: ...

    @property
    def parameters(self) -> tuple[float, ...]: ...

    @property
    def _of_tensors(self) -> bool:
        """Whether operations on tensors define it: it then calls only operations and array
        functions, the same each time, and takes targets of any shape. Otherwise the kernels or
        passes on arrays do."""


class ActivationProtocol(FormulaProtocol, Protocol):
    """y = f(x), and dx = dy * f'. See `gpunn.activations.Activation`."""

    @property
    def saves(self) -> str:
        """What the gradient reads: the "input" or the "output"."""

    @property
    def rowwise(self) -> bool:
        """Whether an element of y depends on its whole row of x."""

    def forward(self, backend: Any, x: Array, out: Array) -> None: ...

    def backward(self, backend: Any, saved: Array, dy: Array, out: Array) -> None: ...


class Linear:
    """y = x: what an operation is given that applies no activation."""

    functor, saves = "Linear", "output"
    parameters: tuple[float, ...] = ()
    _of_tensors = rowwise = False

    def forward(self, backend: Any, x: Array, out: Array) -> None:
        if out is not x:  # in place there is nothing to do
            backend.xp.copyto(out, x)

    def backward(self, backend: Any, saved: Array, dy: Array, out: Array) -> None:
        if out is not dy:
            backend.xp.copyto(out, dy)


LINEAR: ActivationProtocol = Linear()


class LossProtocol(FormulaProtocol, Protocol):
    """A value for each row, and its gradient. See `gpunn.losses.Loss`."""

    @property
    def sparse(self) -> bool:
        """Whether the targets are class indices (rows,) instead of (rows, classes)."""

    @property
    def counts_matches(self) -> bool:
        """Whether it counts the rows whose largest prediction is at the true class."""

    @property
    def _functor_of_rows(self) -> str | None:
        """The functor for rows of any class, of a loss that ignores one."""

    def forward_backward(
        self, backend: Any, y_true: Array, y_pred: Array, values: Array, gradient: Array | None
    ) -> None: ...


class MetricProtocol(FormulaProtocol, Protocol):
    """Sums over batches. See `gpunn.metrics.Metric`."""

    @property
    def sparse(self) -> bool | None:
        """Whether the targets are class indices; None if it takes both."""

    @property
    def state_size(self) -> int:
        """The number of its sums."""

    def accumulate(
        self, backend: Any, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None: ...


class ScheduleProtocol(FormulaProtocol, Protocol):
    """A learning rate as a function of the step. See `gpunn.optimizers.schedules`."""

    def __call__(self, step: Any) -> float: ...


class ConstraintProtocol(FormulaProtocol, Protocol):
    """A constraint applied to weights in place. See `gpunn.constraints`."""

    def apply(self, backend: Any, w: Array) -> None: ...


class OptimizerProtocol(FormulaProtocol, Protocol):
    """The update rule of weights. See `gpunn.optimizers.Optimizer`."""

    @property
    def slot_names(self) -> Sequence[str]:
        """The names of the arrays that it keeps besides the weights."""

    @property
    def schedules(self) -> Mapping[int, ScheduleProtocol]:
        """Schedules by the index in `Control.rates` that each of them writes."""

    @property
    def steps_per_update(self) -> int: ...

    @property
    def ema_momentum(self) -> float: ...

    @property
    def ema_overwrite_frequency(self) -> int | None: ...

    def update(
        self, backend: Any, w: Array, g: Array, slots: dict[str, Array], learning_rate: Any,
        updates: Any, decay: bool,
    ) -> None: ...

    def _update_by_tensors(self, backend: Any, storage: Any, control: Any) -> None:
        """Issue the operations of an update, of one that is ``_of_tensors``."""

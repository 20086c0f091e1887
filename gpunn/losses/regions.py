"""Losses of regions, such as those that a network marks in pictures: how little they overlap."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_number
from gpunn.common.config import epsilon
from gpunn.common.fields import field
from gpunn.ops.shapes import axis_of, listed, whole
from gpunn.ops.tensor import Tensor, ops

from .loss import ReductionFirst


def _check_axes(name: str, value: Any) -> Any:
    if value is None:
        return None
    axes = [whole(axis, name) for axis in listed(value)]
    return axes if isinstance(value, (list, tuple)) else axes[0]


class _Overlap(ReductionFirst):
    """Base class of both, with sums over axes or over all."""

    predictions = "probabilities"

    axis: Any = field(default=None, check=_check_axes, kw_only=True, placed=True, after="name")

    def _axes(self, ndim: int) -> tuple[int, ...]:
        if self.axis is None:
            return tuple(range(ndim))
        return tuple(axis_of(axis, ndim) for axis in listed(self.axis))

    def _joins_samples(self, ndim: int) -> bool:
        return 0 in self._axes(ndim)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        self.check(y_true.shape, y_pred.shape)
        axes = self._axes(y_pred.ndim)
        both, true, pred = (ops.sum(x, axes) for x in (y_true * y_pred, y_true, y_pred))
        return 1.0 - self._share(both, true, pred)

    def _share(self, both: Tensor, true: Tensor, pred: Tensor) -> Tensor:
        raise NotImplementedError


class Dice(_Overlap):
    """``l = 1 - 2 sum(t y) / (sum(t) + sum(y) + 1e-7)``: 0 where two regions are the same.

    Targets t and predictions y say of each place, such as a pixel, how far it belongs to the
    region, from 0 to 1. Both have one shape (batch, ...). The sums are over all places of a batch,
    as in Keras, or over axes: those of ``axis=(1, 2, 3)`` give each picture its own value.

    A value of a whole batch takes no weights of samples, and cannot be computed by several
    processes, of which each has a part: then an error asks for axes without 0. With other axes
    than samples the values are averaged.

    Args:
        axis: an axis or several, counted with that of the batch; None means all.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: when called, for shapes that do not match, or an axis that is not there.

    Source: Milletari, Navab and Ahmadi, V-Net, 2016.

    >>> from gpunn.losses import Dice
    >>> round(float(Dice()([[1.0, 0.0]], [[0.5, 0.5]])), 6)
    0.5
    """

    examples = ({"axis": -1}, {"axis": [-1], "reduction": "sum"})

    name = "dice"

    def _share(self, both: Tensor, true: Tensor, pred: Tensor) -> Tensor:
        return 2.0 * both / (true + pred + epsilon())


class Tversky(_Overlap):
    """``l = 1 - s / (s + alpha sum(t (1 - y)) + beta sum(y (1 - t)) + 1e-7)``, with s = sum(t y).

    `Dice` with weights of what one of both regions has alone; with 1/2 and 1/2 they are the same.

    Args:
        alpha: weight of places that the prediction lacks.
        beta: weight of places that it has too much.

    Shapes, the other arguments and errors: as for `Dice`. Source: Salehi, Erdogmus and Gholipour,
    Tversky loss function for image segmentation, 2017.

    >>> from gpunn.losses import Tversky
    >>> round(float(Tversky()([[1.0, 0.0]], [[0.5, 0.5]])), 6)
    0.5
    """

    examples = ({"axis": -1}, {"alpha": 0.25, "beta": 0.75, "axis": -1})

    alpha: float = field(default=0.5, check=check_number)
    beta: float = field(default=0.5, check=check_number)
    name = "tversky"

    def _share(self, both: Tensor, true: Tensor, pred: Tensor) -> Tensor:
        return both / (both + (true - both) * self.alpha + (pred - both) * self.beta + epsilon())

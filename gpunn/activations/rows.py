"""Activations of a whole row: softmax and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.fields import field

from .activation import Activation
from .properties import INFINITY, Properties


def _check_axis(name: str, value: Any) -> int | tuple[int, ...]:
    return value if isinstance(value, int) else tuple(value)


class _Rowwise(Activation):
    """Works along an axis. Along the last one kernels do it; others are the slow path.

    Args:
        axis: the axis of the sum, or several.
    """

    rowwise = True

    axis: int | Sequence[int] = field(default=-1, check=_check_axis)

    def __post_init__(self) -> None:
        if self.axis not in (-1, (-1,)):
            self.functor = None
            along_the_last = type(self)()
            vars(self).update(  # in the place of the class's methods
                forward=partial(self._on_rows, along_the_last.forward),
                backward=partial(self._on_rows, along_the_last.backward),
            )

    def _on_rows(self, formula: Any, backend: Backend, *arrays: Array) -> None:
        """formula(backend, *rows): of all arrays, with the axes of the sum as the last one. The
        last array is written."""
        xp = backend.xp
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        n = len(axes)
        views = [xp.moveaxis(array, axes, range(-n, 0)) for array in arrays]
        shape = views[0].shape
        size = math.prod(shape[-n:])
        rows = [
            backend.scratch((array.size // size, size), array.dtype, f"rows {i}")
            for i, array in enumerate(arrays)
        ]
        for row, view in zip(rows[:-1], views, strict=False):
            xp.copyto(row.reshape(shape), view)
        formula(backend, *rows)
        xp.copyto(views[-1], rows[-1].reshape(shape))


class Softmax(_Rowwise):
    """f(x)_i = exp(x_i) / sum_j exp(x_j), along the last axis.

    The largest x of the row is subtracted first, so that nothing overflows. With
    dy the gradient of the output y: dx = y (dy - sum_j dy_j y_j).

    Args:
        axis: the axis of the sum, or several, counted with the batch axis.

    Source: Bridle, Probabilistic interpretation of feedforward classification network
    outputs, 1990.

    >>> from gpunn import activations
    >>> activations.softmax([[1e4, 1e4]]).tolist()
    [[0.5, 0.5]]
    """

    functor = "Softmax"
    properties = Properties((0, 1), True, (0, 0), (0, 1))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        row = backend.scratch((*x.shape[:-1], 1), x.dtype, "row")
        backend.row_max(x, row)
        xp.subtract(x, row, out=out)
        xp.exp(out, out=out)
        backend.row_sums(out, row)
        xp.divide(out, row, out=out)

    def backward(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        product = backend.scratch(saved.shape, saved.dtype, "product")
        row = backend.scratch((*saved.shape[:-1], 1), saved.dtype, "row")
        xp.multiply(dy, saved, out=product)
        backend.row_sums(product, row)
        xp.subtract(dy, row, out=out)
        xp.multiply(out, saved, out=out)


class LogSoftmax(_Rowwise):
    """f(x)_i = x_i - log(sum_j exp(x_j)), along the last axis: the logarithm of softmax.

    With dy the gradient of the output y: dx = dy - exp(y) sum_j dy_j. Its outputs are
    logits too: a cross-entropy behind it needs ``from_logits=True``.

    Args:
        axis: the axis of the sum, or several, counted with the batch axis.

    >>> from gpunn import activations
    >>> print(activations.log_softmax([[1e4, 1e4]]).round(4))
    [[-0.6931 -0.6931]]
    """

    functor = "LogSoftmax"
    properties = Properties((-INFINITY, 0), True, (1, 0), (0, 0))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        row = backend.scratch((*x.shape[:-1], 1), x.dtype, "row")
        terms = backend.scratch(x.shape, x.dtype, "terms")
        backend.row_max(x, row)
        xp.subtract(x, row, out=out)
        xp.exp(out, out=terms)
        backend.row_sums(terms, row)
        xp.log(row, out=row)
        xp.subtract(out, row, out=out)

    def backward(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        row = backend.scratch((*saved.shape[:-1], 1), saved.dtype, "row")
        share = backend.scratch(saved.shape, saved.dtype, "share")
        backend.row_sums(dy, row)
        xp.exp(saved, out=share)
        xp.multiply(share, row, out=share)
        xp.subtract(dy, share, out=out)

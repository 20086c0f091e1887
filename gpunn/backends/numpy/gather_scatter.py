"""Gather and scatter of rows by index on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.gather_scatter import Check
from gpunn.backends.host.program import TracingBackend
from gpunn.backends.host.trace import without_blas

_MERGING: dict[str, Any] = {"Sum": np.add, "Largest": np.maximum}


class NumpyGatherScatter(TracingBackend):
    """Gather and scatter of rows; a part of `NumpyBackend`."""

    def _take_rows(self, call: OpCall) -> None:
        out, outer, count, inner = call.out, call.outer, call.count, call.inner
        if not call.n:
            self._do(np.copyto, out, 0)
        elif out.size:
            # With a set for each of `outer`, take from the flattened axes outer and n.
            apart = call.sets > 1
            axis = (outer * call.n, inner) if apart else (outer, call.n, inner)
            rows = (outer * count, inner) if apart else (outer, count, inner)
            numbers = self.scratch((call.sets, count), np.intp, "numbers of places")
            starts = self._starts(outer, call.n) if apart else None
            self._do(_take, call, call.x.reshape(axis), out.reshape(rows), starts, numbers)

    def _scatter_rows(self, call: OpCall) -> None:
        if not (call.rows.size and call.n):
            return
        numbers = self.scratch((call.sets, call.count), np.intp, "numbers of places")
        elements = self.scratch(call.rows.shape, np.intp, "elements of rows")
        starts, columns = self._starts(call.outer, call.n), self._starts(call.inner, 1)
        self._do(_scatter, call, numbers, elements, starts, columns.reshape(-1))

    def _starts(self, count: int, step: int) -> Array:
        """Return 0, step, 2 step ..., of shape (count, 1)."""
        return self.scratch(
            (count, 1), np.intp, f"steps of {step}",
            lambda array: np.copyto(array[:, 0], np.arange(count) * step),
        )

    def _check_range(self, call: OpCall) -> None:
        self._do(_look, call.x, call.check)


def _number(call: OpCall, numbers: Array) -> Array | None:
    """Write the normalized indices of a call; return a mask of those in range, or None if all
    are."""
    np.copyto(numbers, call.places)
    if call.places.view(np.uint32).max() < call.n:  # negative ones would be the largest
        return None
    if call.wraps:
        numbers[numbers < 0] += call.n
    inside = (numbers >= 0) & (numbers < call.n)
    if inside.all():
        return None
    numbers[~inside] = 0
    return inside


@without_blas
def _take(call: OpCall, x: Array, rows: Array, starts: Array | None, numbers: Array) -> None:
    inside = _number(call, numbers)
    if starts is not None:
        np.add(numbers, starts, out=numbers)
    # "clip" because "raise" would buffer the output; all are inside.
    x.take(numbers.reshape(-1), x.ndim - 2, rows, "clip")
    if inside is not None:
        call.out[~np.broadcast_to(inside, call.out.shape[:2])] = 0


@without_blas
def _scatter(call: OpCall, numbers: Array, elements: Array, starts: Array, columns: Array) -> None:
    inside, rows = _number(call, numbers), call.rows
    np.add(numbers, starts, out=elements[:, :, 0])
    if call.inner > 1:
        np.multiply(elements[:, :, :1], call.inner, out=elements[:, :, :1])
        np.add(elements[:, :, :1], columns, out=elements)
    if inside is not None:
        chosen = np.broadcast_to(inside, (call.outer, call.count))
        elements, rows = elements[chosen], rows[chosen]
    if call.merging == "Last":
        call.out.reshape(-1)[elements.reshape(-1)] = rows.reshape(-1)
        return
    # Element by element, in order: NumPy is fastest this way.
    _MERGING[call.merging].at(call.out.reshape(-1), elements.reshape(-1), rows.reshape(-1))


@without_blas
def _look(x: Array, check: Check) -> None:
    if not x.size:
        return
    if x.dtype == np.int32 and check.low == 0:  # negative numbers are the largest
        if np.maximum.reduce(x.reshape(-1).view(np.uint32)) <= check.high:
            return
    elif x.min() >= check.low and x.max() <= check.high:
        return
    others = x[~((x >= check.low) & (x <= check.high))]
    least = np.fmin.reduce(others)  # NaN counts as the largest
    raise check.complaint(others.size, float(least), float(others.max()))

"""Operations that gather and scatter rows by index, as ONNX operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.tensor import Tensor

from .formulas import NotExportable

Graph = Any  # an `OnnxGraph`, which has these operators


def checked(graph: Graph, t: Tensor, x: str) -> str:
    """Return the indices unchanged: the operators that use them check them, too. For a cast, where
    nothing else checks them, raise NotExportable."""
    if t.attributes["error"] is OverflowError:
        raise NotExportable("a cast to integers that int32 holds only in part")
    return x


def taken(graph: Graph, t: Tensor, x: str, places: str) -> str:
    """Export `take`. Out-of-range rows are zeros, unless indices count from the end."""
    axis, along = int(t.attributes["axis"]), t.attributes["along"]
    gather = "GatherElements" if along else "Gather"
    if t.attributes["wraps"]:
        return graph.add(gather, x, places, axis=axis)
    inside = _inside(graph, places, t.inputs[0].shape[axis])
    first = graph.constant(np.int32(0))
    rows = graph.add(gather, x, graph.add("Where", inside, places, first), axis=axis)
    if not along:
        behind = range(1, t.ndim - axis)
        inside = graph.add("Unsqueeze", inside, graph.integers(behind)) if behind else inside
    return graph.add("Where", inside, rows, graph.constant(np.zeros((), t.dtype)))


def put(graph: Graph, t: Tensor, before: str, rows: str, places: str) -> str:
    """Export `scatter`: add values to the existing ones, or keep the larger ones. Indices along the
    batch are NotExportable."""
    given = t.attributes
    n, axis, along = given["shape"][given["axis"]], int(given["axis"]), given["along"]
    if not n or n % graph.batch == 0 or (axis and not along):
        raise NotExportable("rows scattered to indices of the batch")
    if not t.inputs[0].ndim:
        before = graph.filled(before, given["shape"])
    if not given["wraps"]:  # out-of-range rows go to an extra last row, which is cut off
        inside = _inside(graph, places, n)
        places = graph.add("Where", inside, places, graph.constant(np.int32(n)))
        widths = [0] * (2 * t.ndim)
        widths[t.ndim + axis] = 1
        before = graph.add("Pad", before, graph.integers(widths))
    if given["merging"] == "Largest":
        found = _largest(graph, t, before, rows, places, n + (not given["wraps"]))
    elif along:
        numbers = graph.add("Cast", places, to=7)
        found = graph.add("ScatterElements", before, numbers, rows, axis=axis, reduction="add")
    else:
        numbers = graph.add("Unsqueeze", graph.add("Cast", places, to=7), graph.integers([-1]))
        found = graph.add("ScatterND", before, numbers, rows, reduction="add")
    if given["wraps"]:
        return found
    return graph.add("Slice", found, *map(graph.integers, ([0], [n], [axis])))


def _largest(graph: Graph, t: Tensor, before: str, rows: str, places: str, n: int) -> str:
    """Emulate a reduction that ONNX has from opset 18: the indices become a boolean matrix."""
    if t.attributes["along"]:
        raise NotExportable("the largest at indices that differ from row to row")
    if t.attributes["wraps"]:
        below = graph.add("Less", places, graph.constant(np.int32(0)))
        behind = graph.add("Add", places, graph.constant(np.int32(n)))
        places = graph.add("Where", below, behind, places)
    column = graph.add("Unsqueeze", places, graph.integers([1]))
    own = graph.add("Equal", column, graph.constant(np.arange(n, dtype=np.int32)))
    own = graph.add("Unsqueeze", own, graph.integers(range(2, t.ndim + 1)))
    each = graph.add("Unsqueeze", rows, graph.integers([1]))
    all_before = graph.add("Unsqueeze", before, graph.integers([0]))
    chosen = graph.add("Where", own, each, all_before)  # (count, n, ...)
    every = graph.add("Concat", chosen, all_before, axis=0)
    return graph.add("ReduceMax", every, axes=[0], keepdims=0)


def _inside(graph: Graph, places: str, n: int) -> str:
    """Return a mask of the indices from 0 to n - 1."""
    if n % graph.batch == 0:
        raise NotExportable("rows taken from indices of the batch")
    above = graph.add("GreaterOrEqual", places, graph.constant(np.int32(0)))
    return graph.add("And", above, graph.add("Less", places, graph.constant(np.int32(n))))


OPERATORS: dict[str, Any] = {"check": checked, "take": taken, "scatter": put}

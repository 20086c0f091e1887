"""Scans as ONNX operators: the operators of each step, one after the other."""

from __future__ import annotations

from typing import Any

from gpunn.ops.loops.loop import Loop
from gpunn.ops.tensor import Tensor

from .formulas import NotExportable

Graph = Any  # an `OnnxGraph`, which has these operators


def scanned(graph: Graph, t: Tensor, *inputs: str) -> dict[Any, str]:
    """Return the names of the results of a scan by their kind and number, or raise NotExportable
    for a scan over the samples."""
    loop: Loop = t.attributes["loop"]
    if loop.length % graph.batch == 0:
        raise NotExportable("a scan over the samples of the batch")
    now, kept = list(inputs[: len(loop.carries)]), []
    carried = [now]
    sequences = inputs[len(loop.carries) :]
    for step in range(loop.length):
        at = graph.integers([loop.length - 1 - step if loop.reverse else step])
        with graph.names_put_back():
            for leaf, name in zip(loop.carries, now, strict=True):
                graph.put(leaf, name)
            for leaf, name in zip(loop.rows, sequences, strict=False):
                row = graph.add("Gather", name, at, axis=0)
                graph.put(leaf, graph.add("Squeeze", row, graph.integers([0])))
            now = [graph.name_of(x) for x in loop.nexts]
            rows = [graph.name_of(x) for x in loop.kept]
        carried.append(now)
        kept.append([graph.add("Unsqueeze", row, graph.integers([0])) for row in rows])
    found: dict[Any, str] = {("last", k): name for k, name in enumerate(now)}
    axis = graph.integers([0])
    all_carried = [[graph.add("Unsqueeze", x, axis) for x in names] for names in carried]
    for kind, rows in (("all", kept), ("history", all_carried)):
        columns = zip(*rows[:: -1 if loop.reverse else 1], strict=True)
        found |= {
            (kind, k): graph.add("Concat", *column, axis=0) for k, column in enumerate(columns)
        }
    return found


def result(graph: Graph, t: Tensor, results: dict[Any, str]) -> str:
    """Return the name of one result."""
    return results[t.attributes["kind"], t.attributes["number"]]


def steps(graph: Graph, t: Tensor, rows: str, results: Any) -> str:
    """Return the name of what is carried into each step, or out of it."""
    start = t.attributes["start"]
    ends = graph.integers([start]), graph.integers([start + t.attributes["length"]])
    return graph.add("Slice", rows, *ends, graph.integers([0]))


OPERATORS: dict[str, Any] = {"scan": scanned, "result of a loop": result, "steps of a loop": steps}

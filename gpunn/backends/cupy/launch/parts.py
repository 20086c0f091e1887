"""Matrix products and sums of columns as parts of kernels.

In a persistent kernel all of them are. In the launches of a fused step the small ones are, such as
the products of an output layer with few classes. Each takes longer to launch than to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn.backends.contract.backend import Array

from .codegen import BLOCK
from .modes import MOST_SUMMED, LaunchModeError
from .tasks import PartTask, Product, SumOverRanks, Task, region


def as_parts(tasks: Sequence[Task]) -> list[Task]:
    """Return the same tasks, with parts instead of the library's products.

    Raises:
        LaunchModeError: if there is no part for a product.
    """
    strided_offset = _offsets(tasks)
    return [_part_of(task, strided_offset) for task in tasks]


def with_small_parts(tasks: Sequence[Task]) -> list[Task]:
    """Return the same tasks, with parts instead of small products, and of sums over few rows: they
    share launches with others."""
    strided_offset = _offsets(tasks)
    return [_part_of(task, strided_offset) if _is_small(task) else task for task in tasks]


def _is_small(task: Task) -> bool:
    if task.name == "column_sums":
        rows = int(task.arguments[1])
        return rows <= MOST_SUMMED
    return isinstance(task, Product) and task.is_small


def _offsets(tasks: Sequence[Task]) -> Callable[[Array], int]:
    """Return the argument ``strided_offset`` of a gradient: its offset in all gradients.

    An element of a gradient is computed by the thread that will update its weight, so that no
    thread has to wait in between.
    """
    updates = [task for task in tasks if task.name == "update"]
    gradients = region(updates[0].arguments[1], False) if updates else None

    def strided_offset(out: Array) -> int:
        start = region(out, False).start
        inside = gradients and gradients.start <= start < gradients.stop
        return (start - gradients.start) // out.itemsize if gradients and inside else 0

    return strided_offset


def _part_of(task: Task, strided_offset: Callable[[Array], int]) -> Task:
    part = task
    if task.name == "column_sums":
        x, rows, features, accumulate, out = task.arguments
        values = {
            "dz": x, "rows": rows, "outputs": features, "strided_offset": strided_offset(out),
            "accumulate": accumulate, "out": out,
        }
        part = PartTask("sums_of_columns", out.size, values)
    elif isinstance(task, Product):
        part = _part_of_product(task, strided_offset)
    elif isinstance(task, SumOverRanks):
        raise LaunchModeError("a library sums its gradients over the ranks")
    part.operation = task.operation
    return part


def _part_of_product(task: Product, strided_offset: Callable[[Array], int]) -> Task:
    # A precision is what a library may round factors to: these products stay float32.
    a, b, out, transpose_a, transpose_b, accumulate, _, _ = task.matmul
    if (transpose_a and transpose_b) or out.ndim > 2:
        raise LaunchModeError("one of its products needs the library")
    values: dict[str, Any] = {"accumulate": accumulate, "out": out}
    if transpose_a:
        values |= {"x": a, "dz": b, "rows": len(a), "inputs": out.shape[0]}
        values |= {"outputs": out.shape[1], "strided_offset": strided_offset(out)}
        return PartTask("matmul_tn", out.size, values)
    if transpose_b:
        values |= {"dz": a, "w": b, "rows": len(out), "inputs": out.shape[1]}
        values |= {"outputs": a.shape[1]}
        return PartTask("matmul_nt", out.size, values, len(out))
    values |= {"x": a, "w": b, "rows": len(out), "inputs": a.shape[1], "outputs": out.shape[1]}
    return PartTask("matmul_nn", len(out) * BLOCK, values, len(out))

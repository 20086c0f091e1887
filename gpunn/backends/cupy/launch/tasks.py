"""The GPU tasks of an operation: parts of kernels with their arguments, and products.

Dependencies between tasks are not declared. They follow from their arrays: their
memory, whether a part's parameter points to const, and the mark of the parameter, which
defines how threads divide the array.

Products and sums of columns are parts of kernels, too: all of them in a persistent kernel, and in
the launches of a fused step the small ones, such as the products of an output layer with few
classes. Each takes longer to launch than to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.profiling import ProfiledOperation

from .codegen import BLOCK, STAGES, Kernel
from .kernel_source import NULL, part_named
from .modes import MOST_SUMMED, LaunchModeError, is_small
from .protocols import Epilogue, Matmul, MatmulLibrary, RankSum


class Conflict(IntEnum):
    """The scope in which two tasks must keep their order."""

    NONE = 0  # not at all
    SAME_THREAD = 1  # in each thread: both distribute the elements of common arrays alike
    SAME_SLICE = 2  # in each slice: both divide common arrays into the same slices
    ORDER = 3  # the second may begin when the first has ended


class Region(NamedTuple):
    """Memory that a task reads or writes.

    Attributes:
        start, stop: addresses.
        sliced: whether it is a ``ROW_SLICED`` array.
        strided_from: for a ``GRID_STRIDED`` array, the address of element 0, else None.
    """

    start: int
    stop: int
    written: bool
    sliced: bool
    strided_from: int | None = None

    def conflict(self, other: Region) -> Conflict:
        overlaps = self.start < other.stop and other.start < self.stop
        if not overlaps or not (self.written or other.written):
            return Conflict.NONE
        if self.strided_from is not None and self.strided_from == other.strided_from:
            return Conflict.SAME_THREAD
        same = (self.start, self.stop) == (other.start, other.stop)
        return Conflict.SAME_SLICE if same and self.sliced and other.sliced else Conflict.ORDER


def region(array: Array, written: bool, sliced: bool = False, offset: int | None = None) -> Region:
    """Return the memory of an array on the device or the host; its first element is element
    ``offset`` of a ``GRID_STRIDED`` array."""
    where = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    start = where["data"][0]
    strided_from = None if offset is None else start - offset * array.itemsize
    return Region(start, start + array.nbytes, written, sliced, strided_from)


def strictest(found: Collection[Conflict]) -> Conflict:
    """Return the scope in which two tasks must keep their order, from the scopes of their regions.

    >>> strictest({Conflict.NONE, Conflict.SAME_SLICE}).name
    'SAME_SLICE'
    >>> strictest({Conflict.SAME_THREAD, Conflict.SAME_SLICE}).name
    'ORDER'
    """
    both = {Conflict.SAME_THREAD, Conflict.SAME_SLICE} <= set(found)
    return Conflict.ORDER if both else max(found, default=Conflict.NONE)


class Task:
    """A task for the GPU: a part with its arguments, a product, or a sum over ranks.

    Attributes:
        touched: the arrays that it reads and writes, with the other arguments of `region`.
        stage: the stage of a kernel that it belongs to; None for what a library does.
        name, choices: the part and its template arguments.
        arguments: the part's, from `KernelPart.arguments`.
        size: the useful number of threads.
        rows: the number of rows of its arrays if they can be taken row by row, else 0.
        flat: whether they can be cut anywhere: it computes each element from those at its place.
        operation: the operation that requested it, while a profile is made.
        joined: further operations that it does, so that they need no launch.
    """

    stage: str | None = None
    name = ""
    choices: tuple[str, ...] = ()
    size = 0
    rows = 0
    flat = False
    operation: ProfiledOperation | None = None

    def __init__(self, touched: Iterable[tuple[Any, ...]] = ()) -> None:
        self.touched = list(touched)
        self.arguments: list[Any] = []
        self.joined: list[ProfiledOperation | None] = []

    @property
    def operations(self) -> list[ProfiledOperation | None]:
        """The operations that it does completely or in part."""
        return [self.operation, *self.joined]

    @property
    def by_slices(self) -> bool:
        """Whether its blocks need slices of rows: a product."""
        return self.stage == "blocks" and self.rows > 0

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The memory that it reads and writes."""
        return tuple(region(*touch) for touch in self.touched)

    def conflict(self, other: Task) -> Conflict:
        """Return what ``other``, which comes after it, must wait for."""
        return strictest({a.conflict(b) for a in self.regions for b in other.regions})


class PartTask(Task):
    """A part with values for its parameters.

    Args:
        size, rows: as in `Task`.
        values: its arguments by the names of its parameters; there may be others.
        functor: the formula, if it applies one.
        reads_rows: whether ``rows`` is true of what it reads, not only of what it writes.
    """

    def __init__(
        self,
        name: str,
        size: int,
        values: Mapping[str, Any],
        rows: int = 0,
        functor: str | None = None,
        reads_rows: bool = True,
    ) -> None:
        part = part_named(name)
        choices = part.choices(values, functor)
        arguments = part.arguments(choices, [values[p.name] for p in part.parameters])
        offset = int(values.get("strided_offset", 0))
        super().__init__(
            (
                value, not parameter.constant,
                parameter.mark == "ROW_SLICED" and (reads_rows or not parameter.constant),
                offset if parameter.mark == "GRID_STRIDED" else None,
            )
            for parameter, value in zip(part.parameters, arguments, strict=True)
            if parameter.pointer and value is not NULL
        )
        self.stage = STAGES[part.mark]
        self.name, self.choices, self.arguments = name, choices, arguments
        self.size, self.rows = size, rows


class Product(Task):
    """A matrix product."""

    def __init__(self, matmul: Matmul) -> None:
        super().__init__([(matmul.a, False), (matmul.b, False), (matmul.out, True)])
        self.matmul = matmul

    @property
    def is_small(self) -> bool:
        """Whether it is a part in the mode ``fused``, of float32 or float64."""
        product = self.matmul
        return product.out.ndim == 2 and product.precision is None and is_small(product.sizes)

    def add_epilogue(self, blas: MatmulLibrary, kind: str, array: Array, vector: Array) -> bool:
        """Let the library compute an `Epilogue` of ``array``, which must be this product's result
        or second factor; return whether it does."""
        product, gradient = self.matmul, kind == "bias_gradient"
        same = region(array, True) == region(product.b if gradient else product.out, True)
        if product.accumulate or product.epilogue or not same:
            return False
        extended = product._replace(epilogue=Epilogue(kind, vector))
        if vector.shape != product.out.shape[1:] or not blas.offers(extended):
            return False
        self.matmul = extended
        self.touched.append((vector, gradient))
        return True


class SumOverRanks(Task):
    """The sum of an array over all ranks, which a library does."""

    def __init__(self, array: Array, sum_over: RankSum) -> None:
        super().__init__([(array, True)])
        self.array, self.sum_over = array, sum_over


@dataclass(frozen=True)
class Launch:
    """Tasks that are launched together, ready to be launched repeatedly.

    Attributes:
        kernel: the kernel generated for them; None for what a library does.
        run: launches it; for a persistent kernel it takes the number of steps.
    """

    tasks: Sequence[Task]
    kernel: Kernel | None
    run: Callable[..., None]


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

"""What a card must bring for `CupyBackend`, and how it wants its products asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from .base import Array, Step
from .kernel_source import Kernel

Replay = Callable[[], None]
Run = Callable[[tuple[int, ...], tuple[int, ...], list[Any]], None]
Matmul = Callable[[Array, Array, Array, bool, bool, bool], None]
"""f(a, b, out, transpose_a, transpose_b, accumulate), as `Backend.matmul`."""


class KernelSet(Protocol):
    """The kernels, ready to run."""

    blocks: int
    """How many blocks keep the device busy: a larger grid gains nothing."""

    def prepare(self, entry: str, kernel: Kernel) -> Run:
        """f(grid, block, arguments) for an instantiation such as ``"affine<uint8, float>"``."""


class Stream(Protocol):
    """The queue of work on the device."""

    def synchronize(self) -> None:
        """Wait until all that is in it is done."""

    def read(self, array: Array) -> np.ndarray:
        """A copy on the host, once what is before it is done."""

    def record(self, step: Step, times: int) -> Replay:
        """Call ``step`` so often without doing what it asks for; the result does it all."""


class ColumnMajor(NamedTuple):
    """A product as a library that stores columns sees it: out (m, n) = first @ second."""

    transpose_first: bool
    transpose_second: bool
    m: int
    n: int
    k: int
    first_stride: int  # between columns, in elements; that of out is m
    second_stride: int


def column_major(
    a: tuple[int, ...], b: tuple[int, ...], transpose_a: bool, transpose_b: bool
) -> ColumnMajor:
    """The row-major product a @ b for cuBLAS, which gets b first and a second.

    Rows are its columns: it sees each array transposed, and out^T = b^T a^T.

    >>> column_major((5, 3), (3, 4), False, False)[2:]
    (4, 5, 3, 4, 3)
    """
    m, n = b[0 if transpose_b else 1], a[1 if transpose_a else 0]
    k = a[0 if transpose_a else 1]
    return ColumnMajor(transpose_b, transpose_a, m, n, k, max(b[1], 1), max(a[1], 1))

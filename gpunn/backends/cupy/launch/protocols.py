"""The interface of a GPU for `CupyBackend`: kernels, matrix products, a stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpunn.backends.contract.backend import Array, Step
from gpunn.backends.contract.declaration import MatrixProduct
from gpunn.backends.contract.device import Sending
from gpunn.backends.contract.ranks import Ranks

from .codegen import Kernel
from .known_gpus import GPU
from .stream_lock import Current

Replay = Callable[[], None]
"""Performs the captured work again."""
KernelLauncher = Callable[[tuple[int, ...], tuple[int, ...], list[Any]], None]
"""Launches a kernel: f(grid, block, arguments)."""
RankSum = Callable[[Array], None]
"""Replaces an array by its sum over all ranks, by a library."""


class Epilogue(NamedTuple):
    """An operation on a product's result or second factor that a library can fuse with it.

    Attributes:
        kind: ``"bias"``, out = a @ b + vector; ``"relu"``, out = max(a @ b + vector, 0), where NaN
            stays NaN; or ``"bias_gradient"``, out = a @ b and vector = the sums of b's columns.
        vector: (n,), one value for each column of out.
    """

    kind: str
    vector: Array


EPILOGUES = {"Linear": "bias", "Relu": "relu"}
"""The kinds of epilogues that apply an activation to a product's result, by its functor."""


class Matmul(NamedTuple):
    """A matrix product as requested from a library: out = a @ b, or out += a @ b.

    Attributes:
        a, b, out: matrices, see `Backend.matmul`, also for the rest; or stacks of them, see
            `Backend.batched_matmul`.
        epilogue: what is computed along with it, without ``accumulate``.
    """

    a: Array
    b: Array
    out: Array
    transpose_a: bool = False
    transpose_b: bool = False
    accumulate: bool = False
    precision: str | None = None
    epilogue: Epilogue | None = None

    @property
    def sizes(self) -> MatrixProduct:
        *stack, m, n = self.out.shape
        k = self.a.shape[-2 if self.transpose_a else -1]
        transposed = "a" * self.transpose_a + "b" * self.transpose_b
        return MatrixProduct(m, n, k, transposed, math.prod(stack))


class MatmulLibrary(Protocol):
    """A library that computes matrix products."""

    @property
    def precisions(self) -> Collection[str]:
        """Formats that it can round the factors to, see `precision`."""

    def __call__(self, product: Matmul) -> None:
        """Compute a product, with an epilogue only if `offers` returned True for it."""

    def offers(self, product: Matmul) -> bool:
        """Return whether it can compute this product's epilogue; if so, choose an algorithm for it.

        This must be called before a capture, as it may try the product; the arrays are unchanged.
        If it cannot, the product is requested without the epilogue, and a kernel does its work.
        """


class KernelSet(Protocol):
    """The kernels, ready to run."""

    blocks: int
    """The number of blocks that keeps the device busy: a larger grid gains nothing."""

    resident: int
    """How many blocks can be resident at once and wait for each other; 0 if not supported."""

    gpu: GPU
    """What the device can do, from which its launch modes and convolutions are chosen."""

    def prepare(self, kernel: Kernel) -> KernelLauncher:
        """Compile a kernel, or raise a LaunchModeError if it needs more than this GPU has."""


class Stream(Current, Protocol):
    """The queue of work on the device. In a ``with`` block of it, the array functions of this
    thread use it."""

    def reaches(self, array: Array) -> bool:
        """Return whether an array of the array module is on the stream's device."""

    def current(self) -> Sending:
        """Return the pending work of this thread's current stream, which may be another one."""

    def synchronize(self) -> None:
        """Wait until all work in it is done."""

    def read(self, array: Array) -> np.ndarray:
        """Return a copy on the host, after earlier work is done."""

    def write(self, array: Array, values: np.ndarray) -> None:
        """Copy an array of the host to one like it, after earlier work is done. The caller may
        change ``values`` afterwards."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an uninitialised array of the host in page-locked memory."""

    def is_pinned(self, values: np.ndarray) -> bool:
        """Return whether an array of the host, which is not empty, is in page-locked memory."""

    def send(self, copies: Sequence[tuple[Array, np.ndarray]]) -> Sending:
        """Start copying arrays of the host, made by `pinned`, to arrays of the device, after all
        work submitted so far, and all copies sent so far. They must not be written to before
        the copies have ended."""

    def sum_over(self, ranks: Ranks) -> RankSum:
        """Return a function that submits the sum of an array over these ranks, in place."""

    def capture(self, step: Step, times: int) -> Replay:
        """Call ``step`` that many times and capture its launches, without performing them."""


class ColumnMajor(NamedTuple):
    """A product as seen by a column-major library: out (m, n) = first @ second."""

    transpose_first: bool
    transpose_second: bool
    m: int
    n: int
    k: int
    first_stride: int  # between columns, in elements; for out it is m
    second_stride: int
    first_step: int  # between the matrices of a stack, in elements; for out it is m n
    second_step: int  # 0: the same matrix each time


def column_major(product: Matmul) -> ColumnMajor:
    """Return the row-major product a @ b for cuBLAS, which gets b first and a second.

    cuBLAS reads rows as columns: it sees each array transposed, and out^T = b^T a^T.

    >>> a, b, out = (np.zeros(shape) for shape in ((5, 3), (3, 4), (5, 4)))
    >>> column_major(Matmul(a, b, out))[2:]
    (4, 5, 3, 4, 3, 0, 0)
    """
    n, m = product.out.shape[-2:]
    k = product.a.shape[-2 if product.transpose_a else -1]
    strides, steps = [], []
    for factor in (product.b, product.a):
        *stack, rows, columns = factor.shape
        strides.append(max(columns, 1))
        steps.append(0 if stack in ([], [1]) else rows * columns)
    return ColumnMajor(product.transpose_b, product.transpose_a, m, n, k, *strides, *steps)

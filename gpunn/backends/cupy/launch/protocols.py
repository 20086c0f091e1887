"""What a card must bring for `CupyBackend`: kernels, matrix products, a stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpunn.backends.contract.backend import Array, Step
from gpunn.backends.contract.device import Sending

from .codegen import Kernel
from .turn import Current

Replay = Callable[[], None]
"""Does once more what was captured."""
KernelLauncher = Callable[[tuple[int, ...], tuple[int, ...], list[Any]], None]
"""Launches a kernel: f(grid, block, arguments)."""


class Epilogue(NamedTuple):
    """What a library can compute along with a product, of its result or its second factor.

    Attributes:
        kind: ``"bias"``, out = a @ b + vector; ``"relu"``, out = max(a @ b + vector, 0), where NaN
            stays NaN; or ``"bias_gradient"``, out = a @ b and vector = the sums of b's columns.
        vector: (n,), one number for each column of out.
    """

    kind: str
    vector: Array


class Matmul(NamedTuple):
    """A matrix product as it is asked of a library: out = a @ b, or out += a @ b.

    Attributes:
        a, b, out: see `Backend.matmul`, as the rest.
        epilogue: what is computed along with it. It takes no ``accumulate``.
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
    def flops(self) -> int:
        """Two for each number of a and each column of out."""
        return 2 * self.a.size * self.out.shape[1]


class MatmulLibrary(Protocol):
    """What computes matrix products."""

    @property
    def precisions(self) -> Collection[str]:
        """Formats that it can round the factors to, see `precision`."""

    def __call__(self, product: Matmul) -> None:
        """Compute a product, with an epilogue only if `offers` said yes to it."""

    def offers(self, product: Matmul) -> bool:
        """Whether it can compute the epilogue of this product; if so, how is decided here.

        To be asked before a capture, as it may be tried; the arrays stay as they are. If it cannot,
        the product is asked for without the epilogue, and a kernel does what that would have done.
        """


class KernelSet(Protocol):
    """The kernels, ready to run."""

    blocks: int
    """How many blocks keep the device busy: a larger grid gains nothing."""

    resident: int
    """How many blocks can be on the device at once and wait for each other; 0 if none can."""

    cache: int
    """Bytes of the cache that all of the device shares."""

    def prepare(self, kernel: Kernel) -> KernelLauncher:
        """Compile a kernel."""


class Stream(Current, Protocol):
    """The queue of work on the device. In a ``with`` block of it the array functions of this
    thread go there."""

    def current(self) -> Sending:
        """What this thread has asked of its current stream, which may be another."""

    def synchronize(self) -> None:
        """Wait until all that is in it is done."""

    def read(self, array: Array) -> np.ndarray:
        """A copy on the host, once what is before it is done."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """See `Backend.pinned`."""

    def send(self, copies: Sequence[tuple[Array, np.ndarray]]) -> Sending:
        """See `Backend.send`."""

    def capture(self, step: Step, times: int) -> Replay:
        """Call ``step`` that many times and capture its launches, without performing them."""


class ColumnMajor(NamedTuple):
    """A product as a library that stores columns sees it: out (m, n) = first @ second."""

    transpose_first: bool
    transpose_second: bool
    m: int
    n: int
    k: int
    first_stride: int  # between columns, in elements; that of out is m
    second_stride: int


def column_major(product: Matmul) -> ColumnMajor:
    """The row-major product a @ b for cuBLAS, which gets b first and a second.

    Rows are its columns: it sees each array transposed, and out^T = b^T a^T.

    >>> a, b, out = (np.zeros(shape) for shape in ((5, 3), (3, 4), (5, 4)))
    >>> column_major(Matmul(a, b, out))[2:]
    (4, 5, 3, 4, 3)
    """
    a, b = product.a.shape, product.b.shape
    m, n = product.out.shape[1], product.out.shape[0]
    k = a[0 if product.transpose_a else 1]
    strides = max(b[1], 1), max(a[1], 1)
    return ColumnMajor(product.transpose_b, product.transpose_a, m, n, k, *strides)

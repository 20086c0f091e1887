"""Substitutes for a GPU's stream, kernels and matrix products."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from host_kernels import HostKernels, poison

from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.codegen import Kernel
from gpunn.backends.cupy.launch.protocols import Matmul, column_major
from gpunn.backends.shared.interrupts import perform
from gpunn.backends.shared.precision import PRECISIONS, rounded

from .arrays import DeviceArray
from .memory import MEMORY, PAGE_LOCKED
from .streams import Stream, current_stream


class EmulatedStream(Stream):
    """The backend's stream: runs the work that it gets, or records it during a capture."""

    def __init__(self) -> None:
        self.asked = 0  # by each step of the latest capture
        self.late = True  # concurrent copies: as late as allowed, or as early
        self.sent: weakref.WeakSet[Sending] = weakref.WeakSet()
        self.lost = 0  # copies that nothing waited for

    def is_current(self) -> bool:
        return current_stream() is self

    def reaches(self, array: Any) -> bool:
        return array.device.id == 0

    def current(self) -> Any:
        return Sending([])  # no other stream has any work

    @property
    def eager(self) -> bool:
        return self.captured is None

    def perform(self, work: Callable[[], Any]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def synchronize(self) -> None:
        self.refuse("synchronize")

    def read(self, array: Any) -> np.ndarray:
        self.refuse("read")
        if not isinstance(array, DeviceArray):
            raise TypeError("what is read is an array of the device")
        return np.array(array.view(np.ndarray))

    def write(self, array: Any, values: np.ndarray) -> None:
        self.refuse("write")
        if not isinstance(array, DeviceArray) or isinstance(values, DeviceArray):
            raise TypeError("a copy goes from an array of the host to one of the device")
        assert (array.shape, array.dtype) == (values.shape, values.dtype)
        np.copyto(array.view(np.ndarray), values)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        array = PAGE_LOCKED.allocate(size).view(dtype).reshape(shape)
        poison(array)
        return array

    def is_pinned(self, values: np.ndarray) -> bool:
        return PAGE_LOCKED.has(values.ctypes.data)

    def send(self, copies: Any) -> Sending:
        self.refuse("send")
        for target, source in copies:
            if not isinstance(target, DeviceArray) or isinstance(source, DeviceArray):
                raise TypeError("a copy goes from an array of the host to one of the device")
            assert (target.shape, target.dtype) == (source.shape, source.dtype)
        if any(sending.shares(source) for sending in self.sent for _, source in copies):
            raise RuntimeError("an array of the host was written while it was being copied")
        sending = Sending([(target.view(np.ndarray), source) for target, source in copies])
        if not self.late:
            sending.join()
        self.sent.add(sending)
        return sending

    def sum_over(self, ranks: Any) -> Callable[[Any], None]:
        return lambda array: self.perform(lambda: ranks.sum(array.view(np.ndarray)))

    def capture(self, step: Callable[[], None], times: int) -> Callable[[], None]:
        if current_stream() is not self:
            raise RuntimeError("array functions of the step would go to another stream")
        self.captured = captured = []
        try:
            for _ in range(times):
                step()
        finally:
            self.captured = None
        self.asked = len(captured) // times

        return lambda: perform(captured, 1)  # a graph launch is not interrupted


class Sending:
    """Pending copies, done as late or as early as allowed.

    Device code that fails to wait for them finds old values. If the host fails to wait, the next
    `send` from the same memory raises an error. Whoever waits for some copies waits for those sent
    before, too: they are made in order.
    """

    _numbers = itertools.count()

    def __init__(self, copies: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.copies = copies
        self.sources = [source for _, source in copies]
        self.number = next(self._numbers)

    def _so_far(self) -> list[Sending]:
        weak: set[Any] = STREAM.sent.data.copy()  # type: ignore[attr-defined]  # at once: threads
        sent = [reference() for reference in weak]
        found = [other for other in sent if other is not None and other.number < self.number]
        return [*sorted(found, key=lambda other: other.number), self]

    def join(self) -> None:
        for sending in self._so_far():
            for target, source in sending.copies:
                target[...] = source
            sending.copies = []

    def wait(self) -> None:
        self.join()
        for sending in self._so_far():
            sending.sources = []

    def __del__(self) -> None:
        STREAM.lost += bool(self.sources)  # its arrays may belong to something else by now

    def shares(self, array: np.ndarray) -> bool:
        return any(np.may_share_memory(source, array) for source in self.sources)


STREAM = EmulatedStream()


class EmulatedKernels(HostKernels):
    """The kernels on the CPU, which reject host arrays as a GPU would."""

    def prepare(self, kernel: Kernel) -> Any:
        bind = super().bound(kernel)

        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: list[Any]) -> None:
            for parameter, value in zip(kernel.parameters, arguments, strict=True):
                # Not np.ndim: NumPy functions are slow on device arrays.
                has_axes = parameter.pointer and getattr(value, "ndim", 0)
                if has_axes and not isinstance(value, DeviceArray):
                    raise TypeError(f"{kernel.name}: {parameter.name} is an array of the host")
            STREAM.perform(bind(grid, block, arguments))

        return launch

    def in_table(self, table: Any) -> list[np.ndarray]:
        return MEMORY.at(table.tolist())


class Products:
    """The matrix product as in cuBLAS: from flat memory, column by column.

    Args:
        epilogues: the kinds that it offers; a GPU may have none.
    """

    precisions = PRECISIONS

    def __init__(self, epilogues: Sequence[str] = ()) -> None:
        self.epilogues = epilogues

    def __call__(self, asked: Matmul) -> None:
        layout = column_major(asked)
        a, b, out, _, _, accumulate, precision, epilogue = asked
        kind, vector = epilogue or ("", None)
        assert not kind or (kind in self.epilogues and not accumulate)

        def columns(x: Any, rows: int, count: int, stride: int, step: int) -> np.ndarray:
            assert x.flags.c_contiguous
            shape = (*out.shape[:-2], rows, count)
            steps = (step * x.itemsize,) * (out.ndim - 2) + (x.itemsize, stride * x.itemsize)
            return np.ndarray(shape, x.dtype, x.view(np.ndarray), 0, steps)

        def product() -> None:
            m, n, k = layout.m, layout.n, layout.k
            first = columns(
                b, *((k, m) if layout.transpose_first else (m, k)),
                layout.first_stride, layout.first_step,
            )  # fmt: skip
            second = columns(
                a, *((n, k) if layout.transpose_second else (k, n)),
                layout.second_stride, layout.second_step,
            )  # fmt: skip
            first = first.swapaxes(-1, -2) if layout.transpose_first else first
            second = second.swapaxes(-1, -2) if layout.transpose_second else second
            result = columns(out, m, n, m, m * n)
            value = rounded(first, precision) @ rounded(second, precision)
            if kind == "bias_gradient":
                vector.view(np.ndarray)[...] = first.sum(1)
            elif kind:
                value = value + vector.view(np.ndarray)[:, None]
            if kind == "relu":
                value = np.maximum(value, 0)
            result[...] = value + (result if accumulate else 0)

        STREAM.perform(product)

    def offers(self, asked: Matmul) -> bool:
        assert STREAM.captured is None, "too late to choose"
        return asked.epilogue is not None and asked.epilogue.kind in self.epilogues


def launched(ask: Callable[[CupyBackend], None]) -> list[Kernel]:
    """Return the kernels that a function launches on a backend that computes nothing."""
    found: list[Kernel] = []

    class Listing(EmulatedKernels):
        def prepare(self, kernel: Kernel) -> Any:
            found.append(kernel)
            return lambda grid, block, arguments: None

    backend = dry.make_backend()
    backend.kernels = Listing()
    ask(backend)
    return found
